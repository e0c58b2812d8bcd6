"""Commands that only look: runs, show, status, logs, report.

What it is not: a way to change anything; these never take the pen.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import click

from tildawn.apps.night.reporting import write_report
from tildawn.clock import SystemClock
from tildawn.errors import Misused
from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import asked, options
from tildawn.faces.cli.words import columns, instant, json_line, one_line, tell
from tildawn.facts.fact import INTEGER_MAX
from tildawn.runtime.house import House
from tildawn.runtime.operations import house, listing, showing
from tildawn.runtime.operations import report as reports
from tildawn.runtime.version import BUILD
from tildawn.watch.words import Times, dollars


FOLLOW_EVERY = 0.5
"""Seconds between two looks of ``logs --follow``."""


def _times() -> Times:
    return Times(config_of(house_there()).settings.house.zone)


@click.command(help=listing.RUNS.help)
@click.option("--state", "states", multiple=True, help="Only those; may be given more than once.")
@click.option("--task", default="", help="Only of this task.")
@click.option("--queue", default="", help="Only of this queue.")
@click.option("--night", default="", help="Only of this night; - for those without one.")
@click.option("--item", default="", help="Only of this item of a plan.")
@click.option("--all", "everything", is_flag=True, help="Also children, checks and trash.")
@click.option("--limit", default=50, help="At most so many.")
@click.option("--before", type=click.IntRange(0, INTEGER_MAX), help="Go on where a page ended.")
@options
def runs(states: tuple[str, ...], everything: bool, **filters: str | int | None) -> None:
    given = listing.RunsInput(states=states, everything=everything, **filters)  # pyright: ignore[reportArgumentType]  click gives each its type
    tell(ask(listing.RUNS, given), _runs)


def _runs(found: listing.Runs) -> Iterator[str]:
    if not found.runs:
        yield "No run."
        return
    times = _times()
    rows = [("run", "state", "task", "label", f"accepted ({times.zone})", "")]
    rows += [_row(one, times) for one in found.runs]
    yield from columns(rows)
    if found.next is not None:
        yield f"{len(found.runs)} of {found.total}; more: tildawn runs --before {found.next}"


def _row(one: listing.RunLine, times: Times) -> tuple[str, ...]:
    accepted, why = instant(one.accepted_at, times), one_line(one.why, 60)
    return one.name, one.state, one.task, one_line(one.label, 40), accepted, why


@click.command(help=showing.SHOW.help)
@click.argument("run")
@options
def show(run: str) -> None:
    tell(ask(showing.SHOW, showing.ShowInput(run=run)), _shown)


def _shown(found: showing.Shown) -> Iterator[str]:
    times, run = _times(), found.run
    yield f"{run.name}  {run.task}  {run.state}" + (f": {one_line(run.why)}" if run.why else "")
    if run.label:
        yield f"  {one_line(run.label)}"
    if found.wait:
        yield f"  waits {one_line(found.wait, 500)}"
    if found.trouble:
        yield f"  {one_line(found.trouble, 500)}"
    for choice in found.choices:
        yield f"  tildawn answer {run.name} {choice}"
    yield ""
    yield from columns(
        [
            ("  run", run.run),
            ("  accepted", f"{instant(run.accepted_at, times)} {times.zone}"),
            ("  started", instant(run.started_at, times)),
            ("  ended", instant(run.ended_at, times)),
            ("  attempts", f"{run.attempt}, {found.failures} failed, {found.deaths} died"),
            ("  input", one_line(bytes(found.input).decode(), 500)),
            ("  result", one_line(bytes(found.result).decode(), 500)),
        ]
    )
    if found.calls:
        yield ""
        yield from columns(_calls(found.calls))
    if found.children:
        yield ""
        yield from columns([("  child", one.run, one.task, one.state) for one in found.children])
    yield ""
    if found.facts_total > len(found.facts):
        yield f"  the last {len(found.facts)} of {found.facts_total} facts"
    yield from columns([_fact(one, times) for one in found.facts])


def _fact(one: showing.FactLine, times: Times) -> tuple[str, ...]:
    clock = times.clock(one.at, seconds=True)
    return f"  {one.seq}", clock, one.kind, one.path, one_line(one.text)


def _calls(calls: tuple[showing.CallLine, ...]) -> list[tuple[str, ...]]:
    rows = [("  call", "route", "state", "attempts", "spent", "")]
    for one in calls:
        notes = [
            f"{one.tier} instead, because of {one.instead}" if one.tier else "", one.fault,
            "effect unknown" if one.effect == "unknown" else "",
        ]  # fmt: skip
        note = ", ".join(filter(None, notes))
        rows.append((f"  {one.name}", one.route, one.state, str(one.attempts),
                     dollars(one.spend_micro_usd), note))  # fmt: skip
    return rows


@click.command(help=house.STATUS.help)
@options
def status() -> None:
    tell(ask(house.STATUS, house.Nothing()), _status)


def _status(found: house.Status) -> Iterator[str]:
    times = _times()
    since = instant(found.since, times)
    if found.holder:
        yield f"Process {found.holder} holds the pen since {since} {times.zone}."
    else:
        yield f"Nobody works here; the pen was last held until {since} {times.zone}."
    for stop in found.stops:
        yield f"No new work begins: {one_line(stop.says, 500)} [{stop.name}]"
        yield f"Next: {stop.next}"
    yield from _runs_now(found)
    for one in found.waits:
        runs = "1 run waits" if one.runs == 1 else f"{one.runs} runs wait"
        yield f"{runs} {one_line(one.words, 500)}."
    if found.next_due:
        yield f"The next one is due {instant(found.next_due, times)} {times.zone}."
    yield from _kept(found)


def _kept(found: house.Status) -> Iterator[str]:
    """The night, and how the ledger is kept."""
    if found.night is not None:
        mark = ", simulated" if found.night.simulated else ""
        yield f"Night {found.night.number}: {found.night.state}, {found.night.planned} runs{mark}."
    if found.mirror_lost:
        yield "The mirror is lost: new facts have one copy. Next: tildawn mirror"
    for line in found.anchors:
        yield f"Anchor {line.debt.anchor}: {one_line(line.says, 500)}."
    yield f"Ledger: {found.facts} facts, epoch {found.epoch}, root {found.root[:16]}…"


def _runs_now(found: house.Status) -> Iterator[str]:
    if found.runs:
        yield "Runs: " + ", ".join(f"{number} {name}" for name, number in found.runs.items()) + "."
    else:
        yield "No run yet."
    if found.runs.get("held"):
        yield "What is held needs you: tildawn runs --state held --all"


@click.command(help=house.LOGS.help)
@click.argument("run", required=False, default="")
@click.option("-f", "--follow", is_flag=True, help="Go on as facts come in.")
@click.option("-n", "--limit", default=100, help="The last so many facts.")
@options
def logs(run: str, follow: bool, limit: int) -> None:
    page = ask(house.LOGS, house.LogsInput(run=run, limit=limit))
    while True:
        _entries(page)
        if not follow:
            return
        if not page.entries:
            threading.Event().wait(FOLLOW_EVERY)
        page = ask(
            house.LOGS,
            house.LogsInput(run=run, after=page.next, after_at=page.next_at, limit=1_000),
        )


def _entries(page: house.Logs) -> None:
    if asked().json:
        for entry in page.entries:
            click.echo(json_line(entry))
        return
    times = _times() if page.entries else Times("UTC")
    for one in page.entries:
        seq = "" if one.seq is None else str(one.seq)
        words = " ".join(word for word in (one.run[-8:], one.path, one_line(one.text)) if word)
        click.echo(f"{instant(one.at, times)} {seq:>8} {one.kind} {words}".rstrip())


@click.command(help=reports.REPORT.help)
@click.argument("night", required=False, default="")
@click.option("--html", metavar="FILE", help="Write the page to this file; - for standard output.")
@click.option("--write", is_flag=True, help="Write all forms into the house, and show the head.")
@options
def report(night: str, html: str | None, write: bool) -> None:
    if write:
        _write_report(night)
        return
    form = reports.Form.HTML if html else reports.Form.MARKDOWN
    if asked().json:
        form = reports.Form.JSON
    found = ask(reports.REPORT, reports.ReportInput(night=night, form=form))
    if html and html != "-" and form is reports.Form.HTML:
        _put(Path(html), found.text)
        click.echo(f"{found.headline}\nReport: {html}")
    else:
        click.echo(found.text)


def _put(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise Misused(message, hint="name another file") from error


def _write_report(night: str) -> None:
    """The report as files, without the pen: what the parent of a dead worker asks for."""
    folder, clock = house_there(), SystemClock()
    with House.open(folder, config_of(folder).settings, mode="read", clock=clock) as opened:
        alive = ask(house.STATUS, house.Nothing()).holder != 0
        written = write_report(
            opened.ledger, folder, night=night, clock=clock, alive=alive, build=BUILD
        )
    if asked().json:
        click.echo(written.json.read_text(encoding="utf-8"))
    else:
        click.echo(f"{written.head}\nReport: {written.html}")
