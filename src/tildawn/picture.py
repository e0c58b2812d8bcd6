"""Pictures as bytes: which format, how large, and whether they are whole.

What it is not: a decoder of pixels.  PNG is inflated and every row is counted; of JPEG every
marker is followed to the end, of GIF every block, of WebP every chunk.  So a JPEG whose scan
holds noise of the right length passes.

Sources: PNG, W3C Recommendation third edition; JPEG, ITU-T T.81 annex B; WebP, RFC 9649 and
RFC 6386 section 9.1; GIF, GIF89a specification.
"""

# HOLE: the pixels of JPEG, GIF and WebP are not decoded; that takes a library of images.

import struct
import zlib
from collections.abc import Iterator

import msgspec


SIDE_MAX = 16_384
"""The longest side of a picture that counts. Source: WebP's limit; no model draws half of it."""

PIXELS_MAX = 100_000_000
"""Largest picture that is looked into; a bound for what an answer can make us inflate."""


class Picture(msgspec.Struct, frozen=True):
    """What the bytes are: the media type, and the size in pixels."""

    media: str
    width: int
    height: int


def read_picture(content: bytes) -> Picture:
    """The format and size of a whole picture.

    Args:
        content: PNG, JPEG, WebP or GIF.

    Returns:
        What it is; each side has 1 to `SIDE_MAX` pixels, all together at most `PIXELS_MAX`.

    Raises:
        ValueError: no known format, cut off, damaged, empty, or absurdly large.
    """
    for magic, read in _FORMATS:
        if content.startswith(magic):
            try:
                return read(content)
            except (struct.error, IndexError, zlib.error) as error:
                message = f"the picture is cut off or damaged: {error}"
                raise ValueError(message) from error
    message = f"{len(content)} bytes that are no PNG, JPEG, WebP or GIF"
    raise ValueError(message)


def _refuse(wrong: bool, message: str) -> None:
    if wrong:
        raise ValueError(message)


def _sized(media: str, width: int, height: int) -> Picture:
    sane = 0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX and width * height <= PIXELS_MAX
    _refuse(not sane, f"a picture of {width}x{height} pixels is none")
    return Picture(media, width, height)


# -- PNG -----------------------------------------------------------------------------------

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # fmt: skip
_PALETTE = 3
_FILTER_MAX = 4


def _png(content: bytes) -> Picture:
    chunks = _png_chunks(content)
    kind, header = next(chunks)
    _refuse(kind != b"IHDR", "the PNG does not begin with its header")
    width, height, depth, colour, method, filters, interlace = struct.unpack(">IIBBBBB", header)
    _refuse(
        depth not in _DEPTHS.get(colour, ()) or method + filters > 0 or interlace > 1,
        "the PNG has a header that cannot be",
    )
    picture = _sized("image/png", width, height)
    rows = list(_png_rows(width, height, bits=depth * _CHANNELS[colour], interlaced=interlace == 1))
    pixels = zlib.decompressobj()
    expected = sum(rows)
    raw = bytearray()
    seen: set[bytes] = set()
    for kind, body in chunks:
        seen.add(kind)
        if kind == b"IDAT" and len(raw) <= expected:
            # One byte beyond what fits is enough to see that there is too much.
            raw += pixels.decompress(body, expected + 1 - len(raw))
    _refuse(colour == _PALETTE and b"PLTE" not in seen, "the PNG has no palette")
    _refuse(
        len(raw) != expected or not pixels.eof,
        f"the PNG has {len(raw)} bytes of pixels, not {expected}",
    )
    _check_filters(raw, rows)
    return picture


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, kind = 8, b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + size]
        (crc,) = struct.unpack_from(">I", content, at + 8 + size)
        _refuse(crc != zlib.crc32(kind + body), f"the checksum of the {kind!r} chunk is wrong")
        yield kind, body
        at += 12 + size


