"""The frames of a mirror: how a batch of facts and payloads stands in a file of its own.

What it is not: files or folders; `tildawn.ledger.shelf` has those.

The format is specified in ``docs/spec/mirror.md``.  A batch counts only with its last frame,
which seals it: so half an append is never taken for a whole one.
"""

import re
import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO

import msgspec

from tildawn.ledger.chain import leaf_of, link
from tildawn.ledger.twin import Batch


FRAME = struct.Struct(">IB")
"""Length of what follows the kind, and the kind."""

FRAME_BYTES_MAX = 1 << 20
"""More is no frame: a body and a payload in a row have 64 KiB each."""

FACT, PAYLOAD, USE, SEAL = b"FPUS"
TEXT, BLOB, ERASED = 0, 1, 2

_PAYLOAD = struct.Struct(">QBB")
_USE = struct.Struct(">Q32s")
_SEAL = struct.Struct(">Q32s32s")
_ERASED = struct.Struct(">Q")
_HEADER = re.compile(rb"tildawn-mirror 1 (\S{0,64}) (\d{1,16}) ([0-9a-f]{64})\n")

HEADER_BYTES_MAX = 256
SEAL_BYTES = FRAME.size + _SEAL.size


class Header(msgspec.Struct, frozen=True):
    """The first line of a file: whose facts, from which position, and the chain before them."""

    name: str
    first: int
    chain: bytes

    def dump(self) -> bytes:
        """Its bytes."""
        return f"tildawn-mirror 1 {self.name} {self.first} {self.chain.hex()}\n".encode()


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A payload as a frame holds it: its text, or its blob, or the fact that it was erased."""

    id: int
    salt: bytes = b""
    text: bytes | None = None
    blob: str = ""
    erased: int = -1


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A whole batch as it was read: its facts are ``first`` to ``size - 1``."""

    first: int
    size: int
    #: The chain before the first one, and after the last one.
    before: bytes
    chain: bytes
    facts: list[tuple[bytes, bytes]]
    payloads: list[Kept]
    uses: list[tuple[str, int]]


def header_in(stream: BinaryIO) -> Header | None:
    """The header at the beginning of a file, or None where there is none.

    Raises:
        OSError: the disk refuses.
    """
    match = _HEADER.fullmatch(stream.readline(HEADER_BYTES_MAX))
    if match is None:
        return None
    return Header(match[1].decode("ascii"), int(match[2]), bytes.fromhex(match[3].decode("ascii")))


def encode(batch: Batch) -> bytes:
    """The frames of a batch, sealed.

    Raises:
        Nothing.
    """
    out: list[bytes] = []
    gone = dict(batch.erased)
    for facts, payloads, uses in batch.parts:
        for _, leaf, body in facts:
            out += (FRAME.pack(32 + len(body), FACT), leaf, body)
        for place, salt, text, blob in payloads:
            erased = gone.get(place, -1)
            kept = Kept(id=place, salt=salt or b"", text=text, blob=blob or "", erased=erased)
            out.append(payload_frame(kept))
        for blob, seq in uses:
            out += (FRAME.pack(_USE.size, USE), _USE.pack(seq, bytes.fromhex(blob)))
    return _sealed(b"".join(out), batch.size, batch.chain)


def encode_held(held: Held) -> bytes:
    """The frames of a batch that was read, perhaps with fewer payloads than it had.

    Raises:
        Nothing.
    """
    out: list[bytes] = []
    for leaf, body in held.facts:
        out += (FRAME.pack(32 + len(body), FACT), leaf, body)
    out += map(payload_frame, held.payloads)
    for blob, seq in held.uses:
        out += (FRAME.pack(_USE.size, USE), _USE.pack(seq, bytes.fromhex(blob)))
    return _sealed(b"".join(out), held.size, held.chain)


