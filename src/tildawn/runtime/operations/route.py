"""Routes: how each stands and why, and the words of their owner: forced, mode, promoted.

What it is not: the guard.  Whoever looks needs no pen; a word is a fact, and the guard reads it.
"""

import difflib
import os
from typing import cast

import msgspec

from tildawn.errors import Misused, UnknownName
from tildawn.facts.fact import FactData
from tildawn.facts.route import RouteForced, RouteModeSet, RoutePromoted
from tildawn.guard.explain import Explanation, explain
from tildawn.guard.mode import MODE_VARIABLE, parse
from tildawn.guard.policy import Class, Mode
from tildawn.ledger.reader import Reader
from tildawn.projections.route import HealthRow, WordRow
from tildawn.projections.slo import kind_of_route
from tildawn.projections.traffic import DAY, HOUR, LatestRow
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.policies import Policies
from tildawn.units import Micros, duration
from tildawn.watch.slo import Level, levels
from tildawn.watch.stream import events
from tildawn.watch.telemetry import Attempt, original
from tildawn.watch.waits import cause_of


EVERYWHERE = "*"

EVENTS_MOST = 100_000
"""Facts that are looked at for one page of events."""

LONGEST = 7 * DAY
"""The longest that a word of the owner holds: what is meant for ever belongs into the settings."""


class RouteInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which route, by its whole name."""

    route: str


class RoutesInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Routes whose names hold this; all when empty."""

    part: str = ""


class ForceInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``open``, ``closed``, or empty to give the route back; for how long, and why."""

    route: str
    state: str = ""
    #: Such as ``30m``.
    length: str = ""
    reason: str = ""


class ModeInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``on``, ``shadow``, ``off``, or empty to take the word back; ``*`` is every route."""

    route: str
    mode: str = ""
    length: str = ""
    reason: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A route with everything about it; instants are microseconds since 1970."""

    now: int
    explanation: Explanation
    #: Why it is in its state, in words.
    because: str
    #: Spent on calls that were sent today (UTC), and the part of it without a bill.
    today_micro_usd: int
    assumed_micro_usd: int
    #: Most that it may spend a day, -1 for no limit.
    today_most_micro_usd: int
    #: Runs that wait with a call of it.
    waiting: int
    simulated: bool
    #: Service levels of the last day.
    levels: tuple[Level, ...]


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """Routes by name."""

    routes: tuple[Shown, ...]


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """Service levels of the last 24 hours."""

    now: int
    levels: tuple[Level, ...]


class EventsInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which fact on, and how many facts are looked at."""

    since: int = 0
    limit: int = 10_000
    #: Attempts under the name ``dalle_generation`` instead of ours.
    original: bool = False


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Events of the guard, each with its name in ``event``; ``next`` is where to go on."""

    events: tuple[msgspec.Raw, ...]
    next: int


class _Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of a route come to."""

    flying: int = 0
    waiting: int = 0
    spent: int = 0
    assumed: int = 0
    simulated: bool = False


async def _routes(desk: Desk, given: RoutesInput) -> Routes:
    with desk.house.ledger.read() as reader:
        calls = _calls(reader, _midnight(desk.clock.wall()))
        names = [name for name in _known(reader, calls) if given.part in name]
        return Routes(routes=tuple(_shown(desk, reader, name, calls) for name in names))


async def _route(desk: Desk, given: RouteInput) -> Shown:
    with desk.house.ledger.read() as reader:
        calls = _calls(reader, _midnight(desk.clock.wall()))
        return _shown(desk, reader, _meant(reader, given.route, calls), calls)


async def _slo(desk: Desk, given: RoutesInput) -> Levels:
    now = desk.clock.wall()
    with desk.house.ledger.read() as reader:
        found = levels(reader, since=Micros(now - DAY), until=now)
    return Levels(now=now, levels=tuple(one for one in found if given.part in one.route))


