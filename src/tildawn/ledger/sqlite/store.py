"""One transaction for facts, payloads, hashes and projections: decide first, then write.

What it is not: a thread or a queue; `tildawn.ledger.writer` has those.

Nothing is written while a batch is judged: expectations and folds run over rows in memory, so
a refused append leaves no trace.  Only when a table's own constraint objects is the batch
rolled back and done again append by append under savepoints, so that one bad caller cannot
fail its neighbours.
"""

import errno
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

import apsw
import msgspec

from tildawn.errors import (
    Busy,
    CommitInDoubt,
    Failed,
    FoldFailed,
    InvariantViolated,
    LedgerBroken,
    StaleWriter,
    StoreFull,
    TildawnError,
)
from tildawn.facts.fact import Fact, Payload
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.chain import Frontier
from tildawn.ledger.entry import Committed, Outcome, Unmet
from tildawn.ledger.fold import Projection
from tildawn.ledger.request import Request
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.naming import known_kinds, note_kind
from tildawn.ledger.sqlite.projector import Conflict, Projector
from tildawn.ledger.sqlite.refusal import refusal_of
from tildawn.ledger.sqlite.seals import keep_seal
from tildawn.ledger.sqlite.trouble import doubt, later, no_room
from tildawn.ledger.twin import Batch, Part, PayloadRow, Twin
from tildawn.units import Epoch, Seq


MARK_EVERY = 1_024
"""Facts between two marks. Source: the granularity in which a break is to be located."""

SLOTS = 8
"""Payloads a fact may have; part of the format."""

TEXT_BYTES_MAX = 65_536
"""Longest payload in a row; longer ones are blobs. Source: docs/spec/ledger.md."""

_FACT = "INSERT INTO fact VALUES (?, ?, ?)"
_RUN = "INSERT INTO run_fact VALUES (?, ?)"
_PAYLOAD = "INSERT INTO payload VALUES (?, ?, ?, ?, NULL)"
_USE = "INSERT OR IGNORE INTO blob_use VALUES (?, ?)"
_ERASE = "UPDATE payload SET salt = NULL, text = NULL, blob = NULL, erased = ? WHERE id = ?"
_FREE = "DELETE FROM blob_use WHERE blob = ? AND seq = ?"
_MARK = "INSERT INTO mark VALUES (?, ?, ?)"
_HEAD = "UPDATE head SET size = ?, chain = ?, frontier = ?, epoch = ? WHERE one = 1 AND epoch = ?"
_VERIFIED = "UPDATE verified SET size = ?, chain = ?, frontier = ? WHERE one = 1"

#: What a table or a value can object to; any other error of SQLite is one of the disk.
_REFUSALS = (
    apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, apsw.RangeError, apsw.SQLError,
    apsw.BindingsError,
)  # fmt: skip


class Tip(msgspec.Struct, frozen=True):
    """The hashes after some number of facts."""

    size: Seq
    chain: bytes
    frontier: bytes


