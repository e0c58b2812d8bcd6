"""A few reading connections, used again.

What it is not: a snapshot; each use sees the ledger as it is when it begins.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import apsw

from tildawn.clock import Clock
from tildawn.facts.fact import Registry
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.fold import Row
from tildawn.ledger.sqlite.connection import Database, connect, opening_error
from tildawn.ledger.sqlite.reader import Reader
from tildawn.ledger.sqlite.tables import Shape
from tildawn.units import SECOND


READ_MAX = SECOND
"""How long a read transaction should last. Source: docs/spec/ledger.md."""

_log = logging.getLogger(__name__)


class Readers:
    """Gives read transactions to any thread."""

    def __init__(
        self,
        path: Path,
        *,
        registry: Registry,
        shapes: Mapping[type[Row], Shape],
        blobs: Blobs,
        archive: Archive,
        clock: Clock,
    ) -> None:
        """Read the database at a path; nothing is opened yet."""
        self._path = path
        self._registry = registry
        self._shapes = shapes
        self._blobs = blobs
        self._archive = archive
        self._clock = clock
        self._idle: list[Database] = []

    @contextmanager
    def reading(self) -> Generator[Reader]:
        """A read transaction that ends with the block.

        Raises:
            HouseUnusable: the database cannot be opened.
            LedgerBroken: it is damaged.
        """
        database = self._idle.pop() if self._idle else connect(self._path, write=False)
        began = self._clock.mono()
        try:
            database.execute("BEGIN")
            yield Reader(
                database, registry=self._registry, shapes=self._shapes, blobs=self._blobs,
                archive=self._archive,
            )  # fmt: skip
        except (apsw.CorruptError, apsw.NotADBError, apsw.BusyError) as error:
            raise opening_error(self._path, error) from error
        finally:
            database.execute("ROLLBACK") if database.in_transaction else None
            self._idle.append(database)
            took = self._clock.mono() - began
            if took > READ_MAX:
                _log.warning("a read transaction lasted %d ms", took // 1_000)

    def close(self) -> None:
        """Close what is idle.

        Raises:
            Nothing.
        """
        while self._idle:
            self._idle.pop().close()
