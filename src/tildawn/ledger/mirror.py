"""The mirror: a second copy of every batch, written in parallel with its commit, or soon after.

What it is not: a vote.  It never holds up the ledger for long and never fails a commit; which
copy is right after a crash is decided when the house is opened, by `tildawn.ledger.reunion`.

With ``sync-degrade`` a second thread writes and syncs the frames of a batch while SQLite
commits it, and the batch is answered after both.  When the mirror fails, one fact says so and
work goes on without it.  With ``async`` nothing is done in the commit: `Mirror.turn` copies.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from tildawn.errors import HouseUnusable, TildawnError
from tildawn.facts.fact import FactData
from tildawn.facts.mirror import MirrorJoined, MirrorLost
from tildawn.ledger.disk import NETWORK, file_system_of
from tildawn.ledger.layout import Layout
from tildawn.ledger.shelf import End, Shelf
from tildawn.ledger.sqlite.source import Source, reading
from tildawn.ledger.twin import Batch
from tildawn.units import Seq


CHUNK_FACTS = 4_096
"""Facts that are copied from the database at once."""

NEAR_FACTS = 16_384
"""A gap that is closed at once, at opening or before a commit: some 100 ms."""

LAG_FACTS_MAX = 65_536
"""A mirror that follows and is further behind than this counts as lost."""

PATIENCE = 10.0
"""Seconds that a commit waits for the mirror's disk before it goes on without it."""

Mode = Literal["async", "sync-degrade"]

