"""Answers of models that are on record and may stand in for a later one.

What it is not: a copy of them.  A row says where an answer is, and where what was asked for is;
both are payloads, so that erasing one takes it out of the stock.  What stood in for an answer is
no answer and never comes back from here.
"""

from collections.abc import Iterable
from typing import cast

from tildawn.facts.call import CallAnsweredLate, CallDispatched, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.ledger.fold import Change, Drop, Get, Projection, Put, Row, Table
from tildawn.ledger.sqlite.reader import Reader
from tildawn.projections.call import CallRow
from tildawn.units import Seq


PROBE = "probe"
"""The run of what is asked only to find out whether somebody answers; it is nobody's work."""

ABOUT, OUT = CallDispatched.PAYLOADS.index("about"), CallSettled.PAYLOADS.index("out")
"""Where a dispatch keeps what it asks, and a settlement or a late answer what came back."""


class AskedRow(Row, frozen=True, kw_only=True):
    """A call under way that says what it asks; ``about`` is the position of its dispatch."""

    run: str
    path: str
    about: int


class StockRow(Row, frozen=True, kw_only=True):
    """One answer of a model."""

    #: The position of the fact whose payload `OUT` it is.
    seq: int
    #: Keyed digest of the request that it answers.
    args: str
    route: str
    model: str
    simulated: int
    #: The position of the fact whose payload `ABOUT` says what was asked; -1 where none does.
    about: int


STOCKS = Table(
    name="stock",
    row=StockRow,
    key=("seq",),
    sql=(
        "CREATE INDEX {table}_args ON {table}(args, seq)",
        "CREATE INDEX {table}_about ON {table}(seq) WHERE about >= 0",
    ),
)
ASKED = Table(name="asked", row=AskedRow, key=("run", "path"))


def answers_to(reader: Reader, args: str, *, simulated: bool, limit: int) -> list[StockRow]:
    """The answers to one request, the newest first.

    A simulated answer never stands in for a real one, nor the other way round.

    Args:
        reader: one read transaction.
        args: keyed digest of the request.
        simulated: which kind.
        limit: how many at most.

    Raises:
        Nothing.
    """
    found = ("args = ? AND simulated = ?", (args, int(simulated)))
    return reader.rows(StockRow, *found, order="seq DESC", limit=limit)


def newest(reader: Reader, *, simulated: bool, limit: int) -> list[StockRow]:
    """The answers of which it is known what was asked, the newest first.

    Raises:
        Nothing.
    """
    found = ("about >= 0 AND simulated = ?", (int(simulated),))
    return reader.rows(StockRow, *found, order="seq DESC", limit=limit)


# -- folds -------------------------------------------------------------------------------


def _dispatch(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    if cast("CallDispatched", fact.data).about and fact.run != PROBE:
        yield Put(AskedRow(run=fact.run, path=fact.path, about=seq))


def _settle(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    said = cast("CallSettled", fact.data)
    if not said.final:
        return
    if not said.fault and said.out:
        yield from _kept(seq, fact, get)
    if not said.abandoned:
        yield from _forgotten(fact, get)


def _serve(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(CallRow, fact.run, fact.path)
    if row is None or row.dispatched < 0:
        yield from _forgotten(fact, get)
    # Otherwise the primary may go on behind it, and its answer is still to come.


def _answer_late(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    if cast("CallAnsweredLate", fact.data).out:
        yield from _kept(seq, fact, get)
    yield from _forgotten(fact, get)


def _kept(seq: Seq, fact: Fact, get: Get) -> Iterable[Change]:
    row = get(CallRow, fact.run, fact.path)
    if row is None or not row.model or row.resolved or fact.run == PROBE:
        return  # no model's, or what the owner said it would have been
    asked = get(AskedRow, fact.run, fact.path)
    yield Put(
        StockRow(
            seq=seq, args=row.args, route=row.route, model=row.model, simulated=row.simulated,
            about=-1 if asked is None else asked.about,
        )
    )  # fmt: skip


def _forgotten(fact: Fact, get: Get) -> Iterable[Change]:
    if get(AskedRow, fact.run, fact.path) is not None:
        yield Drop(AskedRow, (fact.run, fact.path))


STOCK = Projection(
    name="stock",
    version=1,
    tables=(STOCKS, ASKED),
    folds={
        CallDispatched: _dispatch,
        CallSettled: _settle,
        CallServed: _serve,
        CallAnsweredLate: _answer_late,
    },
)
"""The stock; it reads rows of calls, so it is folded behind them."""
