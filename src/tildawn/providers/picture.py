"""Pictures as bytes: which format, how large, and whether they are whole.

What it is not: an image library.  PNG is checked to the last byte; of JPEG, GIF and WebP the
frame and the end are checked, not every pixel.
"""

import struct
import zlib
from collections.abc import Iterator

import msgspec


MAX_PIXELS = 64_000_000
"""More than any model draws (8192 x 4096 is half of it); a bound for what is inflated."""


class Picture(msgspec.Struct, frozen=True):
    """What the bytes say about themselves; the size is in pixels."""

    media_type: str
    width: int
    height: int


def look(data: bytes) -> Picture:
    """The format and size of a whole picture.

    Args:
        data: the bytes of a file.

    Returns:
        What they are.

    Raises:
        ValueError: no known format, cut off, damaged, empty or absurdly large.
    """
    for magic, read in _FORMATS:
        if data.startswith(magic):
            try:
                picture = read(data)
            except (struct.error, IndexError, zlib.error) as error:
                message = f"the picture is cut off or damaged: {error}"
                raise ValueError(message) from error
            if not 0 < picture.width * picture.height <= MAX_PIXELS:
                message = f"a picture of {picture.width}x{picture.height} pixels is none"
                raise ValueError(message)
            return picture
    message = f"{len(data)} bytes that are no PNG, JPEG, WebP or GIF"
    raise ValueError(message)


def _png(data: bytes) -> Picture:
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if width * height > MAX_PIXELS:
        return Picture("image/png", width, height)
    bits, interlaced = depth * _PNG_CHANNELS[colour], data[28] == 1
    least = height * (1 + (width * bits + 7) // 8)
    # Interlacing repeats rows in seven small pictures, each row with a byte of its own.
    most = least * 2 + 16 * (width + height) if interlaced else least
    inflater, got, ended = zlib.decompressobj(), 0, False
    for kind, body in _png_chunks(data):
        if kind == b"IDAT" and got <= most:
            # One byte too many is enough to see that there is too much.
            got += len(inflater.decompress(body, most + 1 - got))
        ended = kind == b"IEND"
    if not ended or not inflater.eof or not least <= got <= most:
        message = "the picture does not hold all of its rows, or more than these"
        raise ValueError(message)
    return Picture("image/png", width, height)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        (crc,) = struct.unpack(">I", data[at + 8 + size : at + 12 + size])
        if crc != zlib.crc32(kind + body):
            message = f"the checksum of a {kind.decode('latin-1')} chunk is wrong"
            raise ValueError(message)
        yield kind, body
        at += 12 + size


def _jpeg(data: bytes) -> Picture:
    if b"\xff\xd9" not in data[-64:]:  # some encoders pad behind the end marker
        message = "the picture has no end"
        raise ValueError(message)
    at = 2
    while True:
        if data[at] != _JPEG_MARK:
            message = "the picture is damaged"
            raise ValueError(message)
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return Picture("image/jpeg", width, height)
        (size,) = struct.unpack(">H", data[at + 2 : at + 4])
        at += 2 + size


def _gif(data: bytes) -> Picture:
    if not data.endswith(b"\x3b"):
        message = "the picture has no end"
        raise ValueError(message)
    width, height = struct.unpack("<HH", data[6:10])
    return Picture("image/gif", width, height)


def _webp(data: bytes) -> Picture:
    size, form, kind = struct.unpack("<4xI4s4s", data[:16])
    if form != b"WEBP" or len(data) < size + 8:
        message = "the picture is cut off"
        raise ValueError(message)
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[26:30]))
    return Picture("image/webp", width, height)


_PNG_CHANNELS = (1, 0, 3, 1, 2, 0, 4)
_JPEG_MARK = 0xFF
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
)
