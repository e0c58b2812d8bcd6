"""What answers when the one that was asked does not: other models, then what is here already.

What it is not: a call.  A remote tier goes through a door of its own route, with its own limits
and its own reservation; a local one asks nobody, and is given so many milliseconds here.

The rules.  From the primary, first to other models (cheapest first), then to local tiers in the
order of the call.  A batch leaves the primary only for what the call names, and waits otherwise;
an interactive one is served a local tier after `PATIENCE` while the primary finishes.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Effect
from tildawn.guard.deadline import Alarms
from tildawn.guard.request import Answer, Local, Need, Remote, Repeat, Validate
from tildawn.units import MILLISECOND, SECOND, Micros, MicroUsd


PATIENCE = Micros(1_500 * MILLISECOND)
"""How long whoever watches waits for the primary. Source: the living gallery's two seconds to a
picture, less what the local tiers may take together."""

ACTIVATION = Micros(2 * SECOND)
"""From the decision to leave a tier to something served, at the most."""

EXACT, RELATED, GLOBAL, PROCEDURAL = "exact", "related", "global", "procedural"

TIERS: Mapping[str, tuple[str, ...]] = {
    "image": (EXACT, RELATED, GLOBAL, PROCEDURAL),
    "chat": (EXACT,),
}
"""The local tiers of each kind of step, best first.  A text for another request is no answer, so
a chat has only the exact one."""

LIMITS: Mapping[str, Micros] = {
    EXACT: Micros(40 * MILLISECOND),
    RELATED: Micros(80 * MILLISECOND),
    GLOBAL: Micros(120 * MILLISECOND),
    PROCEDURAL: Micros(120 * MILLISECOND),
}
"""What each local tier may take. Source: the specification, "40/80/120 ms to start"."""

OPEN, BLOCKED, LIMIT, FULL = "route-open", "route-blocked", "limit", "full"
RETRIES, ASKED, LATE, SPENT = "retry-budget", "asked-wait", "patience", "budget-spent"
STRAINED = "budget"
"""Why a cheaper model went before the primary, which nobody asked."""
NOT_NOW = frozenset({OPEN, BLOCKED, LIMIT, FULL, RETRIES, ASKED})
"""Why the primary may not be asked now; nothing was sent, so nothing can have happened."""

EVERYBODY = NOT_NOW - {FULL, RETRIES}
"""What every other call of the route would be told as well."""

OURS = frozenset({"cancelled", "bad_request", "not-permitted", "secret"})
"""What is wrong with the call itself: the next one would only hide it."""

THEIRS = frozenset({"timeout", "rate", "network", "server"})
"""What is wrong with the other side and goes away by itself."""

CONTENT = "refused_content"
"""What one model refuses to make is not offered to the next one, but something may stand in."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A local tier answered; ``took`` counts from the decision to leave the tier above."""

    answer: Answer
    tier: str
    took: Micros
    #: The tiers above it, each with ``none``, ``late`` or what went wrong.
    passed: tuple[str, ...] = ()


# -- rules -----------------------------------------------------------------------------------


def may_leave(cause: str, *, repeat: Repeat, effect: Effect) -> bool:
    """Whether another model may be asked.

    Only when the first one certainly did nothing, or when doing it twice is harmless.  A key
    protects nobody here: the other side knows nothing of it.

    Args:
        cause: a kind of fault, or why the primary may not be asked.
        repeat: of the call.
        effect: of everything that was sent for it so far.

    Raises:
        Nothing.
    """
    if cause in OURS or cause == CONTENT:
        return False
    return repeat == "safe" or effect is Effect.NONE


def may_stand_in(cause: str, *, repeat: Repeat, effect: Effect, interactive: bool) -> bool:
    """Whether something local may be served in place of an answer.

    Never over an effect that nobody knows and that matters: that is for its owner to see.  A
    batch is not served over a refusal of its content either, for its author has to read that.

    Args:
        cause: as for `may_leave`; ``patience`` for a primary that goes on.
        repeat: of the call.
        effect: of everything that was sent for it so far.
        interactive: whether somebody waits in front of it.

    Raises:
        Nothing.
    """
    if cause in OURS or (cause == CONTENT and not interactive):
        return False
    return repeat == "safe" or effect is Effect.NONE


def rung(
    cause: str, *, repeat: Repeat, effect: Effect, interactive: bool, remotes: int, tiers: int
) -> Literal["remote", "local", "stay"]:
    """Where a call goes when the tier it is on does not serve.

    Args:
        cause: as for `may_leave`.
        repeat: of the call.
        effect: of everything that was sent for it so far.
        interactive: whether somebody waits in front of it.
        remotes: other models that were not asked yet.
        tiers: local tiers that the call has.

    Returns:
        ``remote``, ``local``, or ``stay``: it parks or fails as it would without a ladder.

    Raises:
        Nothing.
    """
    # Whoever has lost patience is not made to wait for another model.
    if remotes and cause != LATE and may_leave(cause, repeat=repeat, effect=effect):
        return "remote"
    served = may_stand_in(cause, repeat=repeat, effect=effect, interactive=interactive)
    return "local" if tiers and served else "stay"


