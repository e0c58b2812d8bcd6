"""The morning report on the disk: written when a night ends, or at its hour whatever happened.

What it is not: the judgement, which is made from the ledger by `tildawn.watch`.  It is written
by the worker, which can record that it was, or by a process without the pen when there is none.
"""

import logging
import os
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import TildawnError
from tildawn.facts.night import ReportWritten
from tildawn.ledger.ledger import Ledger
from tildawn.projections.night import night_called
from tildawn.watch.build import build_report
from tildawn.watch.html import render_html
from tildawn.watch.markdown import render_head, render_markdown
from tildawn.watch.report import Report, render_json


_log = logging.getLogger(__name__)

FOLDER = "reports"
"""Beside the ledger in the house."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A report on the disk; ``head`` is what a terminal shows of it."""

    report: Report
    html: Path
    markdown: Path
    json: Path
    head: str


def write_report(
    ledger: Ledger, house: Path, *, night: str, clock: Clock, alive: bool, build: str = "",
) -> Written:  # fmt: skip
    """Write the report of a night into the house, in three forms; readable by the owner only.

    A crash in the middle leaves the old file or the new one of each form.

    Args:
        ledger: open, to read or to write; what was appended before is in the report.
        house: its folder.
        night: its name or number, empty for the latest.
        clock: the instant of the report.
        alive: whether a process works on the night.
        build: the version that writes it.

    Returns:
        Where it is.

    Raises:
        UnknownName: there is no such night.
        OSError: the disk refuses.
    """
    _seal(ledger)
    with ledger.read() as reader:
        row = night_called(reader, night)
        report = build_report(
            reader, night=night or None, now=clock.wall(), alive=alive, build=build
        )
    name = row.night if row is not None else "runs"
    folder = house / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    paths = {ending: folder / f"{name}.{ending}" for ending in ("html", "md", "json")}
    _put(paths["html"], render_html(report).encode())
    _put(paths["md"], render_markdown(report).encode())
    _put(paths["json"], render_json(report))
    return Written(
        report=report, html=paths["html"], markdown=paths["md"], json=paths["json"],
        head=render_head(report),
    )  # fmt: skip


def _seal(ledger: Ledger) -> None:
    """Sign what the report will stand on, where we hold the pen; the report comes in any case."""
    if ledger.writable and ledger.notary is not None:
        try:
            ledger.checkpoint()
        except TildawnError:
            _log.exception("no checkpoint could be signed before the report")


async def record_report(ledger: Ledger, written: Written) -> None:
    """Record that the report of a night was written; nothing where it is of no night.

    Raises:
        TildawnError: the ledger takes nothing.
    """
    night = written.report.night
    if night is not None:
        said = ReportWritten(night=night.night, upto=written.report.ledger.size)
        await ledger.append([ledger.draft(said)])


def _put(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(content)
    draft.replace(path)
