"""The tiers of a ladder over a real house: what is in stock, what is drawn, who else may answer."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.clock import SystemClock
from tildawn.engine.outcome import Artifact
from tildawn.facts.call import CallAnsweredLate, CallDispatched, CallServed, CallSettled
from tildawn.facts.run import RunAccepted
from tildawn.guard.deadline import Alarms
from tildawn.guard.ladder import EXACT, GLOBAL, LIMITS, PROCEDURAL, RELATED, TIERS, Served
from tildawn.guard.picture import check_picture
from tildawn.guard.request import Answer, Attempt, Local
from tildawn.ids import Ids
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verify import verify
from tildawn.projections.stock import AskedRow, StockRow
from tildawn.providers.sim.drawing import png
from tildawn.runtime.outside.drawing import PALETTES, placeholder
from tildawn.runtime.outside.kind import CallOptions, Prepared
from tildawn.runtime.outside.stock import (
    NEIGHBOURS_MAX,
    PROMPT_CHARS,
    Hands,
    Stock,
    Wanted,
    neighbours,
    words,
)
from tildawn.runtime.outside.tiers import (
    activation,
    picture_tiers,
    remotes_of,
    text_tiers,
    tiers_of,
)
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import SECOND, Micros, MicroUsd


RUN_NAME = "0" * 31 + "1"
ALL = TIERS["image"]
FOREVER = Micros(1 << 62)


def wanted(prompt: str = "a red kettle", *, side: int = 24, simulated: bool = False) -> Wanted:
    """A small picture."""
    return Wanted(prompt=prompt, width=side, height=side, simulated=simulated)


class House:
    """A real house in which calls of models are put on record as they happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.ledger = Ledger.open(
            folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip
        self.hands = Hands()
        self._number = 0
        self.ledger.append_now([self.ledger.draft(RunAccepted(task="t", args=""), run=RUN_NAME)])

    def close(self) -> None:
        self.hands.close()
        self.ledger.close()

    def say(
        self, data: Any, *payloads: bytes | None, path: str, run: str = RUN_NAME, blob: str = ""
    ) -> int:
        """Append one fact with its payloads."""
        wrapped = [None if text is None else self.ledger.payload(text) for text in payloads]
        names = type(data).PAYLOADS
        found = {n: p.digest for n, p in zip(names, wrapped, strict=False) if p is not None}
        data = msgspec.structs.replace(data, **found)
        entry = self.ledger.draft(
            data, run=run, path=path, payloads=wrapped, blobs=(blob,) if blob else ()
        )
        answer = self.ledger.append_now([entry])
        assert isinstance(answer, Committed)
        return answer.first

    def send(self, args: str, about: bytes | None, **said: Any) -> str:
        """A call is on its way; its path."""
        self._number += 1
        path = f"p{self._number}"
        fields: dict[str, Any] = {
            "name": "photo", "route": "p:m", "attempt": 1, "key": "k", "repeat": "safe",
            "deadline": 0, "timeout_ms": 1, "model": "m",
        } | said  # fmt: skip
        run = fields.pop("run", RUN_NAME)
        self.say(CallDispatched(args=args, **fields), None, about, path=path, run=run)
        return path

    def drew(
        self, asked: Wanted, *, args: str = "?", content: bytes | None = None, late: bool = False,
        **said: Any,
    ) -> str:  # fmt: skip
        """A picture came; its blob."""
        said.setdefault("simulated", asked.simulated)
        path = self.send(args, asked.about, **said)
        drawn = content or png(f"{asked.prompt}{self._number}", asked.width, asked.height)
        blob = self.ledger.blobs.put(drawn)
        value = msgspec.json.encode(Artifact(f"image-{blob[:12]}", blob, len(drawn), "image/png"))
        settled = CallSettled(attempt=1, final=True, effect="applied")
        run = said.get("run", RUN_NAME)
        if late:
            self.say(CallServed(name="photo", route="p:m", args=args, tier=GLOBAL, instead="patience", out=""), b'"old"', path=path)  # fmt: skip
            self.say(CallAnsweredLate(attempt=1), value, path=path, blob=blob)
        else:
            self.say(settled, value, path=path, run=run, blob=blob)
        return blob

    def said(self, text: str, *, args: str) -> None:
        """A language model answered."""
        path = self.send(args, None)
        settled = CallSettled(attempt=1, final=True, effect="applied")
        self.say(settled, msgspec.json.encode(text), path=path)

    def climb(self, tiers: Sequence[Local], args: str = "?") -> Served | None:
        """What the ladder serves now."""

        async def main() -> Served | None:
            alarms = Alarms(self.clock)
            try:
                return await activation(tiers, args, clock=self.clock, alarms=alarms)
            finally:
                alarms.close()

        return asyncio.run(main())

    def tiers(self, *names: str, asked: Wanted | None = None) -> tuple[Local, ...]:
        """Tiers with so much time that a busy machine changes nothing."""
        made = picture_tiers(
            names or ALL, asked or wanted(), ledger=self.ledger, clock=self.clock, hands=self.hands
        )
        return tuple(msgspec.structs.replace(one, limit=Micros(30 * SECOND)) for one in made)

    @property
    def stock(self) -> Stock:
        """A look without an end."""
        return Stock(self.ledger, self.clock, until=FOREVER)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with nothing in stock."""
    made = House(tmp_path / "house")
    yield made
    made.close()


def blob_of(answer: Answer | None) -> str:
    """Which picture an answer is; empty for none."""
    return "" if answer is None else msgspec.json.decode(answer.value, type=Artifact).sha256


# -- pictures ----------------------------------------------------------------------------------


def test_a_picture_of_the_same_request_comes_first(house: House):
    """It is what the primary would have been asked for."""
    same = house.drew(wanted(), args="same")
    house.drew(wanted(), args="other")
    assert blob_of(house.stock.exact("same", wanted())) == same
    assert house.stock.exact("nobody", wanted()) is None


def test_related_pictures_share_words_with_the_prompt(house: House):
    """A kettle stands in for a kettle before a mountain does."""
    kettle = house.drew(wanted("a blue kettle on a stove"))
    house.drew(wanted("mountains at dawn"))
    assert blob_of(house.stock.related(wanted("a red kettle"), shown="")) == kettle
    assert house.stock.related(wanted("submarine"), shown="") is None


def test_the_newest_picture_stands_in_when_nothing_is_related(house: House):
    """Whatever it shows: it is not black."""
    house.drew(wanted("first"))
    newest = house.drew(wanted("second"))
    assert blob_of(house.stock.recent(wanted("submarine"), shown="")) == newest


def test_the_same_picture_is_not_shown_twice_in_a_row(house: House):
    """A frame that repeats itself looks broken."""
    first, second = house.drew(wanted("kettle one")), house.drew(wanted("kettle two"))
    for look in (house.stock.related, house.stock.recent):
        assert blob_of(look(wanted("kettle"), shown=second)) == first
        assert blob_of(look(wanted("kettle"), shown=first)) == second


def test_the_only_picture_is_shown_again_rather_than_none(house: House):
    """Once more the same is better than a placeholder."""
    only = house.drew(wanted("kettle"))
    assert blob_of(house.stock.recent(wanted(), shown=only)) == only


def test_the_ladder_remembers_what_it_showed_last(house: House):
    """Two calls in a row, through the tiers themselves."""
    house.drew(wanted("one"))
    house.drew(wanted("two"))
    served = [house.climb(house.tiers(GLOBAL)) for _ in range(4)]
    shown = [blob_of(one.answer) for one in served if one is not None]
    assert len(shown) == 4
    assert shown[0] == shown[2] != shown[1] == shown[3]


def test_a_picture_of_another_size_does_not_stand_in(house: House):
    """An answer of the primary with that size would be refused, too."""
    house.drew(wanted(side=48), args="same")
    assert house.stock.exact("same", wanted()) is None
    assert house.stock.related(wanted(), shown="") is None
    assert house.stock.recent(wanted(), shown="") is None


def test_pictures_of_other_sizes_do_not_hide_the_one_that_fits(house: House):
    """A frame in portrait hangs in a house that draws a hundred landscapes a night."""
    fits = house.drew(wanted("kettle"))
    for _ in range(8):
        house.drew(wanted("kettle", side=48))
    assert blob_of(house.stock.related(wanted("kettle"), shown="")) == fits
    assert blob_of(house.stock.recent(wanted(), shown="")) == fits


@pytest.mark.parametrize("spoil", ["remove", "damage", "cut off when it came"])
def test_a_picture_that_is_no_whole_picture_is_passed_over(house: House, spoil: str):
    """A stand-in is looked at like an answer; a broken one would be a black frame."""
    good = house.drew(wanted("kettle"), args="same")
    whole = png("x", 24, 24)
    bad = house.drew(
        wanted("kettle"), args="same", content=whole[:-20] if "cut" in spoil else whole
    )
    path = house.ledger.blobs.path(bad)
    if spoil == "remove":
        path.unlink()
    if spoil == "damage":
        path.chmod(0o600)
        path.write_bytes(whole[:-20])
    assert blob_of(house.stock.exact("same", wanted())) == good
    assert blob_of(house.stock.related(wanted("kettle"), shown="")) == good
    assert blob_of(house.stock.recent(wanted(), shown="")) == good


def test_a_simulated_picture_never_stands_in_for_a_real_one(house: House):
    """The report of a real night would show what no provider ever drew; nor the other way."""
    house.drew(wanted(simulated=True), args="same")
    for look in (wanted(), wanted(simulated=True)):
        found = house.stock.exact("same", look), house.stock.recent(look, shown="")
        assert all((one is not None) == look.simulated for one in found)


def test_a_picture_that_came_too_late_is_in_stock(house: House):
    """It was paid for, and whoever is always slow would otherwise leave the stock empty."""
    late = house.drew(wanted("kettle"), args="same", late=True)
    assert blob_of(house.stock.exact("same", wanted())) == late
    assert blob_of(house.stock.recent(wanted(), shown="")) == late


def test_what_stood_in_for_an_answer_is_not_in_stock(house: House):
    """A placeholder must not come back as somebody's picture."""
    drawn = house.stock.draw("seed", wanted())
    said = CallServed(
        name="photo", route="p:m", args="same", tier=PROCEDURAL, instead="timeout", out=""
    )
    house.say(said, drawn.value, path="served", blob=drawn.blobs[0])
    assert house.stock.exact("same", wanted()) is None
    assert house.stock.recent(wanted(), shown="") is None


def test_what_a_probe_brought_is_not_in_stock(house: House):
    """It was asked for to find out whether anybody answers, not to be shown."""
    house.drew(wanted("abstract geometric shape in blue"), args="same", run="probe")
    assert house.stock.exact("same", wanted()) is None
    assert house.stock.recent(wanted(), shown="") is None


def test_a_picture_of_which_no_words_are_known_is_related_to_nothing(house: House):
    """As after its owner had the words erased; for the same request it still stands in."""
    path = house.send("a", None)
    blob = house.ledger.blobs.put(png("x", 24, 24))
    value = msgspec.json.encode(Artifact("image", blob, 1, "image/png"))
    settled = CallSettled(attempt=1, final=True, effect="applied")
    house.say(settled, value, path=path, blob=blob)
    assert house.stock.related(wanted("kettle"), shown="") is None
    assert blob_of(house.stock.exact("a", wanted())) == blob


def test_no_word_of_a_prompt_is_in_a_fact_or_in_a_row(house: House):
    """Erasing a payload must be enough to be rid of it."""
    house.drew(wanted("zebra"), args="same")
    with house.ledger.read() as reader:
        bodies = [
            body for _, fact in reader.facts(limit=-1) for body in [msgspec.json.encode(fact)]
        ]
        rows = [*reader.rows(StockRow), *reader.rows(AskedRow)]
    assert not [body for body in bodies if b"zebra" in body]
    assert "zebra" not in repr(rows)


def test_nothing_is_left_behind_of_a_call_that_has_ended(house: House):
    """The table of what is under way stays as small as what is under way."""
    house.drew(wanted(), args="a")
    house.drew(wanted(), args="b", late=True)
    failed = CallSettled(attempt=1, final=True, effect="none", fault="server")
    house.say(failed, None, b"{}", path=house.send("c", wanted().about))
    with house.ledger.read() as reader:
        assert reader.rows(AskedRow) == []


def test_the_stock_is_the_same_when_it_is_rebuilt(house: House):
    """It is a projection like any other."""
    house.drew(wanted(), args="a")
    house.drew(wanted(), args="b", late=True)
    house.close()
    said = verify(house.folder, registry=REGISTRY, projections=PROJECTIONS)
    assert (said.exit_code, said.differences) == (0, ())


def test_a_look_that_has_no_time_left_gives_up(house: House):
    """A thread that goes on looking for nobody keeps the next one waiting."""
    house.drew(wanted(), args="same")
    late = Stock(house.ledger, house.clock, until=Micros(0))
    assert late.exact("same", wanted()) is None
    assert late.recent(wanted(), shown="") is None


# -- words -------------------------------------------------------------------------------------


def test_a_word_that_is_everywhere_relates_nothing():
    """Every prompt says "photo"; that makes no two pictures alike."""
    stock = [words(f"photo of thing{chr(97 + at)}x") for at in range(10)]
    assert neighbours(words("photo of a kettle"), stock) == []


def test_rare_words_weigh_more_than_common_ones():
    """Of two pictures that share one word, the one with the rarer word is nearer."""
    stock = [words("red chair"), words("red table"), words("blue kettle")]
    assert neighbours(words("red kettle"), stock) == [2, 0, 1]


PROMPTS = st.lists(st.sampled_from(["kettle", "stove", "red", "blue", "dawn", "photo"]), max_size=5)


@given(one=PROMPTS, others=st.lists(PROMPTS, max_size=40))
def test_neighbours_are_few_and_share_a_word(one: list[str], others: list[list[str]]):
    """At most five, each with something in common."""
    stock = [words(" ".join(other)) for other in others]
    found = neighbours(words(" ".join(one)), stock)
    assert len(found) == len(set(found)) <= NEIGHBOURS_MAX
    assert all(stock[at] & set(one) for at in found)


def test_a_long_prompt_is_kept_in_part():
    """The words are for finding, not for keeping."""
    assert len(wanted("x" * 100_000).about) < PROMPT_CHARS + 100


# -- drawing -----------------------------------------------------------------------------------


@given(width=st.integers(1, 300), height=st.integers(1, 300), seed=st.text(max_size=8))
def test_a_placeholder_is_a_whole_picture_of_the_exact_size(width: int, height: int, seed: str):
    """Whatever reads it next reads a PNG."""
    check_picture(placeholder(seed, width, height), width=width, height=height)


def test_one_seed_draws_one_picture_and_others_another():
    """The same request shows the same placeholder, so that the screen does not flicker."""
    drawn = {placeholder(f"s{at}", 32, 32) for at in range(3 * len(PALETTES))}
    assert placeholder("s1", 32, 32) in drawn
    assert len(drawn) > 2 * len(PALETTES)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (20_000, 1), (5_000, 5_000)])
