"""What a run waits for where the guard told it to come again: which route, until when, and why.

What it is not: the reason itself; the guard gives that, and the engine records it with the wait.
"""

import re
from collections.abc import Iterable

import msgspec

from tildawn.ledger.reader import Reader
from tildawn.projections.call import CallRow
from tildawn.projections.route import HealthRow, health_of
from tildawn.projections.run import RunRow
from tildawn.watch.words import Times, one_line


_LATER = re.compile(r"later (?P<name>.*?)(?P<reasons>(?: \([^()]*\))+)$")

_FOR = {
    "route-open": "for {route}, which is out of service",
    "route-blocked": "for {route}, which is blocked until you act",
    "route-overdue": "for {route}, whose calls under way take too long",
    "limit": "for its turn at {route}",
    "full": "for room at {route}",
    "retry-budget": "for the retry budget of {route}",
    "asked-wait": "for {route}, which asked everybody to wait",
    "budget": "for room in its budget",
    "budget-spent": "for room in its budget",
    "child-process": "for the end of a child process",
    "timeout": "to ask {route} again, which did not answer in time",
    "network": "to ask {route} again, which could not be reached",
    "server": "to ask {route} again, which reported a fault of its own",
    "rate": "to ask {route} again, which had too much to do",
    "lost": "to ask {route} again, since the process ended before an answer came",
}
"""By the reason of the guard, or by the fault of the last attempt."""

CAUSES = {
    "timeouts-in-a-row": "several attempts in a row got no answer in time",
    "share": "too many of the last attempts failed",
    "failure-tokens": "too many failures within a few minutes",
    "overdue": "calls under way take far too long",
    "relapse": "it failed again soon after it had come back",
    "probe": "the attempt that tested it failed",
    "auth": "the key was refused",
    "quota": "the account is used up",
    "proven": "it was proven to answer",
    "forced": "its owner said so",
}
"""Why a route turned, by the rule that decided."""


LOOKED_AT = 1_000
"""Waiting runs that are looked at; the others wait for the same few routes."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A wait that the guard ordered; ``until`` is microseconds since 1970, 0 for not known."""

    #: Such as ``retry-budget``.
    reason: str
    #: Empty where no call of the run is on record.
    route: str
    until: int
    words: str


def wait_of(reader: Reader, run: RunRow, times: Times, *, clock: bool = True) -> Wait | None:
    """For what a run waits that the guard told to come again; None where it waits for else.

    Args:
        reader: one read transaction.
        run: as it is now.
        times: the zone for clock times.
        clock: whether the words say until when.

    Raises:
        Nothing.
    """
    if run.state != "waiting":
        return None
    found = next((hit for part in run.why.split(", ") if (hit := _LATER.match(part))), None)
    if found is None:
        return None
    reason, _, said = found["reasons"].rpartition("(")[2].rstrip(")").partition(" ")
    route = said or _route(reader.rows(CallRow, "run = ?", (run.run,)), found["name"])
    return Wait(
        reason=reason,
        route=route,
        until=run.due,
        words=words_of(reader, reason, route=route, until=run.due if clock else 0, times=times),
    )


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that wait for the same: how many, and when the first goes on."""

    reason: str
    route: str
    runs: int
    until: int
    words: str


def waiting(reader: Reader, times: Times) -> tuple[Waiting, ...]:
    """For what runs wait that the guard told to come again, most of them first.

    Waits of less than a minute stay in memory and are on no record.

    Raises:
        Nothing.
    """
    found: dict[tuple[str, str], list[Wait]] = {}
    where = "state = 'waiting' AND instr(why, 'later ') > 0"
    for run in reader.rows(RunRow, where, order="due", limit=LOOKED_AT):
        wait = wait_of(reader, run, times)
        if wait is not None:
            found.setdefault((wait.reason, wait.route), []).append(wait)
    groups = [
        Waiting(reason=reason, route=route, runs=len(waits), until=waits[0].until,
                words=waits[0].words)
        for (reason, route), waits in found.items()
    ]  # fmt: skip
    return tuple(sorted(groups, key=lambda one: -one.runs))


def words_of(reader: Reader, reason: str, *, route: str, until: int, times: Times) -> str:
    """Such as ``for sim:chat, which is out of service, until 01:22:31: the key was refused``.

    Raises:
        Nothing.
    """
    shown = one_line(route) or "its route"
    text = _FOR.get(reason, "for {route}: " + one_line(reason)).format(route=shown)
    when = f", until {times.clock(until, seconds=True)}" if until else ""
    because = ""
    if reason == "retry-budget":
        because = ", because only one call in five may be a repeat"
    if reason.startswith("route-") and route:
        health = health_of(reader, route)
        because = f", because {cause_of(health)}" if health.state != "closed" else ""
    return f"{text}{when}{because}"


def cause_of(health: HealthRow) -> str:
    """Why a route is as it is, in words.

    Raises:
        Nothing.
    """
    return one_line(health.why) or CAUSES.get(health.cause, one_line(health.cause))


def _route(calls: Iterable[CallRow], name: str) -> str:
    """The route of the call that waits: the one of that name that has not ended, else any such."""
    # Houses of before reasons named their route; a call that was never sent has no row.
    unsettled = [row for row in calls if row.state != "settled"]
    named = [row for row in unsettled if name in {row.name, row.path}]
    return next((row.route for row in named or unsettled), "")
