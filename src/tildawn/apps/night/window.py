"""The hours of a night: when its window opens and closes, and when it is reported.

What it is not: a schedule.  It answers for one instant; nothing here waits.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tildawn.errors import Misused
from tildawn.facts.plan import Night, Window
from tildawn.units import Micros


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """Instants in microseconds since 1970; 0 for a night that ends when its work does."""

    opens: Micros
    closes: Micros = Micros(0)
    report_at: Micros = Micros(0)


def hours_of(night: Night, now: Micros, *, at_window: bool) -> Hours:
    """The hours of a night that is begun now.

    Args:
        night: the plan's.
        now: the instant.
        at_window: keep to the window: the one that is open now, or the next one.

    Returns:
        Without ``at_window`` the night opens now, and is reported when it is finished.

    Raises:
        Misused: the plan names no window.
    """
    if not at_window:
        return Hours(opens=now)
    if night.window is None or night.zone is None:
        message = "the plan names no window"
        raise Misused(message, hint='night: { window: "23:00-06:30", zone: "Europe/Berlin" }')
    zone = ZoneInfo(night.zone)
    opens, closes = _window(night.window, zone, now)
    report_at = closes
    if night.report_minute is not None:
        report_at = _next(night.report_minute, zone, closes)
    return Hours(opens=opens, closes=closes, report_at=report_at)


def _window(window: Window, zone: ZoneInfo, now: Micros) -> tuple[Micros, Micros]:
    today = _local(now, zone).date()
    for offset in range(-1, 3):
        day = today + timedelta(days=offset)
        over = window.end_minute <= window.start_minute
        opens = _instant(day, window.start_minute, zone)
        closes = _instant(day + timedelta(days=int(over)), window.end_minute, zone)
        if now < closes:
            return opens, closes
    message = "no window opens within two days"
    raise AssertionError(message)  # pragma: no cover - tomorrow's closes after now


def _next(minute: int, zone: ZoneInfo, after: Micros) -> Micros:
    """The first time of day at or after an instant."""
    day = _local(after, zone).date()
    today = _instant(day, minute, zone)
    return today if today >= after else _instant(day + timedelta(days=1), minute, zone)


def _local(at: Micros, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC).astimezone(zone)


def _instant(day: object, minute: int, zone: ZoneInfo) -> Micros:
    """A time of day as an instant; one that the clocks skip is taken an hour later.

    Of a time of day that comes twice the first is meant.
    """
    text = f"{day} {minute // 60:02d}:{minute % 60:02d}"
    local = datetime.fromisoformat(text).replace(tzinfo=zone)
    return Micros(int(local.timestamp()) * 1_000_000)
