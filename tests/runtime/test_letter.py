"""What fails for good in a working house: dead letters, poison, calls given up, lost pictures.

What it is not: a played house; engine, guard, ledger and simulated provider are the real ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tildawn.clock import SystemClock
from tildawn.engine.outcome import Artifact
from tildawn.engine.owner import Options
from tildawn.engine.task import Retry, task
from tildawn.errors import BadValue, CallInDoubt, Misused
from tildawn.facts.call import CallResolved, CallSettled
from tildawn.facts.run import RunAccepted
from tildawn.ledger.verify import verify
from tildawn.projections.call import CallRow
from tildawn.projections.letter import LetterRow, letters, poison_of
from tildawn.projections.picture import PictureRow
from tildawn.projections.run import RunRow
from tildawn.runtime.config import load
from tildawn.runtime.context import Context
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk, perform
from tildawn.runtime.operations import letter
from tildawn.runtime.operations import run as runs
from tildawn.runtime.outside.call import Outside, call
from tildawn.runtime.setting import SIMULATOR, ProviderSettings, Settings
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.runtime.working import working
from tildawn.units import Micros


AT_ONCE = Retry(attempts=3, first=Micros(1_000))
SETTINGS = Settings(provider=ProviderSettings(name=SIMULATOR))


class Shop:
    """What the tasks reach; remembers every request."""

    def __init__(self) -> None:
        """Nothing was bought."""
        self.bought: list[str] = []
        self.faulty = False


class LineDead(Exception):
    """The request left, and no answer came."""

    kind, detail, sent, status, retry_after = "network", "the line went dead", True, None, None


class Home:
    """An open house, at work."""

    def __init__(self, house: House, shop: Shop) -> None:
        """Take both."""
        self.house, self.shop = house, shop

    async def enqueue(self, what: Any, *args: Any, **options: Any) -> str:
        """Accept a run."""
        if self.house.engine.tasks.get(what.name) is None:
            self.house.engine.tasks.add(what)
        return (await self.house.owner.enqueue(what, *args, options=Options(**options))).run

    async def until(
        self, run: str, state: str, *, reached: Callable[[RunRow], bool] = lambda _: True
    ) -> RunRow:
        """Wait until a run is in a state."""
        row = self.row(run)
        while row.state != state or not reached(row):
            assert row.state not in {"done", "failed", "cancelled", "held"} - {state}, row
            await asyncio.sleep(0.01)
            row = self.row(run)
        return row

    async def ends(self, what: Any, *args: Any, state: str) -> str:
        """Accept a run and wait for it."""
        run = await self.enqueue(what, *args)
        await self.until(run, state)
        return run

    def row(self, run: str) -> RunRow:
        """A run as it is now."""
        return self.one(RunRow, run)

    def one(self, row: Any, *key: Any) -> Any:
        """A row."""
        with self.house.ledger.read() as reader:
            return reader.get(row, *key)

    def letters(self) -> list[LetterRow]:
        """The dead letters, newest first."""
        with self.house.ledger.read() as reader:
            return list(letters(reader).rows)

    def facts(self, run: str, kind: Any) -> list[Any]:
        """What facts of one kind say of a run."""
        with self.house.ledger.read() as reader:
            return [fact.data for _, fact in reader.history(run) if isinstance(fact.data, kind)]

    def why(self, run: str, kind: str) -> str:
        """The payload of the last such fact."""
        with self.house.ledger.read() as reader:
            seq = [seq for seq, fact in reader.history(run) if fact.kind == kind][-1]
            return reader.payload(seq, 0).decode()

    async def ask(self, operation: Any, **given: Any) -> Any:
        """An operation, as a face asks it."""
        desk = Desk(load(self.house.folder.parent, environ={}), self.house.clock,
                    folder=self.house.folder, house=self.house)  # fmt: skip
        return msgspec.json.decode(await perform(operation, desk, msgspec.json.encode(given)))


Story = Callable[[Home], Awaitable[None]]


@pytest.fixture
def shop() -> Shop:
    """A shop that works."""
    return Shop()


@pytest.fixture
def play(tmp_path: Path, shop: Shop) -> Callable[[Story], None]:
    """Tells a story in a working house, and proves the house afterwards."""
    folder = tmp_path / ".tildawn"

    async def tell(story: Story) -> None:
        with House.open(folder, SETTINGS, mode="write", clock=SystemClock()) as house:
            async with working(house, env={}):
                await story(Home(house, shop))

    def told(story: Story) -> None:
        asyncio.run(asyncio.wait_for(tell(story), 40))
        assert verify(folder, registry=REGISTRY, projections=PROJECTIONS).exit_code == 0

    return told


@pytest.fixture
def fragile(shop: Shop) -> Any:
    """A task that chokes on some arguments."""

    @task(name="fragile", retry=AT_ONCE)
    async def fragile(ctx: Context, what: str) -> str:
        shop.bought.append(what)
        if what.startswith("bad") or shop.faulty:
            message = f"cannot do {what}"
            raise ValueError(message)
        return what

    return fragile


@pytest.fixture
def buys(shop: Shop) -> Any:
    """A task that buys something once, and does not hear whether it did."""

    @call(name="buy", repeat="never")
    async def buy(out: Outside, what: str) -> str:
        shop.bought.append(what)
        if shop.faulty:
            raise LineDead
        return f"bought {what}"

    @task(name="buys", retry=AT_ONCE)
    async def buys(ctx: Context, what: str, *, careful: bool = False) -> str:
        try:
            return await ctx.call(buy, what)
        except CallInDoubt:
            if careful:
                return "nobody knows"
            raise

    return buys


# -- dead letters ----------------------------------------------------------------------------


def test_a_run_that_failed_too_often_is_a_dead_letter_until_it_is_done(
    play: Any, fragile: Any, shop: Shop
) -> None:
    """`retry` is the one way back, for every letter."""
    shop.faulty = True

    async def story(home: Home) -> None:
        run = await home.ends(fragile, "good", state="held")
        [one] = home.letters()
        assert (one.run, one.state, one.why, one.kind) == (run, "held", "failed-3-times", "error")
        listed = await home.ask(letter.DEAD)
        assert listed["total"] == 1
        assert listed["letters"][0]["next"] == "tildawn retry q-1"
        shop.faulty = False
        assert (await home.ask(runs.RETRY, run="q-1"))["changed"]
        await home.until(run, "done")
        assert home.letters() == []

    play(story)


def test_a_letter_that_was_seen_leaves_the_list_and_its_run_stays(play: Any, fragile: Any) -> None:
    """Nobody reads a list that only grows."""

    async def story(home: Home) -> None:
        run = await home.ends(fragile, "bad", state="held")
        first = await home.ask(letter.ACKNOWLEDGE, run="q-1", reason="a typo of mine")
        second = await home.ask(letter.ACKNOWLEDGE, run="q-1")
        assert (first["changed"], second["changed"]) == (True, False)
        assert home.letters() == []
        assert home.row(run).state == "held"
        assert (await home.ask(runs.RETRY, run="q-1"))["changed"]
        await asyncio.sleep(0)
        await home.until(run, "held")
        assert [one.run for one in home.letters()] == [run]  # it died again

    play(story)


def test_what_a_person_ended_or_has_yet_to_answer_is_no_dead_letter(
    play: Any, fragile: Any, buys: Any, shop: Shop
) -> None:
    """A paused run, a call in doubt and a run that was given up are not forgotten work."""

    @task(name="asks")
    async def asks(ctx: Context) -> str:
        return await ctx.event("never")

    async def story(home: Home) -> None:
        shop.faulty = True
        doubt = await home.ends(buys, "x", state="held")
        assert home.row(doubt).why == "call-in-doubt"
        run = await home.ends(fragile, "bad", state="held")
        await home.house.owner.answer(run, "fail")
        assert home.row(run).state == "failed"
        waits = await home.enqueue(asks)
        await home.until(waits, "waiting")
        await home.house.owner.pause(waits)
        assert home.letters() == []

    play(story)


def test_a_child_that_failed_is_its_parents_business(play: Any, shop: Shop) -> None:
    """The parent was told and may have dealt with it; two letters for one death mislead."""

    @task(name="child")
    async def child(ctx: Context) -> str:
        message = "no"
        raise Misused(message)

    @task(name="parent")
    async def parent(ctx: Context) -> str:
        return await ctx.child(child)

    async def story(home: Home) -> None:
        home.house.engine.tasks.add(child)
        run = await home.enqueue(parent)
        await home.until(run, "failed")
        assert [one.task for one in home.letters()] == ["parent"]

    play(story)


# -- poison across runs ----------------------------------------------------------------------


def test_the_fourth_run_with_deadly_arguments_is_held_before_it_begins(
    play: Any, fragile: Any, shop: Shop
) -> None:
    """A schedule that enqueues the same poison every night must stop by itself."""

    async def story(home: Home) -> None:
        for _ in range(3):
            await home.ends(fragile, "bad one", state="held")
        tried = len(shop.bought)
        fourth = await home.ends(fragile, "bad one", state="held")
        assert (home.row(fourth).why, home.row(fourth).attempt) == ("poisoned", 0)
        assert len(shop.bought) == tried
        said = home.why(fourth, "RunHeld")
        assert "3 runs of fragile with these arguments" in said
        assert "retry" in said
        await home.ends(fragile, "bad two", state="held")  # others are not suspected
        await home.ends(fragile, "good", state="done")
        # Its owner may let it try all the same, and nobody else.
        assert await home.house.owner.retry(fourth)
        await home.until(fourth, "held", reached=lambda row: row.attempt > 0)
        assert len(shop.bought) == tried + 7
        assert home.row(fourth).why == "failed-3-times"
        assert home.row(await home.ends(fragile, "bad one", state="held")).why == "poisoned"

    play(story)


def test_arguments_that_were_done_once_are_no_poison(play: Any, fragile: Any, shop: Shop) -> None:
    """The code was mended: what died before says nothing any more."""

    async def story(home: Home) -> None:
        shop.faulty = True
        dead = [await home.ends(fragile, "good", state="held") for _ in range(3)]
        shop.faulty = False
        assert await home.house.owner.retry(dead[0])
        await home.until(dead[0], "done")
        await home.ends(fragile, "good", state="done")

    play(story)


def test_failures_of_the_other_side_poison_nothing(play: Any, shop: Shop) -> None:
    """After three nights of an outage the fourth must still be tried."""

    class UsedUp(Exception):
        kind, detail, sent, status, retry_after = "quota", "used up", False, 429, None

    @call(name="ring", repeat="safe")
    async def ring(out: Outside, what: str) -> str:
        raise UsedUp

    @task(name="rings", retry=Retry(attempts=1, first=Micros(1)))
    async def rings(ctx: Context) -> str:
        return await ctx.call(ring, "x")

    async def story(home: Home) -> None:
        run = await home.ends(rings, state="failed")
        assert home.letters()[0].why == "quota"
        with home.house.ledger.read() as reader:
            assert poison_of(reader, run) is None

    play(story)


def test_the_digest_of_arguments_tells_nothing_and_does_not_depend_on_their_spelling(
    play: Any, fragile: Any
) -> None:
    """A plain hash of short arguments could be guessed; two spellings are one poison."""

    async def story(home: Home) -> None:
        home.house.engine.tasks.add(fragile)
        owner = home.house.owner
        one = await owner.enqueue_json(fragile, b'{"what": "x"}', Options())
        two = await owner.enqueue_json(fragile, b'{ "what":"\\u0078" }', Options())
        other = await owner.enqueue_json(fragile, b'{"what": "y"}', Options())
        keys = [home.facts(found.run, RunAccepted)[0].args_key for found in (one, two, other)]
        assert keys[0] == keys[1] != keys[2]
        assert all(len(key) == 43 for key in keys)

    play(story)


# -- the owner's word about a call -----------------------------------------------------------


def test_a_call_given_up_ends_unknown_and_the_task_hears_it(
    play: Any, buys: Any, shop: Shop
) -> None:
    """Nobody knows: the run goes on with that, sends nothing again, and asks no more."""

    async def story(home: Home) -> None:
        shop.faulty = True
        run = await home.ends(buys, "x", state="held")
        assert (await home.ask(runs.ANSWER, run=run, choice="give-up"))["changed"]
        row = await home.until(run, "failed")
        assert row.why == "call-in-doubt"
        assert shop.bought == ["x"]
        [resolved] = home.facts(run, CallResolved)
        settled = home.facts(run, CallSettled)[-1]
        assert resolved.choice == "give-up"
        assert (settled.final, settled.effect) == (True, "unknown")
        [one] = home.letters()
        assert (one.why, one.deaths) == ("call-in-doubt", 0)

    play(story)


def test_a_task_may_deal_with_a_call_given_up(play: Any, buys: Any, shop: Shop) -> None:
    """Whoever wrote it knows what not knowing means."""

    async def story(home: Home) -> None:
        shop.faulty = True
        run = await home.enqueue(buys, "x")
        await home.until(run, "held")
        careful = (await home.house.owner.enqueue(buys, "y", careful=True)).run
        await home.until(careful, "held")
        await home.house.owner.answer(careful, "give-up")
        await home.until(careful, "done")
        assert shop.bought == ["x", "y"]

    play(story)


@pytest.mark.parametrize(
    ("said", "result", "bought"),
    [(("applied", b'"by phone"'), '"by phone"', 1), (("not-applied", None), '"bought x"', 2)],
)
def test_the_owners_word_is_a_fact_of_the_guard(
    play: Any, buys: Any, shop: Shop, said: tuple[str, bytes | None], result: str, bought: int
) -> None:
    """One writer of the facts of calls: it checks that the call is in doubt and has not moved."""

    async def story(home: Home) -> None:
        shop.faulty = True
        run = await home.ends(buys, "x", state="held")
        call_path = home.row(run).call_path
        shop.faulty = False
        assert await home.house.owner.answer(run, *said)
        await home.until(run, "done")
        assert home.why(run, "RunDone") == result
        assert len(shop.bought) == bought
        assert home.one(CallRow, run, call_path).state == "settled"
        with home.house.ledger.read() as reader:
            [actor] = [f.actor for _, f in reader.history(run) if f.kind == "CallResolved"]
        assert actor == "owner"

    play(story)


def test_an_answer_to_a_call_that_did_not_happen_is_refused(
    play: Any, buys: Any, shop: Shop
) -> None:
    """It would be kept beside a request that is sent again."""

    async def story(home: Home) -> None:
        shop.faulty = True
        run = await home.ends(buys, "x", state="held")
        with pytest.raises(BadValue, match="only for a call that happened"):
            await home.house.owner.answer(run, "not-applied", b'"y"')
        assert home.row(run).state == "held"

    play(story)


# -- pictures --------------------------------------------------------------------------------


def test_a_drawn_picture_is_on_record_with_its_measures(play: Any) -> None:
    """Not an address, not a promise: bytes that were read, and what they say."""

    @task(name="draws")
    async def draws(ctx: Context) -> Artifact:
        return await ctx.outside("art", "image", {"prompt": "a kettle", "size": "64x32"})

    async def story(home: Home) -> None:
        run = await home.ends(draws, state="done")
        with home.house.ledger.read() as reader:
            [row] = reader.rows(PictureRow, "run = ?", (run,))
        assert (row.media, row.width, row.height, row.damage) == ("image/png", 64, 32, "")
        assert row.size_bytes == home.house.ledger.blobs.path(row.blob).stat().st_size

    play(story)
