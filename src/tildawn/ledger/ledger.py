"""The ledger of a house: append facts, read what they made true.

What it is not: an opinion about any fact.  It is told the kinds, the folds and the clock.
"""

import asyncio
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from tildawn.clock import Clock
from tildawn.errors import BadValue, Busy, HouseUnusable, TildawnError
from tildawn.facts.fact import Fact, FactData, Payload, Registry, canonical
from tildawn.facts.house import HouseFounded, PenLaid, PenTaken, TailVerified
from tildawn.ids import Ids
from tildawn.ledger.ballast import Ballast
from tildawn.ledger.chain import Frontier
from tildawn.ledger.drafting import Salts, checks_of
from tildawn.ledger.entry import Answer, Entry, Outcome
from tildawn.ledger.fold import Expect, Projection
from tildawn.ledger.keyring import SIGNING
from tildawn.ledger.keys import digester
from tildawn.ledger.mirror import Wish
from tildawn.ledger.notary import Notary
from tildawn.ledger.note import Note
from tildawn.ledger.opening import Opened, Setup, laid, name_in, note_founded, open_house
from tildawn.ledger.pen import boot_id
from tildawn.ledger.request import Done, Inside, Request
from tildawn.ledger.secret import Secrets
from tildawn.ledger.snapshot import snapshot_taken
from tildawn.ledger.sqlite.reader import Head, Reader
from tildawn.ledger.sqlite.readers import Readers
from tildawn.ledger.sqlite.store import Store
from tildawn.ledger.sqlite.tables import shapes_of
from tildawn.ledger.violation import Violations
from tildawn.ledger.writer import Chore, Writer, end_process
from tildawn.units import Epoch, Seq


APPEND_FACTS_MAX = 4_096
"""Facts of one append: they are one transaction, so this bounds everybody's waiting."""


