"""What waits for the owner: one question each, what may be said, and what to type.

What it is not: the rules of answering; the engine knows which answers a held run takes, and
every held run carries them.
"""

import re
import shlex
from collections.abc import Iterable

import msgspec

from tildawn.projections.mirror import lost_mirror
from tildawn.projections.quarantine import quarantine_of
from tildawn.projections.run import RunRow
from tildawn.watch.collect import Collected
from tildawn.watch.guarded import blocked_of
from tildawn.watch.owed import broken_anchors
from tildawn.watch.report import Choice, Need, NightState, RunLine, Said, Verdict
from tildawn.watch.words import Times, count, one_line


_QUESTIONS = {
    "call-in-doubt": "Did it happen?",
    "replay-mismatch": "The code differs from what this run recorded. Which way on?",
    "approval": "May it go on?",
    "approve": "May it go on?",
    "ask": "What is your answer?",
    "quarantined": "The process died over this run again and again. Try once more?",
    "poisoned": "Others with its arguments died before it began. Try it all the same?",
    "unknown-task": "Its code is not here. Try again when it is?",
    "payload-erased": "A value that it needs was erased. End it?",
    "recorded-twice": "Its code recorded one place twice. Which way on?",
    "restored": "The house went back, and nobody can read what it did since. Shall it go on?",
    "paused": "Paused. Shall it go on?",
    "run-failed": "It failed again and again. Try once more?",
    "budget-spent": "The budget does not allow its next call. Raise it?",
    "not-permitted": "No permit allows what it wants to do. Allow it?",
    "secret-found": "A value holds a secret and was not recorded. What now?",
}
"""By the code in `RunHeld`; another code is quoted as it is."""

_SAYS: dict[str, tuple[str, str]] = {
    "applied": ("It happened.", "The run goes on with it; nothing is sent again."),
    "not-applied": ("It did not happen.", "It is sent again."),
    "resume": ("Go on.", "It goes on where it was."),
    "give-up": ("Give it up.", "Nothing is sent again; the run hears that nobody knows."),
    "retry": ("Try again.", "What is on record stays; the step that failed runs again."),
    "fork": ("Fork.", "It goes on with the new code from where the two agree."),
    "restart": ("Start again.", "It begins anew with the same input; calls may be paid again."),
    "abandon": ("Let it go.", "The run ends as cancelled."),
    "cancel": ("Cancel it.", "The run ends as cancelled."),
    "fail": ("Give it up.", "The run ends as failed."),
    "approve": ("Yes.", "It goes on."),
    "yes": ("Yes.", "It goes on."),
    "deny": ("No.", "It goes on without."),
    "no": ("No.", "It goes on without."),
}
"""Answer, and what follows."""


def needs_of(got: Collected, lines: Iterable[RunLine], times: Times) -> tuple[Need, ...]:
    """Everything that waits for the owner, held and unknown runs first.

    Args:
        got: the night.
        lines: its runs with their verdicts.
        times: the zone of the night.

    Returns:
        Numbered from 1.

    Raises:
        Nothing.
    """
    listed = tuple(lines)
    rows = {run.run: run for run in (*got.runs, *got.earlier.values())}
    needs = [
        _held(got, line, rows[line.run], times)
        for line in listed
        if line.verdict in {Verdict.HELD, Verdict.UNKNOWN} and line.run in rows
    ]
    needs = [
        *_quarantined(got, times),
        *_unmirrored(got, times),
        *broken_anchors(got, times),
        *needs,
    ]
    needs += [_beside(got, run, listed, times) for run in got.beside]
    needs += [_refuted(line) for line in listed if line.verdict is Verdict.REFUTED]
    needs += blocked_of(got)
    needs += _of_night(got, listed, times)
    return tuple(
        msgspec.structs.replace(need, number=number) for number, need in enumerate(needs, start=1)
    )