def parks(cause: str, *, interactive: bool) -> bool:
    """Whether a call that no tier serves waits for its route instead of failing.

    For what is wrong with the other side, while its route is out of service: a batch has the
    night, and attempts that were made to test the route are not the call's own.

    Args:
        cause: why the last tier did not serve.
        interactive: whether somebody waits in front of it.

    Raises:
        Nothing.
    """
    return not interactive and (cause in NOT_NOW or cause in THEIRS)


def share(left: Micros, least_below: Sequence[Micros]) -> Micros:
    """What a tier may take so that those below it stay reachable.

    All but what they need at the least; when there is too little for that, an equal part.

    Args:
        left: of the deadline, in microseconds.
        least_below: what each tier below needs at the least.

    Returns:
        Microseconds, from 0 to ``left``.

    Raises:
        Nothing.
    """
    room = max(left, 0)
    return Micros(max(room - sum(least_below), room // (len(least_below) + 1)))


def cheapest(remotes: Iterable[Remote]) -> tuple[Remote, ...]:
    """The models by price, the cheapest first, those without one last; equals as they came.

    Raises:
        Nothing.
    """
    return tuple(sorted(remotes, key=lambda one: (one.reserve is None, one.reserve or 0)))


def ahead(
    remotes: Iterable[Remote], *, reserve: MicroUsd | None, strained: bool
) -> tuple[Remote, ...]:
    """The models that go before the primary because the money runs low.

    An answer of one of them is flagged: its ``instead`` is ``budget``.

    Args:
        remotes: other models that the call allows.
        reserve: the most that the primary can cost.
        strained: whether a budget of the call is used by four fifths.

    Returns:
        The strictly cheaper ones, the cheapest first; none while the money is not strained.

    Raises:
        Nothing.
    """
    if not strained or reserve is None:
        return ()
    return tuple(
        one for one in cheapest(remotes) if one.reserve is not None and one.reserve < reserve
    )


# -- climbing --------------------------------------------------------------------------------


async def climb(
    tiers: Sequence[Local],
    need: Need,
    *,
    clock: Clock,
    alarms: Alarms,
    validate: Validate | None,
) -> Served | None:
    """Ask local tiers in order until one serves.

    Each has its limit, and at most what leaves room for those below.  One that has nothing,
    fails, is late, or gives what does not pass for an answer is skipped.  A ``sure`` one has
    what is left until the deadline of the need, and its limit at the least.

    A tier that is late is cancelled and not waited for; one that keeps the event loop itself
    cannot be cut short here, so tiers that compute do it in a thread.

    Args:
        tiers: in order.
        need: what is asked, and by when.
        clock: of the same loop.
        alarms: of the same loop.
        validate: what an answer of the primary has to pass.

    Returns:
        What was served, or None.

    Raises:
        asyncio.CancelledError: the caller was cancelled; the tier under way was, too.
    """
    passed: list[str] = []
    for at, tier in enumerate(tiers):
        left = Micros(need.deadline - clock.mono())
        room = share(left, [one.limit for one in tiers[at + 1 :]])
        limit = max(left, tier.limit) if tier.sure else min(room, tier.limit)
        until = clock.mono() + limit
        said = await _within(_asked(tier, need, validate), until, alarms)
        if isinstance(said, Answer):
            took = Micros(clock.mono() - need.decided)
            return Served(answer=said, tier=tier.name, took=took, passed=tuple(passed))
        passed.append(f"{tier.name}: {said}")
    return None


async def _asked(tier: Local, need: Need, validate: Validate | None) -> Answer | None:
    answer = await tier.find(need)
    if answer is not None and validate is not None:
        validate(answer.value)
    return answer


async def _within(
    asked: Coroutine[object, object, Answer | None], until: int, alarms: Alarms
) -> Answer | str:
    """The answer, or why there is none."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    task = loop.create_task(asked)
    task.add_done_callback(lambda _: _wake(over))
    alarm = alarms.set(until, lambda: _wake(over))
    try:
        await over
    finally:
        alarm.cancel()
        if not task.done():
            task.cancel()
            task.add_done_callback(_look_away)
    if not task.done():
        return "late"
    if task.cancelled():
        return "cancelled itself"
    error = task.exception()
    if error is not None:
        return type(error).__name__  # not its message, which may hold what the user asked
    return task.result() or "none"


def _wake(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


def _look_away(task: asyncio.Task[Answer | None]) -> None:
    """What a tier says that nobody waits for any more is of no interest, its error included."""
    if not task.cancelled():
        task.exception()