async def _events(desk: Desk, given: EventsInput) -> Events:
    if given.since < 0 or not 1 <= given.limit <= EVENTS_MOST:
        message = f"since is a position, and a page has 1 to {EVENTS_MOST} facts"
        raise Misused(message)
    with desk.house.ledger.read() as reader:
        found = [
            original(event) if given.original and isinstance(event, Attempt) else event
            for event in events(reader, since=given.since, limit=given.limit)
            if not given.original or isinstance(event, Attempt)
        ]
        end = min(given.since + given.limit, int(reader.head().size))
    return Events(
        events=tuple(msgspec.Raw(msgspec.json.encode(one)) for one in found),
        next=max(end, given.since),
    )


def _shown(desk: Desk, reader: Reader, name: str, calls: "dict[str, _Calls]") -> Shown:
    now, mine = desk.clock.wall(), calls.get(name, _Calls())
    settings = desk.house.settings
    policy = Policies(settings.route).of(name, _class(reader, name))
    found = explain(
        reader, name, policy=policy, environment=_environment(), flying=mine.flying,
        now=now,
    )  # fmt: skip
    row = reader.get(HealthRow, name)
    return Shown(
        now=now,
        explanation=found,
        because=cause_of(row) if row is not None and row.cause else "",
        today_micro_usd=mine.spent,
        assumed_micro_usd=mine.assumed,
        today_most_micro_usd=-1 if policy.usd_a_day is None else policy.usd_a_day,
        waiting=mine.waiting,
        simulated=mine.simulated,
        levels=levels(reader, since=Micros(now - DAY), until=now, route=name),
    )


def _environment() -> Mode | None:
    """What the environment of this process says.

    HOLE: the process that works may have been started with another one.
    """
    said = os.environ.get(MODE_VARIABLE, "")
    return parse(said) if said.strip() else None


def _class(reader: Reader, name: str) -> Class:
    return cast("Class", kind_of_route(reader, name) or "http")


