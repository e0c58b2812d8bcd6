"""What operations answer, as lines for a person, or as JSON.

What it is not: sentences of a report; `tildawn.watch` has those.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click
import msgspec

from tildawn.errors import TildawnError
from tildawn.faces.cli.asked import asked
from tildawn.runtime.operation import refusal_of
from tildawn.watch.words import Times


T = TypeVar("T", bound=msgspec.Struct)


def tell(answer: T, lines: Callable[[T], Iterable[str]]) -> None:
    """Print an answer: as JSON where that was asked for, else as lines.

    Raises:
        Nothing.
    """
    if asked().json:
        click.echo(json_line(answer))
        return
    for line in lines(answer):
        click.echo(line)


def json_line(answer: msgspec.Struct) -> str:
    """One object on one line.

    Raises:
        Nothing.
    """
    return msgspec.json.encode(answer).decode()


def refusal_json(error: TildawnError) -> str:
    """An error on one line.

    Raises:
        Nothing.
    """
    return json_line(refusal_of(error))


def instant(at: int, times: Times) -> str:
    """Such as ``2026-11-12 04:36:48``; a dash for never.

    Raises:
        Nothing.
    """
    return times.local(at).strftime("%Y-%m-%d %H:%M:%S") if at else "–"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows whose cells stand below each other, two spaces apart.

    Raises:
        Nothing.
    """
    if not rows:
        return []
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def one_line(text: str, longest: int = 100) -> str:
    """A text of the user on one line, without what could steer a terminal.

    Raises:
        Nothing.
    """
    clean = "".join(sign if sign.isprintable() else " " for sign in text)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
