"""The verdict on one planned run: a pure rule over what the tables say.

What it is not: a check.  Checks are run by the engine; here only their answers are weighed.

*Verified* is the narrowest word: the check was named before the work began, it was run after
the work ended, and it had not been true already.  Everything less is *claimed*, with the reason.
"""

from dataclasses import dataclass

from tildawn.projections.night import EvidenceRow, ItemRow, NightRow
from tildawn.projections.run import RunRow
from tildawn.projections.story import StoryRow
from tildawn.watch.report import SecondMark, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of one planned run; ``run`` is None where none was made of the plan's row."""

    run: RunRow | None = None
    story: StoryRow | None = None
    checks: tuple[EvidenceRow, ...] = ()
    #: A call with an effect was sent and nobody knows what became of it.
    in_doubt: bool = False
    simulated: bool = False
    #: The run belongs to an earlier night, whose work covers this row.
    earlier: bool = False
    night: NightRow | None = None
    item: ItemRow | None = None
    #: The night is not over.
    goes_on: bool = False
    #: A check of this run waits for the owner's answer.
    asked: bool = False
    #: For what it waits, where the guard told it to come again.
    waits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict, why, and the entry it stands on; ``detail`` is a payload to quote, or None."""

    verdict: Verdict
    why: str = ""
    seq: int = -1
    detail: tuple[int, int] | None = None
    marks: tuple[SecondMark, ...] = ()


def judge(case: Case) -> Judged:
    """Weigh one planned run.

    Args:
        case: from one read transaction.

    Returns:
        The verdict with its reason.

    Raises:
        Nothing.
    """
    judged = _unmade(case) if case.run is None else _made(case, case.run)
    marks = list(judged.marks)
    if case.simulated:
        marks.insert(0, SecondMark.SIMULATED)
    if case.earlier:
        marks.append(SecondMark.EARLIER)
    return Judged(
        verdict=judged.verdict,
        why=judged.why,
        seq=judged.seq,
        detail=judged.detail,
        marks=tuple(marks),
    )


def _unmade(case: Case) -> Judged:
    """A planned run that was never accepted."""
    item, night = case.item, case.night
    if item is not None and item.skipped >= 0:
        return Judged(verdict=Verdict.NOT_STARTED, why=_skip_words(item), seq=item.skipped)
    return Judged(
        verdict=Verdict.NOT_STARTED,
        why=_not_begun(case),
        seq=night.accepted if night is not None else -1,
    )


def _made(case: Case, run: RunRow) -> Judged:
    match run.state:
        case "done":
            return _done(case, run)
        case "held":
            return _held(case, run)
        case "failed" | "cancelled":
            return _ended_badly(case, run)
        case _ if run.started_at == 0:
            return _not_started(case, run)
        case _ if case.in_doubt and not case.goes_on:
            return Judged(
                verdict=Verdict.UNKNOWN,
                why="A call was sent, and the process ended before an answer came.",
                seq=run.state_at,
            )
        case _:
            return Judged(verdict=Verdict.UNDER_WAY, why=_under_way(case, run), seq=run.state_at)


def _held(case: Case, run: RunRow) -> Judged:
    doubt = case.in_doubt or run.why == "call-in-doubt"
    return Judged(
        verdict=Verdict.UNKNOWN if doubt else Verdict.HELD,
        why=(
            "A call was sent and no answer came. It waits for your word."
            if doubt
            else "It waits for your word."
        ),
        seq=run.state_at,
        detail=(run.state_at, 0),
    )


def _ended_badly(case: Case, run: RunRow) -> Judged:
    if case.in_doubt:
        return Judged(
            verdict=Verdict.UNKNOWN,
            why="It ended without a result, and one of its calls may have had its effect.",
            seq=run.state_at,
            detail=(run.state_at, 0),
        )
    if run.state == "failed":
        return Judged(
            verdict=Verdict.FAILED,
            why=FAILURES.get(run.why, ""),
            seq=run.state_at,
            detail=(run.state_at, 0),
        )
    asked = case.story.cancel_asked if case.story is not None else -1
    began = run.started_at > 0
    return Judged(
        verdict=Verdict.FAILED if began else Verdict.NOT_STARTED,
        why="Cancelled." if began else "Cancelled before it began.",
        seq=run.state_at,
        detail=(asked, 0) if asked >= 0 else None,
    )


def _not_started(case: Case, run: RunRow) -> Judged:
    item = case.item
    if item is not None and item.skipped >= 0:
        return Judged(verdict=Verdict.NOT_STARTED, why=_skip_words(item), seq=item.skipped)
    return Judged(verdict=Verdict.NOT_STARTED, why=_not_begun(case), seq=run.accepted)


def _not_begun(case: Case) -> str:
    night = case.night
    if night is not None and night.state == "stopped":
        return "The night stopped first."
    if case.goes_on or night is None:
        return "Its turn has not come yet."
    if night.parked >= 0 and night.state == "parked":
        return "The night was parked first."
    return "The night ended first." if night.closed >= 0 else "The night broke off first."


def _under_way(case: Case, run: RunRow) -> str:
    if not case.goes_on:
        return "Begun, not ended. It goes on where it was when the night does."
    if run.state == "waiting":
        kind = run.why.partition(" ")[0]
        return f"Waits {case.waits}." if case.waits else f"Waits: {WAITS.get(kind, run.why)}."
    return "An attempt failed; the next is due." if run.state == "scheduled" else "Under way."


def _skip_words(item: ItemRow) -> str:
    why = item.skipped_why.rstrip(".")
    return f"{why[:1].upper()}{why[1:]}." if why else "What it needs did not end well."


# --- a run that ended with a result -------------------------------------------------------


def _done(case: Case, run: RunRow) -> Judged:
    refuted = next((c for c in case.checks if _counts(c, run) and c.verdict == "refuted"), None)
    if refuted is not None:
        return Judged(
            verdict=Verdict.REFUTED,
            why="Said done. The check found otherwise.",
            seq=refuted.judged,
            detail=_detail(refuted),
            marks=(SecondMark.CHOSEN,) if refuted.chosen else (),
        )
    named = [check for check in case.checks if not check.chosen]
    weakest = next((c for c in named if not _proves(c, case, run)), None)
    changed = [c for c in named if c.verdict == "verified" and c.saw != "met"]
    if named and weakest is None and changed:
        return Judged(verdict=Verdict.VERIFIED, seq=max(c.judged for c in changed))
    if case.in_doubt:
        return Judged(
            verdict=Verdict.UNKNOWN,
            why="Said done, but one of its calls may or may not have had its effect.",
            seq=run.state_at,
        )
    if weakest is not None:
        return _claimed(weakest, case, run)
    return _unproved(case, run, named)


def _unproved(case: Case, run: RunRow, named: list[EvidenceRow]) -> Judged:
    """No check failed, and none proves the work."""
    if named:
        return Judged(
            verdict=Verdict.CLAIMED,
            why="The check was already true before the work: no change.",
            seq=max(check.judged for check in named),
            marks=(SecondMark.NO_CHANGE,),
        )
    chosen = [check for check in case.checks if check.chosen]
    if not chosen:
        return Judged(verdict=Verdict.CLAIMED, why="The plan names no check.", seq=run.state_at)
    held = all(check.verdict == "verified" for check in chosen)
    return Judged(
        verdict=Verdict.CLAIMED,
        why=(
            "Only a check of its own choosing held; none was named before the work began."
            if held
            else "The check of its own choosing gave no answer; no other was named."
        ),
        seq=max(check.judged for check in chosen),
        marks=(SecondMark.CHOSEN,),
    )


def _counts(check: EvidenceRow, run: RunRow) -> bool:
    """Whether the check was run on this work and after it ended."""
    return check.judged > run.state_at and check.judged_run in {"", run.run}


def _proves(check: EvidenceRow, case: Case, run: RunRow) -> bool:
    return (
        _counts(check, run)
        and check.verdict in {"verified", "no-change"}
        and _named_before(check, case, run)
    )


def _named_before(check: EvidenceRow, case: Case, run: RunRow) -> bool:
    """Whether it is on record that the check was there before the work began.

    A night's checks stand in its accepted plan; any other must have looked before the start.
    """
    if check.baselined < 0:
        return check.night != ""
    first = case.story.started if case.story is not None else run.state_at
    return check.baselined < first or first < 0


def _claimed(check: EvidenceRow, case: Case, run: RunRow) -> Judged:
    seq = check.judged if check.judged >= 0 else run.state_at
    if case.asked and check.verdict in {"", "unknown"}:
        return Judged(
            verdict=Verdict.CLAIMED, why="The check is a question, and waits for you.", seq=seq
        )
    if not _counts(check, run):
        why = (
            "The check has not run yet."
            if check.judged < 0
            else "The check ran before the work ended, so it says nothing of it."
        )
        return Judged(verdict=Verdict.CLAIMED, why=why, seq=run.state_at)
    if not _named_before(check, case, run):
        why = "The check was named after the work began."
    elif check.verdict == "not-run":
        why = "The check did not run."
    else:
        why = "The check gave no clear answer."
    return Judged(verdict=Verdict.CLAIMED, why=why, seq=seq, detail=_detail(check))


def _detail(check: EvidenceRow) -> tuple[int, int] | None:
    return (check.judged, 0) if check.detailed else None


FAILURES = {
    "error": "",
    "deadline": "It ran into its deadline.",
    "blocked": "It kept the event loop to itself.",
    "gave-up": "You gave it up.",
    "give-up": "You gave it up.",
    "abandon": "You let it go.",
}
"""Sentence by the kind of a failure; an unknown kind is told by its error alone."""

WAITS = {
    "timer": "until its time comes",
    "sleep": "until its time comes",
    "event": "for an event",
    "child": "for a run it began",
    "call": "for a call that is due later",
    "retry": "for its next try",
    "later": "for a call that is due later",
    "step": "for a step of its own",
}
"""What a run waits for, by the code in `RunWaited`."""
