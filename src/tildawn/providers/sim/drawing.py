"""Pictures for the simulator: real PNGs of the exact size, made with zlib alone.

What it is not: art.  A slanted gradient with a disc, its colours and shapes taken from the
digest, so that two prompts never look alike and one prompt always looks the same.
"""

import struct
import zlib
from itertools import pairwise
from math import isqrt

from tildawn.providers.sim.chance import Chance


MAX_SIDE = 4_096
"""The longest side drawn, in pixels; the largest size that image services offer."""

#: The palette: half of it for the ground, half for the disc.
_SHADES = 128


def png(digest: str, width: int, height: int) -> bytes:
    """A picture.

    Args:
        digest: decides colours and shapes.
        width: 1 to `MAX_SIDE` pixels.
        height: the same.

    Returns:
        A PNG file with a palette of 256 colours.

    Raises:
        ValueError: a side is out of range.

    Source: PNG specification, third edition, sections 5 and 11.
    """
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        message = f"{width}x{height} is not within {MAX_SIDE}x{MAX_SIDE} pixels"
        raise ValueError(message)
    chance = Chance("drawing", digest)
    palette = _gradient(chance) + _gradient(chance)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = zlib.compress(_rows(chance, width, height), 1)
    chunks = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _rows(chance: Chance, width: int, height: int) -> bytes:
    # Whole rows are slices of one long stripe: a picture costs milliseconds, not a loop a pixel.
    stretch = chance.between(2, 6)
    stripe = bytes(x // stretch % _SHADES for x in range(width + stretch * _SHADES))
    disc = bytes(_SHADES + shade for shade in stripe)
    slant = chance.between(1, 4)
    radius = min(width, height) * chance.between(15, 45) // 100
    middle_x = chance.between(radius, width - radius)
    middle_y = chance.between(radius, height - radius)
    rows = bytearray()
    for y in range(height):
        start = y * slant // 2 % (stretch * _SHADES)
        half = isqrt(max(radius**2 - (y - middle_y) ** 2, 0))
        left, right = max(middle_x - half, 0), min(middle_x + half, width)
        rows.append(0)
        rows += stripe[start : start + left]
        rows += disc[start + left : start + right]
        rows += stripe[start + right : start + width]
    return bytes(rows)


def _gradient(chance: Chance) -> bytes:
    stops = [tuple(chance.digest()[:3]) for _ in range(4)]
    stops.append(stops[0])  # a closed circle of colours, so that the stripe has no seam
    steps = _SHADES // (len(stops) - 1)
    shades = bytearray()
    for one, two in pairwise(stops):
        for step in range(steps):
            shades += bytes(
                (a * (steps - step) + b * step) // steps for a, b in zip(one, two, strict=True)
            )
    return bytes(shades)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
