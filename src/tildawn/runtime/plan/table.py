"""CSV files as rows of text: encoding and delimiter found, everything odd refused with its line.

What it is not: a guesser of types, or forgiving.  A row too short is a mistake of the file, and
a mistake found before the night costs nothing.
"""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tildawn.errors import BadValue


#: Far above 100,000 rows; such a file is held in memory while it is checked and copied.
CSV_BYTES_MAX = 256_000_000
#: In the order in which they are tried; the first wins when two fit alike.
DELIMITERS = (",", ";", "\t", "|")
#: Enough to tell a delimiter from a character of the text.
_SNIFFED_ROWS = 20
_SNIFFED_BYTES = 65_536


class TableFault(BadValue):
    """A CSV file cannot be read from a line on."""

    code = "bad-csv"

    def __init__(self, line: int, found: str, expected: str | None = None, column: int = 1) -> None:
        """Take the line (from 1), what stands there, and what could."""
        super().__init__(f"line {line}: {found}")
        self.line = line
        self.column = column
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its index (from 0), the line it begins in (from 1), its cells."""

    index: int
    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file with its header read."""

    body: bytes
    encoding: str
    delimiter: str
    columns: tuple[str, ...]

    def rows(self, refuse: "Callable[[TableFault], None] | None" = None) -> Iterator[TableRow]:
        """The rows in order, read one at a time; lines without any text are passed over.

        Args:
            refuse: takes the fault of a row with too many or too few cells, which is then
                passed over; None raises it.

        Raises:
            TableFault: the bytes or the quotes are wrong there, or a row's width is.
        """
        records = _records(self.body, self.encoding, self.delimiter)
        next(records)
        for index, (line, cells) in enumerate(records):
            if len(cells) == len(self.columns):
                yield TableRow(index, line, tuple(cells))
                continue
            found = f"a row of {len(cells)} cells"
            fault = TableFault(line, found, f"{len(self.columns)}, as the header has")
            if refuse is None:
                raise fault
            refuse(fault)


def open_table(body: bytes) -> Table:
    """Read encoding, delimiter and header.

    Args:
        body: the bytes of the file: UTF-8 with or without a byte-order mark, or UTF-16 with one;
            cells between commas, semicolons, tabs or bars.

    Raises:
        TableFault: it is empty, of another encoding, or its header names no or the same columns.
    """
    if len(body) > CSV_BYTES_MAX:
        raise TableFault(1, f"{len(body):,} bytes", f"at most {CSV_BYTES_MAX:,}")
    encoding = _encoding(body)
    delimiter = _delimiter(body, encoding)
    header = next(_records(body, encoding, delimiter), None)
    if header is None:
        raise TableFault(1, "the file is empty", "a header and at least one row")
    line, cells = header
    columns = tuple(cell.strip() for cell in cells)
    for index, name in enumerate(columns):
        if not name:
            raise TableFault(line, f"column {index + 1} of the header has no name", "a name")
        if name in columns[:index]:
            first = columns.index(name) + 1
            found = f"the column {name!r} a second time"
            raise TableFault(line, found, f"other names; it is column {first} and {index + 1}")
    return Table(body, encoding, delimiter, columns)


def _encoding(body: bytes) -> str:
    if body.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        # Its little-endian mark begins with that of UTF-16.
        raise TableFault(1, "the byte-order mark of UTF-32", "a file saved as UTF-8")
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    at = body.find(b"\0")
    if at >= 0:
        found = "a zero byte, as in UTF-16 without a byte-order mark"
        raise TableFault(_line_of(body, at), found, "a file saved as UTF-8")
    return "utf-8-sig"


def _line_of(body: bytes, at: int) -> int:
    return body.count(b"\n", 0, at) + 1


def _delimiter(body: bytes, encoding: str) -> str:
    return max(DELIMITERS, key=lambda candidate: _fit(body, encoding, candidate))


def _fit(body: bytes, encoding: str, delimiter: str) -> tuple[bool, bool, int]:
    widths: list[int] = []
    try:
        for _, cells in _records(body, encoding, delimiter, limit=_SNIFFED_BYTES):
            widths.append(len(cells))
            if len(widths) >= _SNIFFED_ROWS:
                break
    except TableFault:
        # Said later, with its line, by whoever reads the rows with the delimiter that won.
        pass
    width = widths[0] if widths else 0
    return width > 1, set(widths) == {width}, width


def _records(
    body: bytes, encoding: str, delimiter: str, *, limit: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line it begins in."""
    stream = io.BytesIO(body if limit is None else body[:limit])
    text = io.TextIOWrapper(stream, encoding=encoding, errors="strict", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except UnicodeDecodeError:
        raise _not_decoded(body, encoding) from None
    except csv.Error as error:
        raise TableFault(line, f"no CSV: {error}", "quotes doubled within quoted cells") from None


def _not_decoded(body: bytes, encoding: str) -> TableFault:
    try:
        body.decode(encoding)
    except UnicodeDecodeError as error:
        # A byte-order mark was taken off before the count, and holds no line feed.
        read = error.object[: error.start]
        line = read.decode(encoding, "replace").count("\n") + 1
        found = f"byte 0x{error.object[error.start]:02x} is no {error.encoding.upper()}"
        return TableFault(line, found, "a file saved as UTF-8, or as UTF-16 with a byte-order mark")
    return TableFault(1, "the text cannot be decoded", "a file saved as UTF-8")
