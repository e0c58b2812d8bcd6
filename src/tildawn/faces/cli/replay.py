"""What ``tildawn sim replay`` prints: the scripts that there are, and nights beside each other.

What it is not: the playing; `tildawn.runtime.rehearsal` does that.
"""

from collections.abc import Callable, Mapping, Sequence

import click

from tildawn.errors import UnknownName
from tildawn.faces.cli.asked import asked
from tildawn.faces.cli.words import columns, json_line
from tildawn.guard.policy import Mode
from tildawn.runtime.rehearsal.account import Account
from tildawn.runtime.rehearsal.night import MODES, play
from tildawn.runtime.rehearsal.script import find, parse, shipped
from tildawn.watch.words import dollars


def listed() -> None:
    """Print the scripts that come with Tildawn.

    Raises:
        UnknownName: always in JSON, where a name must be given.
    """
    if asked().json:
        message = "which scenario?"
        raise UnknownName(message, hint=f"one of {', '.join(shipped())}, or a file")
    rows = [(name, parse(text, name=name).about) for name, text in shipped().items()]
    for line in columns(rows):
        click.echo(line)


def played(name: str, *, modes: Sequence[Mode], seed: int, turns: bool) -> None:
    """Play a night under each mode and print what came of it.

    Raises:
        UnknownName: there is no such script.
        BadSetting: the script is no good.
    """
    script = find(name)
    accounts: list[Account] = []
    for mode in modes or MODES:
        account = play(script, mode=mode, seed=seed)
        accounts.append(account)
        if asked().json:
            click.echo(json_line(account))
    if not asked().json:
        click.echo(f"{script.about} {script.length} of virtual time, seed {seed}.\n".lstrip())
        for line in lines_of(accounts, turns=turns):
            click.echo(line)


def lines_of(accounts: Sequence[Account], *, turns: bool) -> list[str]:
    """Nights beside each other, one column each.

    Raises:
        Nothing.
    """
    lines = columns(
        [
            ("", *(one.mode for one in accounts)),
            *((title, *(cell(one) for one in accounts)) for title, cell in _ROWS),
        ]
    )
    for one in accounts if turns else ():
        lines += ["", f"{one.mode}:"]
        rows = [(f"{turn.at_s:,.1f} s", turn.route, turn.state, turn.cause) for turn in one.turns]
        lines += columns(rows) or ["nothing changed its state"]
    return lines


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "–"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s"


_ROWS: tuple[tuple[str, Callable[[Account], str]], ...] = (
    ("done", lambda one: f"{one.done:,}"),
    ("failed", lambda one: f"{one.failed:,}"),
    ("held", lambda one: f"{one.held:,}"),
    ("still waiting", lambda one: f"{one.going:,}"),
    ("attempts sent", lambda one: f"{one.attempts:,}"),
    ("ended badly", lambda one: _counted(one.faults)),
    ("out of service", lambda one: _seconds(one.open_s)),
    ("of it with a healthy provider", lambda one: _seconds(one.excess_s)),
    ("free checks", lambda one: f"{one.checks:,}"),
    ("paid probes", lambda one: f"{one.probes:,}, {dollars(one.probe_spend)} USD"),
    ("spent", lambda one: f"{dollars(one.spend)} USD"),
    ("served instead", lambda one: _counted(one.served)),
    ("came late", lambda one: f"{one.late:,}"),
    ("would have", lambda one: _counted(one.would)),
)
