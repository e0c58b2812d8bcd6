"""Numbers, times, money and lengths as a person reads them, in the zone of the night.

What it is not: sentences about runs; those are in ``watch.verdict`` and ``watch.needs``.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


NBSP: Final = "\u00a0"
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_MINUTE, _HOUR = 60, 3600
_SHORT = 600_000_000
"""Ten minutes: a span in which hours and minutes alone tell nothing apart."""


class Times:
    """Instants in one zone, for a span in which the zone may change its offset."""

    def __init__(self, zone: str, *, begins_at: int = 0, ends_at: int = 0) -> None:
        """Take an IANA zone and the span that will be shown.

        Args:
            zone: an unknown one becomes UTC, and `label` says so.
            begins_at: first instant of the span, microseconds.
            ends_at: last instant of the span, microseconds.

        Raises:
            Nothing.
        """
        self._unknown = ""
        try:
            self._zone: tzinfo = ZoneInfo(zone)
            self.zone = zone
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._zone, self.zone, self._unknown = UTC, "UTC", zone
        self._begins_at, self._ends_at = begins_at, ends_at or begins_at
        first, last = self._offset(self._begins_at), self._offset(self._ends_at)
        self._changes = first != last
        self._short = 0 < self._ends_at - self._begins_at < _SHORT

    def local(self, at: int) -> datetime:
        """The instant as a local date and time, to the second.

        Raises:
            Nothing.
        """
        return datetime.fromtimestamp(at // 1_000_000, tz=self._zone)

    def clock(self, at: int, *, seconds: bool = False) -> str:
        """Such as ``04:36``; with its offset in a night that has two.

        Args:
            at: an instant in microseconds.
            seconds: ``04:36:48``; always so within a span of a few minutes.

        Raises:
            Nothing.
        """
        text = self.local(at).strftime("%H:%M:%S" if seconds or self._short else "%H:%M")
        return f"{text} ({self._offset(at)})" if self._changes else text

    def when(self, at: int) -> str:
        """A clock time within the span, with its date outside of it.

        Raises:
            Nothing.
        """
        near = 12 * 3600 * 1_000_000
        if self._begins_at - near <= at <= self._ends_at + near:
            return self.clock(at)
        return f"{self.date(at)}, {self.clock(at)}"

    def iso(self, at: int) -> str:
        """Such as ``2026-11-12T04:36:48+01:00``.

        Raises:
            Nothing.
        """
        return self.local(at).isoformat(timespec="seconds")

    def date(self, at: int) -> str:
        """Such as ``12 November 2026``.

        Raises:
            Nothing.
        """
        day = self.local(at)
        return f"{day.day}{NBSP}{_MONTHS[day.month - 1]}{NBSP}{day.year}"

    def dates(self, begins_at: int, ends_at: int) -> str:
        """Such as ``Wednesday 11 to Thursday 12 November 2026``.

        Raises:
            Nothing.
        """
        first, last = self.local(begins_at), self.local(ends_at)
        end = f"{_DAYS[last.weekday()]} {self.date(ends_at)}"
        if first.date() == last.date():
            return end
        begin = f"{_DAYS[first.weekday()]} {first.day}"
        if (first.year, first.month) != (last.year, last.month):
            begin += f"{NBSP}{_MONTHS[first.month - 1]}"
        return f"{begin} to {end}"

    def label(self) -> str:
        """Such as ``Europe/Berlin (UTC+1)``.

        Raises:
            Nothing.
        """
        first, last = self._offset(self._begins_at), self._offset(self._ends_at)
        offsets = f"{first}, later {last}" if self._changes else last
        shown = self.zone if self.zone == offsets else f"{self.zone} ({offsets})"
        return f"{shown}; the zone {self._unknown} is unknown here" if self._unknown else shown

    def _offset(self, at: int) -> str:
        delta = self.local(at).utcoffset()
        minutes = delta // timedelta(minutes=1) if delta is not None else 0
        hours, rest = divmod(abs(minutes), 60)
        sign = "+" if minutes >= 0 else "\u2212"
        return f"UTC{sign}{hours}{f':{rest:02}' if rest else ''}" if minutes else "UTC"


def length(micros: int) -> str:
    """A duration, such as ``2 h 31 min``, ``11 min 07 s``, ``4 s`` or ``250 ms``.

    Args:
        micros: microseconds; negative counts as 0.

    Raises:
        Nothing.
    """
    seconds, rest = divmod(max(micros, 0), 1_000_000)
    if seconds < 1:
        return f"{rest // 1000}{NBSP}ms" if rest else f"0{NBSP}s"
    if seconds < _MINUTE:
        return f"{seconds}{NBSP}s"
    if seconds < _HOUR:
        minutes, seconds = divmod(seconds, 60)
        tail = f"{NBSP}{seconds:02}{NBSP}s" if seconds else ""
        return f"{minutes}{NBSP}min{tail}"
    hours, minutes = divmod(seconds // 60, 60)
    tail = f"{NBSP}{minutes}{NBSP}min" if minutes else ""
    return f"{hours}{NBSP}h{tail}"


def number(value: int) -> str:
    """Such as ``19,102``.

    Raises:
        Nothing.
    """
    return f"{value:,}"


def dollars(micro: int, *, decimals: int = 2) -> str:
    """An exact amount without its currency: as many decimals as it needs.

    Args:
        micro: millionths of a US dollar.
        decimals: at least so many, 2..6.

    Raises:
        Nothing.
    """
    decimals = max(decimals, decimals_of(micro))
    sign = "\u2212" if micro < 0 else ""
    whole, rest = divmod(abs(micro), 1_000_000)
    return f"{sign}{whole:,}.{f'{rest:06}'[:decimals]}"


def decimals_of(micro: int) -> int:
    """How many decimals an exact amount needs, 2..6.

    Raises:
        Nothing.
    """
    digits = f"{abs(micro) % 1_000_000:06}".rstrip("0")
    return max(2, len(digits))


def cents(micro: int) -> str:
    """An amount for a sentence: to the nearest cent from a dollar on, exact below.

    Raises:
        Nothing.
    """
    if abs(micro) < 1_000_000:  # noqa: PLR2004  # one dollar
        return dollars(micro)
    return dollars((micro + 5_000) // 10_000 * 10_000)


def count(n: int, one: str, many: str = "") -> str:
    """Such as ``1 run`` or ``3 runs``.

    Raises:
        Nothing.
    """
    return f"{number(n)}{NBSP}{one if n == 1 else many or one + 's'}"


def one_line(text: str, *, longest: int = 200) -> str:
    """A text as one line without control characters, cut with an ellipsis.

    Args:
        text: whatever somebody wrote.
        longest: characters, at least 2.

    Raises:
        Nothing.
    """
    spaced = " ".join(text[: longest * 4].split())
    line = "".join(c if c.isprintable() or c == "\u200d" else "\ufffd" for c in spaced)
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
