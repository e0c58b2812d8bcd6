"""Commands about routes: routes, route, slo, events.

What it is not: what is so; the operations say that, and the guard's rules behind them.
"""

from collections.abc import Callable, Iterator
from typing import NoReturn

import click

from tildawn.errors import Misused
from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, one_line, tell
from tildawn.facts.fact import INTEGER_MAX
from tildawn.guard.explain import LEGEND, Explanation, Limiter, Outage
from tildawn.runtime.operations import route as routing
from tildawn.watch.slo import Level, sentences
from tildawn.watch.waits import CAUSES
from tildawn.watch.words import NBSP, Times, count, dollars, length


STATES = {
    "closed": "closed", "open": "open", "probing": "testing", "ramp": "coming back",
    "blocked": "blocked",
}  # fmt: skip
"""As people call them; ``--json`` keeps the names."""

SENTENCES = {
    "closed": "Closed: calls pass.",
    "open": "Open: nothing is sent.",
    "probing": "One call at a time: it is being tested.",
    "ramp": "Coming back: a few calls at a time.",
    "blocked": "Blocked: nothing is sent until you act.",
}

BASES = {
    "p95": "95 of 100 attempts take less, and a margin",
    "climbing": "too many were cut off, so it grows until they are not",
    "cold": "too little is known yet",
    "cap": "slower than the cap: it would be longer if it might",
    "fixed": "the fixed limit",
}


def _times(now: int) -> Times:
    """The zone of the house; what is within half a day of now needs no date."""
    return Times(config_of(house_there()).settings.house.zone, begins_at=now)


@click.command(help=routing.ROUTES.help)
@click.argument("part", required=False, default="")
@options
def routes(part: str) -> None:
    tell(ask(routing.ROUTES, routing.RoutesInput(part=part)), _routes)


def _routes(found: routing.Routes) -> Iterator[str]:
    if not found.routes:
        yield "No call has been made yet."
        return
    times = _times(found.routes[0].now)
    rows = [("route", "state", "time limit", "left", "USD today", "last 25", "")]
    rows += [_line(one, times) for one in found.routes]
    yield from (line.replace(NBSP, " ") for line in columns(rows))
    yield _legend("".join(one.explanation.strip for one in found.routes))


def _line(one: routing.Shown, times: Times) -> tuple[str, ...]:
    said = one.explanation
    left = " ".join(f"{limiter.left}/{limiter.burst}" for limiter in said.limiters) or "-"
    return (
        one_line(said.route, 60), _state(said, times), f"{length(said.limit)} {said.basis}", left,
        dollars(one.today_micro_usd), said.strip or "-", _short(one, times),
    )  # fmt: skip


def _state(said: Explanation, times: Times) -> str:
    if said.forced:
        return f"forced {said.forced} until {times.clock(said.forced_until)}"
    state = STATES[said.state]
    if said.mode != "on":
        return f"{said.mode}, {state}"
    return state


def _short(one: routing.Shown, times: Times) -> str:
    """Why, and what comes next, in as few words as will do."""
    said = one.explanation
    parts: list[str] = []
    if said.state != "closed" and one.because:
        parts.append(one.because)
    if said.due:
        parts.append(f"next check {times.clock(said.due, seconds=True)}")
    if said.parked:
        parts.append(f"asked to wait until {times.clock(said.parked, seconds=True)}")
    if one.waiting:
        parts.append(f"{count(one.waiting, 'call')} waiting")
    if one.simulated:
        parts.append("simulated")
    return "; ".join(parts)


def _legend(strip: str) -> str:
    signs = [f"{sign} {LEGEND[sign]}" for sign in LEGEND if sign in strip]
    return f"Newest right: {', '.join(signs)}." if signs else ""


# -- one route -----------------------------------------------------------------------------


@click.command(
    help=routing.ROUTE.help
    + "\n\nWith words behind the name it is your say: force open, force closed, release,"
    " mode on, mode shadow, mode off, mode release, promote."
)
@click.argument("name")
@click.argument("words", nargs=-1)
@click.option("--for", "length_", default="", metavar="TIME", help="How long it holds: 30m, 2h.")
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@options
def route(name: str, words: tuple[str, ...], length_: str, reason: str) -> None:
    if not words:
        if length_ or reason:
            _refuse(name, words)
        tell(ask(routing.ROUTE, routing.RouteInput(route=name)), _shown)
        return
    say = _SAYS.get(words[0])
    if say is None or len(words) > 2:  # noqa: PLR2004 - a verb and a state
        _refuse(name, words)
    tell(say(name, words[1:], length_, reason), _shown)


