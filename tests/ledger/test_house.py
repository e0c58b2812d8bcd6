"""Opening and closing a house: pen, epoch, schema, key, disk.

What it is not: the proof of what is in it.
"""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.errors import (
    BadValue,
    HouseLocked,
    HouseTooNew,
    HouseUnusable,
    LedgerBroken,
    StaleWriter,
)
from tildawn.facts import house as house_facts
from tildawn.facts.fact import FactData, Registry
from tildawn.facts.house import HouseFounded, PenLaid, PenTaken, TailVerified
from tildawn.ledger import disk, writer
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.pen import boot_id, holder_of
from tildawn.ledger.sqlite.connection import check_version, connect
from tildawn.ledger.verdict import State
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Note, Noted, note, open_notebook, verify_notebook
from tildawn.units import Micros, Seq


Open = Callable[..., Ledger]


def _kinds(ledger: Ledger) -> list[str]:
    with ledger.read() as reader:
        return [fact.kind for _, fact in reader.facts()]


def _crash(folder: Path, copy: Path) -> Path:
    """What a crash at this moment would leave, beside the house that lives on."""
    copy.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(folder / name, copy / name)
    for name in ("keys", "marks"):
        shutil.copytree(folder / name, copy / name)
    return copy


def test_a_house_is_founded_by_its_first_fact(ledger: Ledger) -> None:
    """The name is part of the chain, so that two houses cannot be exchanged."""
    with ledger.read() as reader:
        fact, _ = reader.fact(Seq(0))

    assert _kinds(ledger) == ["HouseFounded", "PenTaken"]
    assert fact.data == HouseFounded(name=ledger.name)
    assert ledger.epoch == 1


def test_each_holder_of_the_pen_raises_the_epoch(house: Open) -> None:
    """The epoch is what refuses a stale writer, so no two holders may share one."""
    first = house()
    name = first.name
    first.close()
    second = house(takeover=True)

    with second.read() as reader:
        datas = [fact.data for _, fact in reader.facts()]
    assert (second.epoch, second.name) == (2, name)
    assert datas[2:4] == [
        PenLaid(epoch=1),
        PenTaken(
            epoch=2, pid=os.getpid(), build="test", boot=boot_id(), reason="takeover",
        ),
    ]  # fmt: skip


def test_a_holder_that_died_leaves_its_successor_an_unclean_pen(
    ledger: Ledger, folder: Path, tmp_path: Path
) -> None:
    """Recovery starts from the fact that the last holder did not lay the pen down."""
    ledger.append_now([note(ledger, 1, run="r")])

    with open_notebook(_crash(folder, tmp_path / "copy")) as after, after.read() as reader:
        taken = [f.data for _, f in reader.facts() if isinstance(f.data, PenTaken)]
        checked = [f.data for _, f in reader.facts() if isinstance(f.data, TailVerified)]
        assert reader.count(Note) == 1
    assert [one.unclean for one in taken] == [False, True]
    assert checked == [TailVerified(to=3)]


_SECOND = """
import sys
from pathlib import Path
from tildawn.errors import TildawnError
from tildawn.testing.notebook import open_notebook
try:
    open_notebook(Path(sys.argv[1]))
except TildawnError as error:
    print(error.code, error.fields.get("pid"), error.exit_code)
"""


def _second(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _SECOND, str(folder)],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_second_process_is_refused_at_once_and_told_by_whom(ledger: Ledger, folder: Path) -> None:
    """Two writers on one house is the fault that no check could mend afterwards."""
    assert _second(folder) == f"house-locked {os.getpid()} 75"


def test_the_pen_is_free_after_closing(house: Open, folder: Path) -> None:
    """A lock that outlives its holder would need a command to break it."""
    house().close()

    assert _second(folder) == ""


