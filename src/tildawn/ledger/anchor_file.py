"""An anchor that is a folder, best on another disk: each checkpoint is a file that stays.

What it is not: proof against whoever can write to both disks.

``FOLDER/ORIGIN/SIZE.checkpoint``, with the size in 20 digits, is the signed note; the file with
the largest number is the newest one.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tildawn.errors import AnchorFailed
from tildawn.ledger.anchor import Claim, Evidence, agree, path_of
from tildawn.ledger.durable import sync_folder, write_durably


T = TypeVar("T")

SUFFIX = ".checkpoint"
NOTE_BYTES = 1_000_000
"""The longest file that is read. Source: `tildawn.ledger.note.NOTE_BYTES_MAX`."""


class FileAnchor:
    """A folder with checkpoints; see `tildawn.ledger.anchor.Anchor`."""

    kind = "file"

    def __init__(self, name: str, folder: Path, *, house: Path) -> None:
        """Take the folder, which must be there, and the house, to know whether they share a disk."""
        self.name = name
        self._folder = folder
        self._house = house
        self._stuck: threading.Event | None = None

    async def anchor(self, claim: Claim) -> Evidence:
        """Put the checkpoint there as a file of its own; a crash leaves it there or not.

        Raises:
            AnchorFailed: the folder is missing, the disk refuses, or hangs since an earlier try.
            ProofBroken: the folder has a larger tree, or another one.
        """
        return await self._aside(lambda: self._keep(claim))

    async def check(self, claim: Claim) -> Evidence | None:
        """See `Anchor.check`.

        Raises:
            AnchorFailed: the folder is missing, the disk refuses, or hangs since an earlier try.
            ProofBroken: the folder has a larger tree, or another one.
        """
        return await self._aside(lambda: self._newest(claim))

    async def aclose(self) -> None:
        """Nothing is held.

        Raises:
            Nothing.
        """

    @property
    def _place(self) -> str:
        return f"the folder of anchor {self.name}"

    def _keep(self, claim: Claim) -> Evidence:
        ours = claim.checkpoint
        place = self._place_of(ours.origin)
        # A crash leaves empty folders, which the next try finds.
        place.mkdir(parents=True, exist_ok=True)
        for folder in (place.parent, *place.parent.parents):
            sync_folder(folder)
            if folder == self._folder:
                break
        with _locked(place):
            found = self._newest(claim)
            if found is not None and found.size == ours.size:
                return found
            path = place / f"{ours.size:020}{SUFFIX}"
            write_durably(path, claim.note.dump().encode(), mode=0o644)
        return Evidence(size=ours.size, root=ours.root, text=str(path), warning=self._warning())

    def _newest(self, claim: Claim) -> Evidence | None:
        place = self._place_of(claim.checkpoint.origin)
        names = [path for path in place.glob(f"*{SUFFIX}") if path.stem.isdecimal()]
        if not names:
            return None
        path = max(names)
        with path.open("rb") as stream:
            kept = stream.read(NOTE_BYTES + 1).decode("utf-8", "replace")
        theirs = agree(claim, self._place, kept)
        return Evidence(
            size=theirs.size, root=theirs.root, text=str(path), warning=self._warning()
        )  # fmt: skip

    def _place_of(self, origin: str) -> Path:
        if not self._folder.is_dir():
            message = f"{self._folder}, the folder of anchor {self.name}, is not there"
            raise AnchorFailed(
                message, hint="is the disk mounted? the folder itself is yours to make"
            )
        return self._folder / path_of(origin)

    def _warning(self) -> str:
        same = self._folder.stat().st_dev == self._house.stat().st_dev
        return "it is on the same file system as the house" if same else ""

    async def _aside(self, work: Callable[[], T]) -> T:
        """Do it on a thread of its own, which a hung disk may keep for ever, but only one."""
        if self._stuck is not None and not self._stuck.is_set():
            message = f"{self._place} still hangs since an earlier try"
            raise AnchorFailed(message, hint="look at that disk")
        self._stuck = ended = threading.Event()
        try:
            return await aside(work, ended)
        except OSError as error:
            message = f"{self._place} cannot be used: {error.strerror or error}"
            raise AnchorFailed(message, hint="look at that disk") from error


async def aside(work: Callable[[], T], ended: threading.Event) -> T:
    """Run something that may hang on a daemon thread, which keeps no process from ending.

    Args:
        work: what to run.
        ended: set when it is over, whether or not anybody still waits.

    Raises:
        Exception: what ``work`` raised.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # T, since there was no error

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - handed to whoever waits
            error = raised
        ended.set()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="tildawn-anchor", daemon=True).start()
    return await future


@contextmanager
def _locked(place: Path) -> Generator[None]:
    """Between the look and the writing nobody else may write."""
    handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
