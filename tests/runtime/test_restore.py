"""Going back with runs and calls in it: what goes on, what is held, what is never sent twice.

What it is not: the facts and the files; tests/ledger/test_restore.py has those.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from tildawn.clock import SystemClock
from tildawn.engine.task import task
from tildawn.errors import HouseLocked, Misused
from tildawn.facts.call import CallDispatched
from tildawn.ledger.layout import Layout
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.snapshot import snapshots, take
from tildawn.ledger.verify import verify
from tildawn.projections.call import CallRow
from tildawn.projections.house import HouseRow
from tildawn.projections.run import RunRow
from tildawn.runtime.config import load
from tildawn.runtime.context import Context
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk, perform
from tildawn.runtime.operations import restore
from tildawn.runtime.outside.call import Outside, call
from tildawn.runtime.restore import HELD, point_of
from tildawn.runtime.setting import Settings
from tildawn.runtime.snapshot import Keeper
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.runtime.working import working
from tildawn.units import SECOND, Seq


BOUGHT: list[str] = []


def add(number: int) -> int:
    """A step."""
    return number + 1


def _buyer(repeat: Any) -> Any:
    """A task with a step, a call, and a step."""

    @call(name="buy", route="shop:buy", repeat=repeat)
    async def buy(out: Outside, what: str) -> str:
        BOUGHT.append(what)
        return f"bought {what}"

    @task(name="buys")
    async def buys(ctx: Context, what: str) -> str:
        await ctx.step(add, 1)
        said = await ctx.call(buy, what)
        await ctx.step(add, 2)
        return said

    return buys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the house is."""
    BOUGHT.clear()
    return tmp_path / ".tildawn"


def _work(folder: Path, buys: Any, story: Callable[[House], Any]) -> Any:
    async def tell(house: House) -> Any:
        house.tasks.add(buys)
        async with working(house, env={}):
            return await story(house)

    with House.open(folder, Settings(), mode="write") as house:
        return asyncio.run(asyncio.wait_for(tell(house), 40))


async def _until(house: House, run: str, *states: str) -> RunRow:
    changed = asyncio.Event()
    house.engine.on_rest.append(lambda *_: changed.set())
    while True:
        changed.clear()
        with house.ledger.read() as reader:
            row = reader.get(RunRow, run)
        if row is not None and row.state in states:
            return row
        await changed.wait()


def _bought_one(folder: Path, buys: Any) -> tuple[str, int]:
    """A run that is done, and the position of the fact that sent its call."""

    async def story(house: House) -> str:
        run = (await house.owner.enqueue(buys, "tea")).run
        await _until(house, run, "done")
        return str(run)

    run = _work(folder, buys, story)
    with House.open(folder, Settings(), mode="read") as house, house.ledger.read() as reader:
        [sent] = [seq for seq, fact in reader.history(run) if isinstance(fact.data, CallDispatched)]
    return run, sent


def _ask(folder: Path, **given: Any) -> restore.Restore:
    desk = Desk(load(folder.parent, environ={}), SystemClock(), folder=folder)
    answer = asyncio.run(perform(restore.RESTORE, desk, msgspec.json.encode(given)))
    return msgspec.json.decode(answer, type=restore.Restore)


def _proven(folder: Path) -> bool:
    return verify(folder, registry=REGISTRY, projections=PROJECTIONS).exit_code == 0


def test_a_call_that_must_never_be_repeated_is_held_and_not_sent_again(folder: Path) -> None:
    """The house forgot it, the shop did not: this is what going back must not break."""
    buys = _buyer("never")
    run, sent = _bought_one(folder, buys)

    done = _ask(folder, to=str(sent), reason="a bad night")

    assert (done.facts, done.doubted, done.readable) == (sent, 1, True)
    assert [(one.name, one.repeat, one.effect) for one in done.calls] == [
        ("buy", "never", "applied")
    ]

    async def story(house: House) -> str:
        row = await _until(house, run, "held", "done")
        assert (row.state, row.why) == ("held", "call-in-doubt")
        await house.owner.answer(run, "applied", b'"bought tea"')
        await _until(house, run, "done")
        with house.ledger.read() as reader:
            return next(str(f.kind) for _, f in reader.newest(run))

    assert _work(folder, buys, story) == "RunDone"
    assert BOUGHT == ["tea"]
    assert _proven(folder)


