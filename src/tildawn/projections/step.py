"""Recorded steps: which places of a run have their result on record.

What it is not: the results; those are payloads of the facts at ``seq``.
A path of a run has one result for ever: a second one refuses its append, unless the owner or
a retry went back to a place before it.
"""

from collections.abc import Iterable

from tildawn.facts.fact import Fact
from tildawn.facts.step import ArtifactKept, ChangeMarked, StepRecorded
from tildawn.ledger.fold import Add, Change, Get, Projection, Put, Row, Table
from tildawn.projections.run import RunRow
from tildawn.units import Seq


class StepRow(Row, frozen=True, kw_only=True):
    """A result on record, by run and path."""

    run: str
    path: str
    seq: int


STEPS = Table(name="step", row=StepRow, key=("run", "path"))


def _record(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = StepRow(run=fact.run, path=fact.path, seq=seq)
    run = get(RunRow, fact.run)
    if run is not None and run.void >= 0:
        before = get(StepRow, fact.run, fact.path)
        if before is not None and before.seq >= run.void:
            return (Put(row),)
    return (Add(row),)


STEP = Projection(
    name="step",
    version=1,
    tables=(STEPS,),
    folds={StepRecorded: _record, ArtifactKept: _record, ChangeMarked: _record},
)
