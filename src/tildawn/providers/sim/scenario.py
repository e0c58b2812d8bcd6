"""Scenarios: which requests go wrong, and how, as a TOML file.

What it is not: the going wrong itself, which is `model`.

::

    latency = "20ms"                 # of every answer

    [[pace]]                         # in its place, where it applies
    path = "/v1/images"              # requests whose path begins so
    since = "1h"                     # from then on, counted from the first request
    until = "3h"                     # and up to then
    median = "50s"                   # latencies are log-normal around this
    sigma = 0.25                     # and scatter so
    grow = 3                         # a drift: so many times as slow in the end
    within = "20m"                   # and how long that takes from ``since``

    [[rule]]
    path = "/v1/images"              # requests whose path begins so
    prompt = "valentine"             # and whose prompt holds this, in any case
    nth = "2,5-7,20-"                # the 2nd, 5th to 7th and from the 20th on of these
    probability = 0.1                # and then one in ten, by the seed
    times = 3                        # and at most so often
    since = "1h"                     # and only from then on, counted from the first request
    until = "1h5m"                   # and up to then: an outage
    fault = { kind = "rate", retry_after = "7s", spelling = "date" }

The first rule that applies decides, and the last pace.  Kinds of faults and their settings are
the classes below.
"""

import math
import re
import tomllib
from typing import Literal

import msgspec

from tildawn.errors import BadSetting, BadValue
from tildawn.units import Micros, duration


