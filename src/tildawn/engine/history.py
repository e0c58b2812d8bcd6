"""What a run was told so far, in the order in which it must be told again.

What it is not: a cache by name.  Records are delivered one at a time in ledger order, and the
run's loop is drained in between; measured, answering at once swaps the results of branches.

After a retry or a fork at position V, records before V keep their order.  Successes after V
are *loose*: each is delivered, lowest position first, as soon as its place is asked for, so
that no recorded step runs again.  The rule depends on the records alone, so every later
replay decides the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import msgspec

from tildawn.facts.call import CallDispatched, CallRefused, CallServed, CallSettled
from tildawn.facts.fact import Fact
from tildawn.facts.run import RunAccepted, RunAnswered, RunCancelAsked, RunRetried, RunStarted
from tildawn.facts.step import (
    ArtifactKept,
    ChangeMarked,
    ChildEnded,
    EventReceived,
    StepFailed,
    StepRecorded,
    TimerFired,
)
from tildawn.units import Seq


INBOX = (EventReceived, RunCancelAsked)
"""Records that no place of the run has to ask for."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One thing that the run was told."""

    seq: Seq
    fact: Fact
    #: JSON of the value or of the error, None where there is none.
    text: bytes | None
    #: Digest of the request that it answers, where the fact itself does not hold it.
    asked: str | None = None

    @property
    def path(self) -> str:
        """The place that asked."""
        return self.fact.path


ReadText = Callable[[Seq, int], bytes | None]
"""Reads the payload of a fact: (position, slot) -> JSON."""


def record_of(seq: Seq, fact: Fact, read: ReadText) -> Record | None:
    """The record that a fact is to its run, or None where the run is not told of it.

    Raises:
        PayloadErased: its value was erased; from ``read``.
    """
    data = fact.data
    slot = _slot(data)
    if slot is None:
        return None
    return Record(seq, fact, read(seq, slot) if slot >= 0 else None)


def _slot(data: object) -> int | None:
    match data:
        case StepRecorded() | StepFailed() | EventReceived() | CallRefused() | CallServed():
            return 0
        case ChildEnded(out=out):
            return 0 if out else -1
        case CallSettled(final=True, fault=fault, error=error, out=out):
            if error and fault:
                return 1
            return 0 if out else -1
        case TimerFired() | ChangeMarked() | ArtifactKept() | RunCancelAsked():
            return -1
        case _:
            return None


def failed(record: Record) -> bool:
    """Whether the record told of a failure.

    Raises:
        Nothing.
    """
    data = record.fact.data
    return (
        isinstance(data, StepFailed | CallRefused)
        or (isinstance(data, CallSettled) and bool(data.fault))
        or (isinstance(data, ChildEnded) and data.state != "done")
    )


class _Loosened(msgspec.Struct, frozen=True):
    """Where a retry or a fork began: these records are loose from here on."""

    seq: Seq
    records: tuple[Record, ...]


class History:
    """The records of the current generation of a run, and what to deliver next."""

    def __init__(self, facts: Iterable[tuple[Seq, Fact]], read: ReadText) -> None:
        """Order the records.

        Args:
            facts: all facts of the run since its generation began, in ledger order.
            read: reads payloads.
        """
        self.started_at = 0
        self.last_seq = Seq(-1)
        #: Places with a call that was sent and has no final answer on record.
        self.dispatched: set[str] = set()
        self._sent: dict[str, str] = {}
        self._binding: deque[Record | _Loosened] = deque()
        self._loose: dict[str, Record] = {}
        self._inbox: deque[Record] = deque()
        for seq, fact in facts:
            self.last_seq = seq
            self._take(seq, fact, read)
        self._marked = {
            record.path for record in self._all() if isinstance(record.fact.data, ChangeMarked)
        }

    def _take(self, seq: Seq, fact: Fact, read: ReadText) -> None:
        data = fact.data
        if isinstance(data, RunStarted) and not self.started_at:
            self.started_at = fact.at
        elif isinstance(data, RunRetried | RunAnswered) and data.void >= 0:
            self._loosen(seq, data.void)
        elif isinstance(data, CallDispatched):
            self.dispatched.add(fact.path)
            self._sent[fact.path] = data.args
        record = record_of(seq, fact, read)
        if record is not None:
            if isinstance(data, CallSettled):
                record = msgspec.structs.replace(record, asked=self._sent.get(fact.path))
            self._binding.append(record)
            self.dispatched.discard(fact.path)

    def _loosen(self, seq: Seq, void: int) -> None:
        kept: deque[Record | _Loosened] = deque()
        moved: list[Record] = []
        for entry in self._binding:
            if entry.seq < void:
                kept.append(entry)
            elif isinstance(entry, _Loosened):
                moved += entry.records
            elif entry.seq != void and not failed(entry):
                moved.append(entry)
        kept.append(_Loosened(seq, tuple(moved)))
        self._binding = kept

    def _all(self) -> Iterable[Record]:
        for entry in self._binding:
            if isinstance(entry, _Loosened):
                yield from entry.records
            else:
                yield entry

    @property
    def replaying(self) -> bool:
        """Whether records with a binding order are left."""
        self._reach()
        return bool(self._binding)

    def marked(self, path: str) -> bool:
        """Whether a version marker is on record for a place, delivered or not."""
        return path in self._marked

    def peek(self) -> Record | None:
        """The next record whose order binds, or None."""
        self._reach()
        return cast("Record", self._binding[0]) if self._binding else None

    def take_binding(self) -> Record:
        """Remove and return `peek`."""
        return cast("Record", self._binding.popleft())

    def take_loose(self, asked: Callable[[Record], bool]) -> Record | None:
        """Remove and return the first loose record that is asked for now, or None."""
        self._reach()
        if self._inbox:
            return self._inbox.popleft()
        found = [record for record in self._loose.values() if asked(record)]
        if not found:
            return None
        first = min(found, key=lambda record: record.seq)
        del self._loose[first.path]
        return first

    def _reach(self) -> None:
        while self._binding and isinstance(self._binding[0], _Loosened):
            for record in cast("_Loosened", self._binding.popleft()).records:
                if isinstance(record.fact.data, INBOX):
                    self._inbox.append(record)
                else:
                    self._loose[record.path] = record


def args_of(record: Record) -> str | None:
    """The digest of the arguments that a record answers, or None where it has none.

    Raises:
        Nothing.
    """
    return record.asked or cast("str | None", getattr(record.fact.data, "args", None))


def config_of(facts: Sequence[tuple[Seq, Fact]], read: ReadText) -> bytes | None:
    """JSON of the settings pinned when a run was accepted, or None.

    Args:
        facts: of the run, from its acceptance on.
        read: reads payloads.

    Raises:
        PayloadErased: they were erased; from ``read``.
    """
    seq, accepted = facts[0]
    said = cast("RunAccepted", accepted.data)
    return read(seq, said.PAYLOADS.index("config")) if said.config else None
