"""Which run a person means: a name, an end of it, or the label of a row.

What it is not: the making of names; that is `tildawn.projections.story`.
"""

import re
from collections.abc import Iterator

import msgspec

from tildawn.errors import Misused, PayloadErased, UnknownName
from tildawn.ledger.reader import Reader
from tildawn.projections.run import RunRow
from tildawn.projections.story import StoryRow, name_of, run_called
from tildawn.units import Seq


PART_LEAST = 4
"""Fewest hexadecimal digits that may stand for a whole name."""

_LABEL_SLOT = 1
"""``label`` among the payloads of `RunAccepted`."""

_SHOWN = 5


def run_meant(reader: Reader, said: str) -> RunRow:
    """The run that is meant.

    Args:
        reader: one read transaction.
        said: a name such as ``41-15``, the whole name of a run, a beginning or an end of it of
            four digits or more, or a label, with or without its item: ``listings:VAL-001``.

    Raises:
        UnknownName: no run is called so.
        Misused: more than one run is.
    """
    named = run_called(reader, said)
    row = reader.get(RunRow, named) if named is not None else None
    if row is not None:
        return row
    found = _by_part(reader, said) or _labelled(reader, said)
    if len(found) == 1:
        return found[0]
    if not found:
        message = f"no run is called {said}"
        raise UnknownName(message, hint="tildawn runs")
    some = ", ".join(name_of(reader, row.run) for row in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    message = f"{said} can mean {some}{more}"
    raise Misused(message, hint="name one of them")


def label_of(reader: Reader, row: RunRow) -> str:
    """What a run is called for people, or an empty text.

    Raises:
        LedgerBroken: the record cannot be read.
    """
    story = reader.get(StoryRow, row.run)
    if story is None or not story.labelled:
        return ""
    try:
        return msgspec.json.decode(reader.payload(Seq(row.accepted), _LABEL_SLOT), type=str)
    except PayloadErased:
        return "erased"


def _by_part(reader: Reader, said: str) -> list[RunRow]:
    part = said.lower()
    if len(part) < PART_LEAST or not re.fullmatch(r"[0-9a-f]+", part):
        return []
    last = part + "g"  # behind every name that begins so
    begins = reader.rows(RunRow, "run >= ? AND run < ?", (part, last), limit=_SHOWN * 2)
    if begins:
        return begins
    size = len(part)
    return reader.rows(RunRow, "substr(run, -?) = ?", (size, part), limit=_SHOWN * 2)


def _labelled(reader: Reader, said: str) -> list[RunRow]:
    """Runs with that label, of the newest night that has one."""
    item, colon, label = said.partition(":")
    found: list[RunRow] = []
    for row in _candidates(reader, item if colon else ""):
        if found and found[0].night != row.night:
            break
        if label_of(reader, row) in ({label, said} if colon else {said}):
            found.append(row)
    return found


def _candidates(reader: Reader, item: str) -> Iterator[RunRow]:
    where, params = "parent = '' AND evidence_for = ''", ()
    if item:
        rows = reader.rows(RunRow, f"item = ? AND {where}", (item,), order="accepted DESC")
        yield from rows
    yield from reader.rows(RunRow, f"item = '' AND {where}", params, order="accepted DESC")
