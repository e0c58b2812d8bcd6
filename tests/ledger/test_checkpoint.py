"""Checkpoints: signed, kept in two places, compared at the start, and never taken back."""

import shutil
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tildawn.errors import (
    Busy,
    HouseUnusable,
    InvariantViolated,
    LedgerBroken,
    NotProvable,
)
from tildawn.facts.signing import SigningKeyMade
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, origin_of, parse_checkpoint
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.notary import Notary
from tildawn.ledger.note import Note, Signer, parse_note
from tildawn.ledger.request import Request
from tildawn.testing.notebook import PROJECTIONS, SIGNED, note
from tildawn.units import Seq


Open = Callable[..., Ledger]


@pytest.fixture
def signed(house: Open) -> Open:
    """Opens the house as one that signs."""
    return lambda **options: house(**({"projections": SIGNED} | options))


@pytest.fixture
def closed(signed: Open, folder: Path) -> Path:
    """A house that was written, sealed and closed."""
    with signed() as ledger:
        ledger.append_now([note(ledger, key) for key in range(20)])
    return folder


def _signer(folder: Path, name: str = "") -> Signer:
    seed = bytes.fromhex((folder / "keys" / "signing.key").read_text())
    return Signer(origin_of(name or (folder / "marks" / "founded").read_text().strip()), seed)


def _second(folder: Path) -> Note:
    return parse_note((folder / "marks" / "checkpoint").read_text())


def _put(folder: Path, checkpoint: Checkpoint, signer: Signer) -> None:
    (folder / "marks" / "checkpoint").write_text(checkpoint.sign([signer]).dump())


def _rows(folder: Path) -> list[tuple[int, str]]:
    with closing(apsw.Connection(str(folder / "ledger.db"))) as database:
        found = database.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall()
    return [(int(str(size)), str(text)) for size, text in found]


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    skipped = {"pen", "ledger.db-shm", "ledger.db-wal"}
    return {str(path): path.read_bytes() for path in files if path.name not in skipped}


def test_a_house_is_founded_with_a_key_and_sealed(signed: Open, folder: Path) -> None:
    """No fact is ever without a key that could sign for it."""
    ledger = signed()
    newest = ledger.newest_checkpoint()

    assert newest is not None
    key = folder / "keys" / "signing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 65
    public = _signer(folder).verifier
    with ledger.read() as reader:
        fact, _ = reader.fact(Seq(2))
        assert fact.data == SigningKeyMade(public=public.public.hex())
        found = check_checkpoint(newest, origin_of(ledger.name), [public])
        assert found.size == ledger.next_seq
        assert found.root == reader.tree().root(found.size)
        assert reader.checkpoint() == newest == _second(folder)


def test_a_checkpoint_covers_what_was_answered_before(signed: Open, folder: Path) -> None:
    """Whoever asks for one has proof of all that is on record then."""
    ledger = signed()
    ledger.append_now([note(ledger, key) for key in range(9)])
    assert ledger.unsealed == 9

    made = ledger.checkpoint()

    assert parse_checkpoint(made.text).size == ledger.next_seq
    assert ledger.unsealed == 0
    assert made == ledger.newest_checkpoint() == _second(folder)
    assert ledger.checkpoint() == made


def test_closing_seals_all_there_is(closed: Path, signed: Open) -> None:
    """A house at rest has no fact that its seal leaves out."""
    with signed(mode="read") as ledger:
        newest = ledger.newest_checkpoint()
        assert newest is not None
        assert parse_checkpoint(newest.text).size == ledger.next_seq
        with pytest.raises(HouseUnusable, match="whoever holds the pen"):
            ledger.checkpoint()


def test_a_crash_before_the_second_place_is_made_up_for(closed: Path, signed: Open) -> None:
    """The row of the database comes first, so a second place that is behind is no alarm."""
    older = (closed / "marks" / "checkpoint").read_bytes()
    with signed() as ledger:
        ledger.append_now([note(ledger, 77)])
    (closed / "marks" / "checkpoint").write_bytes(older)

    ledger = signed()

    with ledger.read() as reader:
        assert _second(closed) == reader.checkpoint()


def test_a_lost_second_place_is_written_again(closed: Path, signed: Open) -> None:
    """Opening to write brings both places to the same state."""
    (closed / "marks" / "checkpoint").unlink()

    ledger = signed()

    assert _second(closed) == ledger.newest_checkpoint()


def test_a_ledger_without_any_seal_is_not_signed_anew(closed: Path, signed: Open) -> None:
    """Who changes facts and takes the seals away must not get our signature under what is left."""
    (closed / "marks" / "checkpoint").unlink()
    with closing(apsw.Connection(str(closed / "ledger.db"))) as database:
        database.execute("DELETE FROM checkpoint")
    was = _bytes(closed)

    with pytest.raises(NotProvable, match=r"nothing seals the 2\d facts"):
        signed()

    assert _bytes(closed) == was