def test_a_size_beyond_reason_is_refused(size: tuple[int, int]):
    """A plan can name any number; memory is finite."""
    with pytest.raises(ValueError, match="out of range"):
        placeholder("s", *size)


def test_the_last_tier_draws_when_the_house_is_empty(house: House):
    """The promise: the last one cannot fail."""
    served = house.climb(house.tiers(), args="same")
    assert served is not None
    assert served.tier == PROCEDURAL
    assert served.passed == ("exact: none", "related: none", "global: none")
    artifact = msgspec.json.decode(served.answer.value, type=Artifact)
    content = house.ledger.blobs.get(artifact.sha256)
    assert check_picture(content, width=24, height=24).media == "image/png"
    assert served.answer.spend == 0


def test_the_last_tier_does_not_wait_for_those_that_were_left_behind(house: House):
    """A slow disk holds the threads that look; the drawing must not stand behind them."""
    held = Event()

    async def main() -> Served | None:
        alarms = Alarms(house.clock)
        looking = [asyncio.ensure_future(house.hands.do(held.wait)) for _ in range(5)]
        try:
            last = [tier for tier in house.tiers() if tier.name == PROCEDURAL]
            return await activation(last, "same", clock=house.clock, alarms=alarms)
        finally:
            held.set()
            await asyncio.gather(*looking)
            alarms.close()

    served = asyncio.run(main())
    assert served is not None
    assert served.tier == PROCEDURAL


