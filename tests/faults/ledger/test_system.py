"""The system itself refuses, kills, stops or lies: limits, a small disk, strace, signals, clocks.

What it is not: the disk of `FaultyDisk`; here SQLite writes through its own, in real processes.
Where a tool is missing the test is skipped and says which.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import HouseLocked
from tildawn.ledger.writer import FATAL_EXIT
from tildawn.testing import bugs
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook


APPENDS = [sys.executable, str(Path(__file__).with_name("appends.py"))]
STRACE = shutil.which("strace") or ""
#: Calls are counted for each thread.  While it opens and closes the main one writes some 53 times,
#: the ledger's 170 times, and each append is one sync: the sixtieth write is inside an append.
WRITE = 60
FAKETIME = shutil.which("faketime") or ""


def _trouble(folder: Path, said: list[Any]) -> str:
    """The auditor: what a promise lost, in words; empty when all held.

    Whatever was promised is stored, whatever was refused is not, except one append at the end
    whose outcome was unknown; and the ledger holds together and goes on.
    """
    with open_notebook(folder) as ledger:
        with ledger.read() as reader:
            stored = {row.key for row in reader.rows(Note)}
        ledger.append_now([note(ledger, 1_000_000)])
    verdict = verify_notebook(folder)
    kept = {key for line in said for key in line.get("kept", ())}
    no = {key for line in said if line.get("refused") == "store-full" for key in line["keys"]}
    if verdict.what or verdict.state.value != "proven":
        return f"the ledger does not hold together: {verdict.what}"
    if not kept <= stored:
        return "a promised fact is gone"
    if no & stored:
        return "a refused fact is there"
    if len(stored - kept) not in {0, 3}:
        return "half an append, or one that nobody made"
    return ""


def _lines(count: int, *, size: int = 3_000) -> list[str]:
    return [f"append {3 * at} 3 {size}" for at in range(count)]


def _run(
    folder: Path, lines: Iterable[str], *, before: Iterable[str] = (), bug: str = ""
) -> tuple[int, list[Any]]:
    """Run the workload; its exit code, and what it said."""
    done = subprocess.run(
        [*before, *APPENDS, str(folder)], input="".join(f"{line}\n" for line in lines),
        capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {bugs.VARIABLE: bug},
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


class _Child:
    """The same with a conversation."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [*APPENDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin, self.process.stdout
        self.said = [json.loads(self._from.readline())]

    def tell(self, line: str) -> None:
        self._to.write(f"{line}\n")
        self._to.flush()

    def hear(self) -> Any:
        self.said.append(json.loads(self._from.readline()))
        return self.said[-1]

    def end(self) -> int:
        self._to.close()
        self._from.close()
        return self.process.wait(30)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.end()


@contextmanager
def _child(folder: Path) -> Generator[_Child]:
    child = _Child(folder)
    try:
        yield child
    finally:
        child.kill()


