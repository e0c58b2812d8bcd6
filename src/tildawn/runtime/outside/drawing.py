"""Placeholders: a quiet gradient from a palette, drawn here in the exact size.

What it is not: art, and nothing that pretends to be: it is what the last tier of the ladder
shows when nobody answers and nothing is in stock.  The same seed gives the same bytes.

Source of the format: PNG specification, third edition, sections 5, 7 and 11.
"""

import struct
import zlib
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise

from tildawn.picture import SIDE_MAX


PIXELS_MAX = 4_096 * 4_096
"""The largest placeholder. Source: four times what image models offer; drawn in a tenth of a
second, where the largest picture that counts would take one."""

PALETTES: tuple[tuple[int, ...], ...] = (
    (0x0B132B, 0x1C2541, 0x3A506B, 0x5BC0BE),
    (0x2B2D42, 0x8D99AE, 0xEDF2F4, 0xD9A5B3),
    (0x264653, 0x2A9D8F, 0xE9C46A, 0xF4A261),
    (0x355070, 0x6D597A, 0xB56576, 0xEAAC8B),
    (0x2D3142, 0x4F5D75, 0xBFC0C0, 0xEF8354),
    (0x1B4332, 0x40916C, 0x95D5B2, 0xD8F3DC),
    (0x03071E, 0x370617, 0x9D0208, 0xE85D04),
    (0x22223B, 0x4A4E69, 0x9A8C98, 0xF2E9E4),
)
"""Red, green and blue, from dark to light; dusk, haze, shore, plum, slate, moss, ember, clay."""

_SHADES = 256


def placeholder(seed: str, width: int, height: int) -> bytes:
    """A gradient.

    Args:
        seed: chooses palette, slant and direction; any text.
        width: in pixels, >= 1.
        height: in pixels, >= 1; both together at most `PIXELS_MAX`.

    Returns:
        A PNG file with a palette of 256 colours.

    Raises:
        ValueError: the size is out of range.
    """
    sane = 0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX and width * height <= PIXELS_MAX
    if not sane:
        message = f"a placeholder of {width}x{height} pixels is out of range"
        raise ValueError(message)
    chosen = sha256(seed.encode("utf-8", "surrogatepass")).digest()
    shades = _palette(PALETTES[chosen[0] % len(PALETTES)], turned=chosen[1] % 2 == 1)
    slant = chosen[2] % 96
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", head), (b"PLTE", shades), (b"IDAT", _pixels(width, height, slant)), (b"IEND", b""),
    )  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _palette(stops: tuple[int, ...], *, turned: bool) -> bytes:
    """256 shades between the stops, evenly spaced."""
    colours = [stop.to_bytes(3, "big") for stop in (reversed(stops) if turned else stops)]
    shades = bytearray()
    for at in range(_SHADES):
        where = at * (len(colours) - 1) / (_SHADES - 1)
        first = min(int(where), len(colours) - 2)
        part = where - first
        pair = zip(colours[first], colours[first + 1], strict=True)
        shades += bytes(round(one + (two - one) * part) for one, two in pair)
    return bytes(shades)


def _pixels(width: int, height: int, slant: int) -> bytes:
    """The compressed rows: each is a piece of one long stripe, further along the further down."""
    shift = width * slant // 96
    stripe = bytes(x * (_SHADES - 1) // (width + shift) for x in range(width + shift + 1))
    packer = zlib.compressobj(1)
    packed = [packer.compress(b"".join(band)) for band in _bands(stripe, width, height, shift)]
    return b"".join([*packed, packer.flush()])


def _bands(stripe: bytes, width: int, height: int, shift: int) -> Iterator[list[bytes]]:
    """Rows with their filter byte, some at a time, so that memory stays small."""
    edges = [*range(0, height, 256), height]
    for top, bottom in pairwise(edges):
        starts = [y * shift // height for y in range(top, bottom)]
        yield [b"\0" + stripe[start : start + width] for start in starts]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