# -- which tiers, which models -----------------------------------------------------------------


def test_a_batch_has_only_the_tiers_that_it_names():
    """Nothing stands in that nobody asked for."""
    assert tiers_of("image", CallOptions()) == ()
    assert tiers_of("image", CallOptions(tiers=("global", "exact"))) == (EXACT, GLOBAL)


def test_who_waits_has_all_tiers_of_the_kind_unless_some_are_named():
    """A frame on a wall stays lit without being told how."""
    assert tiers_of("image", CallOptions(patience="interactive")) == ALL
    assert tiers_of("chat", CallOptions(patience="interactive")) == (EXACT,)
    assert tiers_of("http", CallOptions(patience="interactive")) == ()
    said = CallOptions(patience="interactive", tiers=("exact",))
    assert tiers_of("image", said) == (EXACT,)


def test_each_tier_has_the_limit_of_the_specification(house: House):
    """Forty, eighty, a hundred and twenty milliseconds; the last one may take what there is."""
    made = picture_tiers(ALL, wanted(), ledger=house.ledger, clock=house.clock, hands=house.hands)
    assert [one.name for one in made] == [EXACT, RELATED, GLOBAL, PROCEDURAL]
    assert [one.limit for one in made] == [LIMITS[name] for name in ALL]
    assert [one.sure for one in made] == [False, False, False, True]


