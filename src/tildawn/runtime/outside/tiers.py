"""The fallback ladder of one call: other models that may answer, and what may stand in.

What it is not: the climbing; `tildawn.guard.ladder` has the rules, and the door follows them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from tildawn.clock import Clock
from tildawn.guard.deadline import Alarms
from tildawn.guard.ladder import (
    ACTIVATION,
    EXACT,
    GLOBAL,
    LIMITS,
    PROCEDURAL,
    RELATED,
    TIERS,
    Served,
    climb,
)
from tildawn.guard.policy import Class
from tildawn.guard.request import Answer, Local, Need, Remote
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.outside.kind import CallOptions, Prepared
from tildawn.runtime.outside.stock import Hands, Stock, Wanted
from tildawn.units import Micros


def tiers_of(kind: str, options: CallOptions) -> tuple[str, ...]:
    """The tiers that a call allows, best first.

    A batch has those that it names, and no other: nothing stands in that nobody asked for.  Who
    waits in front of a call without naming any has all of its kind.

    Raises:
        Nothing.
    """
    known = TIERS.get(kind, ())
    if not options.tiers and options.patience == "interactive":
        return known
    return tuple(name for name in known if name in options.tiers)


def text_tiers(
    names: Sequence[str], *, ledger: Ledger, clock: Clock, hands: Hands, simulated: bool
) -> tuple[Local, ...]:
    """The local tiers of a call whose answer is a text or data.

    Args:
        names: from `tiers_of`.
        ledger: where earlier answers are.
        clock: for their limits.
        hands: threads to look in.
        simulated: which answers may be used.

    Raises:
        Nothing.
    """

    async def exact(need: Need) -> Answer | None:
        stock = _stock(ledger, clock, EXACT)
        return await hands.do(lambda: stock.text(need.args, simulated=simulated))

    return _locals({EXACT: exact}, names)


def picture_tiers(
    names: Sequence[str], wanted: Wanted, *, ledger: Ledger, clock: Clock, hands: Hands
) -> tuple[Local, ...]:
    """The local tiers of a call whose answer is a picture.

    Args:
        names: from `tiers_of`.
        wanted: the picture.
        ledger: where earlier ones are, and where a drawn one is kept.
        clock: for their limits.
        hands: threads to look and draw in.

    Raises:
        Nothing.
    """

    async def exact(need: Need) -> Answer | None:
        stock = _stock(ledger, clock, EXACT)
        return _shown(hands, await hands.do(lambda: stock.exact(need.args, wanted)))

    async def related(_: Need) -> Answer | None:
        stock, shown = _stock(ledger, clock, RELATED), hands.shown
        return _shown(hands, await hands.do(lambda: stock.related(wanted, shown=shown)))

    async def recent(_: Need) -> Answer | None:
        stock, shown = _stock(ledger, clock, GLOBAL), hands.shown
        return _shown(hands, await hands.do(lambda: stock.recent(wanted, shown=shown)))

    async def procedural(need: Need) -> Answer | None:
        stock = _stock(ledger, clock, PROCEDURAL)
        return await hands.draw(lambda: stock.draw(need.args, wanted))

    finds = {EXACT: exact, RELATED: related, GLOBAL: recent, PROCEDURAL: procedural}
    return _locals(finds, names)


def remotes_of(
    kind: Class,
    options: CallOptions,
    prepare: Callable[[CallOptions], Prepared],
    *,
    primary: str,
) -> tuple[Remote, ...]:
    """The other models that a call accepts, each on a route of its own.

    One that may cost more than the step allows is left out: it would be refused anyway.

    Args:
        kind: ``chat`` or ``image``.
        options: of the call; each model is asked under the same limits.
        prepare: makes the same call ready under other options.
        primary: the model that is asked first.

    Raises:
        Nothing.
    """
    asked = [prepare(options.asking(model)) for model in options.accepts if model != primary]
    return tuple(
        Remote(
            name=one.model, route=one.route, model=one.model, perform=one.perform,
            validate=one.validate, reserve=one.reserve, reserve_tokens=one.reserve_tokens,
            worst=one.worst,
            kind=kind,
        )
        for one in asked
        if options.max_cost is None or max(one.worst, one.reserve or 0) <= options.max_cost
    )  # fmt: skip


async def activation(
    tiers: Sequence[Local], need: str, *, clock: Clock, alarms: Alarms
) -> Served | None:
    """Climb once from a decision that is made now: what a benchmark repeats.

    Args:
        tiers: such as `picture_tiers` gives.
        need: keyed digest of the request.
        clock: of the same loop.
        alarms: of the same loop.

    Returns:
        What was served; its ``took`` is the time from the decision.

    Raises:
        Nothing.
    """
    now = clock.mono()
    asked = Need(reason="timeout", args=need, decided=now, deadline=Micros(now + ACTIVATION))
    return await climb(tiers, asked, clock=clock, alarms=alarms, validate=None)


def _stock(ledger: Ledger, clock: Clock, tier: str) -> Stock:
    return Stock(ledger, clock, until=Micros(clock.mono() + LIMITS[tier]))


def _shown(hands: Hands, answer: Answer | None) -> Answer | None:
    """Remember what is shown, so that it is not the next one as well."""
    if answer is not None:
        hands.shown = answer.blobs[0]
    return answer


def _locals(
    finds: Mapping[str, Callable[[Need], Awaitable[Answer | None]]], names: Sequence[str]
) -> tuple[Local, ...]:
    return tuple(
        Local(name=name, find=finds[name], limit=LIMITS[name], sure=name == PROCEDURAL)
        for name in names
    )
