"""Looking at pictures: whole ones are known, damaged ones are refused."""

import base64
import io
import struct
import zlib

import pytest
from PIL import Image

from tildawn.picture import SIDE_MAX, Picture, read_picture
from tildawn.providers.sim.drawing import png


def painted(form: str, **more: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((33, 17), 80).convert("RGB").save(out, form, **more)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (painted("PNG"), "image/png"),
        (painted("JPEG"), "image/jpeg"),
        (painted("JPEG", progressive=True), "image/jpeg"),
        (painted("GIF"), "image/gif"),
        (painted("WEBP"), "image/webp"),
        (painted("WEBP", lossless=True), "image/webp"),
        (png("seed", 33, 17), "image/png"),
    ],
    ids=["png", "jpeg", "progressive", "gif", "webp", "lossless", "simulated"],
)
def test_a_whole_picture_is_known_and_half_of_it_refused(data: bytes, media_type: str) -> None:
    """An image counts only as decodable bytes; a cut-off download is none."""
    assert read_picture(data) == Picture(media_type, 33, 17)
    for cut in (len(data) // 2, len(data) - 1, 12, 0):
        with pytest.raises(ValueError, match=r"."):
            read_picture(data[:cut])


def test_one_flipped_bit_in_a_png_is_seen() -> None:
    """Pictures are checked to the last byte where the format allows it."""
    data = bytearray(png("seed", 64, 64))
    data[len(data) // 2] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        read_picture(bytes(data))


def test_a_png_that_inflates_without_end_is_not_followed() -> None:
    """A few kilobytes must not become gigabytes in our memory."""
    data = bytearray(png("seed", 64, 64))
    data[16:24] = (2**30).to_bytes(4, "big") * 2
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(ValueError, match="is none"):
        read_picture(bytes(data))


@pytest.mark.parametrize("rows", [0, 16, 18, 100_000], ids=["none", "short", "long", "bomb"])
def test_a_png_with_too_few_or_too_many_rows_is_refused(rows: int) -> None:
    """Every checksum may be right although half of the picture was never drawn."""
    row = b"\0" + bytes(33)
    packed = zlib.compress(row * rows)
    head = struct.pack(">IIBBBBB", 33, 17, 8, 0, 0, 0, 0)
    half = len(packed) // 2
    body = ((b"IDAT", packed[:half]), (b"IDAT", packed[half:]), (b"IDAT", b""))
    chunks = ((b"IHDR", head), *body, (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    with pytest.raises(ValueError, match="bytes of pixels"):
        read_picture(data)


def test_an_interlaced_png_is_whole_too() -> None:
    """It holds more bytes than its rows have, which is no sign of damage."""
    assert read_picture(base64.b64decode(INTERLACED)) == Picture("image/png", 3, 3)


INTERLACED = (
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAADCAAAAAEERNr1AAAAF0lEQVR4nGNgYAhgWPCBQYPhBENA"
    "xQIAGf8EOSnpFWIAAAAASUVORK5CYII="
)


def test_a_side_longer_than_any_model_draws_is_refused() -> None:
    """The schema refuses it too; here it costs nothing yet."""
    data = bytearray(png("seed", 64, 1))
    data[16:20] = (SIDE_MAX + 1).to_bytes(4, "big")
    crc = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    with pytest.raises(ValueError, match=r"16385x1 pixels is none"):
        read_picture(bytes(data[:29]) + crc + bytes(data[33:]))


def test_a_gif_is_followed_block_by_block() -> None:
    """An end marker alone is no end: half of the blocks may be missing before it."""
    data = painted("GIF")
    with pytest.raises(ValueError, match=r"."):
        read_picture(data[: len(data) // 2] + data[-1:])


def test_a_page_of_words_is_no_picture() -> None:
    """Providers answer with an error page and status 200, too."""
    with pytest.raises(ValueError, match="no PNG"):
        read_picture(b"<html>sorry</html>")


def test_simulated_pictures_open_in_a_real_library_and_differ_by_prompt() -> None:
    """They are looked at by people in reports and by other people's programs."""
    one, two = png("a", 200, 100), png("b", 200, 100)
    image = Image.open(io.BytesIO(one))
    image.load()
    assert image.size == (200, 100)
    assert len(set(image.convert("RGB").get_flattened_data())) > 50
    assert one != two
    assert one == png("a", 200, 100)
