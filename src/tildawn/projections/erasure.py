"""Whose runs are whose, and what was erased when.

What it is not: the erasing; `tildawn.ledger.erasure` says what goes.
"""

from collections.abc import Iterable
from typing import cast

from tildawn.facts.erasure import SubjectErased
from tildawn.facts.fact import Fact
from tildawn.facts.run import RunAccepted
from tildawn.ledger.fold import Change, Get, Projection, Put, Row, Table
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.units import Seq


class SubjectRow(Row, frozen=True, kw_only=True):
    """A run that was accepted for a subject, which is a keyed digest."""

    subject: str
    run: str


class ErasureRow(Row, frozen=True, kw_only=True):
    """One erasure; ``at`` is an instant in microseconds since 1970."""

    seq: int
    at: int
    subject: str
    runs: int
    payloads: int
    why: str


TABLES = (
    Table(name="subject", row=SubjectRow, key=("subject", "run")),
    Table(name="erasure", row=ErasureRow, key=("seq",)),
)


def family(reader: Reader, runs: Iterable[str]) -> list[RunRow]:
    """These runs, and every child and check of them, each once.

    Raises:
        Nothing.
    """
    found: dict[str, RunRow] = {}
    waiting = list(runs)
    while waiting:
        run = waiting.pop()
        row = reader.get(RunRow, run)
        if row is None or run in found:
            continue
        found[run] = row
        below = reader.rows(RunRow, "parent = ? OR evidence_for = ?", (run, run))
        waiting += [one.run for one in below]
    return list(found.values())


def runs_of(reader: Reader, subject: str) -> list[str]:
    """The runs that were accepted for a subject, given as a keyed digest.

    Raises:
        Nothing.
    """
    return [row.run for row in reader.rows(SubjectRow, "subject = ?", (subject,))]


def _accept(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("RunAccepted", fact.data)
    if said.subject:
        yield Put(SubjectRow(subject=said.subject, run=fact.run))


def _erase(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("SubjectErased", fact.data)
    yield Put(
        ErasureRow(
            seq=seq, at=fact.at, subject=said.subject, runs=said.runs, payloads=said.payloads,
            why=said.why,
        )
    )  # fmt: skip


ERASURE = Projection(
    name="erasure", version=1, tables=TABLES, folds={RunAccepted: _accept, SubjectErased: _erase}
)
