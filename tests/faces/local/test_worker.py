"""The holder of the pen as a process: its socket, its end, and what others may do meanwhile.

What it is not: a test of the engine; that has its own.
"""

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tildawn.runtime.holder import socket_path


def test_a_run_enqueued_without_a_holder_is_done_by_the_next_one(program: Any) -> None:
    """Whoever leaves a wish need not know whether anybody is awake."""
    accepted = program.ask("enqueue", "jobs:total", "shops=3", "name=7")
    program.up()

    shown = program.until(accepted["name"], "done")

    assert shown["result"] == "7=3"
    assert shown["input"] == {"shops": 3, "name": "7"}


def test_a_write_reaches_the_holder_over_its_socket(program: Any) -> None:
    """Two processes never write to one house; the second asks the first."""
    worker = program.up()

    accepted = program.ask("enqueue", "jobs:total", "shops=2")
    shown = program.until(accepted["run"], "done")

    assert shown["result"] == "x=1"
    assert program.ask("status")["holder"] == worker.pid


def test_a_second_worker_is_refused_while_the_first_one_holds_the_pen(program: Any) -> None:
    """One pen: the second one says who has it and that trying later helps."""
    worker = program.up()

    second = program.run("up", code=75)

    assert f"process {worker.pid}" in second.stderr


def test_a_signal_to_end_parks_the_work_and_says_try_again(program: Any) -> None:
    """What is going on goes back to the queue, and the exit code says that nothing is lost."""
    worker = program.up()
    run = program.ask("enqueue", "jobs:waits")["run"]
    program.until(run, "waiting")

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=10) == 75
    assert program.ask("show", run)["run"]["state"] == "queued"
    assert program.ask("status")["holder"] == 0
    assert not socket_path(program.house, runtime=program.environ["XDG_RUNTIME_DIR"]).exists()


def test_a_step_that_never_ends_does_not_keep_the_worker(program: Any) -> None:
    """A thread of the user's cannot be ended, but the process can: nothing of it is on record."""
    worker = program.up()
    run = program.ask("enqueue", "jobs:stubborn")["run"]
    while not (program.folder / "began").exists():
        program.ask("status")

    worker.send_signal(signal.SIGINT)

    assert worker.wait(timeout=10) == 75
    assert program.ask("show", run)["run"]["state"] == "queued"


def test_reads_need_no_holder_after_a_kill_and_the_ledger_is_proven(program: Any) -> None:
    """The record is worth most right after the crash."""
    worker = program.up()
    run = program.ask("enqueue", "jobs:waits")["run"]
    program.until(run, "waiting")

    worker.kill()
    worker.wait()

    assert program.ask("show", run)["run"]["state"] == "waiting"
    assert program.ask("verify")["state"] == "proven"
    program.up()  # the socket that the dead one left is in nobody's way
    assert program.until(run, "waiting")["deaths"] == 0, "a run that waited has killed nobody"


def test_a_stopped_holder_lets_a_write_fail_soon_and_a_read_pass(program: Any) -> None:
    """A silent holder must not make everybody silent."""
    worker = program.up()
    worker.send_signal(signal.SIGSTOP)

    refused = program.run("enqueue", "jobs:nap", code=75)

    assert "silent for 5 s" in refused.stderr
    assert program.ask("status")["holder"] == worker.pid
    worker.send_signal(signal.SIGCONT)
    assert program.ask("enqueue", "jobs:nap")["fresh"]


def test_a_takeover_makes_the_holder_park_and_is_a_fact(program: Any) -> None:
    """The pen is asked for, never broken, and the ledger says that a person took it."""
    worker = program.up()
    before = program.ask("status")["epoch"]

    taken = program.ask("takeover", "--yes")

    assert worker.wait(timeout=10) == 75
    assert taken["epoch"] == before + 1
    logs = program.run("logs", "--json").stdout
    assert '"kind":"PenLaid"' in logs


def test_a_takeover_is_asked_for(program: Any) -> None:
    """Ending a night is not done by mistyping."""
    worker = program.up()

    program.run("takeover", code=75, stdin="n\n")

    assert worker.poll() is None


def test_only_the_owner_can_reach_the_socket(program: Any) -> None:
    """Whoever may write to the socket may spend money."""
    program.up()
    path = socket_path(program.house, runtime=program.environ["XDG_RUNTIME_DIR"])

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_another_build_is_told_which_side_to_start_again(
    program: Any, tmp_path: Path, answering: Callable[[Path, bytes], threading.Thread]
) -> None:
    """After an upgrade, the old process is still there; guessing would corrupt an understanding."""
    path = socket_path(program.house, runtime=program.environ["XDG_RUNTIME_DIR"])
    greeting = b'{"protocol":1,"build":"0.0.1","house":"h","epoch":1,"pid":4711}'
    thread = answering(path, greeting)
    holder = program.hold()

    refused = program.run("enqueue", "jobs:nap", code=2)

    holder.kill()
    thread.join()
    assert "build 0.0.1" in refused.stderr
    assert "end process 4711" in refused.stderr


def test_a_folder_of_sockets_that_others_can_write_is_refused(program: Any) -> None:
    """In a shared place, somebody else's socket could be lying there."""
    path = socket_path(program.house, runtime=program.environ["XDG_RUNTIME_DIR"])
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)
    path.parent.parent.chmod(0o777)
    holder = program.hold()

    refused = program.run("enqueue", "jobs:nap", code=2)

    holder.kill()
    assert "only you can use" in refused.stderr


def test_the_path_of_a_socket_is_short_wherever_the_house_is(tmp_path: Path) -> None:
    """A system takes 104 bytes, and houses lie deep."""
    deep = tmp_path / ("d" * 200)

    assert len(os.fsencode(socket_path(deep, runtime=str(tmp_path)))) <= 100
    long = tmp_path / ("r" * 90)
    long.mkdir()
    assert str(socket_path(deep, runtime=str(long))).startswith("/tmp/tildawn-")


def test_two_houses_never_share_a_socket(tmp_path: Path) -> None:
    """Otherwise a wish for one shop would be done by another."""
    runtime = str(tmp_path)

    assert socket_path(tmp_path / "a", runtime=runtime) != socket_path(
        tmp_path / "b", runtime=runtime
    )


def test_an_unknown_operation_is_refused_by_the_holder(program: Any) -> None:
    """Other builds may ask for what this one does not know."""
    program.up()
    path = socket_path(program.house, runtime=program.environ["XDG_RUNTIME_DIR"])

    said = _talk(path, b"POST /operations/dance HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n")

    assert b" 400 " in said
    assert b'"code":"unknown-name"' in said


def _talk(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(path))
        line.sendall(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        parts: list[bytes] = []
        while part := line.recv(65_536):
            parts.append(part)
    return b"".join(parts)
