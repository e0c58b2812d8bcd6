"""Brings a house and its mirror together when the house is opened: the longer valid side wins.

What it is not: a choice between two truths.  When neither copy extends the other it stops.
"""

import logging
from collections.abc import Iterator

import msgspec

from tildawn.errors import HouseTooNew, LedgerBroken, TildawnError
from tildawn.facts.fact import Fact, Payload, RawFact, Registry, digest_of
from tildawn.facts.house import PenTaken
from tildawn.facts.mirror import MirrorPrevailed
from tildawn.ledger.blobs import Blobs, read_blob
from tildawn.ledger.chain import Frontier, link
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.frame import Held, Kept
from tildawn.ledger.mirror import Mirror, check_place
from tildawn.ledger.request import Request
from tildawn.ledger.shelf import Shelf
from tildawn.ledger.sqlite.source import Source, erase
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
    _erase_again(store, shelf, begin, blobs)
    entries: list[Entry] = []
    epoch = store.epoch
    for held in shelf.batches(begin):
        for entry in _entries(held, max(begin - held.first, 0), shelf, registry):
            entries.append(entry)
            if isinstance(entry.fact.data, PenTaken):
                epoch = Epoch(max(epoch, entry.fact.data.epoch))
        if len(entries) >= TAKE_FACTS:
            _commit(store, entries, epoch)
            entries = []
    if entries:
        _commit(store, entries, epoch)
    return store.tip().size - begin


def _erase_again(store: Store, shelf: Shelf, begin: int, blobs: Blobs) -> None:
    """Before facts come back: note what of them is erased, and bring their blobs."""
    fresh: list[tuple[int, int]] = []
    names: set[str] = set()
    erasing = False
    for held in shelf.batches(begin):
        fresh += [(one.id, one.erased) for one in held.payloads if one.erased >= 0]
        names.update(blob for blob, _ in held.uses)
        erasing = erasing or any(ERASING in body for _, body in held.facts)
    if erasing:
        # What those facts erased may still stand in this older database.
        fresh += [
            (one.id, one.erased)
            for held in shelf.batches(0)
            for one in held.payloads
            if one.erased >= 0 and one.id < begin * SLOTS
        ]
    if fresh:
        erase(store.database, fresh)
    for name in names:
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


def _entries(held: Held, skip: int, shelf: Shelf, registry: Registry) -> Iterator[Entry]:
    payloads: dict[int, Kept] = {one.id: one for one in held.payloads}
    uses: dict[int, list[str]] = {}
    for blob, seq in held.uses:
        uses.setdefault(seq, []).append(blob)
    for at, (_, body) in enumerate(held.facts[skip:], held.first + skip):
        fact = _fact(at, body, registry)
        kept = [payloads.get(at * SLOTS + slot) for slot in range(len(type(fact.data).PAYLOADS))]
        yield Entry(
            fact=fact, body=body, payloads=tuple(_payload(one, shelf) for one in kept),
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
