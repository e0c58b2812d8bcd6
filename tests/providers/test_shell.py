"""Programs: what runs, what is kept of it, and that nobody is left behind.

Whether a program is gone is read from a named pipe that it and its children hold open: its end
comes when the last of them is dead, and no time has to be measured.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tildawn.clock import SystemClock
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.port import Wire
from tildawn.providers.process import is_alive, kill_group, start_time
from tildawn.providers.shell import ShellRequest, base_environment, run


pytestmark = pytest.mark.anyio

ENV = base_environment(os.environ)

STUBBORN = "trap '' TERM; exec 3>alive; echo up >&3; {more} sleep 1000; sleep 1000"
"""Holds the pipe open, refuses to end, and has a child that does the same."""

PARENT = """
import asyncio, os, sys
from tildawn.providers.shell import ShellRequest, base_environment, run

async def said(pid, start):
    print(pid, start, flush=True)

request = ShellRequest(
    argv=("sh", "-c", sys.argv[1]), cwd=sys.argv[2], env=base_environment(os.environ)
)
asyncio.run(run(request, on_start=said))
"""


def shell(script: str, cwd: Path, **more: object) -> ShellRequest:
    request = ShellRequest(argv=("sh", "-c", script), cwd=str(cwd), env=ENV)
    return msgspec.structs.replace(request, **more)


def exists(path: Path) -> bool:
    return path.exists()


@pytest.fixture
def alive(tmp_path: Path) -> Path:
    """The named pipe."""
    os.mkfifo(tmp_path / "alive")
    return tmp_path / "alive"


@contextmanager
def parent_of(script: str, tmp_path: Path) -> Generator[subprocess.Popen[str]]:
    """A process like ours that runs a script and prints what it would put on record."""
    command = [sys.executable, "-c", PARENT, script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        yield parent


class Pipe:
    """The reading end of the named pipe, on the loop so that a failing test can end."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._reader = reader
        self._transport = transport

    async def all_dead(self) -> None:
        """Wait until nobody holds the pipe any more."""
        assert await self._reader.read() == b""
        self._transport.close()


async def up(tmp_path: Path) -> Pipe:
    """Wait until the program holds the pipe."""
    fd = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd)
    )
    assert await reader.readexactly(3) == b"up\n"
    return Pipe(reader, transport)


async def test_exit_code_and_both_outputs_come_back(tmp_path: Path) -> None:
    """The report shows what a program said and how it ended, whatever the code."""
    answer = await run(shell("echo out; echo err >&2; exit 3", tmp_path))
    assert (answer.exit_code, answer.signal) == (3, None)
    assert (answer.stdout, answer.stderr) == (b"out\n", b"err\n")
    with pytest.raises(Fault) as caught:
        answer.require_success()
    assert caught.value.status == 3
    assert "err" in caught.value.detail


async def test_a_program_killed_by_a_signal_says_which(tmp_path: Path) -> None:
    """Out of memory and a wrong answer are not the same failure."""
    answer = await run(shell("kill -KILL $$", tmp_path))
    assert (answer.exit_code, answer.signal) == (None, signal.SIGKILL)


async def test_of_a_long_output_the_end_is_kept_and_all_of_it_counted(tmp_path: Path) -> None:
    """A program that prints for hours must not fill our memory; its last words matter most."""
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    answer = await run(shell(script, tmp_path, tail_bytes=1_000))
    assert answer.stdout.endswith(b"line 19999\n")
    assert len(answer.stdout) == 1_000
    assert answer.stdout_bytes == sum(len(f"line {i}\n") for i in range(20_000))


