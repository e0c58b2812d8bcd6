"""Other places that do as they are told, and a house to anchor in them.

What it is not: fakes.  The folder, the repository and the witness are real ones.
"""

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal, Protocol

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tildawn.clock import SystemClock
from tildawn.faces.witness.application import application
from tildawn.faces.witness.server import listening
from tildawn.facts.house import ClockJumped
from tildawn.ids import Ids
from tildawn.ledger import anchor_file
from tildawn.ledger.keyring import SigningRow
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.note import Signer, Verifier
from tildawn.ledger.witness import Witness
from tildawn.projections.anchor import AnchorRow, origin_now
from tildawn.providers.git import GitAnchor
from tildawn.providers.wire import Wires
from tildawn.providers.witness import WitnessAnchor
from tildawn.runtime.places import Place
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros
from tildawn.watch.anchors import debts, sentence


HOUR = Micros(3_600 * SECOND)


@pytest.fixture
def anyio_backend() -> str:
    """The loop of the program."""
    return "asyncio"


class House:
    """A ledger on the disk, and a clock that moves when it is told to."""

    def __init__(self, folder: Path) -> None:
        """Found it."""
        self.folder = folder
        self.clock = ManualClock()
        self.open()

    def open(self, mode: Literal["read", "write"] = "write") -> None:
        """Open it again."""
        self.ledger = Ledger.open(
            self.folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=Ids(SystemClock()), build="test", mode=mode,
        )  # fmt: skip

    def grow(self, facts: int = 3) -> None:
        """Record something, and sign it."""
        self.ledger.append_now([self.ledger.draft(ClockJumped(by_ms=1))] * facts)
        self.ledger.checkpoint()

    @property
    def key(self) -> Verifier:
        """That signs."""
        with self.ledger.read() as reader:
            row = reader.get(SigningRow, 0)
            assert row is not None
            return Verifier(origin_now(reader), bytes.fromhex(row.public))

    def row(self, name: str = "x") -> AnchorRow:
        """What the ledger says of an anchor."""
        with self.ledger.read() as reader:
            row = reader.get(AnchorRow, name)
        assert row is not None
        return row

    def said(self) -> list[str]:
        """The facts about anchors, in order."""
        with self.ledger.read() as reader:
            kinds = [fact.kind for _, fact in reader.facts(limit=-1)]
        return [kind for kind in kinds if kind.startswith("Anchor")]

    def debt(self) -> str:
        """How the anchor stands, in words."""
        with self.ledger.read() as reader:
            [debt] = debts(reader, self.clock.wall(), origin=origin_now(reader))
        return sentence(debt, self.clock.wall())

    def keep_copy(self, to: Path) -> None:
        """Copy all of it, as a backup of the disk would."""
        self.ledger.close()
        shutil.copytree(self.folder, to)
        self.open()

    def put_back(self, copy: Path) -> None:
        """Put the copy in its place: database, marks and keys."""
        self.ledger.close()
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)


@pytest.fixture
def house(tmp_path: Path) -> Callable[[], House]:
    """Founds a house on the loop of the test."""
    return lambda: House(tmp_path / "house")


class Other(Protocol):
    """Another place, which does as it is told."""

    place: Place
    folder: Path

    def refuse(self) -> None:
        """Take nothing from now on."""

    def lose(self) -> None:
        """Take everything from now on, and never say so."""

    def hang(self) -> None:
        """Neither take nor answer from now on."""

    def mend(self) -> None:
        """Be as it should be."""

    async def reached(self) -> None:
        """Wait until it has been asked since it was told to hang."""

    def count(self) -> int:
        """How many checkpoints were ever kept."""
        ...


class Folder:
    """A folder on another disk."""

    def __init__(self, house: House, folder: Path, patch: pytest.MonkeyPatch) -> None:
        """Make it."""
        self.folder = folder
        self.away = folder.with_name("away")
        folder.mkdir()
        self.patch = patch
        self.pipe = folder / "pipe"
        self.write = anchor_file.write_durably
        self.anchor = anchor_file.FileAnchor("x", folder, house=house.folder)
        self.place = Place(self.anchor, HOUR)

    def refuse(self) -> None:
        """The disk is not mounted."""
        self.folder.rename(self.away)

    def lose(self) -> None:
        """The disk takes it and reports an error."""

        def write(path: Path, content: bytes, *, mode: int) -> None:
            self.write(path, content, mode=mode)
            raise OSError(5, "Input/output error")

        self.patch.setattr(anchor_file, "write_durably", write)

    def hang(self) -> None:
        """The disk does not come back."""
        os.mkfifo(self.pipe)

        def write(path: Path, content: bytes, *, mode: int) -> None:
            # Opening the pipe waits for somebody at its other end.
            self.pipe.read_bytes()
            self.write(path, content, mode=mode)

        self.patch.setattr(anchor_file, "write_durably", write)

    def mend(self) -> None:
        """It is back."""
        if self.away.exists():
            self.away.rename(self.folder)
        self.patch.setattr(anchor_file, "write_durably", self.write)
        if self.pipe.exists():
            # Both ends at once, so that it does not wait when the reader has gone already.
            os.close(os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK))
            stuck = self.anchor._stuck
            assert stuck is not None
            assert stuck.wait(30)

    async def reached(self) -> None:
        """The thread is inside."""
        while not self.anchor._stuck:
            await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(int))})

    def count(self) -> int:
        """Files."""
        return len(list(self.folder.rglob("*.checkpoint")))


