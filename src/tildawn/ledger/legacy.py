"""Reads an old log of JSON lines, and says what of it is inside of a chain of its own.

What it is not: a repair.  Nothing is mended, sorted or hashed anew; the bytes are kept as they are.

Old logs differ, so the names of the fields and the way to hash are looked for: the first line that
has both a hash and the hash before it shows the names, and the way that most of the lines agree
with is taken as theirs.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import pairwise
from typing import cast

import msgspec


HASHES = ("hash", "chain_hash", "entry_hash", "event_hash", "self_hash", "digest", "sha256")
BEFORES = (
    "prev", "prev_hash", "previous", "previous_hash", "prevHash", "previousHash", "chain_prev",
    "parent_hash", "prev_digest",
)  # fmt: skip
IDS = ("id", "event_id", "eventId", "uuid", "uid")
SIGNATURES = frozenset({"signature", "sig", "signed_by"})

_HEX = re.compile(r"(?:sha256:)?[0-9a-fA-F]{8,64}")
_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xef\xbb\xbf", "utf-8 with a byte-order mark"),
    (b"\xff\xfe", "utf-16-le with a byte-order mark"),
    (b"\xfe\xff", "utf-16-be with a byte-order mark"),
)
_LOOK_BYTES = 4_096


class Link(msgspec.Struct, frozen=True):
    """What a line says of itself and of the one before it, as it stands there."""

    own: str
    before: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line that is not empty; ``value`` is None where it is no JSON object, and ``why`` why."""

    number: int
    value: dict[str, object] | None
    why: str = ""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in an old log; lines are counted from 1, ranges are such as ``3-5``.

    ``rule`` says how its hashes are made, empty where none that is known here fits: then only
    the links were compared.  Each line is in at most one of the groups, but for ``repeated``.
    """

    encoding: str
    lines: int
    empty: int
    fields: tuple[str, ...]
    rule: str
    first_chained: int
    chained: int
    unchained: tuple[str, ...]
    broken: tuple[str, ...]
    altered: tuple[str, ...]
    unreadable: tuple[str, ...]
    repeated: tuple[str, ...]
    #: In the order of the groups above: how many lines they have.
    counts: Mapping[str, int]


def read_legacy(content: bytes) -> Account:
    """Look through an old log.

    Args:
        content: all of its bytes, in any encoding.

    Returns:
        What is chained in it, and what is not.

    Raises:
        Nothing.
    """
    encoding, texts = _texts(content)
    rows = list(texts)
    lines = [_line(number, text) for number, text in rows if text is None or text.strip()]
    names = _names(lines)
    groups: dict[str, list[int]] = {
        "unchained": [], "broken": [], "altered": [],
        "unreadable": [line.number for line in lines if line.value is None],
        "repeated": list(_repeated(lines)),
    }  # fmt: skip
    linked = [(line, _link(line, names)) for line in lines if line.value is not None]
    chain = [(line, link) for line, link in linked if link is not None]
    rule, fits = _rule(chain, names)
    wrong = {line.number for (line, _), fit in zip(chain, fits, strict=True) if rule and not fit}
    torn = {
        after[0].number for before, after in pairwise(chain) if before[1].own != after[1].before
    }
    groups["unchained"] = [line.number for line, link in linked if link is None]
    groups["altered"] = sorted(wrong)
    groups["broken"] = sorted(torn - wrong)
    return Account(
        encoding=encoding, lines=len(lines), empty=len(rows) - len(lines),
        fields=names or (), rule=rule, first_chained=chain[0][0].number if chain else 0,
        chained=len(chain) - len(wrong | torn),
        unchained=ranges(groups["unchained"]), broken=ranges(groups["broken"]),
        altered=ranges(groups["altered"]), unreadable=ranges(groups["unreadable"]),
        repeated=ranges(groups["repeated"]),
        counts={name: len(numbers) for name, numbers in groups.items()},
    )  # fmt: skip


def lines_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines as UTF-8 where they are text, else as they are, with their numbers from 1.

    Raises:
        Nothing.
    """
    _, texts = _texts(content)
    for number, text in texts:
        yield number, b"" if text is None else text.encode("utf-8", "surrogatepass")