def _need(
    line: RunLine, question: str, *, body: str, choices: tuple[Choice, ...], meanwhile: str
) -> Need:
    return Need(
        number=0,
        verdict=line.verdict,
        question=question,
        about=line.title,
        name=line.name,
        body=body,
        detail=line.detail if line.detail.text != question else Said(),
        choices=choices,
        meanwhile=meanwhile,
        seqs=(line.seq,) if line.seq >= 0 else (),
    )


def _held(got: Collected, line: RunLine, run: RunRow, times: Times) -> Need:
    if run.state != "held":
        return _doubtful(got, line)
    why = run.why or "held"
    since = got.stories[run.run].phase_at if run.run in got.stories else 0
    body = f"It has waited since {times.when(since)}." if since else ""
    return _need(
        line,
        _question(why, line),
        body=body,
        choices=tuple(_choice(line.name, said) for said in run.choices.split("\n") if said),
        meanwhile="Until you answer: it stays as it is, and nothing of it is sent.",
    )


def _beside(got: Collected, run: RunRow, lines: Iterable[RunLine], times: Times) -> Need:
    """A child or a check that is held: told with the title of the run that it belongs to."""
    of = run.evidence_for or run.parent
    title = next((line.title for line in lines if line.run == of), Said())
    story = got.stories.get(run.run)
    line = RunLine(
        name=story.name or run.run if story is not None else run.run,
        run=run.run,
        item=run.item,
        row=run.row,
        title=title,
        verdict=Verdict.UNKNOWN if run.why == "call-in-doubt" else Verdict.HELD,
        why="",
        detail=got.said(run.state_at, 0),
        marks=(),
        started_at=run.started_at,
        ended_at=0,
        seq=run.state_at,
    )
    return _held(got, line, run, times)


_FAILED = re.compile(r"failed-(\d{1,6})-times")
_ASKED = {"approval", "approve", "ask"}


def _question(why: str, line: RunLine) -> str:
    """What to ask: the task's own question where it put one, else ours."""
    if why in _ASKED and line.detail.text.endswith("?"):
        return line.detail.text
    failed = _FAILED.fullmatch(why)
    if failed:
        return f"It failed {count(int(failed[1]), 'time')}. Try once more?"
    return _QUESTIONS.get(why, f"Held: {one_line(why)}. What now?")


def _choice(name: str, said: str) -> Choice:
    label, follows = _SAYS.get(said, (f"{one_line(said)}.", ""))
    return Choice(
        label=label, follows=follows, command=f"tildawn answer {name} {shlex.quote(said)}"
    )


def _doubtful(got: Collected, line: RunLine) -> Need:
    """An effect that nobody knows of, in a run that is not held (yet)."""
    if got.goes_on or line.ended_at:
        choices = (_look(line),)
        meanwhile = "If you do nothing: the run stays as it is; nothing is sent again."
    else:
        choices = (_look(line), _go_on(got))
        meanwhile = "If you do nothing: nothing happens; the night is not working."
    return _need(line, "Did it happen?", body=line.why, choices=choices, meanwhile=meanwhile)


def _refuted(line: RunLine) -> Need:
    return _need(
        line,
        "Said done, and the check found otherwise.",
        body="",
        choices=(_look(line),),
        meanwhile="If you do nothing: it counts as refuted, and what needs it does not begin.",
    )


def _look(line: RunLine) -> Choice:
    return Choice(
        label="Look at it.",
        follows="Shows every step, what was sent, and what the check saw.",
        command=f"tildawn show {line.name}",
    )


def _go_on(got: Collected) -> Choice:
    night = got.night
    if night is None:
        return Choice(
            label="Go on.", follows="Takes up every run where it was.", command="tildawn up"
        )
    file = got.said(night.accepted, 3).text if night.filed else ""
    return Choice(
        label="Go on.",
        follows="Takes up every run where it was; nothing on record runs again.",
        command=f"tildawn night {shlex.quote(file)}" if file else f"tildawn resume {night.number}",
    )


# --- the night as a whole -----------------------------------------------------------------


