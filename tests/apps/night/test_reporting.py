"""The report on the disk: of the worker, or of whoever has no pen."""

import asyncio
import json

import pytest

from tildawn.apps.night.reporting import record_report, write_report
from tildawn.clock import SystemClock
from tildawn.errors import UnknownName
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


def write(bedroom, ledger=None, night=""):
    return write_report(
        ledger or bedroom.ledger, bedroom.house, night=night, clock=bedroom.clock, alive=False
    )


def test_a_night_ends_with_a_report_in_three_forms(bedroom):
    """One for the browser, one for a terminal or a mail, one for programs."""
    bedroom.plan(bedroom.numbers(3, 'n != "1" or fail()'))
    asyncio.run(bedroom.night())
    written = write(bedroom)
    said = json.loads(written.json.read_text())
    assert said["planned"] == 3
    assert "<html" in written.html.read_text()
    assert written.markdown.read_text()
    assert len(written.head.splitlines()) <= 25
    assert written.html.stat().st_mode & 0o077 == 0
    assert said["adds_up"] is True


def test_each_run_of_a_night_has_the_verdict_that_its_checks_gave(bedroom):
    """What the conductor records is what the report has to find."""
    bedroom.write("a.txt", "as it was")
    bedroom.plan("""
  - id: fine
    steps: [ { w: { file: { write: a.txt, content: x } } } ]
    evidence: [ { file: { path: a.txt, changed: true } } ]
  - id: claims
    steps: [ { w: { file: { write: b.txt, content: x } } } ]
  - id: lies
    steps: [ { w: { file: { write: c.txt, content: x } } } ]
    evidence: [ { file: { path: d.txt, exists: true } } ]
  - id: late
    needs: [lies]
    steps: [ { w: { file: { write: e.txt, content: x } } } ]
""")
    asyncio.run(bedroom.night())
    report = write(bedroom).report
    assert {line.item: line.verdict for line in report.runs} == {
        "fine": "verified", "claims": "claimed", "lies": "refuted", "late": "not-started",
    }  # fmt: skip
    assert report.adds_up
    assert sorted(change.target.text for change in report.changed if change.kind == "file") == [
        "a.txt", "b.txt", "c.txt",
    ]  # fmt: skip


def test_a_report_is_written_without_the_pen(bedroom):
    """The worker is dead; its keeper starts a process that only reads."""
    bedroom.plan(bedroom.numbers(3))
    assert asyncio.run(bedroom.crashed(3, after=True))
    reading = Ledger.open(
        bedroom.house, registry=REGISTRY, projections=PROJECTIONS, clock=SystemClock(),
        ids=Ids(SystemClock()), build="test", mode="read",
    )  # fmt: skip
    with reading:
        assert write(bedroom, reading).html.exists()


def test_that_a_report_was_written_is_on_record(bedroom):
    """With the position up to which it tells the truth."""
    bedroom.plan(bedroom.numbers(1))
    asyncio.run(bedroom.night())
    written = write(bedroom)
    asyncio.run(record_report(bedroom.ledger, written))
    assert bedroom.last.reported_upto == written.report.ledger.size
    assert bedroom.last.reported >= bedroom.last.reported_upto


def test_a_night_that_is_not_there_has_no_report(bedroom):
    """An empty page would say that nothing happened."""
    with pytest.raises(UnknownName):
        write(bedroom, night="7")