def _png_rows(width: int, height: int, *, bits: int, interlaced: bool) -> Iterator[int]:
    """The bytes of each row, filter byte included. Source: PNG third edition, 8.1 and 9."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    for left, top, across, down in passes:
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0:
            yield from [1 + (columns * bits + 7) // 8] * max(lines, 0)


def _check_filters(raw: bytearray, rows: list[int]) -> None:
    at = 0
    for size in rows:
        _refuse(raw[at] > _FILTER_MAX, "the PNG has a row with a filter that cannot be")
        at += size


# -- JPEG ----------------------------------------------------------------------------------

_EOI, _SOS, _DQT, _TEM = 0xD9, 0xDA, 0xDB, 0x01
_RESTARTS = range(0xD0, 0xD8)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARK = 0xFF


def _jpeg(content: bytes) -> Picture:
    picture: Picture | None = None
    seen: set[int] = set()
    at = 2
    while True:
        marker, at = _jpeg_marker(content, at)
        seen.add(marker)
        if marker == _EOI:
            break
        if marker == _TEM or marker in _RESTARTS:
            continue
        (size,) = struct.unpack_from(">H", content, at)
        _refuse(size < 2 or at + size > len(content), "the JPEG has a segment that does not fit")  # noqa: PLR2004 - the two bytes of the size itself
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 3)
            picture = _sized("image/jpeg", width, height)
        at += size
        if marker == _SOS:
            at = _jpeg_scan_end(content, at)
    _refuse(picture is None or not {_SOS, _DQT} <= seen, "the JPEG ends without a picture")
    assert picture is not None
    return picture


def _jpeg_marker(content: bytes, at: int) -> tuple[int, int]:
    """The marker at a place, and the place behind it; bytes 0xFF before it are padding."""
    _refuse(content[at] != _MARK, f"the JPEG is damaged at byte {at}")
    while content[at] == _MARK:
        at += 1
    return content[at], at + 1


def _jpeg_scan_end(content: bytes, at: int) -> int:
    """Where the entropy-coded data ends: at the next marker that is no stuffing and no restart."""
    begin = at
    while True:
        at = content.find(b"\xff", at)
        _refuse(at < 0, "the JPEG breaks off inside its pixels")
        follows = content[at + 1]
        if follows and follows not in _RESTARTS and follows != _MARK:
            _refuse(at == begin, "the JPEG has a scan without pixels")
            return at
        at += 1 if follows == _MARK else 2


# -- WebP ----------------------------------------------------------------------------------

_VP8L_SIGN = 0x2F


def _webp(content: bytes) -> Picture:
    size, form = struct.unpack_from("<I4s", content, 4)
    _refuse(form != b"WEBP", "the RIFF file holds no WebP")
    _refuse(size + 8 > len(content), f"the WebP says {size + 8} bytes and has {len(content)}")
    canvas: Picture | None = None
    image: Picture | None = None
    for kind, body in _webp_chunks(content[12 : size + 8]):
        if kind == b"VP8X":
            sides = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
            canvas = _sized("image/webp", *sides)
        elif kind == b"ANMF":
            image = image or canvas
        elif kind in {b"VP8 ", b"VP8L"}:
            image = image or _webp_image(kind, body)
    _refuse(image is None, "the WebP holds no picture")
    assert image is not None
    return canvas or image


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        _refuse(at + 8 + size > len(content), f"the {kind!r} chunk of the WebP is cut off")
        yield kind, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _webp_image(kind: bytes, body: bytes) -> Picture:
    if kind == b"VP8L":
        sign, bits = struct.unpack_from("<BI", body)
        _refuse(sign != _VP8L_SIGN, "the WebP has a lossless picture without its signature")
        return _sized("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    start, width, height = struct.unpack_from("<3sHH", body, 3)
    _refuse(start != b"\x9d\x01\x2a", "the WebP has a lossy picture without its start code")
    return _sized("image/webp", width & 0x3FFF, height & 0x3FFF)


# -- GIF -----------------------------------------------------------------------------------

_GIF_IMAGE, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B


def _gif(content: bytes) -> Picture:
    _refuse(content[4:6] not in {b"7a", b"9a"}, "the GIF has a version that cannot be")
    width, height, packed = struct.unpack_from("<HHB", content, 6)
    picture = _sized("image/gif", width, height)
    at = 13 + _gif_colours(packed)
    images = 0
    while content[at] != _GIF_END:
        block = content[at]
        _refuse(block not in {_GIF_IMAGE, _GIF_EXTENSION}, f"the GIF is damaged at byte {at}")
        if block == _GIF_IMAGE:
            images += 1
            at += 11 + _gif_colours(content[at + 9])
        else:
            at += 2
        at = _gif_blocks_end(content, at)
    _refuse(not images, "the GIF holds no picture")
    return picture


def _gif_colours(packed: int) -> int:
    """How many bytes the table of colours has, which a flag may leave out."""
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _gif_blocks_end(content: bytes, at: int) -> int:
    """The place behind a row of blocks, each led by its length; an empty one ends it."""
    while size := content[at]:
        at += 1 + size
    return at + 1


_FORMATS = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"RIFF", _webp),
    (b"GIF8", _gif),
)
