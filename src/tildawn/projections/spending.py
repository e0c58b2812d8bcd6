"""What the calls of a night came to, summed for people: money, doubts, healing, effects.

What it is not: a projection; these are questions over `tildawn.projections.call` and
`tildawn.projections.run`.  The empty night stands for runs without one.
"""

import msgspec

from tildawn.ledger.reader import Reader


class RouteSum(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one route that came with one kind of bill; amounts in millionths of a dollar.

    ``assumed`` is the part of ``spend`` for which no bill was seen; ``held`` comes on top of it:
    nobody knows yet what became of those attempts.
    """

    route: str
    source: str
    simulated: bool
    calls: int
    unbilled: int
    spend: int
    assumed: int
    #: Calls for which something is held, and how much.
    unknown: int
    held: int
    tokens_in: int
    tokens_out: int
    #: Position of the last fact that counts in.
    seq: int


class EffectSum(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one name at one route that change something outside."""

    name: str
    route: str
    applied: int
    unknown: int
    #: Position of the first that was applied, or of the first at all.
    seq: int


class HealedSum(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one route in which an attempt failed: how many, and how many were answered."""

    route: str
    calls: int
    answered: int
    attempts: int
    seq: int


class Overrun(msgspec.Struct, frozen=True, kw_only=True):
    """A call whose bill was above its reservation, by so many millionths of a dollar."""

    run: str
    route: str
    by: int
    seq: int


_OF_NIGHT = "FROM call JOIN run ON run.run = call.run WHERE run.night = ?"

#: A call with a key whose run goes on is sent again by itself, so nobody has to look.
_IN_DOUBT = (
    "call.repeat <> 'safe' AND"
    " NOT (call.repeat = 'keyed' AND run.state NOT IN ('done', 'failed', 'cancelled', 'held')) AND"
    " call.resolved IN ('', 'give-up') AND call.looked <> 'found' AND"
    " (call.state IN ('unknown', 'dispatched')"
    " OR (call.state = 'settled' AND call.effect = 'unknown'))"
)


def sums_by_route(reader: Reader, night: str) -> list[RouteSum]:
    """What was spent, by route and by where the number comes from; free calls included.

    Raises:
        Nothing.
    """
    rows = reader.query(
        "SELECT call.route, call.source, call.simulated, count(*), sum(call.assumed > 0),"
        " sum(call.spend), sum(call.assumed), sum(call.held > 0), sum(call.held),"
        " sum(call.tokens_in), sum(call.tokens_out), max(call.state_at)"
        f" {_OF_NIGHT} AND call.dispatched >= 0"
        " GROUP BY 1, 2, 3 ORDER BY sum(call.spend + call.held) DESC, 1, 2, 3",
        (night,),
    )
    return [
        RouteSum(
            route=route, source=source, simulated=bool(simulated), calls=calls, unbilled=unbilled,
            spend=spend, assumed=assumed, unknown=unknown, held=held, tokens_in=tokens_in,
            tokens_out=tokens_out, seq=seq,
        )
        for route, source, simulated, calls, unbilled, spend, assumed, unknown, held, tokens_in,
        tokens_out, seq in rows
    ]  # fmt: skip


def booked_in(reader: Reader, night: str, scope: str) -> int:
    """What the night's calls spent or hold in a budget scope, in millionths of a dollar.

    Raises:
        Nothing.
    """
    [(spend,)] = reader.query(
        f"SELECT coalesce(sum(call.spend + call.held), 0) {_OF_NIGHT}"
        " AND instr(char(10) || call.budgets || char(10), char(10) || ? || char(10)) > 0",
        (night, scope),
    )
    return int(spend)


def runs_in_doubt(reader: Reader, night: str) -> frozenset[str]:
    """Runs with a call that may have had an effect, and nobody has said whether.

    Calls that are under way count: whether somebody still waits for them is not for a table
    to know.

    Raises:
        Nothing.
    """
    rows = reader.query(f"SELECT DISTINCT call.run {_OF_NIGHT} AND {_IN_DOUBT}", (night,))
    return frozenset(run for (run,) in rows)


def runs_simulated(reader: Reader, night: str) -> frozenset[str]:
    """Runs with a call that a simulator answered.

    Raises:
        Nothing.
    """
    rows = reader.query(f"SELECT DISTINCT call.run {_OF_NIGHT} AND call.simulated <> 0", (night,))
    return frozenset(run for (run,) in rows)


def healed_by_route(reader: Reader, night: str) -> list[HealedSum]:
    """Calls that were answered although an attempt had failed, and how many such calls were.

    Raises:
        Nothing.
    """
    rows = reader.query(
        "SELECT call.route, count(*), sum(call.state = 'settled' AND call.fault = ''),"
        f" sum(call.failures), min(call.dispatched) {_OF_NIGHT} AND call.failures > 0 AND call.resolved = ''"
        " AND call.dispatched >= 0 GROUP BY 1 ORDER BY 2 DESC, 1",
        (night,),
    )
    return [
        HealedSum(route=route, calls=calls, answered=answered, attempts=attempts, seq=seq)
        for route, calls, answered, attempts, seq in rows
    ]


def effects_by_route(reader: Reader, night: str) -> list[EffectSum]:
    """Calls that change something outside, by name and route; those that may only read are not.

    Raises:
        Nothing.
    """
    rows = reader.query(
        "SELECT call.name, call.route,"
        " sum(call.state = 'settled' AND (call.effect = 'applied' OR call.resolved = 'applied')),"
        f" sum({_IN_DOUBT}),"
        " min(CASE WHEN call.effect = 'applied' THEN call.settled ELSE call.dispatched END)"
        f" {_OF_NIGHT} AND call.repeat <> 'safe' AND call.dispatched >= 0 GROUP BY 1, 2"
        " ORDER BY 3 DESC, 1, 2",
        (night,),
    )
    return [
        EffectSum(name=name, route=route, applied=applied, unknown=unknown, seq=seq)
        for name, route, applied, unknown, seq in rows
        if applied or unknown
    ]


def late_answers(reader: Reader, night: str) -> list[int]:
    """Positions of answers that came after their calls had ended, in ledger order.

    Raises:
        Nothing.
    """
    rows = reader.query(f"SELECT call.late {_OF_NIGHT} AND call.late >= 0 ORDER BY 1", (night,))
    return [seq for (seq,) in rows]


def refusals(reader: Reader, night: str) -> list[tuple[str, int, int]]:
    """Why the door said no, how often, and the position of the first, by frequency.

    Raises:
        Nothing.
    """
    return [
        (why, n, seq)
        for why, n, seq in reader.query(
            f"SELECT call.fault, count(*), min(call.settled) {_OF_NIGHT}"
            " AND call.dispatched < 0 AND call.state = 'settled' AND call.fault <> '' GROUP BY 1 ORDER BY 2 DESC, 1",
            (night,),
        )
    ]


def overruns(reader: Reader, night: str) -> list[Overrun]:
    """Bills above their reservations, the largest first.

    Raises:
        Nothing.
    """
    rows = reader.query(
        "SELECT call.run, call.route, call.overrun, call.settled"
        f" {_OF_NIGHT} AND call.overrun > 0 ORDER BY 3 DESC, 4",
        (night,),
    )
    return [Overrun(run=run, route=route, by=by, seq=seq) for run, route, by, seq in rows]
