"""Brings a house and its mirror together when the house is opened: the longer valid side wins.

What it is not: a choice between two truths.  When neither copy extends the other it stops.
"""

import logging
from collections.abc import Iterator

import msgspec

from tildawn.errors import HouseTooNew, LedgerBroken, TildawnError
from tildawn.facts.erasure import PayloadErased
from tildawn.facts.fact import Fact, Payload, RawFact, Registry, digest_of
from tildawn.facts.house import HouseRestored, PenTaken
from tildawn.facts.mirror import MirrorPrevailed
from tildawn.ledger.blobs import Blobs, read_blob
from tildawn.ledger.chain import Frontier, link
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.frame import Held, Kept
from tildawn.ledger.mirror import Mirror, check_place
from tildawn.ledger.request import Request
from tildawn.ledger.shelf import Shelf
from tildawn.ledger.sqlite.connection import Database
from tildawn.ledger.sqlite.source import Source, erase, uses_in
from tildawn.ledger.sqlite.store import SLOTS, Store
from tildawn.units import Epoch


TAKE_FACTS = 16_384
"""Facts that come back in one transaction, so that memory stays bounded."""

ERASING = b'"kind":"PayloadErased"'
"""What a body holds that says that payloads are gone. Source: docs/spec/ledger.md."""

ASK = "stop and ask: copy both away; tildawn mirror verify shows more"

_log = logging.getLogger(__name__)


def reunite(mirror: Mirror, store: Store, registry: Registry, *, blobs: Blobs) -> None:
    """Compare both copies, let the longer one win, and go on with both.

    A mirror that cannot be reached is lost, which is no error.  A crash leaves either copy
    shorter than the other, as before, and the next opening does the same again.

    Raises:
        LedgerBroken: the copies contradict each other, or both are damaged; nothing was changed.
        HouseTooNew: the mirror has kinds of facts that are unknown here.
        HouseUnusable: the folder of the mirror will never do.
    """
    source = Source(store.database, mirror.layout)
    mirror.attach(source)
    try:
        check_place(mirror.wish, mirror.layout)
        _reunite(mirror, store, registry, blobs)
    except OSError as error:
        mirror.lose(error)


def _reunite(mirror: Mirror, store: Store, registry: Registry, blobs: Blobs) -> None:
    shelf, source = mirror.shelf, Source(store.database, mirror.layout)
    end = shelf.find_end()
    size, chain, _ = source.head()
    if end.size < end.promised and size < end.promised:
        message = (
            f"the mirror in {shelf.folder} once held {end.promised} facts and holds {end.size},"
            f" and the ledger has only {size}"
        )
        raise LedgerBroken(message, hint=ASK, seq=end.size)
    if end.size and size == 0:
        message = f"the mirror in {shelf.folder} holds {end.size} facts, and this house has none"
        raise LedgerBroken(
            message, hint="tildawn mirror recover, or another ledger.mirror_folder for a new house"
        )
    if end.size > size:
        if _chain_in(shelf, size) != chain:
            raise diverged(shelf, source)
        _log.warning("the mirror has %d facts that the ledger lacks", end.size - size)
        count = take_back(store, shelf, registry, blobs=blobs)
        mirror.news.append(MirrorPrevailed(count=count))
    elif source.chain_at(end.size) != end.chain:
        raise diverged(shelf, source)
    mirror.take_up(source, end, keep=end.size > size)


def take_back(store: Store, shelf: Shelf, registry: Registry, *, blobs: Blobs) -> int:
    """Record the facts that only the mirror has, as they are, through the folds.

    A crash leaves a part of them in the database, and the mirror still ahead.

    Args:
        store: its facts are the beginning of the mirror's.
        shelf: the mirror's files.
        registry: decodes.
        blobs: of the house; those that it lacks are copied back.

    Returns:
        How many there were.

    Raises:
        LedgerBroken: a fold or a table refuses them.
        HouseTooNew: a kind is unknown here.
        OSError: a disk refuses.
    """
    begin = store.tip().size
    gone = _gone_in(shelf, begin, registry)
    freed = _freed_in(store.database, shelf, gone, blobs)
    # First what is erased, then the facts: a crash in between leaves rows without their facts,
    # which come with the next opening, and never a value that a fact says is gone.
    erase(store.database, list(gone.items()), sorted(freed))
    _bring_blobs(shelf, begin, freed, blobs)
    entries: list[Entry] = []
    epoch = store.epoch
    tail = _Tail(shelf=shelf, registry=registry, gone=gone, freed=freed)
    for held in shelf.batches(begin):
        for entry in tail.entries(held, max(begin - held.first, 0)):
            entries.append(entry)
            if isinstance(entry.fact.data, PenTaken | HouseRestored):
                epoch = Epoch(max(epoch, entry.fact.data.epoch))
        if len(entries) >= TAKE_FACTS:
            _commit(store, entries, epoch)
            entries = []
    if entries:
        _commit(store, entries, epoch)
    if gone:
        store.checkpoint(truncate=True)
    return store.tip().size - begin