def _force(name: str, words: tuple[str, ...], length_: str, reason: str) -> routing.Shown:
    if len(words) != 1:
        _refuse(name, ("force", *words))
    given = routing.ForceInput(route=name, state=words[0], length=length_, reason=reason)
    return ask(routing.FORCE, given)


def _release(name: str, words: tuple[str, ...], length_: str, reason: str) -> routing.Shown:
    if words or length_:
        _refuse(name, ("release", *words))
    return ask(routing.FORCE, routing.ForceInput(route=name, reason=reason))


def _mode(name: str, words: tuple[str, ...], length_: str, reason: str) -> routing.Shown:
    if len(words) != 1:
        _refuse(name, ("mode", *words))
    mode = "" if words[0] == "release" else words[0]
    given = routing.ModeInput(route=name, mode=mode, length=length_, reason=reason)
    return ask(routing.MODE, given)


def _promote(name: str, words: tuple[str, ...], length_: str, reason: str) -> routing.Shown:
    if words or length_ or reason:
        _refuse(name, ("promote", *words))
    return ask(routing.PROMOTE, routing.RouteInput(route=name))


_SAYS: dict[str, Callable[[str, tuple[str, ...], str, str], routing.Shown]] = {
    "force": _force, "release": _release, "mode": _mode, "promote": _promote,
}  # fmt: skip


def _refuse(name: str, words: tuple[str, ...]) -> NoReturn:
    said = " ".join(words)
    message = f"{said!r} cannot be said of a route" if said else "--for and --reason need a word"
    raise Misused(
        message,
        hint=f'tildawn route {name} force open --for 30m --reason "…", or release, mode, promote',
    )


def _shown(one: routing.Shown) -> Iterator[str]:
    yield from (line.replace(NBSP, " ") for line in _told(one, _times(one.now)))


def _told(one: routing.Shown, times: Times) -> Iterator[str]:
    said = one.explanation
    if said.route == routing.EVERYWHERE:
        until = f" until {times.when(said.mode_until)}" if said.mode_until else ""
        yield f"Every route: {said.mode}, from {said.mode_from}{until}."
        return
    yield one_line(said.route)
    yield from (f"  {line}" for line in _stands(one, times))
    yield ""
    yield from columns([(f"  {name}", text) for name, text in _facts(one, times)])
    if said.last:
        yield ""
        yield f"  last {len(said.last)}: {said.strip}"
        yield f"  {_legend(said.strip)}"
        first, last = said.last[0].at, said.last[-1].at
        yield f"  from {times.when(first)} to {times.when(last)}; each with its time: --json"
    if said.outages:
        yield ""
        yield from columns([("  out of service", "for", "our delay", "checks", "paid", ""),
                            *(_outage(row, times) for row in said.outages)])  # fmt: skip
    yield from _promises(one.levels, times)


def _stands(one: routing.Shown, times: Times) -> Iterator[str]:
    said = one.explanation
    if said.forced:
        yield f"Forced {said.forced} by you until {times.when(said.forced_until)}."
    elif said.mode == "on":
        yield SENTENCES[said.state]
    else:
        yield {"off": "Off: every call is sent.", "shadow": "Only watched: every call is sent."}[
            said.mode
        ]
    if said.since:
        because = f": {one.because}" if one.because else ""
        now = length(one.now - said.since)
        yield f"{STATES[said.state].capitalize()} since {times.when(said.since)}, {now}{because}."
    if said.due:
        at = times.clock(said.due, seconds=True)
        comes = said.due > one.now
        yield (
            f"Next check at {at}, in {length(said.due - one.now)}."
            if comes
            else (f"The next check was due at {at}; whoever holds the pen makes it.")
        )
    if said.parked:
        yield f"It asked everybody to wait until {times.clock(said.parked, seconds=True)}."
    yield from said.next