_log = logging.getLogger(__name__)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner wants: how, and where."""

    mode: Mode
    folder: Path
    patience: float = PATIENCE


class State(StrEnum):
    """How a mirror stands in this process."""

    LOST = "lost"
    BEHIND = "behind"
    #: All but the last facts are there; the next commit closes the gap.
    NEAR = "near"
    IN_STEP = "in-step"
    #: ``async``: copied by every turn.
    FOLLOWING = "following"


class Mirror:
    """The mirror of a house that is open to write.

    ``begin``, ``join`` and ``undo`` belong to the writer's thread; `turn` and `forget` to any
    other one.  What is to be put on record waits in ``news`` until somebody takes it.
    """

    def __init__(self, wish: Wish, layout: Layout) -> None:
        """Take the wish; nothing is touched."""
        self.wish = wish
        self.state = State.LOST
        self.news: list[FactData] = []
        self.shelf = Shelf(wish.folder)
        self._tell: Callable[[FactData], None] | None = None
        self.layout = layout
        self._source: Source | None = None
        self._name = ""
        self._lock = threading.Lock()
        self._held = False
        self._before = End()
        #: Size before a batch that could not be taken back.
        self._doubtful = -1
        self._gap = 0
        #: Whether the loss is told, and the return is not.
        self._told = False
        self._closing = False
        self._job: Batch | None = None
        self._asked = False
        self._error: OSError | None = None
        self._stuck = False
        # Two locks as signals: cheaper than conditions, and a commit waits for them.
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._thread: threading.Thread | None = None

    # -- beside a commit -----------------------------------------------------------------------

    def begin(self, batch: Batch) -> None:
        """Start to write a batch whose commit is about to begin."""
        if self.state not in {State.IN_STEP, State.NEAR}:
            return
        if not self._lock.acquire(timeout=self.wish.patience):
            self._lose("hung")
            return
        self._held = True
        ready = self.state is State.IN_STEP or self._close_gap(batch.first)
        self._before = self.shelf.end
        if not ready:
            return
        if not self._name:
            self._name = founder_of(batch.parts[0][0][0][2])
        self._job, self._asked = batch, True
        self._go.release()

    def join(self) -> None:
        """Wait until what was begun is durable, or lost."""
        if self._held:
            self._await()
            self._held = False
            self._lock.release()

    def undo(self) -> None:
        """Take back what was begun, durably, before anybody hears that it was refused."""
        if not self._held:
            return
        self._await()
        if self._stuck:
            self._doubtful = self._before.size
        elif self._before.size < self.shelf.end.size:
            # A crash before this leaves a batch that nobody was answered for.
            try:
                self.shelf.cut(self._before)
            except OSError as error:
                self._doubtful = self._before.size
                self._lose(_word(error))
        self._held = False
        self._lock.release()

    def _await(self) -> None:
        if not self._asked:
            return
        self._asked = False
        if not self._done.acquire(timeout=self.wish.patience):
            self._stuck = True
            self._lose("hung")
        elif self._error is not None:
            self._lose(_word(self._error))

    def _close_gap(self, size: int) -> bool:
        assert self._source is not None, "a mirror that is near was taken up"
        try:
            self._fill(self._source, size)
        except (OSError, TildawnError) as error:
            self._lose(_word(error))
            return False
        self.state = State.IN_STEP
        return True

    def _copy_for_ever(self) -> None:
        while True:
            self._go.acquire()
            job = self._job
            if job is None:
                return
            self._error = None
            try:
                self.shelf.append(job, name=self._name, blobs=self.layout.blobs)
            except OSError as error:
                self._error = error
            except Exception as error:  # noqa: BLE001 - the outermost frame of this thread, which must answer
                _log.exception("the mirror cannot take a batch")
                self._error = OSError(errno.EINVAL, str(error))
            self._done.release()

    # -- at other times ------------------------------------------------------------------------

    def attach(self, source: Source) -> None:
        """Belong to a database that is open to write; lost until it is taken up.

        Args:
            source: over the writing connection; used in the writer's thread later.

        Raises:
            Nothing.
        """
        self._source = source
        if self.wish.mode == "sync-degrade":
            self._thread = threading.Thread(
                target=self._copy_for_ever, name="tildawn-mirror", daemon=True
            )
            self._thread.start()

    def speak(self, tell: Callable[[FactData], None]) -> None:
        """From now on say news at once; ``tell`` must not wait for a commit.

        Raises:
            Nothing.
        """
        self._tell = tell
        self._say()

    def take_up(self, source: Source, end: End, *, keep: bool = False) -> None:
        """Go on from an end that agrees with the database; a small gap is closed at once.

        Args:
            source: over the writing connection.
            end: the frames until there are facts of this house.
            keep: what stands behind the end may be nowhere else.

        Raises:
            OSError: the disk refuses.
            LedgerBroken: what is missing cannot be read.
        """
        self._name = _founder(source)
        self.shelf.open(end, keep=keep)
        self._forget_erased(source)
        size, _, _ = source.head()
        self._gap = size - self.shelf.end.size
        if self._gap <= NEAR_FACTS:
            self._fill(source, size)
        self._come_near(size)

    def lose(self, error: OSError | TildawnError | str) -> None:
        """Go on without the mirror.

        Raises:
            Nothing.
        """
        self._lose(error if isinstance(error, str) else _word(error))

    def turn(self) -> None:
        """Copy what is missing, come back after a loss; blocks.

        Raises:
            TildawnError: the database cannot be read.
        """
        self._say()
        if self.state is State.IN_STEP or self._closing:
            return
        with self._lock:
            if self._stuck and not self._done.acquire(blocking=False):
                return  # its disk still has not answered
            self._stuck = False
            with reading(self.layout) as source:
                try:
                    self._look(source)
                except OSError as error:
                    self._lose(_word(error))
        self._say()

    def forget(self, payloads: Collection[int], blobs: Collection[str] = (), *, erased: Seq) -> int:
        """Write the copy anew without some payloads, and look that they are gone; blocks.

        Appends wait meanwhile; a crash leaves some files done, and a second call does the rest.
        A mirror that is lost forgets when it comes back, before it counts again.

        Args:
            payloads: their ids, which are position × 8 + slot; unknown ones do nothing.
            blobs: names of blobs that no fact needs any more.
            erased: the position of the fact that says it.

        Returns:
            How many payloads went.

        Raises:
            HouseUnusable: the mirror is lost, or its disk refuses: its copy is still there.
            LedgerBroken: a file does not hold what it should afterwards.
        """
        self._refuse_lost()
        with self._lock:
            try:
                return self.shelf.forget(payloads, blobs, erased=erased)
            except OSError as error:
                raise self._unwritable(error) from error

    def forget_erased(self) -> int:
        """Forget all that the ledger says is erased; see `forget`.  For after an erasure.

        Raises:
            HouseUnusable: the mirror is lost, or its disk refuses: its copy is still there.
            LedgerBroken: a file does not hold what it should afterwards.
        """
        self._refuse_lost()
        with self._lock, reading(self.layout) as source:
            try:
                return self._follow(source, source.erased())
            except OSError as error:
                raise self._unwritable(error) from error

    def _refuse_lost(self) -> None:
        if self.state is State.LOST:
            message = f"the mirror in {self.wish.folder} is lost; what it holds is not erased yet"
            raise HouseUnusable(message, hint="bring the folder back; it is erased when it joins")

    def _unwritable(self, error: OSError) -> HouseUnusable:
        self._lose(_word(error))
        message = f"the mirror in {self.wish.folder} cannot be written: {error.strerror}"
        return HouseUnusable(message, hint="tildawn mirror")

    def close(self) -> None:
        """Copy a small rest, note how far it is good, end the thread; after the last commit.

        Raises:
            Nothing.
        """
        self._closing = True
        if not self._lock.acquire(timeout=self.wish.patience):
            return
        try:
            if self.state in {State.FOLLOWING, State.NEAR} and self._source is not None:
                size, _, _ = self._source.head()
                if size - self.shelf.end.size <= NEAR_FACTS:
                    self._fill(self._source, size)
            if self.state is not State.LOST:
                self.shelf.note_tail()
        except (OSError, TildawnError):
            _log.warning("the mirror in %s could not be closed in order", self.wish.folder)
        finally:
            self._lock.release()
        if self._thread is not None and not self._stuck:
            self._job = None
            self._go.release()
            self._thread.join()
            self.shelf.close()

    def _look(self, source: Source) -> None:
        if self.state is State.LOST and not self._come_back(source):
            return
        size, _, _ = source.head()
        gap = size - self.shelf.end.size
        if self.state is State.FOLLOWING and gap > LAG_FACTS_MAX:
            self._lose("slow")
            self._gap, self.state = gap, State.BEHIND
        while self.shelf.end.size < size and not self._closing:
            self._fill(source, min(size, self.shelf.end.size + CHUNK_FACTS))
            size, _, _ = source.head()
        self._come_near(size)

    def _come_back(self, source: Source) -> bool:
        """Take up the mirror again; only its own end of this opening, or an older one, will do."""
        check_place(self.wish, self.layout)
        end = self.shelf.find_end()
        if self._doubtful >= 0:
            end = self._end_at(end, self._doubtful)
        size, _, _ = source.head()
        if end.size > size or (end.size and source.chain_at(end.size) != end.chain):
            self._lose("diverged")
            return False
        self._name = _founder(source)
        self.shelf.open(end)
        self._forget_erased(source)
        self._doubtful = -1
        self._gap = size - end.size
        self.state = State.BEHIND
        return True

    def _end_at(self, end: End, size: int) -> End:
        """The end at a smaller size: that of the batch which was there before."""
        if end.size <= size:
            return end
        # The file in which the refused batch stands is written anew from the database.
        files = [first for first in self.shelf.files() if first <= size]
        return self.shelf.end_before(files[-1], size) if files else End()

    def _come_near(self, size: int) -> None:
        """Say so when a gap was closed; called with the mirror at most a little behind."""
        if size - self.shelf.end.size > NEAR_FACTS:
            self.state = State.BEHIND
            return
        if self._gap or self._told:
            self._told = False
            self._news(MirrorJoined(behind=self._gap))
            _log.info("the mirror in %s has every fact again", self.wish.folder)
        self._gap = 0
        self.state = State.FOLLOWING if self.wish.mode == "async" else State.NEAR

    def _fill(self, source: Source, size: int) -> None:
        """Copy facts from the database up to a size."""
        while self.shelf.end.size < size:
            end = self.shelf.end
            batch = source.batch(end.size, end.chain, min(CHUNK_FACTS, size - end.size))
            self.shelf.append(batch, name=self._name, blobs=self.layout.blobs)

    def _forget_erased(self, source: Source) -> int:
        """Follow every erasure on record; a crash leaves a part, and the next one does it again."""
        erased = source.erased()
        # HOLE: an erasure of blobs alone, made while the mirror was lost, is not seen here.
        word = f"{len(erased)} {max((seq for _, seq in erased), default=-1)}"
        if not erased or self.shelf.forgotten() == word:
            return 0
        count = self._follow(source, erased)
        self.shelf.note_forgotten(word)
        return count

    def _follow(self, source: Source, erased: list[tuple[int, int]]) -> int:
        by: dict[int, list[int]] = {}
        for place, seq in erased:
            by.setdefault(seq, []).append(place)
        count = sum(self.shelf.forget(places, (), erased=seq) for seq, places in by.items())
        used = {blob for blob, _ in source.uses()}
        gone = [name for name in self.shelf.blob_names() if name not in used]
        if gone:
            count += self.shelf.forget((), gone, erased=-1)
        return count

    def _lose(self, why: str) -> None:
        self.state = State.LOST
        if not self._told:
            self._told = True
            _log.warning("the mirror in %s is lost (%s); work goes on", self.wish.folder, why)
            self._news(MirrorLost(why=why))

    def _news(self, data: FactData) -> None:
        self.news.append(data)
        self._say()

    def _say(self) -> None:
        tell = self._tell
        while tell is not None and self.news:
            data = self.news.pop(0)
            try:
                tell(data)
            except TildawnError:
                self.news.insert(0, data)  # the next turn says it
                return


def check_place(wish: Wish, layout: Layout) -> None:
    """Whether the folder is there and will do.

    Raises:
        FileNotFoundError: it is not there; it is never made, because a disk may be missing.
        HouseUnusable: it is inside the house, or too far away for what is wished.
        PermissionError: it cannot be written.
    """
    place, house = wish.folder.resolve(), layout.folder.resolve()
    if place == house or place.is_relative_to(house):
        message = f"{wish.folder} is inside the house, so it would be lost with it"
        raise HouseUnusable(message, hint="set ledger.mirror_folder to a folder on another disk")
    if not place.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(wish.folder))
    kind = file_system_of(place)
    if wish.mode == "sync-degrade" and kind in NETWORK:
        message = f"{wish.folder} is on a network file system ({kind}), and every commit would wait"
        raise HouseUnusable(message, hint='set ledger.mirror to "async"')
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(wish.folder))


def founder_of(body: bytes) -> str:
    """The name that the first fact of a ledger gave the house.

    Raises:
        msgspec.DecodeError: it is no first fact.
    """
    return msgspec.json.decode(body, type=_First).data.name


class _Founded(msgspec.Struct):
    name: str


class _First(msgspec.Struct):
    data: _Founded


def _founder(source: Source) -> str:
    first = source.first()
    return founder_of(first) if first else ""


def _word(error: OSError | TildawnError) -> str:
    if isinstance(error, TildawnError):
        return error.code
    return errno.errorcode.get(error.errno or 0, "failed")
