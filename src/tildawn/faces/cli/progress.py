"""What a night says while it works: lines in a pipe, one moving line on a terminal, or JSON.

What it is not: the record; everything said here stands in the ledger as well.
"""

import sys
from types import TracebackType
from typing import Literal, Self

import click
import msgspec

from tildawn.apps.night.news import News
from tildawn.apps.night.supervise import FULL, Event
from tildawn.faces.cli.words import instant, one_line
from tildawn.runtime.job import Finished
from tildawn.watch.words import Times, count


_QUIET = frozenset({"settled", "judged", "expanded"})
"""Kinds of news that come once a run or more: on a terminal they only move the count."""


class _Kind(msgspec.Struct, frozen=True):
    kind: str


class Progress:
    """Shows what a worker and its parent say."""

    def __init__(self, *, as_json: bool) -> None:
        """Choose the form: live only where a person watches."""
        self._json = as_json
        self._live = not as_json and sys.stdout.isatty()
        self._shown = ""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Leave no half line behind."""
        self._wipe()

    def line(self, where: Literal["out", "error"], line: bytes) -> None:
        """Take a line of the worker: news on its standard output, words on the other.

        Raises:
            OSError: nobody can read any more.
        """
        text = line.decode("utf-8", "replace").rstrip("\n")
        if where == "error":
            self._wipe()
            click.echo(text, err=True)
        elif self._json:
            click.echo(text)
        else:
            self._news(text)

    def event(self, event: Event) -> None:
        """Take what the parent saw; only what a person must know is told.

        Raises:
            OSError: nobody can read any more.
        """
        how = f"by signal {-event.code}" if event.code < 0 else f"with code {event.code}"
        if event.kind == "died":
            wait = event.wait // 1_000_000
            full = event.code == FULL
            what = "The worker found no room" if full else f"The worker died {how}"
            self._wipe()
            click.echo(f"{what}; it is started again in {wait} s.", err=True)
        elif event.kind == "given-up":
            self._wipe()
            said = f": {one_line(event.said, 300)}" if event.said else "."
            click.echo(
                f"The worker died {event.times} times within minutes, at last {how}{said}\n"
                "It is not started again.  Next: tildawn doctor; all it said is in"
                " logs/supervisor.log of the house",
                err=True,
            )
        elif event.kind == "unlogged":
            self._wipe()
            click.echo(
                f"The log of the house cannot be written: {event.said}. The night goes on.",
                err=True,
            )
        elif event.kind == "unreported":
            self._wipe()
            click.echo("The report could not be written.", err=True)
        elif event.kind == "leaving":
            self._wipe()
            click.echo("Leaving: what is going on returns to the queue.", err=True)

    def _news(self, text: str) -> None:
        try:
            finished = msgspec.json.decode(text, type=_Kind).kind == "finished"
            said = msgspec.json.decode(text, type=Finished if finished else News)
        except msgspec.DecodeError:
            self._wipe()
            click.echo(text)  # a word of a task's own
            return
        if isinstance(said, Finished):
            self._wipe()
            click.echo(f"\n{said.head}\nReport: {said.html}")
        elif self._live and said.kind in _QUIET:
            self._move(f"{said.ended} of {count(said.planned, 'run')}")
        else:
            self._wipe()
            click.echo(sentence(said))

    def _move(self, text: str) -> None:
        """Write over the line that was there."""
        sys.stdout.write("\r" + text.ljust(len(self._shown)))
        sys.stdout.flush()
        self._shown = text

    def _wipe(self) -> None:
        if self._shown:
            sys.stdout.write("\r" + " " * len(self._shown) + "\r")
            sys.stdout.flush()
            self._shown = ""


def sentence(news: News) -> str:
    """One thing that happened, in words.

    Raises:
        Nothing.
    """
    times = Times(news.zone or "UTC")
    called = one_line(news.label, 60) or news.run[-8:]
    subject = " ".join(word for word in (news.item, called) if word)
    said = _SENTENCES.get(news.kind)
    if said is None:
        done = f" ({news.ended} of {news.planned})" if news.planned else ""
        what = f": {news.what}" if news.what else ""
        return f"{news.kind} {subject}{what}{done}"
    return said.format(
        runs=count(news.planned, "run"),
        number=news.number,
        until=f"{instant(news.until, times)} {times.zone}",
        what=news.what,
        item=news.item,
    )


_SENTENCES = {
    "accepted": "Accepted as night {number}: {runs} planned.",
    "continued": "Night {number} goes on: {runs} planned; nothing on record runs again.",
    "waiting": "Waits until {until}.",
    "opened": "The night is open.",
    "expanded": "{item}: rows became runs.",
    "stopped": "Stopped by the rule {what}; no new run begins.",
    "parked": "Parked: {what}. Run it again to go on.",
    "closed": "The night has ended: {what}.",
}