@pytest.mark.parametrize("repeat", ["safe", "keyed"])
def test_a_run_in_flight_goes_on_from_where_the_house_went_back_to(
    folder: Path, repeat: str
) -> None:
    """Its recorded step is not done again; a keyed call goes out under the same key."""
    buys = _buyer(repeat)
    run, sent = _bought_one(folder, buys)
    with House.open(folder, Settings(), mode="read") as house, house.ledger.read() as reader:
        [key] = [row.key for row in reader.rows(CallRow)]

    _ask(folder, to=str(sent))

    async def story(house: House) -> RunRow:
        return await _until(house, run, "held", "done", "failed")

    row = _work(folder, buys, story)
    assert (row.state, row.deaths) == ("done", 0)
    assert BOUGHT == ["tea", "tea"]
    with House.open(folder, Settings(), mode="read") as house, house.ledger.read() as reader:
        assert [one.key for one in reader.rows(CallRow)] == [key]
        steps = [fact for _, fact in reader.history(run) if fact.kind == "StepRecorded"]
        assert len(steps) == 2
    assert _proven(folder)


def test_a_call_that_was_under_way_at_the_point_is_in_doubt(folder: Path) -> None:
    """As after a crash at that very moment."""
    buys = _buyer("never")
    run, sent = _bought_one(folder, buys)

    assert _ask(folder, to=str(sent + 1)).doubted == 0

    async def story(house: House) -> RunRow:
        return await _until(house, run, "held", "done")

    assert _work(folder, buys, story).why == "call-in-doubt"
    assert BOUGHT == ["tea"]


def test_nothing_is_held_for_a_run_that_had_ended_or_had_not_begun(folder: Path) -> None:
    """What was done stays done, and what is gone asks nobody anything."""
    buys = _buyer("never")
    run, _ = _bought_one(folder, buys)
    with House.open(folder, Settings(), mode="read") as house:
        end = house.ledger.head().size
    later, _ = _bought_one(folder, buys)

    done = _ask(folder, to=str(end))

    assert (done.doubted, done.runs) == (0, (later,))
    with House.open(folder, Settings(), mode="read") as house, house.ledger.read() as reader:
        assert [(row.run, row.state) for row in reader.rows(RunRow)] == [(run, "done")]


def test_where_nobody_can_read_what_was_sent_every_unfinished_run_is_held(folder: Path) -> None:
    """Nobody may promise that nothing happens twice, so somebody is asked."""
    buys = _buyer("never")
    run, sent = _bought_one(folder, buys)
    _ask(folder, to=str(sent))
    with House.open(folder, Settings(), mode="write") as house:
        Keeper(folder, Settings(), house.clock).take(house.ledger, "asked")
    other: Any = apsw.Connection(str(folder / "ledger.db"))
    other.execute("DROP TRIGGER fact_never_changes")
    other.execute("UPDATE fact SET body = x'7B7D' WHERE seq = 2")
    other.close()
    (folder / "ledger.db").write_bytes((folder / "ledger.db").read_bytes()[:8_192])

    done = _ask(folder, to="latest")

    assert (done.readable, done.doubted) == (False, 1)
    with House.open(folder, Settings(), mode="read") as house, house.ledger.read() as reader:
        row = reader.get(RunRow, run)
    assert row is not None
    assert (row.state, row.why, row.choices) == ("held", HELD, "resume\ncancel")
    assert _proven(folder)


def test_the_plan_says_the_same_and_changes_nothing(folder: Path) -> None:
    """Also while the house is at work."""
    _, sent = _bought_one(folder, _buyer("never"))
    with House.open(folder, Settings(), mode="write") as house:
        size = house.ledger.head().size
        planned = _ask(folder, to=str(sent), plan=True)
        assert house.ledger.head().size == size

    done = _ask(folder, to=str(sent))

    assert (planned.planned, done.planned) == (True, False)
    assert (planned.facts, planned.calls) == (done.facts, done.calls)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".plan")] == []


def test_the_pen_must_be_free(folder: Path) -> None:
    """Whoever works in the house would go on in one that is put aside."""
    with House.open(folder, Settings(), mode="write"), pytest.raises(HouseLocked):
        _ask(folder, to="latest")
    assert _ask(folder, to="latest").facts > 0


def test_the_name_of_the_house_follows(folder: Path) -> None:
    """Status, report and checkpoints speak of the log that is there now."""
    _, sent = _bought_one(folder, _buyer("safe"))
    done = _ask(folder, to=str(sent))

    with House.open(folder, Settings(), mode="read") as house, house.ledger.read() as reader:
        row = reader.get(HouseRow, 0)
        fact, _ = reader.fact(Seq(sent))
    assert row is not None
    assert (row.name, house.ledger.name) == (done.house, done.house)
    assert fact.kind == "HouseRestored"
    assert row.epoch == done.epoch


