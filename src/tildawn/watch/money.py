"""Money of a night against its budget, and what its calls did outside.

What it is not: a budget; those are reserved and settled by the guard.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from tildawn.facts.night import Observed
from tildawn.projections.budget import budget_of
from tildawn.projections.spending import (
    RouteSum,
    booked_in,
    effects_by_route,
    healed_by_route,
    late_answers,
    overruns,
    refusals,
    runs_in_doubt,
    runs_simulated,
    sums_by_route,
)
from tildawn.projections.story import name_of
from tildawn.watch.collect import Collected
from tildawn.watch.report import Anomaly, Change, Healed, Money, MoneyLine, Said
from tildawn.watch.words import count, dollars, one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the calls of a night tell beside its runs."""

    money: Money
    in_doubt: frozenset[str]
    simulated: frozenset[str]
    healed: tuple[Healed, ...]
    changed: tuple[Change, ...]
    anomalies: tuple[Anomaly, ...]


def outside_of(got: Collected) -> Outside:
    """Sum up the calls of a night, and of the earlier runs whose work covers it.

    Raises:
        Nothing.
    """
    night = got.night.night if got.night is not None else ""
    nights = {night, *(run.night for run in got.earlier.values())}
    money = _money(got, night)
    return Outside(
        money=money,
        in_doubt=frozenset(run for name in nights for run in runs_in_doubt(got.reader, name)),
        simulated=frozenset(run for name in nights for run in runs_simulated(got.reader, name)),
        healed=tuple(_healed(got, night)),
        changed=(*_observed(got), *_effects(got, night)),
        anomalies=tuple(_anomalies(got, night, money)),
    )


def _money(got: Collected, night: str) -> Money:
    sums = sums_by_route(got.reader, night)
    scope = f"night/{night}"
    row = budget_of(got.reader, scope) if night else None
    limit = row.cap if row is not None else None
    if limit is None:
        limit = got.night.budget_micro_usd if got.night is not None else -1
    lines = tuple(line for one in sums for line in _lines(one))
    # What is held counts as spent here, as what is assumed does: it was sent, and may be billed.
    spent = sum(one.spend + one.held for one in sums)
    listed = sum(line.micro_usd for line in lines)
    return Money(
        limit=limit,
        seq=max(row.set_at if row is not None else -1, got.night.accepted if got.night else -1),
        spent=spent,
        assumed=sum(one.assumed + one.held for one in sums),
        reserved=row.reserved if row is not None else 0,
        tokens_in=sum(one.tokens_in for one in sums),
        tokens_out=sum(one.tokens_out for one in sums),
        lines=lines,
        overruns=tuple(
            f"{name_of(got.reader, one.run)} at {one_line(one.route)}:"
            f" {dollars(one.by)} USD above its reservation"
            for one in overruns(got.reader, night)
        ),
        refused=sum(n for _, n, _ in refusals(got.reader, night)),
        differs=_difference(
            spent=spent,
            listed=listed,
            booked=row.spent + row.held if row is not None else None,
            called=booked_in(got.reader, night, scope) if row is not None else 0,
        ),
    )


def _lines(one: RouteSum) -> Iterator[MoneyLine]:
    """The billed part of a route and, beside it, the parts without a bill."""
    billed = one.spend - one.assumed
    if billed:
        yield MoneyLine(
            route=one_line(one.route), calls=one.calls, micro_usd=billed,
            source="mixed" if one.source in {"assumed", "held", "none"} else one.source,
            simulated=one.simulated, seq=one.seq,
        )  # fmt: skip
    if one.assumed:
        yield MoneyLine(
            route=one_line(one.route), calls=one.unbilled, micro_usd=one.assumed, source="assumed",
            simulated=one.simulated, seq=one.seq,
        )  # fmt: skip
    if one.held:
        yield MoneyLine(
            route=one_line(one.route), calls=one.unknown, micro_usd=one.held, source="held",
            simulated=one.simulated, seq=one.seq,
        )  # fmt: skip


def _difference(*, spent: int, listed: int, booked: int | None, called: int) -> str:
    faults: list[str] = []
    if listed != spent:
        faults.append(f"the lines sum to {dollars(listed)}, the calls to {dollars(spent)} USD")
    if booked is not None and booked != called:
        faults.append(f"the budget says {dollars(booked)}, its calls {dollars(called)} USD")
    return "; ".join(faults)


# --- what changed -------------------------------------------------------------------------


def _observed(got: Collected) -> Iterator[Change]:
    """Effects that the engine saw: files with digests, URLs, rows."""
    for row in got.effects:
        body = got.raw(row.seq, 0)
        seen = _decoded(body) if body is not None else None
        yield Change(
            kind=row.kind,
            target=Said(text=one_line(seen.target), erased=False) if seen else Said(erased=True),
            before=seen.before if seen else "",
            after=seen.after if seen else "",
            count=seen.count if seen else 1,
            unknown=0,
            note=one_line(seen.note) if seen else "",
            seq=row.seq,
        )


def _decoded(body: bytes) -> Observed | None:
    try:
        return msgspec.json.decode(body, type=Observed)
    except msgspec.DecodeError:
        return None


def _effects(got: Collected, night: str) -> Iterator[Change]:
    for one in effects_by_route(got.reader, night):
        yield Change(
            kind="calls",
            target=Said(text=one_line(one.route)),
            before="",
            after="",
            count=one.applied,
            unknown=one.unknown,
            note=one_line(one.name),
            seq=one.seq,
        )


# --- what healed, what does not look right ------------------------------------------------


def _healed(got: Collected, night: str) -> Iterator[Healed]:
    for one in healed_by_route(got.reader, night):
        if not one.answered:
            continue  # nothing healed; what became of it stands with its run
        yield Healed(
            kind="calls",
            title=f"{count(one.calls, 'call')} sent again at {one_line(one.route)}",
            body=(
                f"{count(one.attempts, 'attempt')} brought no answer."
                f" {one.answered} of {one.calls} {'was' if one.answered == 1 else 'were'}"
                " answered in the end."
            ),
            n=one.calls,
            recovered=one.answered,
            letter="",
            seqs=(one.seq,),
        )
    late = late_answers(got.reader, night)
    if late:
        yield Healed(
            kind="late",
            title=f"{count(len(late), 'answer')} came late",
            body="Recorded, and no result was changed by it.",
            n=len(late),
            recovered=len(late),
            letter="",
            seqs=tuple(late[:3]),
        )


def _anomalies(got: Collected, night: str, money: Money) -> Iterable[Anomaly]:
    if money.differs:
        yield Anomaly(
            kind="money-differs", sentence=f"The money does not add up: {money.differs}.", seqs=()
        )
    over = overruns(got.reader, night)
    if over:
        yield Anomaly(
            kind="overrun",
            sentence=f"{count(len(over), 'bill')} came in above the reservation,"
            f" by {dollars(sum(one.by for one in over))} USD together.",
            seqs=tuple(one.seq for one in over[:3]),
        )
    for why, n, seq in refusals(got.reader, night):
        yield Anomaly(
            kind="refused",
            sentence=f"The door refused {count(n, 'call')}: {one_line(why)}.",
            seqs=(seq,),
        )