class Store:
    """The one writing connection of a house and the state of its head in memory."""

    def __init__(
        self, database: Database, projections: Iterable[Projection], *, blobs: Blobs
    ) -> None:
        """Take a migrated database whose tail was verified.

        Raises:
            BadValue: the projections do not fit together.
        """
        self.database = database
        self.projector = Projector(database, projections)
        self.wal_pages = 0
        #: Writes a second copy of each batch, where there is one.
        self.twin: Twin | None = None
        self._written: list[Part] = []
        #: Whether the last commit found the disk full.
        self.full = False
        self._broken = False
        self._blobs = blobs
        [(size, chain, packed, epoch)] = database.execute(
            "SELECT size, chain, frontier, epoch FROM head"
        ).fetchall()
        self._size, self._chain = int(size), bytes(chain)
        self._frontier = Frontier.load(self._size, bytes(packed))
        self.epoch = Epoch(int(epoch))
        self._kinds = known_kinds(database)
        self._saved = (self._size, self._chain, self._frontier.copy())
        self._fresh_kinds: set[tuple[str, int]] = set()
        self._relaxed = False
        database.set_wal_hook(self._count_pages)

    @property
    def broken(self) -> bool:
        """Whether the disk failed, so that nobody may write any more."""
        return self._broken

    def tip(self) -> Tip:
        """The hashes after the last commit."""
        return Tip(Seq(self._size), self._chain, self._frontier.dump())

    def commit(self, requests: Sequence[Request], *, epoch: Epoch | None = None) -> None:
        """Decide and record in one transaction; each request has its outcome afterwards.

        Args:
            requests: in the order in which they are judged.
            epoch: raise the epoch to this; by whoever has just taken the pen.

        Raises:
            CommitInDoubt: the disk failed; nobody may write any more in this process.
            StaleWriter: somebody else took the pen; likewise.
        """
        self.full = False
        self._saved = (self._size, self._chain, self._frontier.copy())
        try:
            if requests[0].inside is not None:
                self._apart(requests, epoch)
                return
            try:
                self._together(requests, epoch)
            except Conflict:
                self._rollback()
                self._apart(requests, epoch)
        except (CommitInDoubt, StaleWriter) as error:
            self._broken = isinstance(error, CommitInDoubt)
            if self.twin is not None:
                self.twin.join()  # in doubt: the next opening finds the batch there, if not here
            self._give_up(requests, error)
            raise
        except (Busy, StoreFull, LedgerBroken, Failed) as error:
            self.full = isinstance(error, StoreFull)
            self._give_up(requests, error)

    def settle(self, tip: Tip) -> None:
        """Note that the ledger up to ``tip`` is on the disk as it was hashed.

        Raises:
            CommitInDoubt: the disk failed.
        """
        try:
            with self.database:
                self.database.execute(_VERIFIED, (tip.size, tip.chain, tip.frontier))
        except apsw.Error as error:
            if later(error, self.database):
                return  # an older point costs the next opening some time, no more
            raise doubt(error) from error

    def checkpoint(self, *, truncate: bool = False) -> bool:
        """Move the write-ahead log into the database.

        A crash in between leaves both as they were, or the log to be applied again.

        Returns:
            Whether all of it was moved; a reader can hold some back.

        Raises:
            CommitInDoubt: the disk failed.
        """
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if truncate else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            log, moved = self.database.wal_checkpoint(mode=mode)
        except apsw.Error as error:
            if later(error, self.database):
                return False
            raise doubt(error) from error
        done = moved >= log
        if done:
            self.wal_pages = 0
        return done

    def scrub(self) -> bool:
        """Cut the write-ahead log to nothing; False when a reader holds it back.

        Raises:
            CommitInDoubt: the disk failed.
        """
        return self.checkpoint(truncate=True)

    def close(self) -> None:
        """Move the log and close the connection; a second time does nothing.

        Raises:
            Nothing.
        """
        try:
            if self._broken:
                # Moving the log now could make a batch certain whose sync has failed.
                self.database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            else:
                self.checkpoint(truncate=True)
            self.database.close()
        except (CommitInDoubt, apsw.Error):
            return  # the log stays and is applied at the next opening

    def _together(self, requests: Sequence[Request], epoch: Epoch | None) -> None:
        self.projector.careful = False
        taken: list[tuple[Seq, Request]] = []
        size = self._size
        try:
            for request in requests:
                outcome = request.outcome = self._judge(request, Seq(size))
                if isinstance(outcome, Committed):
                    taken.append((Seq(size), request))
                    size += outcome.count
            if not taken:
                self.projector.keep()
                return
            self._begin(taken)
            self._record(taken)
            self.projector.flush()
            self._finish(epoch)
        except Conflict:
            raise
        except (apsw.Error, TypeError, ValueError, OverflowError) as error:
            raise self._translated(error) from error

    def _apart(self, requests: Sequence[Request], epoch: Epoch | None) -> None:
        self.projector.careful = True
        try:
            self._begin([(Seq(self._size), request) for request in requests])
            for request in requests:
                if request.inside is not None:
                    request.inside(self.database)
                    self.projector.forget()  # its rows may be others now
                request.outcome = self._alone(request)
            self._finish(epoch)
        except apsw.Error as error:
            found = self._translated(error)
            if isinstance(found, Conflict):
                message = f"SQLite refused a whole batch: {error}"
                raise CommitInDoubt(message) from error
            raise found from error

    def _alone(self, request: Request) -> Outcome:
        """Judge and write one append under a savepoint."""
        database, projector = self.database, self.projector
        size, chain, frontier = self._size, self._chain, self._frontier.copy()
        kinds = set(self._fresh_kinds)
        mark, written = projector.mark(), len(self._written)
        outcome = self._judge(request, Seq(size))
        if not isinstance(outcome, Committed):
            return outcome
        database.execute("SAVEPOINT one")
        try:
            self._record([(Seq(size), request)])
            projector.flush(mark)
        except (apsw.Error, TypeError, ValueError, OverflowError) as error:
            if not isinstance(self._translated(error), Conflict):
                raise
            database.execute("ROLLBACK TO one")
            database.execute("RELEASE one")
            projector.undo(mark)
            self._size, self._chain, self._frontier = size, chain, frontier
            del self._written[written:]
            self._fresh_kinds = kinds  # its rows of kinds went with the savepoint
            return refusal_of(error)
        database.execute("RELEASE one")
        return outcome

    def _judge(self, request: Request, first: Seq) -> Outcome:
        """Expectations, folds and long payloads of one append; nothing is written to tables."""
        projector = self.projector
        mark = projector.mark()
        try:
            outcome = self._decide(request, first)
        except (apsw.Error, Conflict):
            raise
        except TildawnError as error:
            outcome = error
        except OSError as error:
            outcome = _blob_refused(error)
        except Exception as error:  # noqa: BLE001 - folds and tests are other people's code, and this is its outermost frame
            outcome = FoldFailed(f"judging an append raised {type(error).__name__}: {error}")
            outcome.__cause__ = error
        if not isinstance(outcome, Committed):
            projector.undo(mark)
        return outcome

    def _decide(self, request: Request, first: Seq) -> Outcome:
        projector = self.projector
        for expect in request.expect:
            row = projector.get(expect.row, *expect.key)
            if not expect.test(row):
                return Unmet(expect.why, row)
        seq = first
        for at, entry in enumerate(request.entries):
            refusal = projector.fold(seq, entry.fact)
            if refusal is not None:
                return refusal
            for slot, payload in enumerate(entry.payloads):
                if payload is not None and len(payload.text) > TEXT_BYTES_MAX:
                    self._put_blob(request, (at, slot), payload)
            seq = Seq(seq + 1)
        return Committed(first, seq - first)

    def _put_blob(self, request: Request, where: tuple[int, int], payload: Payload) -> None:
        # A crash from here to the commit leaves a blob nobody names; it is swept after a day.
        if where not in request.blobs:
            request.blobs[where] = self._blobs.put(payload.text)

    def _begin(self, taken: Sequence[tuple[Seq, Request]]) -> None:
        relaxed = all(request.relaxed for _, request in taken)
        if relaxed != self._relaxed:
            # NORMAL leaves out the sync of this commit; the next FULL one covers it.
            level = 1 if relaxed else 2
            self.database.execute(f"PRAGMA synchronous={level}")
            self._relaxed = relaxed
        self._written.clear()
        self.database.execute("BEGIN IMMEDIATE")

    def _record(self, taken: Sequence[tuple[Seq, Request]]) -> None:
        """Write facts, payloads and hashes; head and projections follow."""
        facts: list[tuple[int, bytes, bytes]] = []
        runs: list[tuple[bytes, int]] = []
        payloads: list[PayloadRow] = []
        uses: list[tuple[str, int]] = []
        for first, request in taken:
            for at, entry in enumerate(request.entries):
                seq, fact = first + at, entry.fact
                facts.append((seq, self._bind(entry.body), entry.body))
                if fact.run:
                    runs.append((run_key(fact.run), seq))
                if entry.payloads or entry.blobs:
                    _collect(request, (first, at), payloads, uses)
                if (fact.kind, fact.v) not in self._kinds:
                    self._note_kind(fact, seq)
        self._insert(((_FACT, facts), (_RUN, runs), (_PAYLOAD, payloads), (_USE, uses)))
        if self.twin is not None and facts:  # a checkpoint is kept without any
            self._written.append((facts, payloads, uses))
        self._keep_seals(taken)
        self._erase(taken)

    def _insert(self, rows: tuple[tuple[str, list[Any]], ...]) -> None:
        for sql, values in rows:
            if values:
                self.database.executemany(sql, values)

    def _keep_seals(self, taken: Sequence[tuple[Seq, Request]]) -> None:
        for _, request in taken:
            if request.seal is not None:
                keep_seal(self.database, *request.seal)

    def _erase(self, taken: Sequence[tuple[Seq, Request]]) -> None:
        """Take out the payloads that some of these facts say are erased."""
        going = [
            (first + at, entry)
            for first, request in taken
            for at, entry in enumerate(request.entries)
            if entry.erases or entry.frees
        ]
        if not going:
            return
        # What is overwritten leaves zeros in its page, not its old bytes.
        self.database.execute("PRAGMA secure_delete=1").fetchall()
        for seq, entry in going:
            self.database.executemany(_ERASE, [(seq, one) for one in entry.erases])
            self.database.executemany(_FREE, entry.frees)

    def _bind(self, body: bytes) -> bytes:
        """Take a body into chain and tree; the leaf."""
        leaf = sha256(b"\x00" + body).digest()
        self._chain = sha256(b"\x02" + self._chain + leaf).digest()
        self._frontier.add(leaf)
        self._size += 1
        if self._size % MARK_EVERY == 0:
            self.database.execute(_MARK, (self._size, self._chain, self._frontier.dump()))
        return leaf

    def _note_kind(self, fact: Fact, seq: int) -> None:
        if note_kind(self.database, fact, seq):
            self._fresh_kinds.add((fact.kind, fact.v))

    def _finish(self, epoch: Epoch | None) -> None:
        """Move the head, check the fence, commit."""
        database, mine = self.database, self.epoch
        now = mine if epoch is None else epoch
        head = (self._size, self._chain, self._frontier.dump(), now, mine)
        database.execute(_HEAD, head)
        if database.changes() != 1:
            message = f"the pen was taken by another process; this one held epoch {mine}"
            raise StaleWriter(message, hint="end this process; the other one carries on")
        twin = self.twin if self._written else None
        if twin is not None:
            # A crash from here on may leave the batch in the mirror alone; opening takes it back.
            first = self._written[0][0][0][0]
            twin.begin(
                Batch(
                    first=Seq(first), size=Seq(self._size), chain=self._chain,
                    parts=self._written, relaxed=self._relaxed,
                )
            )  # fmt: skip
        # A crash before this leaves nothing of the batch, a crash after it leaves all of it.
        # A sync that fails here leaves the outcome unknown: the batch may be back after a restart.
        database.execute("COMMIT")
        if twin is not None:
            twin.join()
        self.epoch = now
        self._kinds |= self._fresh_kinds
        self._fresh_kinds.clear()
        self.projector.keep()

    def _give_up(self, requests: Sequence[Request], error: TildawnError) -> None:
        self._rollback()
        for request in requests:
            request.outcome = error

    def _rollback(self) -> None:
        if self.twin is not None:
            self.twin.undo()
        if self.database.in_transaction:
            try:
                self.database.execute("ROLLBACK")
            except apsw.Error as error:
                # SQLite has rolled back by itself, or the disk is gone; both end in the same state.
                if self.database.in_transaction:
                    message = f"a batch could not be rolled back: {error}"
                    raise CommitInDoubt(message) from error
        self._size, self._chain, self._frontier = self._saved
        self._frontier = self._frontier.copy()
        self._fresh_kinds.clear()
        self.projector.forget()

    def _translated(self, error: Exception) -> TildawnError | Conflict:
        """What an error inside the transaction means."""
        full = no_room(error, self.database)
        if full is not None:
            return full
        if isinstance(error, apsw.BusyError | apsw.LockedError):
            message = "another program is writing to the database of the house"
            return Busy(message, hint="end the program that has the file open")
        if isinstance(error, apsw.Error) and not isinstance(error, _REFUSALS):
            return doubt(error)
        return Conflict(str(error))

    def _count_pages(self, database: Database, name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK


def run_key(run: str) -> bytes:
    """The bytes under which a run is indexed: 16 for a `RunId`.

    Raises:
        Nothing.
    """
    try:
        return bytes.fromhex(run)
    except ValueError:
        return run.encode()


def _collect(
    request: Request,
    where: tuple[int, int],
    payloads: list[PayloadRow],
    uses: list[tuple[str, int]],
) -> None:
    """The rows for the payloads and blobs of one fact, ``where`` being its first seq and place."""
    first, at = where
    entry, seq = request.entries[at], first + at
    for slot, payload in enumerate(entry.payloads):
        if payload is None:
            continue
        blob = request.blobs.get((at, slot))
        text = payload.text if blob is None else None
        payloads.append((seq * SLOTS + slot, payload.salt, text, blob))
        if blob is not None:
            uses.append((blob, seq))
    uses.extend((blob, seq) for blob in entry.blobs)


def _blob_refused(error: OSError) -> TildawnError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StoreFull(hint="free some space; work resumes by itself")
    return InvariantViolated(f"a long payload could not be kept: {error}")
