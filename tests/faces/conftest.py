"""A project folder with a house and tasks, and the program as real processes.

What it is not: a fake of any of it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

import tildawn
from tildawn.ledger.pen import holder_of
from tildawn.runtime.holder import socket_path
from tildawn.runtime.job import Job, told


JOBS = """
import threading
from pathlib import Path

from tildawn import Context, task


def add(a: int, b: int) -> int:
    return a + b


@task
async def total(ctx: Context, shops: int, name: str = "x") -> str:
    got = 0
    for n in range(shops):
        got = await ctx.step(add, got, n)
    ctx.log("added", got=got)
    return f"{name}={got}"


@task
async def nap(ctx: Context) -> str:
    await ctx.sleep("1h")
    return "rested"


@task
async def waits(ctx: Context) -> str:
    return await ctx.event("go")


@task
async def ask(ctx: Context) -> str:
    return await ctx.outside("ask", "chat", {"prompt": "hello"})


@task
async def cheat(ctx: Context) -> str:
    import socket
    socket.create_connection(("127.0.0.1", 9))
    return "out"


def block() -> int:
    threading.Event().wait()
    return 1


@task
async def stubborn(ctx: Context) -> int:
    Path("began").touch()
    return await ctx.step(block)


def words() -> str:
    return "text"
"""

WORKING = "working in"

SOURCES = str(Path(tildawn.__file__).parents[1])
"""Processes run the package that is under test, wherever that is."""


class Program:
    """The program, started in one folder."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        """Take the folder, and a runtime folder for sockets."""
        self.folder = folder
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith("TILDAWN_")
        } | {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": SOURCES}
        self.started: list[subprocess.Popen[str]] = []

    @property
    def house(self) -> Path:
        """Its house."""
        return self.folder / ".tildawn"

    def run(
        self, *words: str, code: int = 0, env: dict[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "tildawn", *words],
            cwd=self.folder,
            env=self.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
            input=stdin,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ask(self, *words: str, code: int = 0) -> Any:
        """Run one command with --json; what it prints."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def up(self) -> subprocess.Popen[str]:
        """Start the worker and wait until it says that it works."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "tildawn.faces.local", told(Job(house=str(self.house)))],
            cwd=self.folder,
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(worker)
        assert worker.stderr is not None
        said = worker.stderr.readline()
        assert said.startswith(WORKING), said + worker.stderr.read()
        return worker

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        started = subprocess.Popen(
            [sys.executable, "-m", "tildawn", *words],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(started)
        return started

    def hold(self) -> subprocess.Popen[str]:
        """Start a process that holds the pen and does nothing else."""
        code = (
            "import sys, threading\n"
            "from pathlib import Path\n"
            "from tildawn.clock import SystemClock\n"
            "from tildawn.ledger.pen import Pen\n"
            "pen = Pen.take(Path(sys.argv[1]), clock=SystemClock(), build='test')\n"
            "print('held', file=sys.stderr, flush=True)\n"
            "threading.Event().wait()\n"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(self.house / "pen")],
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(holder)
        assert holder.stderr is not None
        assert holder.stderr.readline() == "held\n"
        return holder

    def until(self, run: str, state: str) -> Any:
        """Look at a run until it is in a state; the timeout of the test is the limit."""
        while True:
            shown = self.ask("show", run)
            if shown["run"]["state"] == state:
                return shown

    def end(self) -> None:
        """End what was started, each process by its id."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                # A parent takes its worker along; only who does not obey is killed.
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self._end_orphan()

    def _end_orphan(self) -> None:
        """A worker whose parent a test killed works on; it must not outlive a test that failed."""
        holder = holder_of(self.house / "pen")
        if holder is None:
            return
        try:
            words = Path(f"/proc/{holder.pid}/cmdline").read_bytes()
        except OSError:
            return  # it is gone, or this system does not tell
        if os.fsencode(self.house) in words:
            os.kill(holder.pid, signal.SIGKILL)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A project with a house and tasks."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "jobs.py").write_text(JOBS)
    # A path that is short enough for a socket, so that none ends in the folder that every
    # house of this user shares.
    with TemporaryDirectory(prefix="td") as runtime:
        made = Program(folder, Path(runtime))
        assert socket_path(made.house, runtime=runtime).is_relative_to(runtime)
        made.run("init", "--bare")
        yield made
        made.end()


@pytest.fixture
def answering() -> Callable[[Path, bytes], threading.Thread]:
    """Listens on a Unix socket and answers one request with a body, as a holder would."""

    def listen(path: Path, body: bytes) -> threading.Thread:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        bound.bind(str(path))
        bound.listen()

        def answer() -> None:
            with bound:
                line, _ = bound.accept()
            with line:
                line.recv(65_536)
                line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

        thread = threading.Thread(target=answer)
        thread.start()
        return thread

    return listen
