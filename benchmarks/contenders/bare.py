"""The floors under any durable engine: SQLite alone, a commit a step or one for a group of them.

What it is not: an engine.  Nothing is retried, replayed or proved; nobody can be faster than this
with the same file and the same syncs.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import apsw

from benchmarks.contenders.contender import Hits


BODY = b"x" * 300
"""As long as the fact and the payload of one recorded step of ours."""

_TABLES = """
CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, state TEXT);
CREATE TABLE IF NOT EXISTS step (run TEXT, n INTEGER, PRIMARY KEY (run, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fact (seq INTEGER PRIMARY KEY, body BLOB, chain BLOB);
"""
_STATE = "INSERT INTO run VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"


def connection(path: Path) -> apsw.Connection:
    """SQLite with a write-ahead log and a sync at every commit."""
    made = apsw.Connection(str(path))
    for pragma in ("journal_mode=wal", "synchronous=full", "wal_autocheckpoint=1000"):
        made.execute(f"PRAGMA {pragma}").fetchall()
    made.execute(_TABLES).fetchall()
    return made


def commits(database: apsw.Connection, count: int) -> list[float]:
    """Seconds of each of so many commits of one row with the body of a step."""
    took: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        database.execute("INSERT INTO fact (body) VALUES (?)", (BODY,))
        took.append(time.perf_counter() - began)
    return took


class Engine:
    """``bare`` commits every step by itself; ``chained`` all that are there, with a hash each."""

    def __init__(self, name: str, folder: Path) -> None:
        """Choose the variant."""
        self._path = folder / "bare.db"
        self._grouped = name == "chained"
        self._chain = bytes(32)
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []
        self._numbers = 0

    def start(self) -> None:
        """Open the database."""
        self._database = connection(self._path)
        self._runner = asyncio.Runner()

    def sequential(self, steps: int) -> list[float]:
        """See `Contender`."""
        self._numbers += 1
        stamps = [time.perf_counter()]
        self._runner.run(self._run(f"s{self._numbers}", steps, stamps=stamps))
        return [after - before for before, after in itertools.pairwise(stamps)]

    def crowd(self, runs: int, steps: int) -> float:
        """See `Contender`."""
        began = time.perf_counter()
        self._runner.run(self._crowd(runs, steps, None))
        return time.perf_counter() - began

    def pickup(self, count: int) -> list[float]:
        """See `Contender`; a queue in memory is handed over after the commit."""
        took: list[float] = []
        for number in range(count):
            began = time.perf_counter()
            self._runner.run(self._save(f"pickup{began}", number))
            took.append(time.perf_counter() - began)
        return took

    def carry_on(self, runs: int, steps: int, hits: Hits) -> None:
        """See `Contender`."""
        self._runner.run(self._crowd(runs, steps, hits))

    def stop(self) -> None:
        """See `Contender`."""
        self._runner.close()
        self._database.close()

    async def _crowd(self, runs: int, steps: int, hits: Hits | None) -> None:
        await asyncio.gather(*(self._run(str(number), steps, hits) for number in range(runs)))

    async def _run(
        self, name: str, steps: int, hits: Hits | None = None, stamps: list[float] | None = None
    ) -> None:
        known = self._database.execute("SELECT n FROM step WHERE run = ?", (name,)).fetchall()
        for number in sorted(set(range(steps)) - {n for (n,) in known}):
            if hits is not None:
                hits.hit(int(name), number)
                await asyncio.sleep(0)
            await self._save(name, number)
            if stamps is not None:
                stamps.append(time.perf_counter())
        self._database.execute(_STATE, (name, "done"))

    async def _save(self, run: str, number: int) -> None:
        if not self._grouped:
            self._commit([(run, number)])
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._commit_all)
        self._waiting.append((run, number, future))
        await future

    def _commit_all(self) -> None:
        batch, self._waiting = self._waiting, []
        self._commit((run, number) for run, number, _ in batch)
        for _, _, future in batch:
            future.set_result(None)

    def _commit(self, rows: Iterable[tuple[str, int]]) -> None:
        with self._database:
            for row in rows:
                if self._grouped:
                    self._chain = sha256(self._chain + BODY).digest()
                self._database.execute(
                    "INSERT INTO fact (body, chain) VALUES (?, ?)", (BODY, self._chain)
                )
                self._database.execute("INSERT INTO step VALUES (?, ?)", row)
