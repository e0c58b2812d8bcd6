"""Erasing a person: nothing of them is in any file of the house, and the ledger still verifies.

What it is not: copies that others hold; the command and the threat model name those.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.errors import Busy, Misused, PayloadErased, UnknownName
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.ledger import Ledger
from tildawn.projections.run import RunRow
from tildawn.runtime import erasure
from tildawn.runtime.founding import found_house
from tildawn.runtime.setting import LedgerSettings, Settings
from tildawn.runtime.snapshot import Keeper
from tildawn.testing.clock import ManualClock
from tildawn.units import Seq


ADA, BOB = "ada.lovelace@example.org", "bob.babbage@example.org"
WHO = {ADA: b"lovelace", BOB: b"babbage"}


def test_nothing_of_an_erased_person_is_in_any_file_and_the_ledger_verifies(home: Any) -> None:
    """Whoever asks to be forgotten is, in every place that we write to."""
    hers, _, his = home.work((home.greet, ADA), (home.fails, ADA), (home.greet, BOB))
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    (home.folder / "stacks.txt").write_text(f"greeting {ADA}")
    (home.folder / "reports").mkdir()
    (home.folder / "reports" / "runs.md").write_text(f"for {ADA}")
    assert home.holding(ADA)
    before = home.text(his, "RunDone")
    planned = home.erase(ADA, plan=True)
    assert not planned.done
    assert home.text(hers, "RunDone")

    said = home.erase(ADA, reason="asked")

    assert (3, True) == (said.runs, said.done)
    assert said.payloads == planned.payloads > 8
    assert [] == home.holding(ADA)
    assert home.verdict().startswith("proven")
    assert before == home.text(his, "RunDone")
    assert home.holding(BOB) != []
    with pytest.raises(PayloadErased):
        home.text(hers, "RunDone")
    assert any("snapshot" in one for one in said.beside)
    assert "backups" in " ".join(said.beyond)


def test_a_mirror_forgets_an_erased_person_too(tmp_path: Path, homes: Any) -> None:
    """A second copy that remembers is no erasure."""
    copy = tmp_path / "copy"
    copy.mkdir()
    kept = LedgerSettings(mirror="sync-degrade", mirror_folder=str(copy))
    settings = Settings(ledger=kept)
    folder = tmp_path / ".tildawn"
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    home = homes(folder, settings)
    try:
        home.work((home.greet, ADA), (home.greet, BOB))
        home.erase(ADA)
        assert [] == home.holding(ADA)
    finally:
        home.close()
    texts = [path.read_bytes() for path in copy.rglob("*") if path.is_file()]
    assert not [1 for text in texts if WHO[ADA] in text]
    assert [1 for text in texts if WHO[BOB] in text]


def test_a_single_run_is_erased_with_its_children_and_no_other(home: Any) -> None:
    """What leaked in one run is no reason to lose the rest of a person's work."""
    one, other = home.work((home.greet, ADA), (home.fails, ADA))

    assert 2 == home.erase(run=one, reason="leaked").runs

    assert home.text(other, "RunFailed")
    with pytest.raises(PayloadErased):
        home.text(one, "RunAccepted")


def test_what_a_parent_was_told_by_an_erased_child_goes_too(home: Any) -> None:
    """The result of a child is written down twice."""
    [parent] = home.work((home.greet, ADA))
    with home.ledger.read() as reader:
        [below] = reader.rows(RunRow, "parent = ?", (parent,))

    home.erase(run=below.run)

    with pytest.raises(PayloadErased):
        home.text(parent, "ChildEnded")
    assert home.text(parent, "StepRecorded")
    assert home.verdict().startswith("proven")