def test_a_limit_on_files_refuses_and_work_resumes_when_it_is_lifted(tmp_path: Path) -> None:
    """SQLite calls it a plain failure of writing; taken for a broken disk it would end the night."""
    folder = tmp_path / "house"
    with _child(folder) as child:
        child.tell("append 0 3 3000")
        assert child.hear() == {"kept": [0, 1, 2]}
        most = (folder / "ledger.db-wal").stat().st_size + 20_000
        child.tell(f"limit {most}")
        child.hear()
        for first in range(3, 18, 3):
            child.tell(f"append {first} 3 9000")
        answers = [child.hear() for _ in range(3, 18, 3)]
        assert answers[-1]["refused"] == "store-full"
        assert "ulimit" in answers[-1]["hint"]
        child.tell("limit 0")
        child.hear()
        child.tell("append 18 3 9000")
        assert child.hear() == {"kept": [18, 19, 20]}
        assert child.end() == 0

    assert _trouble(folder, child.said) == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 6 MB, in memory."""
    point = tmp_path / "small"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tildawn", str(point)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_small_disk_that_is_full_refuses_and_goes_on_when_it_grows(small_disk: Path) -> None:
    """Also a restart on the full disk opens, verifies, and loses nothing."""
    folder = small_disk / "house"
    lines = _lines(60, size=60_000)

    code, said = _run(folder, lines)
    assert code == 0
    assert {line.get("refused") for line in said[1:]} == {None, "store-full"}
    before = sum("kept" in line for line in said)
    assert 5 < before < 60
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert _trouble(folder, said) == ""

    code, more = _run(folder, ["append 500 3 60000"])
    assert (code, more[-1]) == (0, {"kept": [500, 501, 502]})


needs_strace = pytest.mark.skipif(not STRACE, reason="strace is not installed")


def _inject(what: str) -> list[str]:
    call = what.partition(":")[0]
    return [STRACE, "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={what}"]


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    """A house that is there already, so that the injected calls are those of its work."""
    folder = tmp_path / "house"
    if subprocess.run([*_inject("fdatasync:delay_enter=1"), "true"], check=False).returncode:
        pytest.skip("strace may not trace here")
    open_notebook(folder).close()
    return folder


@needs_strace
@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_kill_inside_a_sync_loses_nothing_promised(traced: Path, number: int) -> None:
    """Nobody can say whether that one batch is there; everything before it is."""
    code, said = _run(traced, _lines(8), before=_inject(f"fdatasync:signal=KILL:when={number}"))

    assert code in {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert _trouble(traced, said) == ""


@needs_strace
@pytest.mark.parametrize(("number", "ends"), [(1, 1), (5, FATAL_EXIT)])
def test_a_sync_that_fails_in_the_system_ends_the_process(
    traced: Path, number: int, ends: int
) -> None:
    """The pages are marked clean; whoever syncs again would be told that all is well."""
    code, said = _run(traced, _lines(8), before=_inject(f"fdatasync:error=EIO:when={number}"))

    assert code == ends
    assert _trouble(traced, said) == ""


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_a_write_that_the_system_has_no_room_for_is_refused_and_others_go_on(
    traced: Path, error: str
) -> None:
    """A used-up quota is no broken disk, though SQLite has no word for it."""
    code, said = _run(traced, _lines(8), before=_inject(f"pwrite64:error={error}:when={WRITE}"))

    assert code == 0
    assert [line["refused"] for line in said if "refused" in line] == ["store-full"]
    assert "kept" in said[-1]
    assert _trouble(traced, said) == ""


@needs_strace
def test_a_write_that_fails_ends_the_process_and_leaves_no_damage(traced: Path) -> None:
    """Of a disk that fails nothing more is believed."""
    code, said = _run(traced, _lines(8), before=_inject(f"pwrite64:error=EIO:when={WRITE}"))

    assert code == FATAL_EXIT
    assert _trouble(traced, said) == ""


@needs_strace
def test_a_slow_disk_is_slow_and_nothing_else(traced: Path) -> None:
    """Each sync takes 20 ms more, and all are answered in order."""
    code, said = _run(traced, _lines(8), before=_inject("fdatasync:delay_enter=20000"))

    assert code == 0
    assert [line["kept"][0] for line in said[1:]] == list(range(0, 24, 3))
    assert _trouble(traced, said) == ""


@pytest.mark.chaos  # which write it is depends on the turns of two threads
@needs_strace
def test_the_auditor_sees_an_answer_that_comes_before_its_sync(traced: Path) -> None:
    """A checker that cannot fail proves nothing: here the promise is made too early.

    The process is killed before the frames of an append are written, and not in their sync: what
    is written outlives a killed process.
    """
    kill = _inject(f"pwrite64:signal=KILL:when={WRITE}")

    _, said = _run(traced, _lines(8), before=kill)
    assert _trouble(traced, said) == ""
    shutil.rmtree(traced)
    open_notebook(traced).close()
    _, said = _run(traced, _lines(8), before=kill, bug="answer-before-commit")
    assert _trouble(traced, said) == "a promised fact is gone"


def test_a_holder_that_is_stopped_keeps_the_pen_and_goes_on(tmp_path: Path) -> None:
    """A machine that slept is no dead process; two pens would write two histories."""
    folder = tmp_path / "house"
    with _child(folder) as child:
        child.tell("append 0 3 100")
        child.hear()
        child.process.send_signal(signal.SIGSTOP)
        with pytest.raises(HouseLocked):
            open_notebook(folder)
        with pytest.raises(HouseLocked):
            open_notebook(folder, takeover=True)
        child.tell("append 3 3 100")
        child.process.send_signal(signal.SIGCONT)
        assert child.hear() == {"kept": [3, 4, 5]}
        child.process.send_signal(signal.SIGSTOP)
        child.kill()

        with open_notebook(folder) as ledger:
            assert (ledger.epoch, ledger.unclean) == (child.said[0]["epoch"] + 1, True)

    assert _trouble(folder, child.said) == ""


@pytest.mark.skipif(not FAKETIME, reason="faketime (libfaketime) is not installed")
@pytest.mark.parametrize(
    "when", ["1970-01-01 00:00:05", "2038-01-19 03:14:08", "2016-12-31 23:59:60"]
)
def test_the_time_of_the_system_decides_nothing(tmp_path: Path, when: str) -> None:
    """Facts are in the order of their recording, whatever the clock of the machine says."""
    folder = tmp_path / "house"
    open_notebook(folder).close()

    code, said = _run(folder, _lines(3, size=10), before=[FAKETIME, when])

    assert code == 0
    assert [line["kept"][0] for line in said[1:]] == [0, 3, 6]
    assert _trouble(folder, said) == ""
