"""Bugs to plant, so that a test of a promise can be seen to fail.

What it is not: known to any production code; each is a patch that a test puts on and takes off.
"""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from tildawn.facts.fact import Fact
from tildawn.ledger import writer
from tildawn.ledger.request import Request
from tildawn.ledger.sqlite.projector import Projector
from tildawn.ledger.sqlite.store import Store
from tildawn.units import Seq


VARIABLE = "TILDAWN_PLANTED_BUG"
"""Names the bug that a child process of a test plants in itself."""


@contextmanager
def commit_without_sync() -> Generator[None]:
    """Every commit is answered before it is durable, as with ``synchronous=NORMAL``."""

    def begin(self: Any, taken: list[tuple[Seq, Request]]) -> None:
        for _, request in taken:
            request.relaxed = True
        original(self, taken)

    original = Store._begin  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    with patch.object(Store, "_begin", begin):
        yield


@contextmanager
def fold_skips(every: int = 7) -> Generator[None]:
    """Every n-th fact is not folded."""

    def fold(self: Projector, seq: Seq, fact: Fact) -> object:
        return None if seq % every == 0 else original(self, seq, fact)

    original = Projector.fold
    with patch.object(Projector, "fold", fold):
        yield


@contextmanager
def chain_forgets(every: int = 7) -> Generator[None]:
    """Every n-th fact is not taken into the chain, though into the tree."""

    def bind(self: Any, body: bytes) -> bytes:
        before = self._chain
        leaf = original(self, body)
        if self._size % every == 0:
            self._chain = before
        return leaf

    original = Store._bind  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    with patch.object(Store, "_bind", bind):
        yield


@contextmanager
def answer_before_commit() -> Generator[None]:
    """Callers are told that their facts are durable while the transaction is still open."""

    def finish(self: Any, epoch: Any) -> None:
        early = [request for request in self.planted if request.done is not None]
        writer._deliver(early)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        for request in early:
            request.done = None
        original(self, epoch)

    def commit(self: Any, requests: list[Request], **options: Any) -> None:
        self.planted = requests
        commits(self, requests, **options)

    original = Store._finish  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    commits = Store.commit
    with patch.object(Store, "_finish", finish), patch.object(Store, "commit", commit):
        yield


@contextmanager
def refused_leaves_trace() -> Generator[None]:
    """What a refused append has staged is not undone."""

    def undo(self: Projector, mark: tuple[int, int]) -> None:
        return

    with patch.object(Projector, "undo", undo):
        yield


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "answer-before-commit": answer_before_commit,
    "chain-forgets": chain_forgets,
    "commit-without-sync": commit_without_sync,
    "fold-skips": fold_skips,
    "refused-leaves-trace": refused_leaves_trace,
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