def payload_frame(kept: Kept) -> bytes:
    """One payload.

    Raises:
        Nothing.
    """
    if kept.text is not None:
        form, rest = TEXT, kept.text
    elif kept.blob:
        form, rest = BLOB, bytes.fromhex(kept.blob)
    else:
        form, rest = ERASED, _ERASED.pack(max(kept.erased, 0))
    salt = b"" if form == ERASED else kept.salt
    content = _PAYLOAD.pack(kept.id, form, len(salt)) + salt + rest
    return FRAME.pack(len(content), PAYLOAD) + content


def _sealed(frames: bytes, size: int, chain: bytes) -> bytes:
    seal = _SEAL.pack(size, chain, sha256(frames).digest())
    return frames + FRAME.pack(len(seal), SEAL) + seal


def read_batch(stream: BinaryIO, *, first: int, chain: bytes) -> Held | None:
    """The next batch of a file.

    Args:
        stream: at the end of the batch before.
        first: the position of the next fact.
        chain: before that fact.

    Returns:
        The batch, whole and checked; None where there is no such batch.

    Raises:
        OSError: the disk refuses.
    """
    facts: list[tuple[bytes, bytes]] = []
    payloads: list[Kept] = []
    uses: list[tuple[str, int]] = []
    seen, before = sha256(), chain
    content = b""
    for top, kind, content in _frames(stream):
        if kind == SEAL:
            break
        seen.update(top)
        seen.update(content)
        if not _take(kind, content, facts, payloads, uses):
            return None
    else:
        return None
    for leaf, body in facts:
        if leaf_of(body) != leaf:
            return None
        chain = link(chain, leaf)
    size = first + len(facts)
    if content != _SEAL.pack(size, chain, seen.digest()) or not facts:
        return None
    return Held(
        first=first, size=size, before=before, chain=chain, facts=facts, payloads=payloads,
        uses=uses,
    )  # fmt: skip


def _frames(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """One frame after the other, as top, kind and content, while they are whole."""
    while len(top := stream.read(FRAME.size)) == FRAME.size:
        length, kind = FRAME.unpack(top)
        if length > FRAME_BYTES_MAX:
            return
        content = stream.read(length)
        if len(content) < length:
            return
        yield top, kind, content


def seal_in(content: bytes) -> tuple[int, bytes] | None:
    """Size and chain that a seal's frame says, or None when it is none.

    Raises:
        Nothing.
    """
    if len(content) != SEAL_BYTES or content[: FRAME.size] != FRAME.pack(_SEAL.size, SEAL):
        return None
    size, chain, _ = _SEAL.unpack(content[FRAME.size :])
    return size, chain


def _take(
    kind: int,
    content: bytes,
    facts: list[tuple[bytes, bytes]],
    payloads: list[Kept],
    uses: list[tuple[str, int]],
) -> bool:
    """Read one frame into its list; whether it is one."""
    if kind == FACT and len(content) >= 32:  # noqa: PLR2004 - a leaf
        facts.append((content[:32], content[32:]))
        return True
    if kind == USE and len(content) == _USE.size:
        seq, blob = _USE.unpack(content)
        uses.append((blob.hex(), seq))
        return True
    if kind == PAYLOAD and len(content) >= _PAYLOAD.size:
        place, form, length = _PAYLOAD.unpack_from(content)
        salt, rest = content[_PAYLOAD.size :][:length], content[_PAYLOAD.size + length :]
        kept = _kept(place, form, salt, rest)
        if kept is not None:
            payloads.append(kept)
        return kept is not None
    return False


def _kept(place: int, form: int, salt: bytes, rest: bytes) -> Kept | None:
    if form == TEXT:
        return Kept(id=place, salt=salt, text=rest)
    if form == BLOB and len(rest) == 32:  # noqa: PLR2004 - a SHA-256
        return Kept(id=place, salt=salt, blob=rest.hex())
    if form == ERASED and len(rest) == _ERASED.size:
        return Kept(id=place, erased=_ERASED.unpack(rest)[0])
    return None
