"""What a report says of anchors: one that is broken needs its owner, one that is behind is named.

What it is not: the state of anchors; `tildawn.watch.anchors` has that.
"""

from collections.abc import Iterator

from tildawn.projections.anchor import AnchorRow, origin_now
from tildawn.watch.anchors import debts, owed_for
from tildawn.watch.collect import Collected
from tildawn.watch.report import Anomaly, Choice, Need, Said
from tildawn.watch.words import Times, one_line


KIND = "unanchored"


def broken_anchors(got: Collected, times: Times) -> list[Need]:
    """Places that have seen a longer or another ledger than this one.

    Raises:
        Nothing.
    """
    return [_broken(got, row, times) for row in got.reader.rows(AnchorRow) if row.state == "broken"]


def _broken(got: Collected, row: AnchorRow, times: Times) -> Need:
    return Need(
        number=0,
        verdict=None,
        question="Another place has seen a longer or another ledger. What happened to this one?",
        about=Said(),
        name=f"anchor {row.anchor}",
        body=f"Anchor {one_line(row.anchor)} has said so since {times.when(row.since)}.",
        detail=got.said(row.said, 0),
        choices=(
            Choice(
                label="Look.",
                follows="Asks every place what it has, and compares; changes nothing.",
                command="tildawn anchor verify",
            ),
        ),
        meanwhile="If you do nothing: work goes on; that place keeps what it has seen.",
        seqs=(row.said,),
    )


def late_anchors(got: Collected) -> Iterator[Anomaly]:
    """Places that should have had the ledger by now, and those that refuse.

    Raises:
        HouseTooNew: a fact is newer than this version of Tildawn.
    """
    for debt in debts(got.reader, got.now, origin=origin_now(got.reader)):
        said = owed_for(debt, got.now)
        if said and (debt.late or debt.state == "failed"):
            why = f": {one_line(debt.reason)}" if debt.reason else ""
            yield Anomaly(
                kind=KIND,
                sentence=f"Anchor {one_line(debt.anchor)}: {said}{why}.",
                seqs=(debt.seq,) if debt.seq >= 0 else (),
            )
