"""Numbers, times and money as a person reads them."""

from datetime import UTC, datetime

import pytest

from tildawn.watch.words import Times, cents, dollars, length, one_line


def at(text: str) -> int:
    """An instant of UTC in microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0 s"), (-5, "0 s"), (250_000, "250 ms"), (4_000_000, "4 s"), (60_000_000, "1 min"),
        (667_000_000, "11 min 07 s"), (3_600_000_000, "1 h"), (9_060_000_000, "2 h 31 min"),
    ],
)  # fmt: skip
def test_lengths_are_figures_with_units(micros, text):
    """Nobody divides by sixty before breakfast."""
    assert length(micros).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("micro", "exact", "spoken"),
    [
        (0, "0.00", "0.00"), (1_803_000, "1.803", "1.80"), (312, "0.000312", "0.000312"),
        (4_000_000, "4.00", "4.00"), (1_995_000, "1.995", "2.00"), (12_000, "0.012", "0.012"),
    ],
)  # fmt: skip
def test_money_is_exact_in_tables_and_short_in_sentences(micro, exact, spoken):
    """A table must sum; a sentence must be read."""
    assert (dollars(micro), cents(micro)) == (exact, spoken)


def test_a_night_with_two_offsets_says_which_one_a_time_has():
    """In the night the clocks go back, half past two happens twice."""
    times = Times("Europe/Berlin", begins_at=at("2026-10-24 20:30"), ends_at=at("2026-10-25 05:30"))

    assert times.clock(at("2026-10-25 00:30")) == "02:30 (UTC+2)"
    assert times.clock(at("2026-10-25 01:30")) == "02:30 (UTC+1)"
    assert times.label() == "Europe/Berlin (UTC+2, later UTC+1)"


def test_an_unknown_zone_is_utc_and_says_so():
    """A zone that this machine does not know must not stop a report, nor pass for known."""
    assert Times("Mars/Olympus").label() == "UTC; the zone Mars/Olympus is unknown here"


def test_dates_name_both_days_of_a_night():
    """A night belongs to two days, sometimes to two years."""
    times = Times("Europe/Berlin")

    assert (
        times.dates(at("2026-12-31 21:30"), at("2027-01-01 05:30")).replace("\u00a0", " ")
        == "Thursday 31 December to Friday 1 January 2027"
    )


def test_one_line_holds_no_control_character_and_no_line_break():
    """A title must not paint the terminal."""
    assert one_line("a\n\tb\x1b[31m\x00c") == "a b\ufffd[31m\ufffdc"
    assert one_line("\u202eabc") == "\ufffdabc"
    assert len(one_line("x" * 10_240, longest=80)) == 80