def _midnight(now: Micros) -> Micros:
    return Micros(now // DAY * DAY)


def _calls(reader: Reader, since: Micros) -> dict[str, _Calls]:
    """One look at the table of calls for all routes."""
    found = reader.query(
        "SELECT route, sum(state = 'dispatched'), sum(state IN ('ready', 'unknown') AND run IN"
        " (SELECT run FROM run WHERE state IN ('waiting', 'scheduled'))),"
        " sum(spend * (sent_at >= ?1)), sum(assumed * (sent_at >= ?1)), max(simulated)"
        " FROM call WHERE route <> '' GROUP BY route",
        (since,),
    )
    return {
        route: _Calls(
            flying=flying, waiting=waiting, spent=spent, assumed=assumed,
            simulated=bool(simulated),
        )
        for route, flying, waiting, spent, assumed, simulated in found
    }  # fmt: skip


def _known(reader: Reader, calls: "dict[str, _Calls]") -> list[str]:
    names = {*calls, *(row.route for row in reader.rows(HealthRow))}
    names |= {row.route for row in reader.rows(LatestRow)}
    names |= {row.route for row in reader.rows(WordRow)}
    return sorted(names - {EVERYWHERE, ""})


def _meant(reader: Reader, said: str, calls: "dict[str, _Calls]") -> str:
    known = _known(reader, calls)
    if said in known:
        return said
    near = difflib.get_close_matches(said, known, n=1, cutoff=0.4)
    message = f"no call has gone by a route {said}"
    raise UnknownName(message, hint=f"tildawn route {near[0]}" if near else "tildawn routes")


# -- words of the owner --------------------------------------------------------------------


async def _force(desk: Desk, given: ForceInput) -> Shown:
    if given.state not in {"", "open", "closed"}:
        message = f"a route can be forced open or closed, not {given.state!r}"
        raise Misused(message, hint=f"tildawn route {given.route} force open --for 30m --reason …")
    name = await _there(desk, given.route)
    until = _until(desk, name, f"force {given.state}", given.state, given.length, given.reason)
    await _say(
        desk, RouteForced(route=name, state=given.state, until=until, reason=""), given.reason
    )
    return await _route(desk, RouteInput(route=name))


async def _mode(desk: Desk, given: ModeInput) -> Shown:
    mode: Mode | str = parse(given.mode) if given.mode else ""
    name = given.route if given.route == EVERYWHERE else await _there(desk, given.route)
    until = _until(desk, name, f"mode {mode}", mode, given.length, given.reason)
    await _say(desk, RouteModeSet(route=name, mode=mode, until=until, reason=""), given.reason)
    with desk.house.ledger.read() as reader:
        calls = _calls(reader, _midnight(desk.clock.wall()))
        return _shown(desk, reader, name, calls)


async def _promote(desk: Desk, given: RouteInput) -> Shown:
    name = await _there(desk, given.route)
    with desk.house.ledger.read() as reader:
        policy = Policies(desk.house.settings.route).of(name, _class(reader, name))
        row = reader.get(HealthRow, name)
    if not policy.custom:
        message = f"{name} goes by the built-in numbers, which act already"
        raise Misused(message, hint=f"tildawn route {name}")
    if row is not None and row.promoted == policy.digest:
        message = f"the settings of {name} were promoted before"
        raise Misused(message, hint=f"tildawn route {name}")
    now = desk.clock.wall()
    fact = RoutePromoted(route=name, policy=policy.digest, watch_at=now + HOUR, review_at=now + DAY)
    await _say(desk, fact, "")
    return await _route(desk, RouteInput(route=name))


async def _there(desk: Desk, said: str) -> str:
    with desk.house.ledger.read() as reader:
        return _meant(reader, said, _calls(reader, Micros(0)))


def _until(desk: Desk, name: str, words: str, state: str, length: str, reason: str) -> int:
    """When a word ends; refused without an end or without a reason, but to take one back."""
    if not state:
        return 0
    missing = [
        option
        for option, value in (("--for 30m", length), ('--reason "why"', reason.strip()))
        if not value
    ]
    if missing:
        message = "such a word needs an end and a reason"
        raise Misused(message, hint=f'tildawn route {name} {words} --for 30m --reason "why"')
    wait = duration(length)
    if wait > LONGEST:
        message = f"a word holds for 7 days at most, not {length}"
        raise Misused(message, hint="write what is meant for ever into tildawn.toml")
    return desk.clock.wall() + wait


async def _say(desk: Desk, fact: FactData, reason: str) -> None:
    """Put a word on record, with its reason as a payload that can be erased."""
    ledger = desk.house.ledger
    payloads = []
    if reason.strip():
        payload = ledger.payload(msgspec.json.encode(reason.strip()))
        fact = msgspec.structs.replace(fact, reason=payload.digest)
        payloads = [payload]
    await ledger.append([ledger.draft(fact, actor="owner", payloads=payloads)])
    desk.house.engine.wake()


ROUTES = Operation(
    name="routes", input=RoutesInput, output=Routes, effect=Effect.READ,
    permission=Permission.LOOK, run=_routes,
    help="List routes: state, time limit, limiter, money, the last 25 attempts.",
)  # fmt: skip
ROUTE = Operation(
    name="route", input=RouteInput, output=Shown, effect=Effect.READ,
    permission=Permission.LOOK, run=_route,
    help="Explain one route: how it stands, why, and what happens next.",
)  # fmt: skip
FORCE = Operation(
    name="route.force", input=ForceInput, output=Shown, effect=Effect.WRITE,
    permission=Permission.OWN, run=_force,
    help="Put a route out of service or into it until an instant, or give it back.",
)  # fmt: skip
MODE = Operation(
    name="route.mode", input=ModeInput, output=Shown, effect=Effect.WRITE,
    permission=Permission.OWN, run=_mode,
    help="Let the guard of a route act, only watch, or rest, until an instant.",
)  # fmt: skip
PROMOTE = Operation(
    name="route.promote", input=RouteInput, output=Shown, effect=Effect.WRITE,
    permission=Permission.OWN, run=_promote,
    help="Let changed settings of a route act before they were watched for 50 attempts.",
)  # fmt: skip
SLO = Operation(
    name="slo", input=RoutesInput, output=Levels, effect=Effect.READ,
    permission=Permission.LOOK, run=_slo,
    help="Show service levels of the last day: what was promised, measured, and is left.",
)  # fmt: skip
EVENTS = Operation(
    name="events", input=EventsInput, output=Events, effect=Effect.READ,
    permission=Permission.LOOK, run=_events,
    help="Give what the guard did as events for other tools, from a fact of the ledger on.",
)  # fmt: skip
