"""Calls counted: totals by route and model, what healed itself, what is in doubt or came late.

What it is not: a table of its own.  Everything is asked of the rows of calls and runs, so it
agrees with them by construction; each question is one statement.
"""

import msgspec

from tildawn.ledger.sqlite.reader import Reader
from tildawn.projections.budget import BudgetRow
from tildawn.projections.call import CallRow, ChildRow
from tildawn.projections.pace import MINUTE, SLOTS, PaceRow
from tildawn.units import Micros, MicroUsd


class RouteTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What went through one route to one model."""

    route: str
    model: str
    simulated: bool
    calls: int
    #: Tries that left, all calls together.
    attempts: int
    #: Tries that ended without an answer.
    failures: int
    answered: int
    #: Answered after at least one failure.
    healed: int
    spend_micro_usd: MicroUsd
    #: The part of the spend for which no bill was seen.
    assumed_micro_usd: MicroUsd
    #: What is held beside the spend, for attempts of which nobody knows what became.
    held_micro_usd: MicroUsd
    overrun_micro_usd: MicroUsd
    tokens_in: int
    tokens_out: int


def call_of(reader: Reader, run: str, path: str) -> CallRow | None:
    """One call, or None.

    Raises:
        Nothing.
    """
    return reader.get(CallRow, run, path)


def calls_of(reader: Reader, run: str) -> list[CallRow]:
    """The calls of a run, by path.

    Raises:
        Nothing.
    """
    return reader.rows(CallRow, "run = ?", (run,))


def route_totals(reader: Reader, *, night: str = "") -> list[RouteTotal]:
    """Totals by route and model, of a night or of the whole house.

    Raises:
        Nothing.
    """
    found = reader.query(
        "SELECT route, model, simulated, count(*), sum(attempt), sum(failures),"
        " sum(state = 'settled' AND fault = ''),"
        " sum(state = 'settled' AND fault = '' AND failures > 0),"
        " sum(spend), sum(assumed), sum(held), sum(overrun), sum(tokens_in), sum(tokens_out)"
        " FROM call WHERE ?1 = '' OR run IN (SELECT run FROM run WHERE night = ?1)"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        (night,),
    )
    names = RouteTotal.__struct_fields__
    return [
        msgspec.convert(dict(zip(names, values, strict=True)), RouteTotal, strict=False)
        for values in found
    ]


def healed(reader: Reader, *, night: str = "") -> list[CallRow]:
    """The calls that were answered after at least one failed attempt, by run and path.

    Raises:
        Nothing.
    """
    # What its owner settled did not heal itself.
    where = "state = 'settled' AND fault = '' AND failures > 0 AND resolved = ''"
    return _rows(reader, where, night)


def answered_late(reader: Reader, *, night: str = "") -> list[CallRow]:
    """The calls that got an answer after they had ended, by run and path.

    Raises:
        Nothing.
    """
    return _rows(reader, "late >= 0", night)


def under_way(reader: Reader) -> list[CallRow]:
    """The calls with an attempt that was sent and is not settled, by run and path.

    Raises:
        Nothing.
    """
    return reader.rows(CallRow, "state = 'dispatched'")


def children(reader: Reader) -> list[ChildRow]:
    """The child processes that are not known to be gone, by run, path and attempt.

    Raises:
        Nothing.
    """
    return reader.rows(ChildRow)


def stopped_budgets(reader: Reader) -> list[BudgetRow]:
    """The scopes that a bill above all that it could be has stopped, by name.

    One without any limit is not held up by it.

    Raises:
        Nothing.
    """
    return reader.rows(BudgetRow, "stopped <> 0")


def recent(reader: Reader, route: str, *, now: Micros) -> tuple[int, int]:
    """First attempts and retries of a route in the last ten minutes.

    Args:
        reader: one read transaction.
        route: its name.
        now: the instant now.

    Returns:
        (first attempts, retries), counted by whole minutes.

    Raises:
        Nothing.
    """
    since = now // MINUTE - SLOTS
    rows = reader.rows(PaceRow, "route = ? AND minute > ?", (route, since))
    return sum(row.calls for row in rows), sum(row.retries for row in rows)


def _rows(reader: Reader, condition: str, night: str) -> list[CallRow]:
    if not night:
        return reader.rows(CallRow, condition)
    within = "run IN (SELECT run FROM run WHERE night = ?)"
    return reader.rows(CallRow, f"({condition}) AND {within}", (night,))