def test_a_new_log_is_signed_under_its_own_name(folder: Path) -> None:
    """Its checkpoints are of another origin, by the key that the house has; old ones go aside."""
    _, sent = _bought_one(folder, _buyer("safe"))
    old = (folder / "marks" / "checkpoint").read_text()
    done = _ask(folder, to=str(sent))

    with House.open(folder, Settings(), mode="write") as house:
        note = house.ledger.checkpoint()

    assert note.text.startswith(f"tildawn/{done.house}\n")
    assert (Path(done.aside) / "checkpoint").read_text() == old
    assert _proven(folder)


def test_a_house_without_its_signing_key_goes_back_and_gets_another(folder: Path) -> None:
    """The missing key is named; nobody pretends that the old one still signs."""
    _, sent = _bought_one(folder, _buyer("safe"))
    (folder / "keys" / "signing.key").unlink()

    done = _ask(folder, to=str(sent))

    assert [Path(path).name for path in done.keys] == ["signing.key"]
    with House.open(folder, Settings(), mode="write") as house:
        assert house.ledger.checkpoint().text.startswith(f"tildawn/{done.house}\n")
    assert _proven(folder)


def test_a_house_goes_back_to_before_its_signing_key_was_changed(folder: Path) -> None:
    """The key that is there signs the new log, whichever one signed at that point."""
    _, sent = _bought_one(folder, _buyer("safe"))
    with House.open(folder, Settings(), mode="write") as house:
        rotate_key(house.ledger, "it was seen", ids=house.ids)

    done = _ask(folder, to=str(sent))

    with House.open(folder, Settings(), mode="write") as house:
        assert house.ledger.checkpoint().text.startswith(f"tildawn/{done.house}\n")
    assert _proven(folder)


def test_a_mirror_begins_anew_with_the_new_log(folder: Path, tmp_path: Path) -> None:
    """Two copies of two logs would contradict each other; what it had of the old one stays."""
    (tmp_path / "copy").mkdir()
    (tmp_path / "tildawn.toml").write_text('[ledger]\nmirror = "async"\nmirror_folder = "copy"\n')
    config = load(tmp_path, environ={})
    with House.open(folder, config.settings, mode="write") as house:
        size = house.ledger.head().size
    _ask(folder, to=str(size))

    with House.open(folder, config.settings, mode="write") as house:
        name = house.ledger.name
    with House.open(folder, config.settings, mode="write") as house:
        assert house.ledger.name == name
    assert len([one for one in (tmp_path / "copy").iterdir() if one.name.startswith("left-")]) == 1
    assert _proven(folder)


def test_a_drill_proves_it_on_a_copy_and_leaves_nothing(folder: Path) -> None:
    """A backup that nobody has tried is a hope."""
    _bought_one(folder, _buyer("safe"))
    desk = Desk(load(folder.parent, environ={}), SystemClock(), folder=folder)

    def drilled() -> restore.Drilled:
        answer = asyncio.run(perform(restore.DRILL, desk, b'{"seed":7}'))
        return msgspec.json.decode(answer, type=restore.Drilled)

    assert drilled().exit_code == 3
    made = take(Layout(folder), clock=SystemClock(), build="test", why="asked")
    was = sorted(path.name for path in folder.iterdir())
    found = drilled()
    assert (found.exit_code, found.snapshot, found.facts) == (0, made.name, made.manifest.size)
    assert found.tried[0].facts == made.manifest.size
    assert len(found.tried) == 2
    assert sorted(path.name for path in folder.iterdir()) == was

    packed = made.folder / "ledger.db.gz"
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    packed.write_bytes(content)
    assert drilled().exit_code == 4


def test_erasing_leaves_no_house_that_was_put_aside(folder: Path) -> None:
    """What was erased must not lie in a folder that nobody looks into."""
    _, sent = _bought_one(folder, _buyer("safe"))
    layout = Layout(folder)
    _ask(folder, to=str(sent))
    take(layout, clock=SystemClock(), build="test", why="asked")
    (layout.snapshots / "broken").mkdir()
    with House.open(folder, Settings(), mode="write") as house:
        done = Keeper(folder, Settings(), house.clock).drop_others(house.ledger, "erasure")

    assert len(done) == 2
    assert len(snapshots(layout)) == 1
    assert list(layout.aside.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "size", "at"),
    [
        ("latest", None, None),
        ("1200", 1200, None),
        ("2026-11-20T04:30:00Z", None, 1_795_149_000 * SECOND),
        ("2026-11-20 05:30", None, 1_795_149_000 * SECOND),
    ],
)
def test_a_point_is_said_in_words_that_people_use(
    text: str, size: int | None, at: int | None
) -> None:
    """A time without a zone is one of the house."""
    found = point_of(text, "Europe/Berlin")

    assert (found.size, found.at) == (size, at)


def test_what_is_no_point_is_refused() -> None:
    """Yesterday is not the end."""
    with pytest.raises(Misused, match="yesterday"):
        point_of("yesterday", "UTC")
