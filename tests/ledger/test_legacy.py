"""What is read out of old logs of other programs, and what is said about them."""

import json
from collections.abc import Callable
from hashlib import sha256

import pytest

from tildawn.ledger.legacy import lines_of, ranges, read_legacy


def _chained(count: int, *, length: int = 16, compact: bool = False) -> list[dict[str, object]]:
    """Entries as an old program chained them: shortened hashes over sorted keys."""
    before, entries = "0" * length, list[dict[str, object]]()
    for number in range(count):
        entry: dict[str, object] = {"id": f"e{number}", "what": "done", "prev_hash": before}
        separators = (",", ":") if compact else None
        text = json.dumps(entry, sort_keys=True, separators=separators)
        entry["hash"] = before = sha256(text.encode()).hexdigest()[:length]
        entries.append(entry)
    return entries


def _text(entries: list[dict[str, object]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


@pytest.mark.parametrize(("length", "compact"), [(16, False), (64, True)])
def test_a_whole_chain_is_recognised_with_the_way_it_is_hashed(length: int, compact: bool) -> None:
    """So that what says it was never touched is looked at, not believed."""
    account = read_legacy(_text(_chained(5, length=length, compact=compact)).encode())

    assert account.fields == ("hash", "prev_hash")
    assert account.rule == "SHA-256 over JSON, sorted keys" + (", compact" if compact else "")
    assert (account.lines, account.chained, account.first_chained) == (5, 5, 1)
    assert set(account.counts.values()) == {0}


def test_what_stands_outside_of_the_chain_is_named_line_by_line() -> None:
    """The chain of such a log began late, and most writers went around it."""
    entries = _chained(6)
    entries[4]["what"] = "changed later"
    mixed: list[dict[str, object]] = [{"id": "old"}, *entries[:2], {"id": "around"}, *entries[3:]]
    lines = _text(mixed).encode().splitlines(keepends=True)
    content = b"".join([*lines[:4], b"\n", b"{torn\n", b"\xff\xfe\xfa\n", b"[1]\n", *lines[4:]])
    account = read_legacy(content)

    assert account.unchained == ("1", "4")
    assert account.unreadable == ("6-8",)
    assert account.altered == ("10",)
    assert account.broken == ("9",)  # the entry before it is missing
    assert (account.lines, account.empty, account.chained) == (10, 1, 3)
    assert account.first_chained == 2


def test_ids_that_come_again_are_named() -> None:
    """A second run within a second had the id of the first."""
    account = read_legacy(b'{"id": 1}\n{"id": 2}\n{"id": 1}\n{"x": 1}\n{"x": 1}\n')

    assert account.repeated == ("3",)
    assert account.fields == ()
    assert account.unchained == ("1-5",)


@pytest.mark.parametrize(
    ("write", "encoding"),
    [
        (lambda text: text.encode("utf-8-sig"), "utf-8 with a byte-order mark"),
        (lambda text: text.encode("utf-16"), "utf-16-le with a byte-order mark"),
        (lambda text: b"\xfe\xff" + text.encode("utf-16-be"), "utf-16-be with a byte-order mark"),
        (lambda text: text.encode("utf-16-le"), "utf-16-le"),
        (lambda text: text.encode("utf-16-be"), "utf-16-be"),
        (lambda text: text.replace("\n", "\r\n").encode(), "utf-8"),
        (lambda text: text.rstrip("\n").encode(), "utf-8"),
    ],
    ids=["mark-8", "mark-16le", "mark-16be", "16le", "16be", "crlf", "cut"],
)
def test_every_encoding_says_the_same(write: Callable[[str], bytes], encoding: str) -> None:
    """Editors of one platform write what those of another do not expect."""
    entries: list[dict[str, object]] = [*_chained(3), {"id": "Ċ字"}]
    account = read_legacy(write(_text(entries)))

    assert account.encoding == encoding
    assert (account.lines, account.chained, account.unchained) == (4, 3, ("4",))


def test_half_a_character_at_the_end_is_one_line_that_cannot_be_read() -> None:
    """The power went while it was written."""
    content = '{"a": 1}\n{"b": 2}'.encode("utf-16-le")[:-1]

    assert read_legacy(content).unreadable == ("2",)
    assert [number for number, _ in lines_of(content)] == [1, 2]


def test_a_chain_that_is_hashed_in_an_unknown_way_is_only_followed() -> None:
    """Nothing is called altered for want of knowing."""
    entries: list[dict[str, object]] = [
        {"hash": "a" * 64, "prev": "0" * 64},
        {"hash": "b" * 64, "prev": "a" * 64},
        {"hash": "c" * 64, "prev": "a" * 64},
    ]
    account = read_legacy(_text(entries).encode())

    assert (account.rule, account.altered, account.broken) == ("", (), ("3",))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\0", b"[" * 100_000, b"\xff\xfe", b"NaN"])
def test_odd_files_are_read_without_a_word_of_trouble(content: bytes) -> None:
    """They come from anywhere."""
    account = read_legacy(content)

    assert account.chained == 0


def test_ranges_are_short() -> None:
    """A thousand numbers are nothing to read."""
    assert ranges([1, 2, 3, 7, 9, 10]) == ("1-3", "7", "9-10")
    assert ranges([]) == ()