def test_the_same_process_cannot_take_the_pen_twice(
    ledger: Ledger, house: Open, folder: Path
) -> None:
    """The flock belongs to the open file, not to the process, and so holds inside one as well."""
    with pytest.raises(HouseLocked):
        house()
    holder = holder_of(folder / "pen")
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_holder_whose_epoch_is_over_writes_no_more(
    ledger: Ledger, folder: Path, house: Open
) -> None:
    """Where the lock did not hold, the fence inside the transaction must."""
    usurper = apsw.Connection(str(folder / "ledger.db"))
    usurper.execute("UPDATE head SET epoch = epoch + 1")
    usurper.close()
    size = ledger.next_seq

    for _ in range(2):
        with pytest.raises(StaleWriter):
            ledger.append_now([note(ledger, 1)])
    ledger.close()

    with house(mode="read").read() as reader:
        assert reader.head().size == size


def test_facts_are_refused_change_and_removal_by_the_database_itself(
    ledger: Ledger, folder: Path
) -> None:
    """Append-only is a property of the file, also for whoever opens it with another program."""
    other = apsw.Connection(str(folder / "ledger.db"))

    for statement in ("UPDATE fact SET body = x'00'", "DELETE FROM fact"):
        with pytest.raises(apsw.ConstraintError, match="a fact never"):
            other.execute(statement)
    other.close()


def test_reading_needs_no_pen_and_sees_what_is_committed(ledger: Ledger, house: Open) -> None:
    """Status and report must work while the night runs."""
    reading = house(mode="read")
    ledger.append_now([note(ledger, 1, run="r")])

    with reading.read() as reader:
        assert reader.count(Note) == 1
    assert (reading.name, reading.epoch) == (ledger.name, ledger.epoch)
    assert reading.head() == ledger.head()
    with pytest.raises(HouseUnusable, match="reading only"):
        reading.append_now([note(reading, 2)])


def test_a_read_transaction_stays_in_its_moment(ledger: Ledger) -> None:
    """A report adds up only if all its numbers are of the same moment."""
    with ledger.read() as reader:
        before = reader.head()
        ledger.append_now([note(ledger, 1)])
        assert reader.head() == before
    with ledger.read() as reader:
        assert reader.head().size == before.size + 1


def test_there_is_nothing_to_read_where_no_house_is(house: Open, folder: Path) -> None:
    """A typing mistake in a path must not make an empty house."""
    with pytest.raises(HouseUnusable, match="no house"):
        house(mode="read")
    assert not folder.exists()


@pytest.mark.parametrize("size", [None, 0, 100, 5_000])
def test_a_lost_or_shortened_database_is_refused_and_left_alone(
    house: Open, folder: Path, size: int | None
) -> None:
    """An empty file must not be taken for a new house: that would bury the loss."""
    house().close()
    database = folder / "ledger.db"
    if size is None:
        database.unlink()
    else:
        os.truncate(database, size)
    before = database.read_bytes() if database.exists() else None

    with pytest.raises(LedgerBroken):
        house()

    assert (database.read_bytes() if database.exists() else None) == before
    assert verify_notebook(folder).state is State.BROKEN


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 300, os.urandom(20_000)])
def test_a_file_that_is_no_database_is_refused(folder: Path, house: Open, content: bytes) -> None:
    """Garbage is said to be garbage, by opening and by verify, and never overwritten."""
    house().close()
    (folder / "ledger.db").write_bytes(content)

    with pytest.raises(LedgerBroken):
        house()
    assert verify_notebook(folder).state is State.BROKEN


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    """The file's mark says whose it is."""
    (tmp_path / "house").mkdir()
    other = apsw.Connection(str(tmp_path / "house" / "ledger.db"))
    other.pragma("user_version", 1)
    other.close()
    (tmp_path / "house" / "keys").mkdir()
    (tmp_path / "house" / "keys" / "house.key").write_bytes(bytes(32))

    with pytest.raises(LedgerBroken, match="not of a house"):
        open_notebook(tmp_path / "house")


@pytest.mark.parametrize(
    "change", ["PRAGMA user_version = 99", "UPDATE meta SET value = '2' WHERE key = 'format'"]
)
def test_a_house_of_a_newer_version_is_refused(house: Open, folder: Path, change: str) -> None:
    """Writing what a newer version would misread is worse than not starting."""
    house().close()
    other = apsw.Connection(str(folder / "ledger.db"))
    other.execute(change)
    other.close()

    with pytest.raises(HouseTooNew, match="this Tildawn knows"):
        house()


