"""What is asked of dead letters: the list, and that one was seen.

What it is not: the way back; `tildawn.runtime.operations.run` has `retry`, which is for all of
them and the only one.  Nor the definition; see `tildawn.projections.letter`.
"""

import msgspec

from tildawn.errors import Misused
from tildawn.facts.letter import LetterAcknowledged
from tildawn.ledger.entry import Committed
from tildawn.ledger.fold import Expect, Row
from tildawn.ledger.reader import Reader
from tildawn.projections.letter import LetterRow, letters
from tildawn.projections.night import night_called
from tildawn.projections.run import RunRow
from tildawn.projections.story import name_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.naming import label_of, run_meant


PAGE_MOST = 10_000

WORDS = {
    "quarantined": "the process died over it again and again",
    "poisoned": "runs with the same task and arguments died before it",
    "unknown-task": "its code is not here",
    "refused_content": "the other side refuses what it asks for",
    "call-in-doubt": "you gave it up: nobody knows whether it happened",
    "budget-spent": "the budget does not allow its next call",
    "auth": "the other side does not accept our key",
    "quota": "the account is used up",
    "secret": "the answer holds a secret and was not recorded",
    "secret-found": "a value holds a secret and was not recorded",
}
"""Why, in words; another code is told as it is."""


class DeadInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which letters: all, or those of a night; ``-`` stands for runs without one."""

    night: str = ""
    limit: int = 100


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter; ``at`` is when it became one, in microseconds since 1970."""

    run: str
    name: str
    label: str
    task: str
    #: The kind of its failure, or the reason why it is held.
    why: str
    #: The kind of the error behind it, where there is one.
    kind: str
    said: str
    state: str
    night: str
    item: str
    #: How often runs with the same task and arguments had died by then, 0 where that is not it.
    deaths: int
    simulated: bool
    at: int
    #: Position of the fact that made it one.
    seq: int
    #: What to type to let it go on.
    next: str


class Dead(msgspec.Struct, frozen=True, kw_only=True):
    """The letters, newest first, and how many there are in all."""

    letters: tuple[Letter, ...]
    total: int


class SeenInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which letter was seen, and why it may leave the list."""

    run: str
    reason: str = ""


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the letter was on the list until now; its run stays as it is."""

    run: str
    name: str
    changed: bool
    state: str


async def _dead(desk: Desk, given: DeadInput) -> Dead:
    if not 1 <= given.limit <= PAGE_MOST:
        message = f"a page has 1 to {PAGE_MOST} letters, not {given.limit}"
        raise Misused(message)
    with desk.house.ledger.read() as reader:
        found = letters(reader, limit=given.limit, night=_night(reader, given.night))
        listed = tuple(_letter(reader, row) for row in found.rows)
    return Dead(letters=listed, total=found.total)


def _night(reader: Reader, said: str) -> str | None:
    if not said:
        return None
    if said == "-":
        return ""
    night = night_called(reader, said)
    return night.night if night is not None else "?"


def _letter(reader: Reader, row: LetterRow) -> Letter:
    name = name_of(reader, row.run)
    run = reader.get(RunRow, row.run)
    label = label_of(reader, run) if run is not None else ""
    said = WORDS.get(row.why) or WORDS.get(row.kind) or row.kind or row.why
    return Letter(
        run=row.run, name=name, label=label, task=row.task, why=row.why, kind=row.kind, said=said,
        state=row.state, night=row.night, item=row.item, deaths=row.deaths,
        simulated=bool(row.simulated), at=row.at, seq=row.seq, next=f"tildawn retry {name}",
    )  # fmt: skip


async def _acknowledge(desk: Desk, given: SeenInput) -> Acknowledged:
    ledger = desk.house.ledger
    with ledger.read() as reader:
        run = run_meant(reader, given.run).run
        name = name_of(reader, run)
    reason = ledger.payload(msgspec.json.encode(given.reason)) if given.reason else None
    data = LetterAcknowledged(reason=reason.digest if reason else "")
    entry = ledger.draft(data, run=run, actor="owner", payloads=(reason,))
    answer = await ledger.append([entry], expect=[_listed(run)])
    with ledger.read() as reader:
        row = reader.get(RunRow, run)
    return Acknowledged(
        run=run, name=name, changed=isinstance(answer, Committed), state=row.state if row else ""
    )


def _listed(run: str) -> Expect:
    def test(row: Row | None) -> bool:
        return isinstance(row, LetterRow)

    return Expect(row=LetterRow, key=(run,), test=test, why="listed")


DEAD = Operation(
    name="dead", input=DeadInput, output=Dead, effect=Effect.READ, permission=Permission.LOOK,
    run=_dead,
    help="List dead letters: what failed for good or is held, and only you can set going again.",
)  # fmt: skip
ACKNOWLEDGE = Operation(
    name="dead.acknowledge", input=SeenInput, output=Acknowledged, effect=Effect.WRITE,
    permission=Permission.SETTLE, run=_acknowledge,
    help="Take a dead letter off the list; its run stays as it is.",
)  # fmt: skip
