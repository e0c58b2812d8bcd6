"""The write-ahead log of SQLite: kept short, or complained about.

What it is not: the log of facts; that is the ledger itself.
"""

import pytest

from tildawn.ledger import writer
from tildawn.ledger.ledger import Ledger
from tildawn.testing.notebook import note


def test_a_log_that_a_reader_holds_back_is_said_aloud_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It grows without limit otherwise, until the disk is full."""
    monkeypatch.setattr(writer, "WAL_ALARM_BYTES", 10_000)
    assert ledger._writer is not None
    with ledger.read() as reader:
        reader.head()
        for at in range(4):
            ledger._writer._checkpoint_at = 1
            ledger.append_now([note(ledger, at * 100 + key) for key in range(100)])
        ledger.append_now([note(ledger, 9_999)])

    assert caplog.text.count("a reader holds it back") == 1