def test_a_house_with_unknown_facts_opens_for_reading_only(house: Open, folder: Path) -> None:
    """Facts of an application that is not installed stay chained and shown, and nothing is added."""
    first = house()
    first.append_now([note(first, 1)])
    first.close()

    fewer = house(registry=Registry(house_facts.KINDS), projections=())

    assert not fewer.writable
    assert _kinds(fewer)[2] == "Noted"
    with pytest.raises(HouseTooNew, match="Noted v1"):
        fewer.append_now([fewer.draft(PenLaid(epoch=1))])
    assert _second(folder) == ""


def test_facts_changed_behind_our_back_stop_the_opening(
    ledger: Ledger, folder: Path, tmp_path: Path
) -> None:
    """After a crash the tail is compared before any work is accepted."""
    ledger.append_now([note(ledger, key, run="r") for key in range(5)])
    copy = _crash(folder, tmp_path / "copy")
    other = apsw.Connection(str(copy / "ledger.db"))
    other.execute("DROP TRIGGER fact_never_changes")
    other.execute(
        "UPDATE fact SET body = CAST(replace(body, '\"key\":3', '\"key\":4') AS BLOB) WHERE seq = 5"
    )
    other.close()

    with pytest.raises(LedgerBroken, match="fact 5"):
        open_notebook(copy)


def test_the_version_of_sqlite_is_gated() -> None:
    """From 3.7.0 to 3.51.2 a WAL reset can lose committed data."""
    check_version("3.51.3")
    check_version("3.54.1")
    for version in ("3.51.2", "3.40.1", "3.7.0"):
        with pytest.raises(HouseUnusable, match=version):
            check_version(version)


def test_the_pragmas_that_the_promises_rest_on_are_set(tmp_path: Path) -> None:
    """One that did not take would turn every promise about power loss into a hope."""
    database = connect(tmp_path / "x.db", write=True)
    names = ["journal_mode", "synchronous", "foreign_keys", "page_size", "wal_autocheckpoint"]
    found = [database.pragma(name) for name in names]
    database.close()

    assert found == ["wal", 2, 1, 4096, 0]


_MOUNTS = """\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:40 / /mnt/share rw,relatime shared:9 - nfs4 server:/x rw
31 21 0:41 / /mnt/my\\040disk rw - fuse.sshfs me@host rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/house", "ext4"),
        ("/mnt/share/house", "nfs4"),
        ("/mnt/shared", "ext4"),
        ("/mnt/my disk/a", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_folder_is_found(folder: str, kind: str) -> None:
    """The nearest mount decides, not the longest common text."""
    assert disk.mounted_type(Path(folder), _MOUNTS) == kind


def test_a_network_file_system_is_refused(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its locks do not hold, and neither would any promise."""
    monkeypatch.setattr(disk, "file_system_of", lambda _: "nfs4")
    with pytest.raises(HouseUnusable, match="network file system") as caught:
        house()
    assert caught.value.hint == "keep the house on a local disk"


