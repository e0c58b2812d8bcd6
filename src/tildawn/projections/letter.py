"""Dead letters: work that nothing but a person sets going again; and how often the same one died.

What it is not: a second queue.  A letter is a run as it stands; `retry` lets it go on.

One definition.  A run is a dead letter while it

* has failed, unless a person ended it so, or it was a child, whose parent was told; or
* is held with ``retry`` among its choices: quarantined, failed too often, poisoned, or its task
  is not known here.

A run held with a question of its own (a call in doubt, a changed history, an approval) is no dead
letter: it waits for an answer, not for another try.  A letter leaves the list when its run goes
on, ends, is put away, or when its owner says that it was seen.
"""

from collections.abc import Iterable
from typing import cast

import msgspec

from tildawn.facts.fact import Fact
from tildawn.facts.letter import LetterAcknowledged
from tildawn.facts.run import (
    RunAccepted,
    RunAnswered,
    RunCancelled,
    RunDone,
    RunFailed,
    RunHeld,
    RunRepeated,
    RunTrashed,
)
from tildawn.ledger.fold import Change, Drop, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.units import Seq


BLAMELESS = frozenset({
    # The other side, or the way there.
    "timeout", "network", "server", "rate", "quota", "auth", "tls", "call-in-doubt",
    # The owner's limits and the machine.
    "budget-spent", "not-permitted", "busy", "refused", "store-full", "stale-writer",
    # The settings or the code, whatever the arguments are.
    "unknown-task", "unknown-name", "bad-task", "bad-plan", "bypassed", "payload-erased",
    # Of a child: it is counted for the child's own arguments.
    "run-failed",
})  # fmt: skip
"""Kinds of failure that say nothing about the arguments of a run."""

POISONED = "poisoned"
"""Why a run is held before its first attempt; such a letter counts no further death."""


class LetterRow(Row, frozen=True, kw_only=True):
    """One dead letter. ``why`` is the kind of its failure, or why it is held."""

    run: str
    task: str
    why: str
    #: Of the error behind it, where there is one.
    kind: str
    #: failed or held.
    state: str
    night: str
    item: str
    #: How often runs with the same task and arguments had died when it was put on the list.
    deaths: int
    simulated: int
    seq: int
    at: int


class ArgumentsRow(Row, frozen=True, kw_only=True):
    """Under which keyed digest a run was accepted, while it has not ended well."""

    run: str
    args_key: str


class PoisonRow(Row, frozen=True, kw_only=True):
    """How often runs with one task and the same arguments died, since one of them was done."""

    args_key: str
    task: str
    deaths: int
    #: The last of them.
    run: str
    why: str
    seq: int
    at: int


LETTERS = Table(
    name="letter",
    row=LetterRow,
    key=("run",),
    checks=("state IN ('failed', 'held')",),
    sql=("CREATE INDEX {table}_seq ON {table}(seq)",),
)
ARGUMENTS = Table(name="letter_arguments", row=ArgumentsRow, key=("run",))
POISON = Table(name="poison", row=PoisonRow, key=("args_key",), checks=("deaths > 0",))


def _accept(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunAccepted", fact.data)
    if said.args_key:
        yield Put(ArgumentsRow(run=fact.run, args_key=said.args_key))


def _fail(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    kind = cast("RunFailed", fact.data).kind
    if row is None:
        return
    poison = _died(seq, fact, row, kind, kind, get)
    if poison is not None:
        yield Put(poison)
    if not row.parent:
        yield Put(_letter(seq, fact, row, (kind, kind, "failed"), poison))


def _hold(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(RunRow, fact.run)
    said = cast("RunHeld", fact.data)
    if row is None or "retry" not in said.choices:
        return
    poison = _died(seq, fact, row, said.why, said.kind or said.why, get)
    if poison is not None:
        yield Put(poison)
    yield Put(_letter(seq, fact, row, (said.why, said.kind, "held"), poison))


def _died(seq: Seq, fact: Fact, row: RunRow, why: str, kind: str, get: Get) -> PoisonRow | None:
    """One more death of these arguments, where it may be theirs."""
    arguments = get(ArgumentsRow, row.run)
    if arguments is None or kind in BLAMELESS or why == POISONED:
        return None
    before = get(PoisonRow, arguments.args_key)
    return PoisonRow(
        args_key=arguments.args_key,
        task=row.task,
        deaths=1 if before is None else before.deaths + 1,
        run=row.run,
        why=why,
        seq=seq,
        at=fact.at,
    )


def _letter(
    seq: Seq, fact: Fact, row: RunRow, said: tuple[str, str, str], poison: PoisonRow | None
) -> LetterRow:
    why, kind, state = said
    return LetterRow(
        run=row.run,
        task=row.task,
        why=why,
        kind=kind,
        state=state,
        night=row.night,
        item=row.item,
        deaths=0 if poison is None else poison.deaths,
        simulated=row.simulated,
        seq=seq,
        at=fact.at,
    )


def _leave(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    """The run goes on, or its owner is done with it."""
    yield Drop(LetterRow, (fact.run,))


def _done(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    """What ends well once is no poison."""
    arguments = get(ArgumentsRow, fact.run)
    if arguments is not None:
        yield Drop(PoisonRow, (arguments.args_key,))
        yield Drop(ArgumentsRow, (fact.run,))


def _repeat(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    """It goes on with other arguments, of which no digest is on record."""
    yield Drop(ArgumentsRow, (fact.run,))


def _cancel(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    yield Drop(LetterRow, (fact.run,))
    yield Drop(ArgumentsRow, (fact.run,))


LETTER = Projection(
    name="letter",
    version=1,
    tables=(LETTERS, ARGUMENTS, POISON),
    folds={
        RunAccepted: _accept,
        RunHeld: _hold,
        RunFailed: _fail,
        RunAnswered: _leave,
        RunDone: _done,
        RunCancelled: _cancel,
        RunRepeated: _repeat,
        RunTrashed: _leave,
        LetterAcknowledged: _leave,
    },
)
"""Letters and poison, in one projection: both are counted by the same deaths."""


class Letters(msgspec.Struct, frozen=True):
    """Some dead letters, and how many there are in all."""

    rows: tuple[LetterRow, ...]
    total: int


def letters(reader: Reader, *, limit: int = 100, night: str | None = None) -> Letters:
    """The dead letters, the newest first.

    Args:
        reader: one read transaction.
        limit: how many at most.
        night: only those of a night; the empty text stands for runs without one.

    Raises:
        Nothing.
    """
    where, params = ("", ()) if night is None else ("night = ?", (night,))
    rows = reader.rows(LetterRow, where, params, order="seq DESC", limit=limit)
    return Letters(tuple(rows), reader.count(LetterRow, where, params))


def poison_of(reader: Reader, run: str) -> PoisonRow | None:
    """How often the arguments of a run died, or None where they never did.

    Raises:
        Nothing.
    """
    arguments = reader.get(ArgumentsRow, run)
    return None if arguments is None else reader.get(PoisonRow, arguments.args_key)