def test_a_crash_before_the_first_seal_is_made_up_for(
    signed: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is named by the last fact of its commit; with nothing behind it, it never signed."""

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Notary, "begin", crash)
        with pytest.raises(KeyboardInterrupt):
            signed()
    assert _rows(folder) == []

    ledger = signed()

    newest = ledger.newest_checkpoint()
    assert newest is not None
    assert parse_checkpoint(newest.text).size == ledger.next_seq


def test_a_ledger_that_was_rolled_back_is_not_opened(
    closed: Path, signed: Open, tmp_path: Path
) -> None:
    """An older copy of the database alone is whole in itself; the second place knows better."""
    shutil.copy(closed / "ledger.db", tmp_path / "old.db")
    with signed() as ledger:
        ledger.append_now([note(ledger, 77)])
    shutil.copy(tmp_path / "old.db", closed / "ledger.db")
    before = _bytes(closed)

    with pytest.raises(LedgerBroken, match="rolled back or cut off") as caught:
        signed()

    assert caught.value.exit_code == 4
    assert "newest copy of the whole house" in str(caught.value.hint)
    assert _bytes(closed) == before


def test_another_root_of_the_same_size_is_refused(closed: Path, signed: Open) -> None:
    """Two histories under one key: neither is believed."""
    size = parse_checkpoint(_second(closed).text).size
    signer = _signer(closed)
    _put(closed, Checkpoint(signer.verifier.name, size, bytes(32)), signer)

    with pytest.raises(LedgerBroken, match=f"marks/checkpoint was signed over {size} facts"):
        signed()


def test_an_older_root_that_is_not_ours_is_refused(closed: Path, signed: Open) -> None:
    """Being behind is fine; being behind on another road is not."""
    signer = _signer(closed)
    _put(closed, Checkpoint(signer.verifier.name, 5, bytes(32)), signer)

    with pytest.raises(LedgerBroken, match="over 5 facts with another root"):
        signed()


def test_a_second_place_of_somebody_else_is_refused(closed: Path, signed: Open) -> None:
    """Of another log, of another key, without a signature, or no note at all."""
    ours = parse_checkpoint(_second(closed).text)
    elsewhere = _signer(closed, "elsewhere")
    foreign = Signer(ours.origin, bytes(32))
    place = closed / "marks" / "checkpoint"

    _put(closed, Checkpoint("tildawn/elsewhere", ours.size, ours.root), elsewhere)
    with pytest.raises(LedgerBroken, match="of another log"):
        signed()
    _put(closed, ours, foreign)
    with pytest.raises(LedgerBroken, match="signed this checkpoint"):
        signed()
    for content in (ours.text.encode(), b"", b"\xff\n\n\xff\n"):
        place.write_bytes(content)
        with pytest.raises(LedgerBroken, match="no signed note"):
            signed()


def test_a_changed_checkpoint_of_the_database_is_refused(closed: Path, signed: Open) -> None:
    """The row is judged like the file beside it."""
    ours = parse_checkpoint(_second(closed).text)
    forged = Checkpoint(ours.origin, ours.size, bytes(32)).sign([_signer(closed)]).dump()
    with closing(apsw.Connection(str(closed / "ledger.db"))) as database:
        with pytest.raises(apsw.ConstraintError, match="never changes"):
            database.execute("UPDATE checkpoint SET note = ?", (forged,))
        database.execute("DROP TRIGGER checkpoint_never_changes")
        database.execute("UPDATE checkpoint SET note = ?", (forged,))

    with pytest.raises(LedgerBroken, match=r"checkpoint of the database .* another root"):
        signed()


def test_no_smaller_tree_is_ever_signed(signed: Open) -> None:
    """What was promised to a witness cannot be taken back by a bug of ours."""
    ledger = signed()
    ledger.checkpoint()
    assert ledger.notary is not None
    newest = ledger.notary.newest
    assert newest is not None

    for planted in (
        Checkpoint(newest.origin, newest.size + 5, newest.root),
        Checkpoint(newest.origin, newest.size, bytes(32)),
        Checkpoint(newest.origin, newest.size - 1, bytes(32)),
    ):
        ledger.notary.newest = planted
        with pytest.raises(LedgerBroken, match="nothing is signed"):
            ledger.checkpoint()
    ledger.notary.newest = newest

    note_ = newest.sign([ledger.notary.signer]).dump()
    request = Request((), seal=(newest.size - 1, note_))
    ledger._pen([note(ledger, 1)]).submit(request)
    ledger.append_now([note(ledger, 1)])
    assert isinstance(request.outcome, InvariantViolated)


def test_what_is_not_in_the_database_goes_nowhere_else(signed: Open, folder: Path) -> None:
    """A second place that is before the ledger means a rollback, so it never comes first."""
    ledger = signed()
    before, newest = _second(folder), ledger.newest_checkpoint()
    ledger.append_now([note(ledger, 1)])
    assert ledger.notary is not None

    def refuse(_: Request) -> None:
        assert _second(folder) == before
        raise Busy

    with pytest.raises(Busy):
        ledger.notary.seal(ledger.read, refuse)

    assert (_second(folder), ledger.newest_checkpoint()) == (before, newest)
    ledger.checkpoint()


def test_a_key_that_others_can_read_is_refused(closed: Path, signed: Open) -> None:
    """Whoever can read it can sign another history; the message has the command that mends it."""
    key = closed / "keys" / "signing.key"
    for mode in (0o644, 0o640, 0o602):
        key.chmod(mode)
        with pytest.raises(HouseUnusable, match="used by others") as caught:
            signed()
        assert caught.value.hint == f"chmod 600 {key}"
    key.chmod(0o600)
    signed()


def test_a_lost_or_exchanged_key_is_told(closed: Path, signed: Open) -> None:
    """A new key made in silence would be a way to sign another history."""
    key = closed / "keys" / "signing.key"
    content = key.read_bytes()

    key.unlink()
    with pytest.raises(HouseUnusable, match="cannot be read") as caught:
        signed()
    assert "backup of keys/" in str(caught.value.hint)
    assert not key.exists()
    for bad, said in ((b"00" * 32 + b"\n", "not the one"), (b"no key", "64 hexadecimal digits")):
        key.write_bytes(bad)
        key.chmod(0o600)
        with pytest.raises(HouseUnusable, match=said):
            signed()
    key.write_bytes(content)
    signed()


def test_a_house_from_before_gets_a_key(house: Open, folder: Path) -> None:
    """Houses of older versions are sealed from their next opening on."""
    with house(projections=PROJECTIONS) as ledger:
        ledger.append_now([note(ledger, key) for key in range(5)])
    assert not (folder / "keys" / "signing.key").exists()

    ledger = house(projections=SIGNED)

    newest = ledger.newest_checkpoint()
    assert newest is not None
    assert parse_checkpoint(newest.text).size == ledger.next_seq


def test_a_key_that_no_fact_names_yet_is_used(folder: Path, signed: Open) -> None:
    """A crash between the key and its fact leaves a key, and the next start takes it."""
    (folder / "keys").mkdir(parents=True)
    key = folder / "keys" / "signing.key"
    key.write_bytes(b"ab" * 32 + b"\n")
    key.chmod(0o600)

    ledger = signed()

    with ledger.read() as reader:
        said = reader.fact(Seq(2))[0].data
    public = Signer("x", b"\xab" * 32).verifier.public
    assert said == SigningKeyMade(public=public.hex())


def test_one_more_copy_goes_to_another_disk(signed: Open, tmp_path: Path) -> None:
    """A disk that is not there is named, not made up, and brought up to date when it is back."""
    other = tmp_path / "other"
    ledger = signed(checkpoint_folder=other)
    ledger.append_now([note(ledger, 1)])
    ledger.checkpoint()
    copy = other / ledger.name / "checkpoint"
    assert ledger.notary is not None
    assert list(ledger.notary.behind) == [copy]
    assert not other.exists()

    other.mkdir()
    ledger.checkpoint()

    assert ledger.notary.behind == {}
    newest = ledger.newest_checkpoint()
    assert newest is not None
    assert copy.read_text() == newest.dump()


def test_a_copy_on_another_disk_is_compared_too(closed: Path, signed: Open, tmp_path: Path) -> None:
    """Whoever puts back an older house with its marks does not reach the other disk."""
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(closed, tmp_path / "old")
    with signed(checkpoint_folder=other) as ledger:
        ledger.append_now([note(ledger, 77)])
    shutil.rmtree(closed)
    shutil.copytree(tmp_path / "old", closed)

    with pytest.raises(LedgerBroken, match=f"{other}.*rolled back"):
        signed(checkpoint_folder=other)


def test_of_a_thousand_facts_the_newest_checkpoint_is_kept(signed: Open, folder: Path) -> None:
    """Runs that end by the thousand must not fill the disk with seals."""
    ledger = signed()
    for begin in range(0, 2_400, 300):
        ledger.append_now([note(ledger, begin + key) for key in range(300)])
        ledger.checkpoint()
    ledger.close()

    sizes = [size for size, _ in _rows(folder)]

    assert sizes == [903, 1_803, 2_404]


def test_a_checkpoint_of_a_whole_thousand_is_kept(signed: Open, folder: Path) -> None:
    """The archive shows the one that ends with its segment."""
    ledger = signed()
    ledger.append_now([note(ledger, key) for key in range(1_024 - ledger.next_seq)])
    ledger.checkpoint()
    ledger.append_now([note(ledger, 5_000)])
    ledger.checkpoint()
    ledger.close()

    assert [size for size, _ in _rows(folder)] == [1_024, 1_026]