def test_a_read_only_disk_is_refused(house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do, before anything is half done."""
    monkeypatch.setattr(disk, "_read_only", lambda _: True)
    with pytest.raises(HouseUnusable, match="cannot be written"):
        house()


def test_the_key_is_the_owners_alone_and_stays(house: Open, folder: Path, tmp_path: Path) -> None:
    """Digests of natural keys must be the same tomorrow and useless to anybody else."""
    first = house()
    digest = first.keyed("sku-1")
    first.close()
    second = house()

    assert stat.S_IMODE((folder / "keys" / "house.key").stat().st_mode) == 0o600
    assert second.keyed(b"sku-1") == digest
    assert len(digest) == 43
    with open_notebook(tmp_path / "other") as other:
        assert other.keyed("sku-1") != digest


def test_a_lost_key_is_not_replaced(house: Open, folder: Path) -> None:
    """With a new key every natural key would look new, and work would be done twice."""
    house().close()
    (folder / "keys" / "house.key").unlink()

    with pytest.raises(HouseUnusable, match="key"):
        house()


def test_facts_are_stamped_with_steady_time_since_the_pen(house: Open, clock: ManualClock) -> None:
    """Wall time may jump; durations inside one epoch come from the steady reading."""
    ledger = house()
    clock.advance(Micros(1_500))
    clock.jump(Micros(7))

    fact = note(ledger, 1).fact

    assert (fact.at, fact.mono) == (7, 1_500)


class Sized(FactData, frozen=True):
    """A kind with everything that must be looked into."""

    many: tuple[int, ...] = ()
    names: dict[str, int] = {}  # noqa: RUF012 - msgspec copies it


class Floating(FactData, frozen=True):
    """A kind that no body may hold."""

    ratio: float


@pytest.mark.parametrize(
    "data",
    [
        Noted(key=2**53),
        Noted(key=-(2**53)),
        Sized(many=(1, 2**60)),
        Sized(names={"ä": 1}),
        Sized(names={"a": 1.5}),  # pyright: ignore[reportArgumentType] - wrong on purpose
        Noted(key=1, text="\ud800"),
        Noted(key=1, text="x" * 70_000),
    ],
)
def test_a_fact_outside_the_profile_is_refused_before_it_is_queued(house: Open, data: Any) -> None:
    """A body that another encoder would write differently could never be verified."""
    registry = Registry([*house_facts.KINDS, Noted, Sized])
    ledger = house(registry=registry, projections=())

    with pytest.raises(BadValue):
        ledger.draft(data)


def test_a_kind_that_can_hold_floats_is_refused_at_opening(house: Open) -> None:
    """Better at the start than with the first fact of the night."""
    with pytest.raises(BadValue, match=r"Floating\.ratio"):
        house(registry=Registry([*house_facts.KINDS, Floating]), projections=())


def test_a_kind_that_is_not_registered_is_refused(ledger: Ledger) -> None:
    """It would make the house unreadable for this very version."""
    with pytest.raises(BadValue, match="not registered"):
        ledger.draft(Sized())


def test_closing_leaves_one_file_and_no_log(house: Open, folder: Path) -> None:
    """A closed house can be copied with any tool."""
    ledger = house()
    ledger.append_now([note(ledger, 1)])
    ledger.close()
    ledger.close()

    log = folder / "ledger.db-wal"
    assert not log.exists() or log.stat().st_size == 0


def test_opening_checks_only_what_came_after_the_settled_point(house: Open, folder: Path) -> None:
    """A house of a million facts must open at once; the whole proof is verify's."""
    first = house()
    first.append_now([note(first, key, run="r") for key in range(3)])
    first.close()
    house().close()
    other = apsw.Connection(str(folder / "ledger.db"))
    other.execute("DROP TRIGGER fact_never_changes")
    other.execute("UPDATE fact SET body = CAST(replace(body, '\"key\":2', '\"key\":9') AS BLOB)")
    other.close()

    again = house()

    assert isinstance(again.append_now([note(again, 9, run="s")]), Committed)
    assert verify_notebook(folder).seq == 4


def test_the_lock_is_a_flock_on_a_file_of_its_own(ledger: Ledger, folder: Path) -> None:
    """Closing any handle of the database would drop SQLite's own locks; flock is not among them."""
    handle = os.open(folder / "pen", os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def test_the_settled_point_moves_on_behind_whole_checkpoints(
    ledger: Ledger, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash a long night must not be hashed again from its first fact."""
    monkeypatch.setattr(writer, "SETTLE_FACTS", 50)
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 1)
    assert ledger._writer is not None
    ledger._writer._checkpoint_at = 1
    for at in range(5):
        ledger.append_now([note(ledger, at * 100 + key) for key in range(100)])
    size = ledger.next_seq
    # An answer comes before its checkpoint. After the second of these nothing is under way.
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", 10**9)
    ledger.append_now([note(ledger, 9_998)])
    ledger.append_now([note(ledger, 9_999)])

    with ledger.read() as reader:
        assert reader.query("SELECT size FROM verified") == [(size,)]
    with open_notebook(_crash(folder, tmp_path / "copy")) as after, after.read() as reader:
        checked = [f.data for _, f in reader.facts() if isinstance(f.data, TailVerified)]
        assert after._opened.checked_from == size
    assert checked == [TailVerified(to=size + 2)]