class _Kind(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    pass


class Hang(_Kind, frozen=True, tag="hang"):
    """Never a byte; the request is not worked on."""


class AcceptThenHang(_Kind, frozen=True, tag="accept-then-hang"):
    """The request is worked on and billed, then never a byte."""


class Late(_Kind, frozen=True, tag="late"):
    """Worked on at once, answered after a while."""

    delay: str = "30s"


class Drift(_Kind, frozen=True, tag="drift"):
    """Each answer later than the one before it, by ``by``, up to ``limit``."""

    by: str = "500ms"
    limit: str = "60s"


class Drip(_Kind, frozen=True, tag="drip"):
    """The body comes in small drops."""

    every: str = "200ms"
    size: int = 1


class Cut(_Kind, frozen=True, tag="cut"):
    """Worked on and billed; the body breaks off after ``keep`` percent."""

    keep: int = 50


class Reset(_Kind, frozen=True, tag="reset"):
    """The connection closes before a byte of the answer; the request is not worked on."""


class Rate(_Kind, frozen=True, tag="rate"):
    """429, with the time to wait in one of three spellings."""

    retry_after: str = "2s"
    spelling: Literal["seconds", "date", "ms", "none"] = "seconds"


class Quota(_Kind, frozen=True, tag="quota"):
    """429 because the quota is spent; waiting does not help."""


class Server(_Kind, frozen=True, tag="server"):
    """An error of the server; a burst of them is a range in ``nth``."""

    status: int = 503


class Refused(_Kind, frozen=True, tag="refused"):
    """400 because of what the prompt asks for."""


class EmptyUrl(_Kind, frozen=True, tag="empty-url"):
    """Billed; the answer names an empty address in place of a picture."""


class Malformed(_Kind, frozen=True, tag="malformed"):
    """Billed; the body, or the model's words within a proper body, are broken JSON."""

    where: Literal["body", "content"] = "body"


class WrongSchema(_Kind, frozen=True, tag="wrong-schema"):
    """Billed; JSON that does not fit the schema that was asked for."""


Fate = (
    Hang
    | AcceptThenHang
    | Late
    | Drift
    | Drip
    | Cut
    | Reset
    | Rate
    | Quota
    | Server
    | Refused
    | EmptyUrl
    | Malformed
    | WrongSchema
)


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule; see the module for what each setting selects."""

    fault: Fate
    path: str = "/"
    prompt: str = ""
    nth: str | int = "1-"
    probability: float = 1.0
    times: int | None = None
    since: str = "0s"
    until: str | None = None

    def holds(self, at: Micros) -> bool:
        """Whether the rule holds at an instant counted from the beginning.

        Raises:
            Nothing.
        """
        return within(at, self.since, self.until)

    def selects(self, nth: int) -> bool:
        """Whether ``nth``, counted from 1, is among the rule's.

        Raises:
            Nothing.
        """
        return any(low <= nth and (high is None or nth <= high) for low, high in ranges(self.nth))


class Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast answers come; see the module."""

    median: str
    sigma: float = 0.0
    path: str = "/"
    since: str = "0s"
    until: str | None = None
    grow: float = 1.0
    within: str = "0s"

    def holds(self, at: Micros) -> bool:
        """Whether it holds at an instant counted from the beginning.

        Raises:
            Nothing.
        """
        return within(at, self.since, self.until)

    def latency(self, at: Micros, swing: float) -> Micros:
        """How long an answer takes.

        Args:
            at: instant counted from the beginning.
            swing: a number from the normal distribution with mean 0 and deviation 1.

        Raises:
            Nothing.
        """
        over = micros(self.within)
        done = min((at - micros(self.since)) / over, 1.0) if over else 1.0
        median = micros(self.median) * (1 + (self.grow - 1) * done)
        return Micros(round(median * math.exp(self.sigma * swing)))


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the simulator behaves; the empty one never fails and answers at once."""

    latency: str = "0ms"
    pace: tuple[Pace, ...] = ()
    rule: tuple[Rule, ...] = ()


def parse(text: str, *, name: str = "scenario") -> Scenario:
    """A scenario from TOML.

    Args:
        text: see the module.
        name: what to call it in an error.

    Returns:
        The scenario, every setting of it checked.

    Raises:
        BadSetting: it is no TOML, or a setting is unknown or out of range; says where.
    """
    try:
        scenario = msgspec.convert(tomllib.loads(text), Scenario)
        check(scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, BadValue, ValueError) as error:
        message = f"{name}: {error}"
        raise BadSetting(message) from error
    return scenario


def check(scenario: Scenario) -> None:
    """Refuse what is out of range.

    Raises:
        ValueError: a number or a list of numbers is.
        BadValue: a duration is none.
    """
    micros(scenario.latency)
    for rule in scenario.rule:
        _check(rule)
    for pace in scenario.pace:
        for text in (pace.median, pace.within):
            micros(text)
        _check_window(pace.since, pace.until)
        if not (0 <= pace.sigma <= 2 and 0 < pace.grow <= 1_000):  # noqa: PLR2004 generous bounds
            message = f"sigma is {pace.sigma}, allowed is 0 to 2; grow is {pace.grow}, 0 to 1000"
            raise ValueError(message)


def within(at: Micros, since: str, until: str | None) -> bool:
    """Whether an instant lies in a stretch of time; the end does not belong to it.

    Raises:
        Nothing.
    """
    return micros(since) <= at and (until is None or at < micros(until))


def micros(text: str) -> Micros:
    """A duration that may be zero, such as ``0ms``.

    Raises:
        BadValue: the text is no duration.
    """
    return Micros(0) if re.fullmatch(r"0\s*(?:ms|s)?", text) else duration(text)


def ranges(nth: str | int) -> list[tuple[int, int | None]]:
    """``"2,5-7,20-"`` as (2, 2), (5, 7) and (20, None).

    Raises:
        ValueError: the text is no list of numbers and ranges from 1 up.
    """
    found = list[tuple[int, int | None]]()
    for part in str(nth).split(","):
        match = re.fullmatch(r"\s*([1-9]\d*)\s*(-\s*(\d*))?\s*", part)
        if match is None:
            message = f"{nth!r} is not like 2,5-7,20-"
            raise ValueError(message)
        low = int(match[1])
        high = low if match[2] is None else int(match[3]) if match[3] else None
        found.append((low, high))
    return found


def _check_window(since: str, until: str | None) -> None:
    if until is not None and micros(until) <= micros(since):
        message = f"until is {until}, which is not after since, {since}"
        raise ValueError(message)


def _check(rule: Rule) -> None:
    ranges(rule.nth)
    _check_window(rule.since, rule.until)
    fault = rule.fault
    if not 0 <= rule.probability <= 1:
        message = f"probability is {rule.probability}, allowed is 0 to 1"
        raise ValueError(message)
    if isinstance(fault, Cut) and not 0 <= fault.keep <= 99:  # noqa: PLR2004 percent
        message = f"keep is {fault.keep}, allowed is 0 to 99 percent"
        raise ValueError(message)
    if isinstance(fault, Server) and not 500 <= fault.status <= 599:  # noqa: PLR2004 HTTP
        message = f"status is {fault.status}, allowed is 500 to 599"
        raise ValueError(message)
    if isinstance(fault, Drip) and fault.size < 1:
        message = f"size is {fault.size}, allowed is 1 byte and more"
        raise ValueError(message)
    for text in _durations(fault):
        micros(text)


def _durations(fault: Fate) -> tuple[str, ...]:
    match fault:
        case Late(delay):
            return (delay,)
        case Drift(by, limit):
            return (by, limit)
        case Drip(every):
            return (every,)
        case Rate(wait):
            return (wait,)
        case _:
            return ()
