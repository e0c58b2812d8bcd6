"""What the bodies of a ledger say, checked against every table that was derived from them.

What it is not: the hashes; `tildawn.ledger.sqlite.audit` has checked those before.
"""

from collections.abc import Container, Sequence

import msgspec

from tildawn.errors import HouseTooNew, LedgerBroken, TildawnError, UnknownName
from tildawn.facts.erasure import PayloadErased
from tildawn.facts.fact import Fact, RawFact, Registry, digest_of
from tildawn.facts.house import HouseFounded, HouseRestored, PenTaken
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import read_blob
from tildawn.ledger.fold import Projection
from tildawn.ledger.form import Form
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.connection import Columns, Database
from tildawn.ledger.sqlite.naming import naming
from tildawn.ledger.sqlite.projector import Memory
from tildawn.ledger.sqlite.store import SLOTS, run_key
from tildawn.units import Seq


_RAW = msgspec.json.Decoder(RawFact)


class Content:
    """Takes facts in order; keeps what the tables must equal."""

    def __init__(
        self,
        layout: Layout,
        registry: Registry,
        projections: Sequence[Projection],
        *,
        missing: Container[str] = (),
    ) -> None:
        """Begin before the first fact; ``missing`` blobs are not looked for.

        Raises:
            BadValue: the projections do not fit together.
        """
        self.memory = Memory(projections)
        self._missing = missing
        self.unknown: list[str] = []
        self._registry = registry
        self._blobs = layout.blobs
        self._archive = Archive(layout.archive)
        self._kinds: dict[tuple[str, int], int] = {}
        self._runs = self._run_facts = 0
        #: Payloads that are gone, by the position that is said to have erased them.
        self._gone: dict[int, set[int]] = {}
        self._epoch = self._naming = 0
        self._form = Form()

    def take(self, database: Database, facts: Sequence[Columns]) -> None:
        """Check the next facts, given as rows of seq, leaf and body.

        Raises:
            LedgerBroken: says which fact and what is wrong.
        """
        if not facts:
            return
        payloads = _payloads(database, facts[0][0], facts[-1][0])
        for seq, _, body in facts:
            kind, version = self._form.check(seq, body)
            self._kinds.setdefault((kind, version), seq)
            fact = self._understood(seq, body)
            if fact.run:
                self._runs += 1
                self._run_facts += hash((run_key(fact.run), seq))
            if isinstance(fact, Fact):
                self._check_order(seq, fact)
                self._check_payloads(seq, fact, payloads)
                if isinstance(fact.data, PayloadErased):
                    self._check_ranges(database, seq, fact.data.ranges)
                self._fold(seq, fact)
            elif (name := f"{kind} v{version}") not in self.unknown:
                self.unknown.append(name)
        if payloads and not self.unknown:
            extra = min(payloads)
            message = (
                f"fact {extra // SLOTS} names no payload in slot {extra % SLOTS}, and there is one"
            )
            raise LedgerBroken(message, seq=extra // SLOTS)

    def finish(self, database: Database, *, epoch: int) -> None:
        """Compare the indexes with all facts taken.

        Args:
            database: in a transaction whose last fact was taken.
            epoch: of the head.

        Raises:
            LedgerBroken: says which table.
        """
        if epoch != self._epoch:
            message = f"the head says epoch {epoch}; the last holder of the pen had {self._epoch}"
            raise LedgerBroken(message)
        if self._gone:
            raise _unsaid(min(map(min, self._gone.values())) // SLOTS)
        if naming(database) != self._naming:
            message = (
                f"fact {self._naming} names the log, and the ledger says fact {naming(database)}"
            )
            raise LedgerBroken(message, seq=self._naming)
        self._check_kinds(database)
        self._check_runs(database)
        sql = "SELECT max(id) FROM payload"
        [(last,)] = database.execute(sql).fetchall()
        [(size,)] = database.execute("SELECT size FROM head").fetchall()
        if last is not None and last >= size * SLOTS:
            message = f"there is a payload of fact {last // SLOTS}, which is not there"
            raise LedgerBroken(message, seq=size)
        for (blob,) in database.execute("SELECT DISTINCT blob FROM blob_use").fetchall():
            if blob not in self._missing:
                self._check_blob(blob)

    def _understood(self, seq: int, body: bytes) -> Fact | RawFact:
        try:
            return self._registry.decode(body)
        except HouseTooNew:
            return _RAW.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, TildawnError) as error:
            message = f"fact {seq} cannot be understood: {error}"
            raise LedgerBroken(message, seq=seq) from error

    def _check_order(self, seq: int, fact: Fact) -> None:
        data = fact.data
        if isinstance(data, HouseFounded) != (seq == 0):
            message = "a house is founded by its first fact, and by no other"
            raise LedgerBroken(message, seq=seq)
        if isinstance(data, PenTaken):
            if data.epoch != self._epoch + 1:
                message = f"epoch {data.epoch} follows epoch {self._epoch}"
                raise LedgerBroken(message, seq=seq)
            self._epoch = data.epoch
        elif isinstance(data, HouseRestored):
            # The pen goes on behind the highest epoch that was seen anywhere.
            if data.epoch < self._epoch:
                message = f"a restore goes on from epoch {data.epoch}, after epoch {self._epoch}"
                raise LedgerBroken(message, seq=seq)
            self._epoch, self._naming = data.epoch, seq

    def _check_payloads(self, seq: int, fact: Fact, payloads: dict[int, Columns]) -> None:
        for slot, name in enumerate(type(fact.data).PAYLOADS):
            digest = getattr(fact.data, name)
            row = payloads.pop(seq * SLOTS + slot, None) if digest else None
            if not digest:
                continue
            if row is None:
                message = f"the payload {name!r} of fact {seq} is missing"
                raise LedgerBroken(message, seq=seq)
            salt, text, blob, erased = row
            _refuse_two(seq, name, (text, blob, erased))
            if blob is not None and blob in self._missing:
                continue
            if blob is not None and text is None:
                text = self._blob(seq, blob)
            if text is None:
                self._check_erased(seq, slot, erased)
            elif salt is None or digest_of(salt + text) != digest:
                message = f"the payload {name!r} of fact {seq} is not what was recorded"
                raise LedgerBroken(message, seq=seq)

    def _check_erased(self, seq: int, slot: int, erased: int | None) -> None:
        """A payload may be gone only where a later fact says so; that one is read when it comes."""
        if erased is None or erased <= seq:
            raise _unsaid(seq)
        self._gone.setdefault(erased, set()).add(seq * SLOTS + slot)

    def _check_ranges(self, database: Database, seq: int, ranges: Sequence[int]) -> None:
        """What a fact says to be erased is gone, and it says so of all that refers to it."""
        left = self._gone.pop(seq, set())
        for begin, end in zip(ranges[::2], ranges[1::2], strict=False):
            left -= {one for one in left if begin <= one < end}
            sql = (
                "SELECT id FROM payload WHERE id >= ? AND id < ?"
                " AND (text IS NOT NULL OR blob IS NOT NULL OR salt IS NOT NULL) LIMIT 1"
            )
            for (one,) in database.execute(sql, (begin, end)).fetchall():
                message = f"fact {seq} erased a payload of fact {one // SLOTS}, and it is there"
                raise LedgerBroken(message, seq=one // SLOTS)
        if left:
            raise _unsaid(min(left) // SLOTS)

    def _fold(self, seq: int, fact: Fact) -> None:
        try:
            self.memory.fold(Seq(seq), fact)
        except TildawnError:
            raise
        except Exception as error:
            message = f"a fold fails over fact {seq}: {type(error).__name__}: {error}"
            raise LedgerBroken(message, seq=seq) from error

    def _check_kinds(self, database: Database) -> None:
        rows = database.execute("SELECT name, v, first FROM kind").fetchall()
        if {(name, v): first for name, v, first in rows} != self._kinds:
            message = "the table of kinds does not agree with the facts"
            raise LedgerBroken(message)

    def _check_runs(self, database: Database) -> None:
        # A sum over hashes compares two large sets without keeping either.
        count = total = 0
        for run, seq in database.execute("SELECT run, seq FROM run_fact"):
            count += 1
            total += hash((run, seq))
        if (count, total) != (self._runs, self._run_facts):
            message = f"the index of runs does not agree with the facts ({count} of {self._runs})"
            raise LedgerBroken(message)

    def _blob(self, seq: int, name: str) -> bytes:
        try:
            return read_blob(self._blobs, name)
        except (UnknownName, LedgerBroken) as error:
            message = f"fact {seq}: {error.message}"
            raise LedgerBroken(message, seq=seq) from error

    def _check_blob(self, name: str) -> None:
        try:
            read_blob(self._blobs, name)
        except UnknownName as error:
            raise LedgerBroken(error.message) from error


def _refuse_two(seq: int, name: str, places: tuple[object, ...]) -> None:
    """A payload is in its row, or in a blob, or erased."""
    if places.count(None) < len(places) - 1:
        message = f"the payload {name!r} of fact {seq} is there twice, or there and erased"
        raise LedgerBroken(message, seq=seq)


def _unsaid(seq: int) -> LedgerBroken:
    message = f"a payload of fact {seq} is gone, and no fact says that it was erased"
    return LedgerBroken(message, seq=seq)


def _payloads(database: Database, first: int, last: int) -> dict[int, Columns]:
    sql = "SELECT id, salt, text, blob, erased FROM payload WHERE id >= ? AND id < ?"
    rows = database.execute(sql, (first * SLOTS, (last + 1) * SLOTS))
    return {row[0]: row[1:] for row in rows}
