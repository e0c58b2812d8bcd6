"""Tiles and entry bundles of the tree: their paths and their bytes.

What it is not: files.  Everything here is pure; `tildawn.ledger.segment` writes and checks them.

Source: C2SP tlog-tiles, sections "Merkle Tree" and "Log entries".
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import msgspec

from tildawn.errors import BadValue, ProofBroken
from tildawn.facts.fact import BODY_BYTES_MAX
from tildawn.ledger.chain import Frontier


WIDTH = 256
"""Hashes of a full tile, and entries of a full bundle. Source: C2SP tlog-tiles."""

HASH_BYTES = 32
_LENGTH_BYTES = 2


class Place(msgspec.Struct, frozen=True, order=True):
    """Which tile: its level, its index, and how many hashes it has when it is not full, else 0."""

    level: int
    index: int
    part: int = 0


def tile_path(place: Place) -> str:
    """The path of a tile below its log, such as ``tile/0/x001/x234/067`` or ``tile/2/000.p/7``.

    Raises:
        BadValue: there is no such tile.
    """
    if not 0 <= place.level <= 63:  # noqa: PLR2004 - the levels that the specification has
        message = f"a tree has no tiles of level {place.level}"
        raise BadValue(message)
    return f"tile/{place.level}/{_index(place.index, place.part)}"


def bundle_path(index: int, part: int = 0) -> str:
    """The path of an entry bundle below its log, such as ``tile/entries/x001/067``.

    Raises:
        BadValue: there is no such bundle.
    """
    return f"tile/entries/{_index(index, part)}"


def tiles_of(size: int, *, width: int = WIDTH) -> Iterator[Place]:
    """The tiles that represent a tree of that many leaves, lowest level first.

    Args:
        size: how many leaves.
        width: hashes of a full tile.

    Returns:
        Every full tile, and the one that is not full at the end of a level that has one.

    Raises:
        Nothing.
    """
    level = 0
    while size:
        full, part = divmod(size, width)
        yield from (Place(level, index) for index in range(full))
        if part:
            yield Place(level, full, part)
        level, size = level + 1, full


def tile_root(tile: bytes) -> bytes:
    """The root over the hashes of a tile: what stands for a full one in the level above.

    Raises:
        ProofBroken: the bytes are no row of hashes.
    """
    hashes = hashes_in(tile)
    if not hashes or len(hashes) & (len(hashes) - 1):
        frontier = Frontier()
        for hash_ in hashes:
            frontier.add(hash_)
        return frontier.root()
    # A full tile is a perfect subtree: level by level, over 64 bytes at a time.
    pair = 2 * HASH_BYTES
    while len(tile) > HASH_BYTES:
        tile = b"".join(
            [sha256(b"\x01" + tile[at : at + pair]).digest() for at in range(0, len(tile), pair)]
        )
    return tile


def hashes_in(tile: bytes) -> list[bytes]:
    """The hashes of a tile, 32 bytes each.

    Raises:
        ProofBroken: the bytes are no row of hashes.
    """
    if len(tile) % HASH_BYTES:
        message = f"{len(tile)} bytes are no row of hashes"
        raise ProofBroken(message)
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def higher_tiles(
    roots: Sequence[bytes], level: int, *, width: int = WIDTH
) -> Iterator[tuple[Place, bytes]]:
    """The tiles that the last of a row of hashes makes new, at its level and above.

    Args:
        roots: all hashes of that level, from the first leaf on; at least one.
        level: theirs.
        width: hashes of a full tile.

    Returns:
        Place and content; one that is full makes one more of the level above.

    Raises:
        ProofBroken: one of them is no hash.
    """
    hashes = list(roots)
    while True:
        index, part = divmod(len(hashes) - 1, width)
        tile = b"".join(hashes[index * width :])
        full = part + 1 == width
        yield Place(level, index, 0 if full else part + 1), tile
        if not full:
            return
        starts = range(0, len(hashes), width)
        hashes = [tile_root(b"".join(hashes[at : at + width])) for at in starts]
        level += 1


def pack(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry behind its length as a big-endian 16-bit number.

    Raises:
        BadValue: an entry is too long for that.
    """
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > BODY_BYTES_MAX:
            message = f"an entry of {len(entry)} bytes is longer than {BODY_BYTES_MAX}"
            raise BadValue(message)
        parts += (len(entry).to_bytes(_LENGTH_BYTES, "big"), entry)
    return b"".join(parts)


def unpack(bundle: bytes) -> list[bytes]:
    """The entries of a bundle, in order.

    Raises:
        ProofBroken: the bytes end inside an entry.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(bundle):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(bundle[at:begin], "big")
        entries.append(bundle[begin:at])
        if begin > len(bundle) or at > len(bundle):
            message = f"the bundle ends inside entry {len(entries) - 1}"
            raise ProofBroken(message)
    return entries


def _index(index: int, part: int) -> str:
    if index < 0 or not 0 <= part < WIDTH:
        message = f"there is no tile {index} of {part} hashes"
        raise BadValue(message)
    groups = [f"{index % 1_000:03d}"]
    while index >= 1_000:  # noqa: PLR2004 - three digits an element
        index //= 1_000
        groups.insert(0, f"x{index % 1_000:03d}")
    return "/".join(groups) + (f".p/{part}" if part else "")
