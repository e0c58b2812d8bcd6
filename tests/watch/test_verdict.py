"""When a run may be called verified, and what it is called otherwise."""

import msgspec
import pytest

from tildawn.projections.night import EvidenceRow
from tildawn.projections.run import RunRow
from tildawn.projections.story import StoryRow
from tildawn.watch.report import SecondMark, Verdict
from tildawn.watch.verdict import Case, judge


def blank(row):
    """A row in which every number is -1 or 0 and every text empty."""
    fields = msgspec.structs.fields(row)
    return row(**{field.name: "" if field.type is str else 0 for field in fields})


STORY = msgspec.structs.replace(blank(StoryRow), run="r", started=20, cancel_asked=-1)
DONE = msgspec.structs.replace(
    blank(RunRow), run="r", night="n", item="i", state="done", started_at=1, state_at=50
)
CHECK = msgspec.structs.replace(
    blank(EvidenceRow),
    subject="n/i/0",
    night="n",
    saw="unmet",
    baselined=10,
    verdict="verified",
    judged=60,
    judged_run="r",
)


def check(**fields):
    """The check of a good run, with something different."""
    return msgspec.structs.replace(CHECK, **fields)


def verdict(*checks, **fields):
    """The verdict on a run that is done."""
    return judge(Case(run=DONE, story=STORY, checks=checks, **fields))


def test_verified_needs_a_check_named_before_run_after_and_not_true_before():
    """It is the narrowest word of the report, and the only one that a reader need not check."""
    assert verdict(CHECK).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("checks", "why"),
    [
        pytest.param((), "The plan names no check.", id="no check"),
        pytest.param((check(judged=-1, verdict=""),), "The check has not run yet.", id="not judged"),
        pytest.param((check(verdict="not-run"),), "The check did not run.", id="no tool"),
        pytest.param((check(verdict="unknown"),), "The check gave no clear answer.", id="unclear"),
        pytest.param(
            (check(judged=40),),
            "The check ran before the work ended, so it says nothing of it.",
            id="judged too early",
        ),
        pytest.param(
            (check(baselined=30),), "The check was named after the work began.", id="named too late"
        ),
        pytest.param(
            (check(night="", subject="r", baselined=-1),),
            "The check was named after the work began.",
            id="never named, outside of a night",
        ),
        pytest.param(
            (check(verdict="no-change", saw="met"),),
            "The check was already true before the work: no change.",
            id="true before",
        ),
        pytest.param(
            (check(saw="met"),),
            "The check was already true before the work: no change.",
            id="said verified though it was true before",
        ),
        pytest.param(
            (check(chosen=1, baselined=-1),),
            "Only a check of its own choosing held; none was named before the work began.",
            id="chosen by the worker",
        ),
        pytest.param((CHECK, check(ordinal=1, verdict="not-run")), "The check did not run.", id="one of two"),
    ],
)  # fmt: skip
def test_less_than_that_is_claimed_and_says_why(checks, why):
    """A worker that measures itself, or a tool that is missing, proves nothing."""
    judged = verdict(*checks)

    assert (judged.verdict, judged.why) == (Verdict.CLAIMED, why)


def test_one_refuting_check_refutes_whatever_the_others_say():
    """Two right answers do not make a wrong one right."""
    judged = verdict(CHECK, check(ordinal=1, verdict="refuted", judged=61))

    assert (judged.verdict, judged.seq) == (Verdict.REFUTED, 61)


def test_a_check_of_another_attempt_of_the_row_does_not_count():
    """A run that replaced another must be checked itself."""
    assert verdict(check(judged_run="another")).verdict is Verdict.CLAIMED


def test_a_change_beside_something_that_was_true_before_is_verified():
    """Of two checks one may have been true already; the other still shows the work."""
    assert verdict(CHECK, check(ordinal=1, verdict="no-change")).verdict is Verdict.VERIFIED


def test_a_doubtful_effect_outweighs_a_claim_but_not_a_proof():
    """What a check has seen is known; what nobody has seen is not."""
    assert verdict(in_doubt=True).verdict is Verdict.UNKNOWN
    assert verdict(CHECK, in_doubt=True).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("state", "fields", "expected"),
    [
        ("queued", {"started_at": 0}, Verdict.NOT_STARTED),
        ("cancelled", {"started_at": 0}, Verdict.NOT_STARTED),
        ("cancelled", {}, Verdict.FAILED),
        ("failed", {}, Verdict.FAILED),
        ("held", {}, Verdict.HELD),
        ("held", {"why": "call-in-doubt"}, Verdict.UNKNOWN),
        ("running", {}, Verdict.UNDER_WAY),
        ("waiting", {}, Verdict.UNDER_WAY),
        ("scheduled", {}, Verdict.UNDER_WAY),
    ],
)
def test_every_state_of_a_run_has_a_verdict(state, fields, expected):
    """No state may fall through the report."""
    run = msgspec.structs.replace(DONE, state=state, **fields)

    assert judge(Case(run=run, story=STORY, goes_on=True)).verdict is expected


def test_a_failed_run_with_a_doubtful_effect_is_unknown():
    """Failed would say that nothing happened, and nobody knows that."""
    run = msgspec.structs.replace(DONE, state="failed")

    assert judge(Case(run=run, story=STORY, in_doubt=True)).verdict is Verdict.UNKNOWN


def test_second_marks_stand_beside_a_verdict_and_never_change_it():
    """Simulated is no verdict: it says what the verdict rests on."""
    judged = verdict(CHECK, simulated=True, earlier=True)

    assert judged.verdict is Verdict.VERIFIED
    assert judged.marks == (SecondMark.SIMULATED, SecondMark.EARLIER)