def test_a_text_stands_in_only_for_the_same_request(house: House):
    """The answer to another question is no answer."""
    house.said("four", args="same")
    [tier] = text_tiers(
        ("exact",), ledger=house.ledger, clock=house.clock, hands=house.hands, simulated=False
    )
    served = house.climb([msgspec.structs.replace(tier, limit=Micros(30 * SECOND))], args="same")
    assert served is not None
    assert served.answer.value == b'"four"'
    assert house.climb([tier], args="other") is None


async def _never(_: Attempt) -> Answer:
    raise AssertionError


def test_each_accepted_model_is_asked_on_a_route_of_its_own():
    """What is wrong with one model says nothing about the next."""

    def prepare(options: CallOptions) -> Prepared:
        assert (options.accepts, options.tiers, options.route) == ((), (), None)
        price = {"dear": MicroUsd(90), "cheap": MicroUsd(10), "unpriced": None}[options.model]
        return Prepared(
            route=f"p:{options.model}", model=options.model, reserve=price, reserve_tokens=7,
            what="", perform=_never,
        )  # fmt: skip

    options = CallOptions(
        model="m", route="art:hero", accepts=("dear", "m", "cheap", "unpriced"), tiers=("exact",)
    )
    made = remotes_of("image", options, prepare, primary="m")
    assert [(one.name, one.route, one.reserve_tokens, one.kind) for one in made] == [
        ("dear", "p:dear", 7, "image"), ("cheap", "p:cheap", 7, "image"),
        ("unpriced", "p:unpriced", 7, "image"),
    ]  # fmt: skip
    limited = msgspec.structs.replace(options, max_cost=MicroUsd(50))
    assert [one.name for one in remotes_of("image", limited, prepare, primary="m")] == [
        "cheap",
        "unpriced",
    ]