def _facts(one: routing.Shown, times: Times) -> Iterator[tuple[str, str]]:
    said = one.explanation
    until = f" until {times.when(said.mode_until)}" if said.mode_until else ""
    yield "mode", f"{said.mode}, from {said.mode_from}{until}"
    if said.watch_at or said.review_at:
        looks = [times.when(at) for at in (said.watch_at, said.review_at) if at]
        yield "looked at again", " and ".join(looks)
    known = (
        f"95 of 100 take {length(said.p95)}, of {count(said.samples, 'attempt')}"
        if said.samples
        else "no attempt yet"
    )
    yield "time limit", f"{length(said.limit)}: {BASES[said.basis]} ({known})"
    yield "its clamps", f"{length(said.least)} to {length(said.most)}"
    for limiter in said.limiters:
        yield f"limiter, {limiter.what}", _limiter(limiter, times)
    most = f"of {said.at_once}" if said.at_once else "no limit"
    yield "under way", f"{said.flying}, {most}"
    yield "waiting", count(one.waiting, "call")
    most = f" of {dollars(one.today_most_micro_usd)}" if one.today_most_micro_usd >= 0 else ""
    assumed = f", {dollars(one.assumed_micro_usd)} of it assumed" if one.assumed_micro_usd else ""
    yield "USD today (UTC)", f"{dollars(one.today_micro_usd)}{most}{assumed}"
    yield (
        "paid checks",
        (
            f"{said.paid_probes} of {said.paid_most} this hour, {dollars(said.paid_micro_usd)}"
            f" of {dollars(said.paid_most_micro_usd)} USD"
        ),
    )
    yield "attempts so far", str(said.attempts)


def _limiter(one: Limiter, times: Times) -> str:
    full = f", full at {times.clock(one.full_at, seconds=True)}" if one.full_at else ""
    return f"{one.left} of {one.burst} left, one more every {length(one.every)}{full}"


def _outage(row: Outage, times: Times) -> tuple[str, ...]:
    ended = times.when(row.ended) if row.ended else "now"
    note = one_line(row.why) or CAUSES.get(row.cause, row.cause)
    if row.passed:
        note += f"; only watched, {count(row.passed, 'call')} sent"
    return (
        f"  {times.when(row.began)} to {ended}", length(row.open_us),
        "-" if row.blocked else length(row.excess_us), str(row.checks), str(row.probes), note,
    )  # fmt: skip


# -- service levels ------------------------------------------------------------------------


@click.command(help=routing.SLO.help)
@click.argument("part", required=False, default="")
@options
def slo(part: str) -> None:
    tell(ask(routing.SLO, routing.RoutesInput(part=part)), _levels)


def _levels(found: routing.Levels) -> Iterator[str]:
    if not found.levels:
        yield "Nothing was measured in the last 24 hours."
        return
    times = _times(found.now)
    promise = ""
    for one in found.levels:
        if one.promise != promise:
            promise = one.promise
            yield f"{promise[:1].upper()}{promise[1:]}."
        yield f"  {_kept(one)}  {one_line(one.route)}: {_said(one, times)}"


def _promises(found: tuple[Level, ...], times: Times) -> Iterator[str]:
    if found:
        yield ""
        yield "  Promised, in the last 24 hours"
        yield from (f"  {_kept(one)}  {_said(one, times)}" for one in found)


def _kept(one: Level) -> str:
    return "kept  " if one.kept else "missed"


def _said(one: Level, times: Times) -> str:
    return " ".join(sentences(one, times)).replace(NBSP, " ")


# -- events --------------------------------------------------------------------------------


@click.command(help=routing.EVENTS.help)
@click.option(
    "--since",
    default=0,
    type=click.IntRange(0, INTEGER_MAX),
    metavar="SEQ",
    help="From this fact of the ledger on.",
)
@click.option("--original", is_flag=True, help="Attempts alone, under the name dalle_generation.")
@options
def events(since: int, original: bool) -> None:
    """One JSON object a line, with or without ``--json``, up to the end of the ledger."""
    while True:
        page = ask(routing.EVENTS, routing.EventsInput(since=since, original=original))
        for event in page.events:
            click.echo(bytes(event))
        if page.next == since:
            return
        since = page.next
