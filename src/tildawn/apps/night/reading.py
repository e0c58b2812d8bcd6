"""Reading files for checks: recorded local looks that change nothing.

What it is not: the outside.  A file of the plan's folder is on this machine, and reading it has
no effect, so it is a step and no call.
"""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import apsw
import msgspec

from tildawn.errors import BadValue
from tildawn.picture import read_picture
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.file import FileAnswer, Files


QUERY_STEPS_MAX = 200_000_000
"""Steps of SQLite's machine before a query is ended: some seconds of one core."""

QUERY_ROWS_MAX = 1_000
"""Rows that a query of a check may give; a check names what it expects, so it needs few."""

JSON_BYTES_MAX = 131_072
"""The longest JSON file a check can read: its text becomes the result of a step."""

_STEPS_BETWEEN_LOOKS = 1_000_000


class FileSeen(msgspec.Struct, frozen=True):
    """A file as a check sees it; ``contains`` answers the text that was asked for."""

    exists: bool
    size: int = 0
    sha256: str = ""
    contains: bool = False


class ImageSeen(msgspec.Struct, frozen=True):
    """A picture as a check sees it: ``size`` is ``width x height`` without spaces."""

    whole: bool
    media: str = ""
    size: str = ""
    sha256: str = ""
    detail: str = ""


class JsonSeen(msgspec.Struct, frozen=True):
    """The text of a JSON file, or why there is none."""

    text: str = ""
    problem: str = ""


async def look_at_file(folder: str, path: str, contains: str | None) -> FileSeen:
    """Look at a file below a folder.

    Raises:
        Fault: it is there and cannot be read, or is outside the folder.
    """
    got = await _read(folder, path)
    if got is None:
        return FileSeen(exists=False)
    inside = bool(contains) and (contains or "").encode() in (got.data or b"")
    return FileSeen(exists=True, size=got.size, sha256=got.sha256, contains=inside)


async def look_at_image(folder: str, path: str) -> ImageSeen:
    """Decode a picture below a folder.

    Raises:
        Fault: it is there and cannot be read, or is outside the folder.
    """
    got = await _read(folder, path)
    if got is None:
        return ImageSeen(whole=False, detail=f"{path} is not there")
    try:
        picture = await asyncio.to_thread(read_picture, got.data or b"")
    except ValueError as error:
        return ImageSeen(whole=False, sha256=got.sha256, detail=str(error))
    size = f"{picture.width}x{picture.height}"
    return ImageSeen(whole=True, media=picture.media, size=size, sha256=got.sha256)


async def look_at_json(folder: str, path: str) -> JsonSeen:
    """Read a JSON file below a folder.

    Raises:
        Fault: it is there and cannot be read, or is outside the folder.
        BadValue: it is longer than `JSON_BYTES_MAX`.
    """
    got = await _read(folder, path)
    if got is None:
        return JsonSeen(problem=f"{path} is not there")
    if got.size > JSON_BYTES_MAX:
        message = f"{path} has {got.size:,} bytes; a check reads at most {JSON_BYTES_MAX:,}"
        raise BadValue(message, hint="check it with a command")
    try:
        msgspec.json.decode(got.data or b"")
        return JsonSeen(text=(got.data or b"").decode())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return JsonSeen(problem=f"{path} is no JSON: {error}")


def look_at_rows(folder: str, path: str, query: str, values: str) -> str:
    """The rows of a query on an SQLite file, as JSON; nothing where there is no such file.

    Args:
        folder: the plan's.
        path: of the database, below it.
        query: one SELECT.
        values: its parameters as a JSON list.

    Raises:
        BadValue: the query will not do, the file is no database, or the answer is too long.
    """
    file = Path(folder, path)
    if not file.is_file():
        return ""
    name = f"file:{quote(str(file))}?mode=ro"
    try:
        with closing(apsw.Connection(name, flags=_READ_ONLY)) as connection:
            return _rows(connection, query, values)
    except apsw.Error as error:
        message = f"{path}: {error}"
        raise BadValue(message) from error


_READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


def _rows(connection: apsw.Connection, query: str, values: str) -> str:
    left = [QUERY_STEPS_MAX // _STEPS_BETWEEN_LOOKS]

    def over() -> bool:
        left[0] -= 1
        return left[0] < 0

    connection.set_busy_timeout(2_000)
    connection.set_progress_handler(over, _STEPS_BETWEEN_LOOKS)
    found: list[tuple[object, ...]] = []
    cursor = cast("Any", connection).execute(query, msgspec.json.decode(values))
    for row in cursor:
        found.append(tuple(row))
        if len(found) > QUERY_ROWS_MAX:
            message = f"the query gives more than {QUERY_ROWS_MAX:,} rows"
            raise BadValue(message, hint="let it count, or give it a LIMIT")
    return msgspec.json.encode(found).decode()


async def _read(folder: str, path: str) -> FileAnswer | None:
    try:
        return await Files(Path(folder)).read(path)
    except Fault as fault:
        if fault.kind is FaultKind.NOT_FOUND:
            return None
        raise
