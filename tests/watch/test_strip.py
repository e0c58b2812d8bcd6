"""The night strip: where marks stand, and what a crowded or short night looks like."""

from itertools import pairwise

from tildawn.facts.night import NightClosed
from tildawn.units import Micros
from tildawn.watch.html import times_of
from tildawn.watch.strip import drawing_of


def drawn(report):
    """The strip of a report."""
    return drawing_of(report, times_of(report))


def test_each_run_that_began_has_one_mark_where_it_ended(good):
    """The strip is the whole night at a glance, so nothing may be missing in it."""
    strip = drawn(good.report())

    assert len(strip.marks) == len(strip.stems) == 26
    assert [mark.need for mark in strip.marks if mark.need] == [2, 1]
    assert {mark.verdict for mark in strip.marks} == {"verified", "unknown", "held"}


def test_a_crash_tears_the_strip_and_has_a_letter(good):
    """It is explained in words under the strip."""
    [band] = drawn(good.report()).bands

    assert (band.kind, band.letter, band.words) == ("crash", "a", "process died, back in 4\u00a0s")
    assert 46 < float(band.x.rstrip("%")) < 47


def test_a_stop_leaves_dashes_for_what_never_began(bad):
    """What would have come later is not guessed."""
    strip = drawn(bad.report(alive=False))

    assert strip.stop == strip.until
    assert len(strip.idle) == 4


def test_the_strip_ends_its_lanes_at_now_while_the_night_goes_on(shop):
    """Nobody knows yet what comes behind the warm line."""
    shop.plan({"listings": 1})
    shop.start(shop.accept("listings", 0))
    shop.until("02:30")
    strip = drawn(shop.report())

    assert strip.now == strip.until == "50%"
    assert strip.now_text == "02:30"


def test_a_crowded_night_is_a_ridge_with_the_exceptions_above_it(shop):
    """Two hundred rings on a phone are one grey line."""
    shop.plan({"listings": 200})
    for row in range(200):
        shop.clock.advance(Micros(60_000_000))
        work = shop.accept("listings", row)
        shop.baseline("listings", row)
        shop.start(work)
        if row % 50 == 7:
            shop.fail(work, "no")
        else:
            shop.done(work)
            shop.judge(work, "listings", row)
    strip = drawn(shop.report())

    assert strip.stems == ()
    assert sum(mark.runs for mark in strip.marks) == 4
    assert len(strip.bars) > 30
    assert all(69.9 <= bar.y and bar.y + bar.height <= 94.1 for bar in strip.bars)


def test_a_night_of_seconds_has_a_scale_of_seconds(shop):
    """The demo takes half a minute and deserves a scale as well."""
    shop.plan({"listings": 1}, opens=0, closes=0)
    work = shop.accept("listings", 0)
    shop.start(work)
    shop.clock.advance(Micros(24_000_000))
    shop.done(work)
    shop.say(NightClosed(night=shop.name, outcome="done"))
    ticks = drawn(shop.report()).ticks

    assert 3 <= len(ticks) <= 9
    assert all(len(tick.text) == 8 for tick in ticks)
    assert all(float(a.x[:-1]) < float(b.x[:-1]) for a, b in pairwise(ticks))