def _of_night(got: Collected, lines: tuple[RunLine, ...], times: Times) -> list[Need]:
    night = got.night
    if night is None or got.goes_on or night.state in {"closed", "accepted"}:
        return []
    left = sum(line.verdict in {Verdict.NOT_STARTED, Verdict.UNDER_WAY} for line in lines)
    if not left:
        return []
    how = night_state(got)
    question = {
        NightState.STOPPED: f"The night stopped, and {count(left, 'run')} did not end.",
        NightState.PARKED: f"The night was parked with {count(left, 'run')} left.",
    }.get(how, f"The night broke off with {count(left, 'run')} left.")
    choices = (_go_on(got),)
    if how is NightState.STOPPED and night.rule == "budget":
        choices = (
            Choice(
                label="Raise the budget.",
                follows="The night goes on up to the new limit.",
                command=f"tildawn budget {_raised(night.budget_micro_usd)}",
            ),
            *choices,
        )
    seq = {NightState.STOPPED: night.stopped, NightState.PARKED: night.parked}.get(
        how, night.opened
    )
    return [
        Need(
            number=0,
            verdict=None,
            question=question,
            about=Said(),
            name=str(night.number),
            body="",
            detail=got.said(night.stopped, 0) if how is NightState.STOPPED else Said(),
            choices=choices,
            meanwhile="If you do nothing: they stay as they are.",
            seqs=(seq,) if seq >= 0 else (),
        )
    ]


def _quarantined(got: Collected, times: Times) -> list[Need]:
    """The house itself, when it is read and not worked in: before everything else."""
    row = quarantine_of(got.reader)
    if row is None:
        return []
    return [
        Need(
            number=0,
            verdict=None,
            question="The house is in quarantine: no new work begins. May it go on?",
            about=Said(),
            name="quarantine",
            body=f"It has been since {times.when(row.at)}.",
            detail=got.said(row.seq, 0),
            choices=(
                Choice(
                    label="Look.",
                    follows="Proves the ledger and every table, or says what differs.",
                    command="tildawn verify",
                ),
                Choice(
                    label="Go on.",
                    follows="Work begins again; your reason is kept.",
                    command='tildawn quarantine lift --reason "…"',
                ),
            ),
            meanwhile="If you do nothing: what is queued stays queued.",
            seqs=(row.seq,),
        )
    ]


def _unmirrored(got: Collected, times: Times) -> list[Need]:
    """The second copy of the record, when it is lost."""
    row = lost_mirror(got.reader)
    if row is None:
        return []
    return [
        Need(
            number=0,
            verdict=None,
            question="The mirror of the ledger is lost: new facts have one copy. Is its disk there?",
            about=Said(),
            name="mirror",
            body=f"It has been since {times.when(row.since)}: {row.why}.",
            detail=Said(),
            choices=(
                Choice(
                    label="Look.",
                    follows="Says whether its folder can be reached, and what it lacks.",
                    command="tildawn mirror",
                ),
            ),
            meanwhile="If you do nothing: work goes on; it is filled up as soon as it is back.",
            seqs=(row.seq,),
        )
    ]


def night_state(got: Collected) -> NightState:
    """How the night stands, a dead one included; a house without nights counts as open.

    Raises:
        Nothing.
    """
    night = got.night
    if night is None:
        return NightState.OPEN
    if night.state == "open" and not got.alive:
        return NightState.DEAD
    return NightState(night.state)


def _raised(limit: int) -> str:
    """A budget half as large again, in whole dollars, as something to type."""
    return f"{max(-(-limit * 3 // 2_000_000), 1)}.00"


def numbered(lines: Iterable[RunLine], needs: dict[str, int]) -> tuple[RunLine, ...]:
    """The same lines, each with its number among what needs the owner.

    Raises:
        Nothing.
    """
    return tuple(
        msgspec.structs.replace(line, need=needs[line.name]) if line.name in needs else line
        for line in lines
    )
