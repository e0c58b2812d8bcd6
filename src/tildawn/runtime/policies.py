"""The numbers of each route, from the settings of the house and the presets of the guard.

What it is not: the settings; those are in `tildawn.runtime.setting`.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

import msgspec

from tildawn.errors import BadSetting, BadValue
from tildawn.guard.policy import (
    MINUTE,
    PRESETS,
    RATES,
    BreakerPolicy,
    Class,
    Mode,
    RatePolicy,
    RecoveryPolicy,
    RoutePolicy,
    TimeoutPolicy,
)
from tildawn.runtime.setting import RouteSettings
from tildawn.units import Micros, MicroUsd, usd


WATCHED = frozenset({
    "timeout_least", "timeout_cold", "limiter", "burst", "every", "tokens_a_minute",
    "concurrency", "window", "least", "share", "in_a_row", "failure_tokens", "check_first",
    "check_longest",
})  # fmt: skip
"""Settings that change what a rule does; a policy with one of them is watched before it acts."""

T = TypeVar("T", bound=msgspec.Struct)


class Policies:
    """Which numbers hold for a route: those of the first pattern that fits."""

    def __init__(self, routes: Mapping[str, RouteSettings]) -> None:
        """Take the tables of the settings, in their order."""
        self._routes = dict(routes)
        self._made: dict[tuple[str, Class], RoutePolicy] = {}

    def of(self, route: str, kind: Class) -> RoutePolicy:
        """The numbers for a route whose calls are of some class.

        Raises:
            Nothing; `check` was asked when the settings were read.
        """
        made = self._made.get((route, kind))
        if made is None:
            made = self._made[route, kind] = self._make(route, kind)
        return made

    def timeout(self, route: str) -> Micros | None:
        """The longest attempt that the settings allow on a route, None where they do not say.

        Raises:
            Nothing.
        """
        said = self._said(route)
        return said.timeout if said is not None else None

    def _said(self, route: str) -> RouteSettings | None:
        for pattern, said in self._routes.items():
            if fnmatchcase(route, pattern):
                return said
        return None

    def _make(self, route: str, kind: Class) -> RoutePolicy:
        said = self._said(route)
        if said is None:
            return PRESETS[kind]
        return policy_of(said, cast("Class", said.kind or kind))


def policy_of(said: RouteSettings, kind: Class) -> RoutePolicy:
    """The numbers that some settings make of a preset.

    Raises:
        BadValue: an amount of money is none.
    """
    preset = PRESETS[kind]
    least, changed = BreakerPolicy(), RecoveryPolicy()
    return msgspec.structs.replace(
        preset,
        mode=preset.mode if said.mode is None else cast("Mode", said.mode),
        mode_said=said.mode is not None,
        timeout=_timeout(said, preset.timeout),
        breaker=_with(
            least, window=said.window, least=said.least, share=said.share,
            in_a_row=said.in_a_row, tokens=said.failure_tokens,
        ),
        recovery=_with(
            changed, first=said.check_first, longest=said.check_longest,
            paid_an_hour=said.probes_an_hour, usd_an_hour=_usd(said.probe_usd_an_hour),
        ),
        requests=_requests(said),
        tokens=_tokens(said),
        concurrency=preset.concurrency if said.concurrency is None else said.concurrency,
        deadline=said.deadline or preset.deadline,
        usd_a_day=_usd(said.usd_a_day),
        unknown_price=said.unknown_price,
        custom=any(
            getattr(said, name) not in {None, ""} for name in WATCHED
        ),
    )  # fmt: skip


def check(routes: Mapping[str, RouteSettings]) -> None:
    """Refuse settings that contradict each other.

    Raises:
        BadSetting: with the route, what is wrong, and what is allowed.
    """
    for pattern, said in routes.items():
        for wrong in (*_wrong_pattern(pattern), *_wrong(said)):
            message = f'[route."{pattern}"]: {wrong}'
            raise BadSetting(message, hint="tildawn config --explain")


def _wrong_pattern(pattern: str) -> Iterator[str]:
    # A bracket that is not closed stands for itself, which nobody means.
    if pattern.count("[") != pattern.count("]"):
        yield "the name has a bracket that is not closed"
    if not pattern.strip() or pattern != pattern.strip():
        yield "the name is empty, or has a space at its ends"


def _wrong(said: RouteSettings) -> Iterator[str]:
    yield from _wrong_times(said)
    breaker = BreakerPolicy()
    window = said.window or breaker.window
    for name in ("least", "in_a_row"):
        if (getattr(said, name) or getattr(breaker, name)) > window:
            yield f"{name} is above window"
    if said.limiter and (said.burst or said.every):
        yield "limiter names what burst and every say again; give one of them"
    if (said.burst is None) != (said.every is None):
        yield "burst and every belong together"
    yield from _wrong_money(said)


def _wrong_times(said: RouteSettings) -> Iterator[str]:
    kind = cast("Class", said.kind or "http")
    timeout = _timeout(said, PRESETS[kind].timeout)
    if timeout.least > timeout.most:
        yield "timeout_least is above timeout"
    if said.deadline is not None and said.timeout is not None and said.deadline < said.timeout:
        yield "deadline is below timeout; one attempt alone may take longer than its call"
    if said.timeout or said.kind:  # otherwise the class that each call brings says how long
        for name in ("timeout_cold", "timeout_first", "timeout_idle"):
            if (getattr(said, name) or 0) > timeout.most:
                yield f"{name} is above timeout"
    if (said.check_first or 0) > (said.check_longest or RecoveryPolicy().longest):
        yield "check_first is above check_longest"


def _wrong_money(said: RouteSettings) -> Iterator[str]:
    for name in ("usd_a_day", "probe_usd_an_hour"):
        try:
            _usd(getattr(said, name))
        except BadValue as error:
            yield f"{name}: {error}"
    word, _, amount = said.unknown_price.partition(" ")
    try:
        priced = word != "assume" or usd(amount.strip()) > 0
    except BadValue:
        priced = False
    if word not in {"deny", "free", "assume"} or not priced or (amount and word != "assume"):
        yield (
            f"unknown_price cannot be {said.unknown_price!r};"
            " it is deny, free or such as 'assume 0.05'"
        )


def _timeout(said: RouteSettings, preset: TimeoutPolicy) -> TimeoutPolicy:
    most = said.timeout or preset.most
    least = said.timeout_least or min(preset.least, most)
    return _with(
        preset, most=most, least=least, cold=min(said.timeout_cold or preset.cold, most),
        prior=min(preset.prior, most), first=said.timeout_first, idle=said.timeout_idle,
    )  # fmt: skip


def _requests(said: RouteSettings) -> RatePolicy | None:
    if said.limiter:
        return RATES[said.limiter]
    if said.burst is None or said.every is None:
        return None
    return RatePolicy(burst=said.burst, every=said.every)


def _tokens(said: RouteSettings) -> RatePolicy | None:
    if said.tokens_a_minute is None:
        return None
    return RatePolicy(
        burst=said.tokens_a_minute, every=Micros(max(MINUTE // said.tokens_a_minute, 1))
    )


def _usd(amount: str) -> MicroUsd | None:
    return usd(amount) if amount else None


def _with(struct: T, **changes: Any) -> T:
    said = {name: value for name, value in changes.items() if value is not None}
    return msgspec.structs.replace(struct, **said)