def test_a_run_in_flight_is_refused_unless_it_may_be_cancelled(home: Any) -> None:
    """Work that goes on would write down again what was erased."""
    [run] = home.work((home.waits, ADA), rest=frozenset({"running", "waiting"}))
    with pytest.raises(Misused, match="not ended") as caught:
        home.erase(ADA)
    assert "--cancel" in (caught.value.hint or "")
    assert home.text(run, "RunAccepted")

    with pytest.raises(Busy, match="asked to stop"):
        home.erase(ADA, cancel=True)
    home.close()
    again = type(home)(home.folder)
    try:
        again.until_ended(run)
        assert again.erase(ADA, cancel=True).done
        assert [] == again.holding(ADA)
    finally:
        again.close()


def test_an_unknown_person_and_a_reason_in_words_are_refused(home: Any) -> None:
    """A reason stays for ever, so it must not name anybody."""
    with pytest.raises(UnknownName):
        home.erase(ADA)
    with pytest.raises(Misused, match="a word"):
        home.erase(ADA, reason=f"{ADA} asked us")


STEPS: dict[str, tuple[Any, str]] = {
    "before the facts": (Ledger, "append_now"),
    "before the log is cut": (Ledger, "scrub"),
    "before a blob goes": (Blobs, "remove"),
    "before log lines go": (erasure, "_clean_logs"),
    "before reports go": (erasure, "_remove"),
    "before a new snapshot": (Keeper, "take"),
    "before old snapshots go": (Keeper, "drop"),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_same_command_completes_what_a_crash_left(
    home: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A power cut in the middle must not leave half of a person behind for ever."""
    home.work((home.greet, ADA))
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    where, name = STEPS[step]

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, name, crash)
        with pytest.raises(KeyboardInterrupt):
            home.erase(ADA)
    home.close()
    again = type(home)(home.folder)
    try:
        assert again.verdict().startswith("proven")
        again.erase(ADA)
        assert [] == again.holding(ADA)
        assert again.verdict().startswith("proven")
    finally:
        again.close()


def test_a_reader_that_holds_the_log_back_is_said_and_the_command_completes_later(
    home: Any,
) -> None:
    """Pages of a log that cannot be cut yet still hold everything."""
    home.work((home.greet, ADA))
    with home.ledger.read() as reader:
        reader.head()
        with pytest.raises(Busy):
            home.erase(ADA)

    home.erase(ADA)

    assert [] == home.holding(ADA)


def unsay(database: Any, seq: int) -> None:
    """A payload is taken out, and a fact is named that erased others."""
    said = 'SELECT seq FROM fact WHERE instr(body, \'"kind":"PayloadErased"\')'
    [(erasing,)] = database.execute(said).fetchall()
    sql = "UPDATE payload SET salt = NULL, text = NULL, blob = NULL, erased = ? WHERE id = ?"
    database.execute(sql, (erasing, seq * 8))


def point_elsewhere(database: Any, seq: int) -> None:
    """It names a fact that erases nothing."""
    sql = "UPDATE payload SET salt = NULL, text = NULL, blob = NULL, erased = ? WHERE id = ?"
    database.execute(sql, (seq + 1, seq * 8))


def bring_back(database: Any, seq: int) -> None:
    """What was erased is there again."""
    database.execute(
        "UPDATE payload SET text = x'31' WHERE id = (SELECT min(id) FROM payload WHERE erased NOT NULL)"
    )


@pytest.mark.parametrize("harm", [unsay, point_elsewhere, bring_back])
def test_a_payload_may_be_gone_only_where_a_fact_names_it(
    home: Any, harm: Callable[[Any, int], None]
) -> None:
    """Else an erasure of one person would be a licence to remove what anybody said."""
    _, his = home.work((home.greet, ADA), (home.greet, BOB))
    home.erase(ADA)
    with home.ledger.read() as reader:
        row = reader.get(RunRow, his)
    assert row is not None
    home.house.close()
    database = apsw.Connection(str(home.folder / "ledger.db"))
    harm(database, Seq(row.accepted))
    database.close()

    assert home.verdict().startswith("broken")