class Ledger:
    """An open house.

    Durability: an answer `Committed` means that the facts are on the disk (with ``relaxed``:
    that they will be with the next commit that is not).  Order: appends from one thread are
    recorded in the order of their calls, and answered in that order.  Reads begun after an
    answer see its facts.  After an error nothing was recorded, except `CommitInDoubt`: then
    the process ends, and the facts may be there after a restart.
    """

    name: str
    """The name of the house, given when it was founded."""
    epoch: Epoch
    """Which holder of the pen this is."""
    unclean: bool = False
    """Whether the last holder ended without laying the pen down."""

    def __init__(self, opened: Opened, setup: Setup) -> None:
        """Use `Ledger.open`."""
        self._opened = opened
        self._setup = setup
        self._writer: Writer | None = None
        #: Signs checkpoints; None when reading, and where no signing is folded.
        self.notary: Notary | None = None
        self._digest = digester(opened.key)
        self._checks = checks_of(setup.registry)
        self._salts = Salts(setup.ids)
        self._wall, self._mono = setup.clock.wall, setup.clock.mono
        self._began = setup.clock.mono()
        self.blobs, self.archive, self.mirror = opened.blobs, opened.archive, opened.mirror
        self.ballast = Ballast(opened.layout.ballast)
        #: What no fact, payload or blob may hold.
        self.secrets = Secrets()
        self.blobs.look = self.secrets.found
        self._readers = Readers(
            opened.layout.database, registry=setup.registry, shapes=shapes_of(setup.projections),
            blobs=opened.blobs, archive=opened.archive, clock=setup.clock,
        )  # fmt: skip

    @classmethod
    def open(  # noqa: PLR0913 - the one door of the package, all but the folder by keyword
        cls,
        folder: Path,
        *,
        registry: Registry,
        projections: Sequence[Projection],
        clock: Clock,
        ids: Ids,
        build: str,
        vfs: str = "",
        mode: Literal["write", "read"] = "write",
        takeover: bool = False,
        mirror: Wish | None = None,
        on_fatal: Callable[[], None] = end_process,
        checkpoint_folder: Path | None = None,
    ) -> Self:
        """Open a house, founding it where there is none.

        Args:
            folder: the house; its parent's disk must be local.
            registry: the kinds of facts.
            projections: what to fold; with `keyring.SIGNING` among them the ledger has a signing
                key, and signs checkpoints.
            clock: stamps facts.
            ids: names the house and gives salts.
            build: which build holds the pen, for the record.
            vfs: name of an apsw VFS, for tests; reading waits for closing then.
            mode: ``read`` neither takes the pen nor changes anything.
            takeover: a person decided to take over; recorded with the pen.
            mirror: how and where a second copy is kept; none when absent.
            on_fatal: called in the writer's thread after a failed sync; ends the process.
            checkpoint_folder: on another disk, for one more copy of the newest checkpoint.

        Returns:
            The open house.  One that holds unknown kinds of facts is open for reading only,
            and appending raises `HouseTooNew`.

        Raises:
            HouseLocked: another process holds the pen.
            HouseUnusable: the disk, the key or SQLite will not do, or there is nothing to read.
            HouseTooNew: a newer version of Tildawn wrote it.
            LedgerBroken: the tail does not verify, the file is damaged, or a checkpoint that is
                kept beside it says that it was cut off or rolled back.
        """
        setup = Setup(
            registry=registry, projections=tuple(projections), clock=clock, ids=ids,
            build=build, vfs=vfs, mirror=mirror,
        )  # fmt: skip
        opened = open_house(Path(folder), setup, write=mode == "write")
        ledger = cls(opened, setup)
        try:
            if opened.store is None:
                ledger._look()
            else:
                if SIGNING in setup.projections:
                    ledger.notary = Notary(opened.layout, ids, folder=checkpoint_folder)
                ledger._take_pen(opened.store, takeover=takeover)
                full = ledger.ballast.release
                ledger._writer = Writer(opened.store, on_fatal=on_fatal, on_full=full)
                opened.speak(lambda data: ledger.submit([ledger.draft(data)]))
                ledger._writer.heard = Violations(ledger, registry).heard
        except BaseException:
            ledger._let_go()
            raise
        return ledger

    @property
    def next_seq(self) -> Seq:
        """The position behind the last committed fact."""
        return self.head().size

    @property
    def writable(self) -> bool:
        """Whether this process holds the pen."""
        return self._writer is not None

    @property
    def wal_bytes(self) -> int:
        """How long the write-ahead log is; 0 when reading."""
        return 0 if self._writer is None else self._writer.wal_bytes

    def draft(  # noqa: PLR0913 - the envelope has that many fields, all by keyword
        self,
        data: FactData,
        *,
        run: str = "",
        path: str = "",
        actor: str = "",
        cause: int = -1,
        trace: str = "",
        payloads: Sequence[Payload | None] = (),
        blobs: Sequence[str] = (),
        name: bool = False,
    ) -> Entry:
        """Stamp and encode a fact; nothing is recorded yet.

        Args:
            data: what it says.
            run: the run it belongs to.
            path: the place inside that run.
            actor: who caused it, where it is not the engine.
            cause: the position of the fact that led to it, or -1.
            trace: a trace context.
            payloads: in the order of ``type(data).PAYLOADS``, None where a field is empty.
            blobs: blobs that this fact keeps alive.
            name: give it a name of its own.

        Returns:
            What `append` takes.

        Raises:
            BadValue: the kind is not registered, a value is outside the profile of bodies, or
                the body is too long.
            SecretFound: it holds a secret; the field is named, and the value is not.
        """
        kind = type(data)
        try:
            check = self._checks[kind]
        except KeyError:
            message = f"{kind.__name__} facts are not registered in this house"
            raise BadValue(message) from None
        if check is not None:
            check(data)
        fact = Fact(
            at=self._wall(), data=data, kind=kind.__name__, v=kind.VERSION, actor=actor,
            cause=cause, id=self._setup.ids.new() if name else "",
            mono=self._mono() - self._began, path=path, run=run, trace=trace,
        )  # fmt: skip
        try:
            body = canonical(fact)
        except UnicodeEncodeError as error:
            message = f"{kind.__name__} holds text that is no Unicode: {error.reason}"
            raise BadValue(message) from error
        self.secrets.check(data, body, payloads, path)
        return Entry(fact=fact, body=body, payloads=tuple(payloads), blobs=tuple(blobs))

    def payload(self, text: bytes, *, clean: bool = False) -> Payload:
        """A user's value as JSON text, salted; its digest goes into a field of a fact.

        Args:
            text: the value.
            clean: it is a text of our own about what went wrong: black secrets out, as a failure
                must be on record, where a user's value would be refused by `draft`.

        Raises:
            Nothing.
        """
        return self._salts.wrap(self.secrets.cleaned(text) if clean else text)

    def keyed(self, text: str | bytes) -> str:
        """HMAC-SHA256 under the house's key, 43 characters of base64url.

        For natural keys and digests of arguments, which could be guessed from a plain hash.

        Raises:
            Nothing.
        """
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return self._digest(content)

    def submit(
        self,
        entries: Sequence[Entry],
        *,
        expect: Sequence[Expect] = (),
        done: Done | None = None,
        relaxed: bool = False,
    ) -> None:
        """Queue an append from an event loop.

        Args:
            entries: one transaction, contiguous; 1 to 4,096.
            expect: what must hold inside that transaction.
            done: called with the outcome on this loop, in ledger order.
            relaxed: do not sync for this append; the next one that does covers it.

        Raises:
            Busy: the queue is full; nothing was accepted.
            BadValue: too few or too many entries.
            HouseUnusable: the ledger is closed or open for reading only.
            HouseTooNew: the house holds kinds of facts that are unknown here.
            CommitInDoubt: the disk failed before.
            StaleWriter: the pen was lost before.
        """
        loop = None if done is None else asyncio.get_running_loop()
        request = Request(entries, expect=expect, done=done, loop=loop, relaxed=relaxed)
        self._pen(entries).submit(request)

    async def append(
        self,
        entries: Sequence[Entry],
        *,
        expect: Sequence[Expect] = (),
        relaxed: bool = False,
    ) -> Answer:
        """Append and wait until it is durable; waits too while the queue is full.

        Cancelling the caller does not take the facts back.

        Args:
            entries: one transaction, contiguous; 1 to 4,096.
            expect: what must hold inside that transaction.
            relaxed: see `submit`.

        Returns:
            `Committed`, or `Unmet` when an expectation did not hold.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`; see `submit`.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if future.done():
                return  # the caller was cancelled; the facts stay
            if isinstance(outcome, TildawnError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        while True:
            try:
                self.submit(entries, expect=expect, done=done, relaxed=relaxed)
            except Busy:
                await self._pen(entries).room()
            else:
                return await future

    def append_now(
        self, entries: Sequence[Entry], *, expect: Sequence[Expect] = (),
        inside: Inside | None = None,
    ) -> Answer:  # fmt: skip
        """Append and block this thread until it is durable; never from an event loop.

        Raises:
            TildawnError: nothing was recorded, except with `CommitInDoubt`; see `submit`.
        """
        request = Request(entries, expect=expect)
        request.inside = inside
        return self._pen(entries).perform(request)

    def do(self, work: Callable[[Store], None]) -> None:
        """Let the writer's thread do some work on the tables, and block until it is done.

        Raises:
            TildawnError: nothing was changed, except with `CommitInDoubt`.
        """
        self._pen().perform(Chore(work))

    @contextmanager
    def read(self) -> Generator[Reader]:
        """A read transaction of this moment; keep it under a second.

        Raises:
            HouseUnusable: the database cannot be opened.
            LedgerBroken: it is damaged.
        """
        with self._readers.reading() as reader:
            yield reader

    def head(self) -> Head:
        """The end of the ledger: of the last commit here, or as read when reading only.

        Raises:
            LedgerBroken: the file is damaged.
        """
        if self._writer is None:
            with self.read() as reader:
                return reader.head()
        tip = self._writer.tip
        root = Frontier.load(tip.size, tip.frontier).root()
        return Head(size=tip.size, chain=tip.chain.hex(), root=root.hex(), epoch=self.epoch)

    @property
    def unsealed(self) -> int:
        """Facts behind the newest checkpoint that this process signed; 0 where nothing signs."""
        if self.notary is None or self.notary.newest is None or self._writer is None:
            return 0
        return self._writer.tip.size - self.notary.newest.size

    def checkpoint(self) -> Note:
        """Sign how long the ledger is now, unless that is done already; blocks for a commit.

        A crash in the middle leaves it signed or not; the places beside the database follow at
        the next start.

        Returns:
            The newest checkpoint, durable.

        Raises:
            HouseUnusable: the ledger is closed, open for reading only, or signs nothing.
            LedgerBroken: the ledger does not continue what was signed before.
            TildawnError: it could not be kept; see `submit`.
        """
        if self.notary is None or self._writer is None:
            message = "checkpoints are signed by whoever holds the pen"
            raise HouseUnusable(message, hint="open the house to write")
        return self.notary.seal(self.read, self._writer.submit)

    def newest_checkpoint(self) -> Note | None:
        """The newest signed checkpoint; None where there is none.

        Raises:
            ProofBroken: what is recorded is no signed note.
            TildawnError: the house cannot be read.
        """
        if self.notary is not None and self.notary.note is not None:
            return self.notary.note
        with self.read() as reader:
            return reader.checkpoint()

    def scrub(self) -> None:
        """Cut the write-ahead log to nothing, so that no old page stays in it; blocks.

        Raises:
            TildawnError: see `submit`; `Busy` where a reader holds the log back.
        """
        assert self._writer is not None, "only a house that is open to write erases"
        request = Request([])
        request.scrub = True
        self._writer.perform(request)

    def close(self) -> None:
        """Commit what is queued, lay the pen down, move the log; a second time does nothing.

        Raises:
            Nothing.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.stop(Request([self.draft(PenLaid(epoch=self.epoch))]))
            if self.notary is not None and self._opened.store is not None:
                self.notary.seal_last(self._opened.store)
        self._let_go()

    def __enter__(self) -> Self:
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _pen(self, entries: Sequence[Entry] | None = None) -> Writer:
        if entries is not None and not 0 < len(entries) <= APPEND_FACTS_MAX:
            message = f"an append has 1 to {APPEND_FACTS_MAX} facts, not {len(entries)}"
            raise BadValue(message)
        if self._writer is None:
            message = "the house is open for reading only, or closed"
            raise self._opened.refusal or HouseUnusable(message, hint="open it to write")
        return self._writer

    def _take_pen(self, store: Store, *, takeover: bool) -> None:
        """Record that we hold the pen; a crash before this leaves the old epoch."""
        notary = self.notary
        made = () if notary is None else notary.prepare(store.database)
        self.epoch = Epoch(store.epoch + 1)
        last = self._opened.last
        self.unclean = bool(last) and not laid(last, self._setup.registry)
        entries: list[Entry] = []
        if not last:
            entries.append(self.draft(HouseFounded(name=self._setup.ids.new())))
        entries.append(
            self.draft(
                PenTaken(
                    epoch=self.epoch, pid=os.getpid(), build=self._setup.build, boot=boot_id(),
                    reason="takeover" if takeover else "open",
                    unclean=self.unclean,
                )
            )
        )  # fmt: skip
        if self._opened.kept is not None:
            entries.append(self.draft(snapshot_taken(self._opened.kept)))
        size = store.tip().size
        if self._opened.checked_from < size:
            entries.append(self.draft(TailVerified(to=size)))
        entries += map(self.draft, self._opened.news())
        entries += map(self.draft, made)  # the last: a crash before its first seal shows by that
        request = Request(entries)
        store.commit([request], epoch=self.epoch)
        if isinstance(request.outcome, TildawnError):
            raise request.outcome
        store.settle(store.tip())
        self.name = name_in(self._opened.first or entries[0].body, self._setup.registry)
        note_founded(self._opened.layout, self.name)
        if notary is not None:
            notary.begin(self.name, store)

    def _look(self) -> None:
        """Name and epoch of a house that is only read."""
        with self.read() as reader:
            _, body = reader.fact(reader.naming())
            self.name = name_in(body, self._setup.registry)
            self.epoch = reader.head().epoch

    def _let_go(self) -> None:
        self._readers.close()
        self._opened.close()
