"""Bugs to plant, so that a test of a promise can be seen to fail.

What it is not: known to any production code; each is a patch that a test puts on and takes off.
"""

import os
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast
from unittest.mock import patch

from tildawn.engine import history
from tildawn.facts.fact import Fact
from tildawn.facts.step import StepRecorded
from tildawn.guard.request import Attempt
from tildawn.guard.visit import Visit
from tildawn.ledger import writer
from tildawn.ledger.fold import Change, Put
from tildawn.ledger.mirror import Mirror, State
from tildawn.ledger.request import Request
from tildawn.ledger.shelf import Shelf
from tildawn.ledger.sqlite import door, migrate
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.projector import Projector
from tildawn.ledger.sqlite.store import Store
from tildawn.projections.step import STEP, StepRow
from tildawn.units import Seq


VARIABLE = "TILDAWN_PLANTED_BUG"
"""Names the bug that a child process of a test plants in itself."""


@contextmanager
def commit_without_sync() -> Generator[None]:
    """Every commit is answered before it is durable, as with ``synchronous=NORMAL``.

    Raises:
        Nothing.
    """

    def begin(self: Any, taken: list[tuple[Seq, Request]]) -> None:
        for _, request in taken:
            request.relaxed = True
        original(self, taken)

    original = Store._begin  # noqa: SLF001 - a planted bug reaches inside  # pyright: ignore[reportPrivateUsage]
    with patch.object(Store, "_begin", begin):
        yield


@contextmanager
def fold_skips(every: int = 7) -> Generator[None]:
    """Every n-th fact is not folded.

    Raises:
        Nothing.
    """

    def fold(self: Projector, seq: Seq, fact: Fact) -> object:
        return None if seq % every == 0 else original(self, seq, fact)

    original = Projector.fold
    with patch.object(Projector, "fold", fold):
        yield


@contextmanager
def chain_forgets(every: int = 7) -> Generator[None]:
    """Every n-th fact is not taken into the chain, though into the tree.

    Raises:
        Nothing.
    """

    def bind(self: Any, body: bytes) -> bytes:
        before = self._chain
        leaf = original(self, body)
        if self._size % every == 0:
            self._chain = before
        return leaf

    original = Store._bind  # noqa: SLF001 - a planted bug reaches inside  # pyright: ignore[reportPrivateUsage]
    with patch.object(Store, "_bind", bind):
        yield


@contextmanager
def answer_before_commit() -> Generator[None]:
    """Callers are told that their facts are durable while the transaction is still open.

    Raises:
        Nothing.
    """

    def finish(self: Any, epoch: Any) -> None:
        early = [request for request in self.planted if request.done is not None]
        writer._deliver(early)  # noqa: SLF001 - a planted bug reaches inside  # pyright: ignore[reportPrivateUsage]
        for request in early:
            request.done = None
        original(self, epoch)

    def commit(self: Any, requests: list[Request], **options: Any) -> None:
        self.planted = requests
        commits(self, requests, **options)

    original = Store._finish  # noqa: SLF001 - a planted bug reaches inside  # pyright: ignore[reportPrivateUsage]
    commits = Store.commit
    with patch.object(Store, "_finish", finish), patch.object(Store, "commit", commit):
        yield


@contextmanager
def refused_leaves_trace() -> Generator[None]:
    """What a refused append has staged is not undone.

    Raises:
        Nothing.
    """

    def undo(self: Projector, mark: tuple[int, int]) -> None:
        return

    with patch.object(Projector, "undo", undo):
        yield


@contextmanager
def key_of_its_own_for_each_attempt() -> Generator[None]:
    """The other side cannot recognise a request that is sent again.

    Raises:
        Nothing.
    """

    def attempt_of(*args: Any, **options: Any) -> None:
        made(*args, **options | {"key": f"{options['key']}-{options['number']}-{os.getpid()}"})

    made = Attempt.__init__
    with patch.object(Attempt, "__init__", attempt_of):
        yield


@contextmanager
def never_means_again() -> Generator[None]:
    """A call that must not be repeated is repeated when nobody knows what became of it.

    Raises:
        Nothing.
    """

    def always(*_: object) -> bool:
        return True

    with patch.object(Visit, "repeatable", always):
        yield


@contextmanager
def steps_are_forgotten() -> Generator[None]:
    """A replay does not hear of recorded steps, and records them again.

    Raises:
        Nothing.
    """

    def record_of(seq: Seq, fact: Fact, read: Any) -> object:
        return None if fact.kind == "StepRecorded" else original(seq, fact, read)

    def again(_seq: Seq, fact: Fact, _get: Any) -> Iterable[Change]:
        return (Put(StepRow(run=fact.run, path=fact.path, seq=_seq)),)

    original = history.record_of
    folds = dict(STEP.folds) | {StepRecorded: again}
    with (
        patch.object(history, "record_of", record_of),
        patch.dict(cast("dict[Any, Any]", STEP.folds), folds),
    ):
        yield


@contextmanager
def answer_before_mirror() -> Generator[None]:
    """A batch is answered before the mirror has it: its frames are written with the next one.

    Raises:
        Nothing.
    """

    def begin(self: Any, batch: Any) -> None:
        late = self.__dict__.get("planted")
        self.planted = batch
        if late is not None:
            original(self, late)

    original = Mirror.begin
    with patch.object(Mirror, "begin", begin):
        yield


@contextmanager
def nobody_joins_the_mirror() -> Generator[None]:
    """Nobody waits for the mirror, whose disk is slower than any answer.

    Raises:
        Nothing.
    """

    def join(self: Any) -> None:
        if self._held:
            self._held, self.state = False, State.FOLLOWING
            self._lock.release()

    def append(self: Any, *args: Any, **options: Any) -> None:
        if threading.current_thread().name == "tildawn-mirror":
            threading.Event().wait()
        original(self, *args, **options)

    original = Shelf.append
    with patch.object(Mirror, "join", join), patch.object(Shelf, "append", append):
        yield


@contextmanager
def migrates_in_pieces() -> Generator[None]:
    """Each statement of a migration commits by itself, and its number comes first.

    Raises:
        Nothing.
    """

    def pieces(database: Database) -> None:
        have = migrate.schema_of(database)
        for number, sql in migrate.scripts():
            if number > have:
                database.pragma("user_version", number)
                for _ in database.execute(sql):
                    pass

    with patch.object(door, "migrate", pieces):
        yield


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "answer-before-commit": answer_before_commit,
    "answer-before-mirror": answer_before_mirror,
    "chain-forgets": chain_forgets,
    "commit-without-sync": commit_without_sync,
    "fold-skips": fold_skips,
    "key-per-attempt": key_of_its_own_for_each_attempt,
    "migrates-in-pieces": migrates_in_pieces,
    "never-means-again": never_means_again,
    "nobody-joins-the-mirror": nobody_joins_the_mirror,
    "refused-leaves-trace": refused_leaves_trace,
    "steps-are-forgotten": steps_are_forgotten,
}


@contextmanager
def planted(name: str | None = None) -> Generator[None]:
    """Plant a bug by name, or by the environment's variable; none plants nothing.

    Raises:
        KeyError: no bug has that name.
    """
    chosen = os.environ.get(VARIABLE, "") if name is None else name
    if not chosen:
        yield
        return
    with BUGS[chosen]():
        yield
