"""Seals what is full: reads facts of an open ledger and makes a segment of them.

What it is not: the decision when; a loop of the runtime turns it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tildawn.errors import LedgerBroken
from tildawn.facts.segment import SegmentSealed
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import GENESIS, Frontier, link
from tildawn.ledger.durable import write_durably
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.ledger.segment import Beginning, Hashes, Leafed, Segment, write_segment


READ_FACTS = 4_096
"""Facts of one read transaction, so that none holds back the write-ahead log."""


def seal_next(ledger: Ledger, earlier: Sequence[SegmentSealed]) -> SegmentSealed | None:
    """Seal one segment if there are facts for it that are settled; blocks for about a second.

    A crash before the fact leaves files that do not count; the next turn writes them again.

    Args:
        ledger: open to write.
        earlier: the segments that are sealed, in order.

    Returns:
        The fact that was appended; None when there is nothing to seal, or somebody was faster.

    Raises:
        LedgerBroken: the facts do not hold together.
        OSError: the disk refuses.
        TildawnError: the fact could not be appended.
    """
    archive = ledger.archive
    first = len(earlier) * archive.facts
    with ledger.read() as reader:
        if _settled(reader) < first + archive.facts:
            return None
        chain, frontier = state_at(reader, first)
        wanted = state_at(reader, first + archive.facts)
        checkpoint = _covering(reader, first + archive.facts)
    begin = Beginning(
        chain=chain, frontier=frontier.dump(), earlier=tuple(earlier), checkpoint=checkpoint
    )
    fact = write_segment(archive, begin, _facts(ledger, first, archive.facts))
    _compare(archive, fact, wanted)
    # A crash before this leaves a whole segment that does not count; one after it, one that does.
    answer = ledger.append_now([ledger.draft(fact)])
    return fact if isinstance(answer, Committed) else None


def publish_checkpoint(ledger: Ledger, sealed: int) -> bool:
    """Put the newest signed checkpoint beside the segments that the archive can show for it.

    That is the newest one which is not larger than the sealed part, so that whoever serves the
    folder serves a whole log.

    Args:
        ledger: open.
        sealed: how many segments are sealed.

    Returns:
        Whether there is a new one.

    Raises:
        OSError: the disk refuses.
    """
    archive = ledger.archive
    sql = "SELECT note FROM checkpoint WHERE size <= ? ORDER BY size DESC LIMIT 1"
    with ledger.read() as reader:
        found = reader.query(sql, (sealed * archive.facts,))
    if not sealed or not found:
        return False
    path: Path = archive.folder / "checkpoint"
    content = str(found[0][0]).encode()
    if path.exists() and path.read_bytes() == content:
        return False
    write_durably(path, content, mode=0o644)
    return True


def segment_meant(
    reader: Reader, archive: Archive, sealed: Sequence[SegmentSealed], number: int, *, pruned: bool
) -> Segment:
    """What the ledger says of a segment, for its check.

    Args:
        reader: of the moment.
        archive: says how large a segment is.
        sealed: all segments, in order.
        number: which one.
        pruned: whether its entries may be missing.

    Raises:
        LedgerBroken: a leaf or a mark is missing.
    """
    first = number * archive.facts
    before, after = (state_at(reader, size) for size in (first, first + archive.facts))
    return Segment(
        sealed=tuple(sealed[: number + 1]),
        leaves=b"".join(_leaves(reader, first, first + archive.facts)),
        before=Hashes(before[0], before[1].root()),
        after=Hashes(after[0], after[1].root()),
        pruned=pruned,
    )


def state_at(reader: Reader, size: int) -> tuple[bytes, Frontier]:
    """Chain and frontier after some facts, from the mark before and the leaves behind it.

    Raises:
        LedgerBroken: a leaf is missing.
    """
    chain, frontier = GENESIS, Frontier()
    sql = "SELECT size, chain, frontier FROM mark WHERE size <= ? ORDER BY size DESC LIMIT 1"
    for at, linked, packed in reader.query(sql, (size,)):
        chain, frontier = bytes(linked), Frontier.load(int(at), bytes(packed))
    for leaf in _leaves(reader, frontier.size, size):
        chain = link(chain, leaf)
        frontier.add(leaf)
    return chain, frontier


def _leaves(reader: Reader, begin: int, end: int) -> list[bytes]:
    sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
    leaves = [bytes(leaf) for (leaf,) in reader.query(sql, (begin, end))]
    if len(leaves) != end - begin:
        message = f"of the facts from {begin} to {end} only {len(leaves)} are there"
        raise LedgerBroken(message, hint="tildawn verify", seq=begin)
    return leaves


def _facts(ledger: Ledger, first: int, count: int) -> Iterator[Leafed]:
    sql = "SELECT leaf, body FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
    for begin in range(first, first + count, READ_FACTS):
        with ledger.read() as reader:
            rows = reader.query(sql, (begin, min(begin + READ_FACTS, first + count)))
        yield from ((bytes(leaf), bytes(body)) for leaf, body in rows)


def _settled(reader: Reader) -> int:
    [(size,)] = reader.query("SELECT size FROM verified")
    return int(size)


def _covering(reader: Reader, size: int) -> int:
    sql = "SELECT size FROM checkpoint WHERE size >= ? ORDER BY size LIMIT 1"
    found = reader.query(sql, (size,))
    return int(found[0][0]) if found else 0


def _compare(archive: Archive, fact: SegmentSealed, wanted: tuple[bytes, Frontier]) -> None:
    """Whether the hashes of what was written are those that the ledger noted at the time."""
    manifest = archive.manifest(fact.number, digest=fact.manifest)
    chain, frontier = wanted
    if (manifest.chain_out, manifest.root_out) != (chain.hex(), frontier.root().hex()):
        message = f"the facts of segment {fact.number} do not lead to the hashes on record"
        raise LedgerBroken(message, hint="tildawn verify", seq=fact.first)