def _gone_in(shelf: Shelf, begin: int, registry: Registry) -> dict[int, int]:
    """The payloads that facts behind a position erased, each with the fact that says so."""
    gone: dict[int, int] = {}
    for held in shelf.batches(begin):
        gone.update((one.id, one.erased) for one in held.payloads if one.erased >= 0)
        for seq, (_, body) in enumerate(held.facts, held.first):
            if seq >= begin and ERASING in body:
                data = _fact(seq, body, registry).data
                if isinstance(data, PayloadErased):
                    for first, last in zip(data.ranges[::2], data.ranges[1::2], strict=True):
                        gone.update(dict.fromkeys(range(first, last), seq))
    return gone


def _freed_in(
    database: Database, shelf: Shelf, gone: dict[int, int], blobs: Blobs
) -> set[tuple[str, int]]:
    """The uses of blobs that went with those payloads."""
    if not gone:
        return set()
    # HOLE: a blob that an erased run kept otherwise than as a payload, and that both copies still
    # have, is kept; erasing the same again takes it out.
    had = set(shelf.blob_names())
    freed = {
        use for use in uses_in(database) if use[0] not in had and not blobs.path(use[0]).exists()
    }
    for held in shelf.batches(0):
        freed.update(
            (one.blob, one.id // SLOTS) for one in held.payloads if one.blob and one.id in gone
        )
        freed.update(
            use for use in held.uses if use[0] not in had and not blobs.path(use[0]).exists()
        )
    return freed


def _bring_blobs(shelf: Shelf, begin: int, freed: set[tuple[str, int]], blobs: Blobs) -> None:
    uses = {use for held in shelf.batches(begin) for use in held.uses}
    for name in {name for name, _ in uses - freed}:
        if not blobs.path(name).exists() and (shelf.blobs / name[:2] / name).exists():
            blobs.put(read_blob(shelf.blobs, name))


def diverged(shelf: Shelf, source: Source) -> LedgerBroken:
    """The error that says where two copies part, and the root of each.

    Raises:
        OSError: the disk refuses.
    """
    frontier, seq = Frontier(), -1
    size, _, root = source.head()
    for held in shelf.batches(0):
        ours = source.leaves(held.first, held.size)
        for at, (leaf, _) in enumerate(held.facts):
            frontier.add(leaf)
            if seq < 0 and at < len(ours) and ours[at] != leaf:
                seq = held.first + at
    theirs = frontier.root().hex()
    where = f"from fact {seq} on" if seq >= 0 else "and the mirror cannot be read that far"
    message = (
        f"ledger and mirror contradict each other {where}: the ledger has {size} facts with root"
        f" {root.hex()}, the mirror in {shelf.folder} {frontier.size} with root {theirs}"
    )
    return LedgerBroken(message, hint=ASK, seq=max(seq, 0))


def _chain_in(shelf: Shelf, size: int) -> bytes | None:
    """The mirror's chain after ``size`` facts; None when its files do not lead there."""
    for held in shelf.batches(size):
        if held.first > size:
            return None
        chain = held.before
        for leaf, _ in held.facts[: size - held.first]:
            chain = link(chain, leaf)
        return chain
    return None


class _Tail(msgspec.Struct, frozen=True, kw_only=True):
    """What makes entries of the batches of a mirror."""

    shelf: Shelf
    registry: Registry
    gone: dict[int, int]
    freed: set[tuple[str, int]]

    def entries(self, held: Held, skip: int) -> Iterator[Entry]:
        """The facts of a batch but the first few, with what belongs to them."""
        payloads = {one.id: one for one in held.payloads if one.id not in self.gone}
        uses: dict[int, list[str]] = {}
        for blob, seq in held.uses:
            if (blob, seq) not in self.freed:
                uses.setdefault(seq, []).append(blob)
        for at, (_, body) in enumerate(held.facts[skip:], held.first + skip):
            fact = _fact(at, body, self.registry)
            slots = range(len(type(fact.data).PAYLOADS))
            kept = [payloads.get(at * SLOTS + slot) for slot in slots]
            yield Entry(
                fact=fact, body=body, payloads=tuple(_payload(one, self.shelf) for one in kept),
                blobs=tuple(uses.get(at, ())),
            )  # fmt: skip


def _fact(seq: int, body: bytes, registry: Registry) -> Fact:
    try:
        fact = registry.decode(body)
        written = msgspec.json.decode(body, type=RawFact).v
    except msgspec.DecodeError as error:
        message = f"fact {seq} of the mirror cannot be understood: {error}"
        raise LedgerBroken(message, seq=seq) from error
    if isinstance(fact, RawFact):
        message = f"fact {seq} of the mirror is a {fact.kind}, which this Tildawn does not know"
        raise HouseTooNew(message, hint="pip install --upgrade tildawn")
    return msgspec.structs.replace(fact, v=written)


def _payload(kept: Kept | None, shelf: Shelf) -> Payload | None:
    if kept is None or kept.erased >= 0:
        return None
    text = kept.text if kept.text is not None else read_blob(shelf.blobs, kept.blob)
    return Payload(text=text, salt=kept.salt, digest=digest_of(kept.salt + text))


def _commit(store: Store, entries: list[Entry], epoch: Epoch) -> None:
    request = Request(entries)
    store.commit([request], epoch=epoch)
    if not isinstance(request.outcome, Committed):
        cause = request.outcome if isinstance(request.outcome, TildawnError) else None
        why = cause.message if cause is not None else "a row is there already"
        message = f"the facts of the mirror from {store.tip().size} on cannot be folded: {why}"
        raise LedgerBroken(message, hint=ASK, seq=store.tip().size) from cause
