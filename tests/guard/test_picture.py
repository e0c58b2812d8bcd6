"""A picture counts only as whole, decodable bytes of the size that was asked for.

What it is not: a test of an encoder; the files are made here, byte by byte.
"""

import struct
import zlib

import pytest

from tildawn.guard.fault import InvalidAnswer
from tildawn.guard.picture import check_picture
from tildawn.picture import Picture


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width=5, height=3, *, depth=8, colour=2, interlace=0, rows=None, palette=b"") -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + b"\x55" * ((width * depth * channels + 7) // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    raw = rows if rows is not None else row * height
    packed = zlib.compress(raw)
    parts = [chunk(b"IHDR", header)]
    parts += [chunk(b"PLTE", palette)] if palette else []
    parts += [chunk(b"IDAT", packed[:7]), chunk(b"IDAT", packed[7:]), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg(width=16, height=8) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    return b"".join([
        b"\xff\xd8", segment(0xE0, b"JFIF\0" + bytes(9)), segment(0xDB, bytes(65)),
        segment(0xC0, frame), segment(0xC4, bytes(20)), segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
        b"\x12\xff\x00\x34\xff\xd0\x56", b"\xff\xd9",
    ])  # fmt: skip


def webp(kind: bytes, body: bytes, *before: bytes) -> bytes:
    chunks = b"".join(before) + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


LOSSY = b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", 16, 8) + bytes(9)
LOSSLESS = b"\x2f" + struct.pack("<I", 15 | 7 << 14) + bytes(4)
CANVAS = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x0f\0\0\x07\0\0"

WHOLE = {
    "png": png(16, 8),
    "png grey": png(16, 8, depth=1, colour=0),
    "png deep": png(16, 8, depth=16, colour=6),
    "png palette": png(16, 8, colour=3, palette=bytes(3)),
    "png interlaced": png(16, 8, colour=0, interlace=1, rows=b"".join(
        b"\0" * (1 + columns) * lines
        for columns, lines in ((2, 1), (2, 1), (4, 1), (4, 2), (8, 2), (8, 4), (16, 4))
    )),
    "jpeg": jpeg(),
    "webp lossy": webp(b"VP8 ", LOSSY),
    "webp lossless": webp(b"VP8L", LOSSLESS),
    "webp extended": webp(b"VP8 ", LOSSY, CANVAS),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_picture_says_what_it_is(name) -> None:
    """All that providers send today is one of these three formats."""
    found = check_picture(WHOLE[name], width=16, height=8)

    assert Picture(f"image/{name.split()[0]}", 16, 8) == found


@pytest.mark.parametrize("name", WHOLE)
def test_a_picture_cut_anywhere_is_refused(name) -> None:
    """A connection that breaks mid-body leaves a file that opens and shows half."""
    whole = WHOLE[name]
    for size in range(len(whole)):
        with pytest.raises(InvalidAnswer):
            check_picture(whole[:size])


def test_a_flipped_bit_in_a_png_is_refused() -> None:
    """Its checksums cover every byte behind the signature."""
    whole = WHOLE["png"]
    for at in range(len(whole)):
        with pytest.raises(InvalidAnswer):
            check_picture(whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :])


@pytest.mark.parametrize(
    "wrong",
    [
        png(16, 8, rows=b"\0" * 48),
        png(16, 8, rows=b"\0" * (49 * 8 + 1)),
        png(16, 8, rows=b"\7" * (49 * 8)),
        png(16, 8, depth=3),
        png(16, 8, colour=3),
        png(0, 8),
        png(50_000, 50_000, rows=b"x"),
        b"",
        b"<html>no picture</html>",
        jpeg().replace(b"\x12\xff\x00\x34\xff\xd0\x56", b""),
        b"\xff\xd8\xff\xd9",
        webp(b"VP8 ", LOSSY.replace(b"\x9d", b"\x9e")),
        webp(b"VP8L", b"\x2e" + LOSSLESS[1:]),
        webp(b"EXIF", b"x"),
    ],
)
def test_what_is_no_picture_is_refused(wrong) -> None:
    """An empty image was the oldest silent failure of all."""
    with pytest.raises(InvalidAnswer):
        check_picture(wrong)


def test_a_picture_of_another_size_is_refused() -> None:
    """The plan asked for a size, and the frame is made for it."""
    with pytest.raises(InvalidAnswer, match="16x8"):
        check_picture(WHOLE["jpeg"], width=1024, height=1024)


def test_a_bomb_is_not_inflated() -> None:
    """A few kilobytes of zeros must not become gigabytes of memory."""
    bomb = png(16, 8, rows=bytes(5_000_000))
    with pytest.raises(InvalidAnswer):
        check_picture(bomb)