async def test_the_running_interpreter_comes_first_and_keys_do_not_come_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python` in a plan means this one; our keys are no business of a program's."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-children")
    env = (*base_environment(os.environ), ("SHOP", "http://localhost"))
    answer = await run(ShellRequest(argv=("env",), cwd=str(tmp_path), env=env))
    seen = dict(line.split("=", 1) for line in answer.stdout.decode().splitlines())
    assert seen["PATH"].startswith(f"{Path(sys.executable).parent}:")
    assert seen["SHOP"] == "http://localhost"
    assert set(seen) == {name for name, _ in env}
    bare = await run(ShellRequest(argv=("env",), cwd=str(tmp_path)))
    assert [line.split(b"=")[0] for line in bare.stdout.splitlines()] == [b"PATH"]


async def test_arguments_are_passed_as_they_are_and_nothing_can_be_read(tmp_path: Path) -> None:
    """A product's title may hold anything; no shell looks at it, and nobody waits for input."""
    words = ("printf", "%s|", "a b", "$(touch bad)", "; rm -rf x", "*")
    answer = await run(ShellRequest(argv=words, cwd=str(tmp_path), env=ENV))
    assert answer.stdout == b"a b|$(touch bad)|; rm -rf x|*|"
    assert not exists(tmp_path / "bad")
    assert (await run(shell("cat; echo done", tmp_path))).stdout == b"done\n"


@pytest.mark.parametrize(
    ("argv", "cwd", "kind"),
    [
        (("no-such-program-anywhere",), ".", FaultKind.NOT_FOUND),
        (("/",), ".", FaultKind.BAD_REQUEST),
        (("true",), "missing", FaultKind.BAD_REQUEST),
        ((), ".", FaultKind.BAD_REQUEST),
        (("echo", "a\0b"), ".", FaultKind.BAD_REQUEST),
    ],
)
async def test_what_cannot_start_says_so_and_has_no_effect(
    tmp_path: Path, argv: tuple[str, ...], cwd: str, kind: FaultKind
) -> None:
    """A typing error in a plan is told apart from a program that failed."""
    with pytest.raises(Fault) as caught:
        await run(ShellRequest(argv=argv, cwd=str(tmp_path / cwd), env=ENV))
    assert (caught.value.kind, caught.value.sent) == (kind, False)


async def test_the_process_is_on_record_before_the_program_starts(tmp_path: Path) -> None:
    """A crash between start and record would leave a program that recovery does not know."""
    wire, seen = Wire(), list[bool]()

    async def on_start(pid: int, start: str) -> None:
        seen.append(is_alive(pid, start))
        seen.append(wire.sent or exists(tmp_path / "ran"))

    await run(shell("touch ran", tmp_path), on_start=on_start, wire=wire)
    assert seen == [True, False]
    assert wire.sent
    assert exists(tmp_path / "ran")


async def test_a_record_that_fails_keeps_the_program_from_starting(tmp_path: Path) -> None:
    """What is not on record must not run."""
    pids = list[tuple[int, str]]()

    async def on_start(pid: int, start: str) -> None:
        pids.append((pid, start))
        message = "the disk is full"
        raise OSError(message)

    with pytest.raises(OSError, match="the disk is full"):
        await run(shell("touch ran", tmp_path), on_start=on_start)
    assert not exists(tmp_path / "ran")
    assert not is_alive(*pids[0])


@pytest.mark.parametrize("more", ["", "setsid sleep 1000 &"])
async def test_cancelling_ends_a_stubborn_program_and_all_it_started(
    tmp_path: Path, alive: Path, more: str
) -> None:
    """A deadline that leaves processes behind is none."""
    call = asyncio.create_task(run(shell(STUBBORN.format(more=more), tmp_path)))
    pipe = await up(tmp_path)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await pipe.all_dead()


async def test_a_program_is_asked_before_it_is_killed(tmp_path: Path, alive: Path) -> None:
    """A program that cleans up when asked gets the chance."""
    script = "trap 'echo bye > said; exit 0' TERM; exec 3>alive; echo up >&3; sleep 1000 & wait"
    call = asyncio.create_task(run(shell(script, tmp_path)))
    pipe = await up(tmp_path)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await pipe.all_dead()
    assert (tmp_path / "said").read_text() == "bye\n"


async def test_what_a_program_leaves_in_the_background_ends_with_it(
    tmp_path: Path, alive: Path
) -> None:
    """A step that is done must not go on working."""
    script = "exec 3>alive; (trap '' TERM; sleep 1000) & echo up >&3; exit 0"
    call = asyncio.create_task(run(shell(script, tmp_path)))
    pipe = await up(tmp_path)
    assert (await call).exit_code == 0
    await pipe.all_dead()


@pytest.mark.parametrize("more", ["", "setsid sleep 1000 &"])
async def test_killing_us_leaves_no_child(tmp_path: Path, alive: Path, more: str) -> None:
    """After kill -9 the night starts again; two of the same program would trip over each other."""
    with parent_of(STUBBORN.format(more=more), tmp_path) as parent:
        pipe = await up(tmp_path)
        assert parent.stdout is not None
        pid, start = parent.stdout.readline().split()
        assert is_alive(int(pid), start)
        parent.kill()
        await pipe.all_dead()
        assert await kill_group(int(pid), start, clock=SystemClock())
        assert not is_alive(int(pid), start)


async def test_recovery_ends_a_program_whose_wrapper_was_killed_too(
    tmp_path: Path, alive: Path
) -> None:
    """When memory runs out both may die; the record of id and start time finds the rest."""
    with parent_of(STUBBORN.format(more=""), tmp_path) as parent:
        pipe = await up(tmp_path)
        assert parent.stdout is not None
        pid, start = parent.stdout.readline().split()
        parent.send_signal(signal.SIGSTOP)  # it must not notice and clean up
        os.kill(int(pid), signal.SIGKILL)
        parent.kill()
    assert is_alive(int(pid), start)
    assert await kill_group(int(pid), start, clock=SystemClock())
    await pipe.all_dead()


async def test_a_wrapper_killed_by_somebody_else_is_an_unknown_end(
    tmp_path: Path, alive: Path
) -> None:
    """Nobody can say how far the program got, and it must not go on unseen."""
    pids = list[int]()

    async def on_start(pid: int, start: str) -> None:
        pids.append(pid)

    call = asyncio.create_task(run(shell(STUBBORN.format(more=""), tmp_path), on_start=on_start))
    pipe = await up(tmp_path)
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(Fault) as caught:
        await call
    assert (caught.value.kind, caught.value.sent) == (FaultKind.UNKNOWN, True)
    await pipe.all_dead()


async def test_a_process_with_another_start_time_is_left_alone(tmp_path: Path, alive: Path) -> None:
    """Process ids are given out again; recovery must never kill a stranger."""
    with parent_of("exec 3>alive; echo up >&3; sleep 1000", tmp_path) as stranger:
        pipe = await up(tmp_path)
        start = start_time(stranger.pid)
        assert start is not None
        earlier = start.rpartition("/")[0] + "/1"
        assert is_alive(stranger.pid, start)
        assert await kill_group(stranger.pid, earlier, clock=SystemClock())
        assert stranger.poll() is None
        stranger.kill()
        await pipe.all_dead()
