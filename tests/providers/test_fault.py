"""Reading what the other side says about failures."""

import pytest

from tildawn.ledger.secret import redact
from tildawn.providers.fault import FaultKind, kind_of_status, retry_after
from tildawn.units import Micros


NOON = Micros(1_771_070_400_000_000)  # 2026-02-14T12:00:00Z


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"error": {"code": "insufficient_quota"}}', FaultKind.QUOTA),
        ("You exceeded your current quota, please check your plan", FaultKind.QUOTA),
        ("Your team has used all available credits", FaultKind.QUOTA),
        ("Quota exceeded for requests per minute", FaultKind.RATE),
        ('{"error": {"code": "rate_limit_exceeded"}}', FaultKind.RATE),
        ("", FaultKind.RATE),
    ],
)
def test_a_spent_quota_is_told_from_a_rate_that_comes_back(body: str, kind: FaultKind) -> None:
    """Waiting heals a rate and never a spent quota; both arrive as 429."""
    assert kind_of_status(429, body) is kind


@pytest.mark.parametrize(
    ("seconds_or_date", "millis", "micros"),
    [
        ("7", None, 7_000_000),
        ("0.5", None, 500_000),
        ("7", "250", 250_000),
        (None, "1500.5", 1_500_500),
        ("Sat, 14 Feb 2026 12:00:09 GMT", None, 9_000_000),
        ("Sat, 14 Feb 2026 12:00:09 -0000", None, 9_000_000),
        ("Sat, 14 Feb 2026 11:00:00 GMT", None, 0),
        ("soon", None, None),
        ("-3", None, None),
        ("soon", "later", None),
        (None, None, None),
    ],
)
def test_the_time_to_wait_is_read_or_left_out(
    seconds_or_date: str | None, millis: str | None, micros: int | None
) -> None:
    """A wrong guess here makes the night hammer a provider or oversleep."""
    got = retry_after(seconds_or_date=seconds_or_date, millis=millis, now=NOON)
    assert got == micros


def test_what_looks_like_a_key_never_gets_into_a_detail() -> None:
    """Providers repeat the key they refuse, and details end in reports."""
    text = "Incorrect API key: sk-proj-abcdef0123456789. Authorization: Bearer abc.def"
    assert redact(text) == "Incorrect API key: [secret]. Authorization: Bearer [secret]"
    assert redact("pass word", "word", "") == "pass [secret]"
