"""Reading: rows, facts and payloads as of one moment.

What it is not: a way to write; the connection refuses it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from tildawn.errors import BadValue, HouseTooNew, LedgerBroken, PayloadErased, UnknownName
from tildawn.facts.fact import Fact, RawFact, Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.chain import Frontier
from tildawn.ledger.fold import Row
from tildawn.ledger.note import Note, parse_note
from tildawn.ledger.sqlite.bodies import Bodies
from tildawn.ledger.sqlite.connection import Database, Value
from tildawn.ledger.sqlite.naming import naming
from tildawn.ledger.sqlite.store import SLOTS, run_key
from tildawn.ledger.sqlite.tables import Shape
from tildawn.ledger.sqlite.tree import Tree
from tildawn.units import Epoch, Seq


R = TypeVar("R", bound=Row)

BEFORE_ALL = Seq(-1)
"""The position before the first fact."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the ledger: how many facts, chain and root in hexadecimal, and the epoch."""

    size: Seq
    chain: str
    root: str
    epoch: Epoch


class Reader:
    """One read transaction; all its answers are of the same moment.

    Keep it short (a second at most): it holds back the write-ahead log.
    """

    def __init__(
        self,
        database: Database,
        *,
        registry: Registry,
        shapes: Mapping[type[Row], Shape],
        blobs: Blobs,
        archive: Archive,
    ) -> None:
        """Read over a connection inside a transaction."""
        self._database = database
        self._registry = registry
        self._shapes = shapes
        self._blobs = blobs
        self._tree: Tree | None = None
        self._whole = Bodies(database, archive).whole

    def get(self, row: type[R], *key: int | str) -> R | None:
        """The row with that whole key, or None.

        Raises:
            BadValue: no projection has such rows, or the key does not fit.
        """
        shape = self._shape(row)
        if len(key) != len(shape.key):
            message = f"the key of {shape.name} is {shape.key}"
            raise BadValue(message)
        for values in self._database.execute(shape.select, key):
            return cast("R", shape.make(values))
        return None

    def rows(
        self,
        row: type[R],
        where: str = "",
        params: Sequence[Value] = (),
        *,
        order: str = "",
        limit: int | None = None,
    ) -> list[R]:
        """The rows for which a condition holds.

        Args:
            row: their type.
            where: an SQL condition over the columns, with ``?`` for values; all when empty.
            params: the values.
            order: columns to order by; the key when empty.
            limit: how many at most.

        Returns:
            The rows in that order.

        Raises:
            BadValue: no projection has such rows.
            apsw.SQLError: the condition is no SQL.
        """
        shape = self._shape(row)
        condition = f" WHERE {where}" if where else ""
        # The condition is written by projection modules, its values are bound.
        sql = (
            f"SELECT {', '.join(shape.columns)} FROM {shape.name}{condition}"  # noqa: S608 - values are bound
            f" ORDER BY {order or ', '.join(shape.key)} LIMIT ?"
        )
        found = self._database.execute(sql, (*params, -1 if limit is None else limit))
        return [cast("R", shape.make(values)) for values in found]

    def count(self, row: type[Row], where: str = "", params: Sequence[Value] = ()) -> int:
        """How many rows the condition holds for.

        Raises:
            BadValue: no projection has such rows.
            apsw.SQLError: the condition is no SQL.
        """
        condition = f" WHERE {where}" if where else ""
        sql = f"SELECT count(*) FROM {self._shape(row).name}{condition}"  # noqa: S608
        [(number,)] = self._database.execute(sql, tuple(params)).fetchall()
        return int(number)

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """The rows of any SELECT, for the query modules of projections.

        Raises:
            apsw.Error: the statement is no SELECT.
        """
        return self._database.execute(sql, tuple(params)).fetchall()

    def head(self) -> Head:
        """The end of the ledger.

        Raises:
            Nothing.
        """
        [(size, chain, packed, epoch)] = self._database.execute(
            "SELECT size, chain, frontier, epoch FROM head"
        ).fetchall()
        root = Frontier.load(size, packed).root()
        return Head(size=Seq(size), chain=chain.hex(), root=root.hex(), epoch=Epoch(epoch))

    def tree(self) -> Tree:
        """The tree over the facts of this moment: its roots and proofs, of every earlier size.

        Raises:
            Nothing.
        """
        if self._tree is None:
            self._tree = Tree(self._database)
        return self._tree

    def inclusion(self, seq: int, size: int) -> tuple[bytes, ...]:
        """The proof that a fact is in the first ``size`` facts; nearest hash first.

        Raises:
            BadValue: there is no such fact in a ledger of that size, or it is not that long.
            LedgerBroken: a leaf or a mark is missing.
        """
        return self.tree().inclusion(seq, size)

    def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """The proof that the ledger of ``size`` facts has grown from that of ``old``.

        Raises:
            BadValue: the older one is larger, or the ledger is not that long.
            LedgerBroken: a leaf or a mark is missing.
        """
        return self.tree().consistency(old, size)

    def checkpoint(self, at_most: int | None = None) -> Note | None:
        """The newest signed checkpoint, or the newest of at most that size; None without one.

        It is as recorded: nothing of it is verified.

        Raises:
            ProofBroken: what is recorded is no signed note.
        """
        bound = 2**63 - 1 if at_most is None else at_most
        sql = "SELECT note FROM checkpoint WHERE size <= ? ORDER BY size DESC LIMIT 1"
        for (text,) in self._database.execute(sql, (bound,)):
            return parse_note(text)
        return None

    def naming(self) -> Seq:
        """The position of the fact that names the log.

        Raises:
            Nothing.
        """
        return naming(self._database)

    def fact(self, seq: Seq) -> tuple[Fact | RawFact, bytes]:
        """The fact at a position, and its bytes.

        Raises:
            UnknownName: the ledger is not that long.
            ArchiveMissing: its body has left for an archive that is not there.
        """
        for (body,) in self._database.execute("SELECT body FROM fact WHERE seq = ?", (seq,)):
            whole = self._whole(seq, body)
            return self._decoded(seq, whole), whole
        message = f"there is no fact {seq}"
        raise UnknownName(message)

    def facts(
        self, after: Seq = BEFORE_ALL, limit: int = 1_000, *, run: str | None = None
    ) -> Iterator[tuple[Seq, Fact | RawFact]]:
        """Facts behind a position, in ledger order.

        Args:
            after: begin behind this one; -1 for the first.
            limit: how many at most.
            run: only those of this run.

        Returns:
            Position and fact, one after the other.

        Raises:
            HouseTooNew: a fact is newer than this version of Tildawn.
            ArchiveMissing: a body has left for an archive that is not there.
        """
        for seq, body in self._bodies(after, limit, run):
            yield Seq(seq), self._decoded(seq, body)

    def history(self, run: str) -> list[tuple[Seq, Fact]]:
        """All facts of one run, in ledger order.

        Raises:
            HouseTooNew: a kind or version of fact is unknown here.
            ArchiveMissing: a body has left for an archive that is not there.
        """
        history: list[tuple[Seq, Fact]] = []
        for seq, fact in self.facts(BEFORE_ALL, -1, run=run):
            if isinstance(fact, RawFact):
                message = f"fact {seq} is a {fact.kind}, which this Tildawn does not know"
                raise HouseTooNew(message, hint="pip install --upgrade tildawn")
            history.append((seq, fact))
        return history

    def newest(self, run: str) -> Iterator[tuple[Seq, Fact]]:
        """The facts of one run, newest first; whoever stops early has read no more.

        Raises:
            HouseTooNew: a kind that this version does not know.
            ArchiveMissing: a body has left for an archive that is not there.
        """
        sql = (
            "SELECT fact.seq, fact.body FROM run_fact JOIN fact USING (seq)"
            " WHERE run_fact.run = ? ORDER BY run_fact.seq DESC"
        )
        for seq, body in self._database.execute(sql, (run_key(run),)):
            fact = self._decoded(seq, body)
            if isinstance(fact, RawFact):
                message = f"fact {seq} is a {fact.kind}, which this Tildawn does not know"
                raise HouseTooNew(message, hint="pip install --upgrade tildawn")
            yield Seq(seq), fact

    def payload(self, seq: Seq, slot: int) -> bytes:
        """The JSON text of a payload.

        Args:
            seq: the fact that names it.
            slot: its place in ``PAYLOADS`` of the fact's kind.

        Returns:
            UTF-8 JSON.

        Raises:
            PayloadErased: it is gone on purpose.
            UnknownName: the fact has no payload there.
            LedgerBroken: its blob is missing or holds something else.
        """
        sql = "SELECT text, blob FROM payload WHERE id = ?"
        for text, blob in self._database.execute(sql, (seq * SLOTS + slot,)):
            if text is not None:
                return text
            if blob is None:
                message = f"payload {slot} of fact {seq} was erased"
                raise PayloadErased(message)
            try:
                return self._blobs.get(blob)
            except UnknownName as error:
                message = f"payload {slot} of fact {seq} is a blob that is missing: {blob}"
                raise LedgerBroken(message, seq=seq) from error
        message = f"fact {seq} has no payload {slot}"
        raise UnknownName(message)

    def _decoded(self, seq: int, body: bytes) -> Fact | RawFact:
        try:
            return self._registry.decode(body or self._whole(seq, body))
        except msgspec.MsgspecError as error:
            message = f"fact {seq} cannot be read: {error}"
            raise LedgerBroken(message, hint="tildawn verify", seq=seq) from error

    def _bodies(self, after: Seq, limit: int, run: str | None) -> Iterator[tuple[int, bytes]]:
        if run is None:
            sql = "SELECT seq, body FROM fact WHERE seq > ? ORDER BY seq LIMIT ?"
            return iter(self._database.execute(sql, (after, limit)))
        sql = (
            "SELECT fact.seq, fact.body FROM run_fact JOIN fact USING (seq)"
            " WHERE run_fact.run = ? AND run_fact.seq > ? ORDER BY run_fact.seq LIMIT ?"
        )
        return iter(self._database.execute(sql, (run_key(run), after, limit)))

    def _shape(self, row: type[Row]) -> Shape:
        shape = self._shapes.get(row)
        if shape is None:
            message = f"no projection has {row.__name__} rows"
            raise BadValue(message)
        return shape