def ranges(numbers: Iterable[int]) -> tuple[str, ...]:
    """Numbers in order, written short: ``("1-3", "7")``.

    Raises:
        Nothing.
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(str(a) if a == b else f"{a}-{b}" for a, b in found)


# -- text ------------------------------------------------------------------------------------


def _texts(content: bytes) -> tuple[str, Iterator[tuple[int, str | None]]]:
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name, _decoded(content[len(mark) :], name.partition(" ")[0])
    # Without a mark: half of the bytes of plain text in UTF-16 are zero.
    head = content[:_LOOK_BYTES]
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if zeros and zeros.count(0) * 2 > len(zeros):
            return name, _decoded(content, name)
    return "utf-8", _decoded(content, "utf-8")


def _decoded(content: bytes, encoding: str) -> Iterator[tuple[int, str | None]]:
    """Number and text of each line; None where it is no text."""
    if encoding == "utf-8":
        pieces = content.split(b"\n")
    else:
        pieces = _pieces(content, "\n".encode(encoding))
    if pieces and not pieces[-1]:
        pieces.pop()
    for number, piece in enumerate(pieces, start=1):
        try:
            text = piece.decode(encoding)
        except UnicodeDecodeError:
            yield number, None
        else:
            yield number, text.removesuffix("\r")


def _pieces(content: bytes, line_feed: bytes) -> list[bytes]:
    """The lines of a text whose characters have two bytes; a half one at its end stays."""
    pieces: list[bytes] = []
    begin = at = 0
    while (at := content.find(line_feed, at)) >= 0:
        if at % 2:
            at += 1
            continue
        pieces.append(content[begin:at])
        begin = at = at + 2
    return [*pieces, content[begin:]]


def _line(number: int, text: str | None) -> Line:
    if text is None:
        return Line(number=number, value=None, why="no text")
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return Line(number=number, value=None, why="no JSON")
    if not isinstance(value, dict):
        return Line(number=number, value=None, why="no object")
    return Line(number=number, value=cast("dict[str, object]", value))


# -- chain -----------------------------------------------------------------------------------


def _names(lines: Iterable[Line]) -> tuple[str, str] | None:
    """The fields with the hash and the hash before, as the first line with both has them."""
    for line in lines:
        for own in HASHES:
            for before in BEFORES:
                if _link(line, (own, before)) is not None:
                    return own, before
    return None


def _link(line: Line, names: tuple[str, str] | None) -> Link | None:
    if names is None or line.value is None:
        return None
    own, before = line.value.get(names[0]), line.value.get(names[1])
    if not isinstance(own, str) or not _HEX.fullmatch(own) or not isinstance(before, str):
        return None
    return Link(own, before)


def _repeated(lines: Iterable[Line]) -> Iterator[int]:
    seen: set[str] = set()
    for line in lines:
        name = next((one for one in IDS if line.value and line.value.get(one)), None)
        if line.value is None or name is None:
            continue
        said = json.dumps(line.value[name], sort_keys=True)
        if said in seen:
            yield line.number
        seen.add(said)


Text = Callable[[dict[str, object]], str]

_TEXTS: Mapping[str, Text] = {
    "sorted keys": lambda value: json.dumps(value, sort_keys=True),
    "sorted keys, compact": lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")),
    "sorted keys, compact, UTF-8": lambda value: json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ),
    "sorted keys, UTF-8": lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
    "keys as they stand": json.dumps,
    "keys as they stand, compact": lambda value: json.dumps(value, separators=(",", ":")),
}


def _rule(chain: list[tuple[Line, Link]], names: tuple[str, str] | None) -> tuple[str, list[bool]]:
    """The way of hashing that most lines agree with, and which ones do."""
    best, found = "", [False] * len(chain)
    if names is None:
        return best, found
    for name, text in _TEXTS.items():
        for ahead in (False, True):
            fits = [_hashes(line, link, (names[0], text, ahead)) for line, link in chain]
            if sum(fits) > sum(found):
                said = f"SHA-256 over {'the hash before and ' if ahead else ''}JSON, {name}"
                best, found = said, fits
    return best, found


def _hashes(line: Line, link: Link, way: tuple[str, Text, bool]) -> bool:
    """Whether the line hashes to what it says, shortened as it is there."""
    name, text, ahead = way
    assert line.value is not None, "only lines that were read are linked"
    rest = {key: one for key, one in line.value.items() if key not in {name, *SIGNATURES}}
    own = link.own.removeprefix("sha256:").lower()
    content = (link.before if ahead else "") + text(rest)
    return sha256(content.encode("utf-8", "surrogatepass")).hexdigest().startswith(own)
