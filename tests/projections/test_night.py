"""Nights, stories and the house: what their folds keep, and that a rebuild finds the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tildawn.facts import call, house, night, run, step
from tildawn.facts.fact import FactData, Registry
from tildawn.facts.house import MachineSlept
from tildawn.facts.night import (
    EvidenceBaselined,
    EvidenceJudged,
    ItemExpanded,
    NightClosed,
    NightOpened,
    NightParked,
    NightStopped,
    PlanAccepted,
    ReportWritten,
    RowCovered,
)
from tildawn.facts.run import (
    RunAccepted,
    RunCancelled,
    RunDone,
    RunHeld,
    RunInterrupted,
    RunRetried,
    RunStarted,
    RunWaited,
)
from tildawn.facts.step import TimerFired
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verdict import State
from tildawn.ledger.verify import verify
from tildawn.projections.call import CALL
from tildawn.projections.house import HOUSE, EpochRow, HouseRow, IncidentRow
from tildawn.projections.night import (
    NIGHT,
    CoveredRow,
    EvidenceRow,
    ItemRow,
    NightRow,
    latest_night,
    night_called,
)
from tildawn.projections.run import RUN
from tildawn.projections.step import STEP
from tildawn.projections.story import STORY, ActivityRow, StoryRow, moved_on, name_of, run_called
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros


REGISTRY = Registry((*house.KINDS, *run.KINDS, *step.KINDS, *call.KINDS, *night.KINDS))
PROJECTIONS = (RUN, STEP, CALL, NIGHT, STORY, HOUSE)
MINUTE = Micros(60_000_000)


class Told:
    """A ledger with short words for telling it facts."""

    def __init__(self, folder: Path) -> None:
        """Open it."""
        self.folder = folder
        self.clock = ManualClock()
        self.ledger = Ledger.open(
            folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip

    def say(self, *facts: FactData, of: str = "", path: str = "") -> None:
        """Record facts of one run, each a minute after the one before."""
        for fact in facts:
            self.clock.advance(MINUTE)
            slots = [self.ledger.payload(b'"x"') for _ in type(fact).PAYLOADS]
            digests = {
                name: slot.digest for name, slot in zip(type(fact).PAYLOADS, slots, strict=True)
            }
            said = type(fact)(**{f: getattr(fact, f) for f in fact.__struct_fields__} | digests)
            self.ledger.append_now([self.ledger.draft(said, run=of, path=path, payloads=slots)])

    def get(self, row, *key):
        """A row."""
        with self.ledger.read() as reader:
            return reader.get(row, *key)

    def ask(self, question: Callable[..., object], *arguments):
        """What a query answers."""
        with self.ledger.read() as reader:
            return question(reader, *arguments)


@pytest.fixture
def told(tmp_path: Path):
    """An empty house."""
    made = Told(tmp_path / "house")
    yield made
    made.ledger.close()


def plan(name: str, *, place: str = "p") -> PlanAccepted:
    """A plan of two listings and a sitemap."""
    return PlanAccepted(
        night=name, plan="", source="", place=place, content="c", planned={"listings": 2, "map": 1}
    )


def accepted(of: str = "", **fields) -> RunAccepted:
    """A run of a night."""
    return RunAccepted(task="t", args="", night=of, **fields)


def test_nights_are_numbered_in_the_order_of_their_plans(told):
    """A person calls a night by its number."""
    told.say(plan("a"), plan("b"))

    assert told.ask(night_called).night == "b"
    assert told.ask(night_called, "1").night == "a"
    assert told.ask(night_called, "b").number == 2
    assert told.ask(night_called, "9") is None


def test_a_night_remembers_its_first_opening_and_counts_the_later_ones(told):
    """A night that was killed three times is one night, and has been opened four times."""
    told.say(plan("a"), NightOpened(night="a"), NightParked(night="a", why="signal"))
    told.say(NightOpened(night="a"), NightStopped(night="a", rule="total", count=5))
    told.say(NightClosed(night="a", outcome="done"), ReportWritten(night="a", upto=9))
    row = told.get(NightRow, "a")

    assert (row.opened, row.openings, row.state, row.rule_count) == (3, 2, "closed", 5)
    assert row.opened_at < row.last_opened_at < row.closed_at
    assert (row.parked_why, row.reported_upto) == ("signal", 9)


def test_the_latest_night_of_a_plan_file_is_found_by_its_place(told):
    """Running the plan again continues what a crash broke off, or is asked about what ended."""
    told.say(plan("a", place="here"), plan("b", place="there"))
    told.say(NightClosed(night="a", outcome="replaced"), plan("c", place="here"))

    assert told.ask(latest_night, "here").night == "c"
    assert told.ask(latest_night, "nowhere") is None


def test_an_item_counts_what_was_expanded_and_what_an_earlier_run_covers(told):
    """What is covered twice is covered once."""
    told.say(plan("a"), ItemExpanded(night="a", item="listings", start=0, stop=1))
    told.say(*[RowCovered(night="a", item="listings", row=1, by="r")] * 2)
    item = told.get(ItemRow, "a", "listings")

    assert (item.planned, item.expanded, item.covered) == (2, 1, 1)
    assert told.get(CoveredRow, "a", "listings", 1).by == "r"


def test_the_first_look_of_a_check_is_the_one_that_counts(told):
    """A look after the work began would call any result a change."""
    told.say(plan("a"))
    for saw in ("unmet", "met"):
        told.say(EvidenceBaselined(night="a", item="map", row=-1, index=0, saw=saw, kind="file"))
    told.say(
        EvidenceJudged(
            night="a", item="map", row=-1, index=0, kind="file", verdict="verified", judged="r"
        )
    )
    row = told.get(EvidenceRow, "a/map/-1", 0, 0)

    assert (row.saw, row.verdict) == ("unmet", "verified")
    assert row.baselined < row.judged


def test_runs_have_names_that_a_person_can_type(told):
    """Thirty-two digits are for machines."""
    told.say(plan("a"))
    told.say(accepted("a"), of="r1")
    told.say(accepted("a", parent="r1"), of="child")
    told.say(accepted("a"), of="r2")
    told.say(accepted(), of="r3")

    assert [told.ask(name_of, run) for run in ("r1", "r2", "r3", "child")] == [
        "1-1", "1-2", "q-1", "1-1.1",
    ]  # fmt: skip
    assert [told.ask(run_called, name) for name in ("1-2", "q-1", "r1", "1-9")] == [
        "r2", "r3", "r1", None,
    ]  # fmt: skip


def test_hours_are_counted_once_however_many_runs_work_in_them(told):
    """Three runs in one hour are one hour of work."""
    told.say(accepted(), of="a")
    told.say(accepted(), of="b")
    told.say(RunStarted(attempt=1), of="a")  # one minute of work until the next fact
    told.say(RunStarted(attempt=1), of="b")
    told.say(RunWaited(on="timer"), of="a")
    told.say(RunDone(out=""), of="b")  # from here on only waiting
    told.say(TimerFired(due=0), of="a", path="t")
    told.say(RunHeld(why="ask"), of="a")
    row = told.get(ActivityRow, 0)

    assert (row.working_us, row.waiting_us) == (4 * MINUTE, MINUTE)
    assert (row.running, row.waits) == (0, 0)
    assert moved_on(row, row.since - 5) == row.__class__(
        **{f: getattr(row, f) for f in row.__struct_fields__} | {"since": row.since - 5}
    )


def test_sleep_of_the_machine_is_taken_out_of_the_work(told):
    """A closed lid must not look like a long answer."""
    told.say(accepted(), of="a")
    told.say(RunStarted(attempt=1), of="a")
    told.say(MachineSlept(slept_ms=45_000))
    row = told.get(ActivityRow, 0)

    assert (row.working_us, row.asleep_us) == (15_000_000, 45_000_000)
    assert told.get(IncidentRow, 4).amount == 45_000


def test_a_story_counts_deaths_retries_and_the_first_start(told):
    """What healed itself is told run by run."""
    told.say(accepted(), of="a")
    told.say(RunStarted(attempt=1), RunInterrupted(unclean=True), RunStarted(attempt=2), of="a")
    told.say(RunRetried(due=0, failures=1, error=""), RunStarted(attempt=3), RunCancelled(), of="a")
    story = told.get(StoryRow, "a")

    assert (story.started, story.interruptions, story.deaths, story.retries) == (3, 1, 1, 1)
    assert story.phase == ""
    assert told.get(EpochRow, 1).interrupted == 1
    assert told.get(HouseRow, 0).epoch == 1


def test_a_rebuild_finds_the_same_rows(told):
    """A table that a rebuild would change has been told something that is in no fact."""
    test_a_story_counts_deaths_retries_and_the_first_start(told)
    told.say(plan("a"), NightOpened(night="a"), RowCovered(night="a", item="map", row=-1, by="a"))
    told.say(EvidenceBaselined(night="a", item="map", row=-1, index=0, saw="unmet"))
    told.say(NightClosed(night="a", outcome="done"))

    verdict = verify(told.folder, registry=REGISTRY, projections=PROJECTIONS)

    assert verdict.state is State.PROVEN, verdict.what