class Repository:
    """A bare repository that stands for somebody else's server."""

    def __init__(self, house: House, folder: Path) -> None:
        """Make it."""
        self.folder = folder
        self.pipe = folder.with_name("pipe")
        self.git("init", "--quiet", "--bare", str(folder))
        anchor = GitAnchor(
            "x", folder.with_name("local.git"), remote=str(folder), clock=house.clock
        )
        self.place = Place(anchor, HOUR)

    def git(self, *words: str) -> str:
        """What git says there."""
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def hook(self, name: str, script: str) -> None:
        """Have it run something."""
        path = self.folder / "hooks" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def refuse(self) -> None:
        """It takes no push."""
        self.hook("pre-receive", "echo closed; exit 1")

    def lose(self) -> None:
        """It takes the push and goes to sleep before it says so."""
        os.mkfifo(self.pipe)
        self.hook("post-receive", f"echo up > {self.pipe}; exec sleep 1000")

    def hang(self) -> None:
        """It goes to sleep before it takes the push."""
        os.mkfifo(self.pipe)
        self.hook("pre-receive", f"echo up > {self.pipe}; exec sleep 1000")

    def mend(self) -> None:
        """No hook is left."""
        for name in ("pre-receive", "post-receive"):
            (self.folder / "hooks" / name).unlink(missing_ok=True)

    async def reached(self) -> None:
        """The hook is running."""
        await asyncio.to_thread(self.pipe.read_bytes)

    def count(self) -> int:
        """Commits."""
        return int(self.git("-C", str(self.folder), "rev-list", "--count", "--all"))


class Second:
    """A witness on a real socket."""

    place: Place

    def __init__(self, house: House, folder: Path) -> None:
        """Make it."""
        self.folder = folder
        folder.mkdir()
        signer = Signer("witness.example/w1", bytes([3]) * 32)
        self.witness = Witness(folder, signer, [house.key], wall=house.clock.wall)
        self.mode = "answer"
        self.asked = asyncio.Event()
        self.kept = 0

    def wrapped(self, app: ASGIApp) -> ASGIApp:
        """The application, as badly as it is told to be."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self.asked.set()
            if self.mode == "hang":
                await asyncio.Event().wait()
            if self.mode == "refuse":
                await send({"type": "http.response.start", "status": 503, "headers": []})
                await send({"type": "http.response.body", "body": b"closed"})
                return

            async def said(message: Message) -> None:
                self.kept += message.get("status") == 200
                if self.mode == "lose" and self.kept:
                    await asyncio.Event().wait()
                await send(message)

            await app(scope, receive, said)

        return answer

    def refuse(self) -> None:
        """Its server is overloaded."""
        self.mode = "refuse"

    def lose(self) -> None:
        """It keeps and cosigns, and the line goes dead."""
        self.mode = "lose"
        self.asked.clear()

    def hang(self) -> None:
        """It reads and says nothing."""
        self.mode = "hang"
        self.asked.clear()

    def mend(self) -> None:
        """It answers."""
        self.mode = "answer"

    async def reached(self) -> None:
        """It was asked."""
        await self.asked.wait()
        if self.mode == "lose":
            while not self.kept:
                await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(int))})

    def count(self) -> int:
        """Logs that it knows."""
        return len(list(self.folder.glob("*.checkpoint")))


Make = Callable[[str, House], AbstractAsyncContextManager[Other]]


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes another place of a kind, named x."""

    @asynccontextmanager
    async def make(kind: str, house: House) -> AsyncGenerator[Other]:
        if kind == "file":
            yield Folder(house, tmp_path / "other", monkeypatch)
        elif kind == "git":
            if shutil.which("git") is None:
                pytest.skip("git is not installed")
            yield Repository(house, tmp_path / "remote.git")
        else:
            second = Second(house, tmp_path / "witness")
            # Whoever hangs on purpose is not waited for when the server ends.
            monkeypatch.setattr("tildawn.faces.witness.server.GRACE", 0.0)
            app = Starlette()
            app.mount("", second.wrapped(application(second.witness)))
            async with listening("127.0.0.1", 0, app) as url:
                wires = Wires(clock=SystemClock())
                key = second.witness.verifier.dump()
                second.place = Place(WitnessAnchor("x", url, key, wires=wires), HOUR)
                yield second
                await wires.aclose()

    return make
