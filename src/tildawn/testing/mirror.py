"""Judges a mirror against its house, with no code of either, and fills houses of notes.

What it is not: the comparison that owners ask for; `tildawn.ledger.likeness` is that.
"""

from pathlib import Path
from typing import Any, cast

import apsw

from tildawn.ledger.chain import leaf_of
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.mirror import Mirror
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook


LONG = '"' + "x" * 70_000 + '"'
"""A text that does not fit into a row."""


def audit(house: Path, copy: Path) -> list[str]:
    """What is wrong between a closed house and its mirror; it shares no code with either.

    Raises:
        Nothing.
    """
    database = cast("Any", apsw.Connection(str(house / "ledger.db")))
    facts = database.execute("SELECT leaf, body FROM fact ORDER BY seq").fetchall()
    payloads = database.execute("SELECT id, salt, text, blob, erased FROM payload").fetchall()
    uses = database.execute("SELECT seq, blob FROM blob_use").fetchall()
    database.close()
    held, kept, used = read_frames(copy)
    wrong = [
        what
        for what, good in (
            (f"the mirror has {len(held)} facts, or others; the house {len(facts)}", held == facts),
            ("a leaf is not that of its body", all(leaf_of(body) == leaf for leaf, body in held)),
            ("the payloads differ", kept == {row[0]: row[1:] for row in payloads}),
            ("the uses of blobs differ", used == set(uses)),
        )
        if not good
    ]
    wrong += [
        f"the mirror lacks {path}, or has another"
        for path in {Path("blobs") / blob[:2] / blob for _, blob in uses}
        if not (copy / path).exists() or (copy / path).read_bytes() != (house / path).read_bytes()
    ]
    verdict = verify_notebook(house)
    return wrong + ([verdict.what] if verdict.what else [])


def read_frames(copy: Path) -> tuple[list[tuple[bytes, bytes]], dict[int, Any], set[Any]]:
    """Everything in the files of a mirror, read as docs/spec/mirror.md says.

    Raises:
        Nothing.
    """
    facts: list[tuple[bytes, bytes]] = []
    payloads: dict[int, Any] = {}
    uses: set[Any] = set()
    for path in sorted(copy.glob("*.frames")):
        content = path.read_bytes()
        at = content.index(b"\n") + 1
        assert int(content[:at].split()[3]) == len(facts) == int(path.stem)
        while at < len(content):
            size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 5]
            frame = content[at + 5 : at + 5 + size]
            at += 5 + size
            if kind == b"F":
                facts.append((frame[:32], frame[32:]))
            elif kind == b"U":
                uses.add((int.from_bytes(frame[:8]), frame[8:].hex()))
            elif kind == b"P":
                salt, rest = frame[10 : 10 + frame[9]], frame[10 + frame[9] :]
                payloads[int.from_bytes(frame[:8])] = {
                    0: (salt, rest, None, None), 1: (salt, None, rest.hex(), None),
                    2: (None, None, None, int.from_bytes(rest)),
                }[frame[8]]  # fmt: skip
            else:
                assert kind == b"S"
                assert int.from_bytes(frame[:8]) == len(facts)
    return facts, payloads, uses


def said(house: Path, kind: type) -> list[Any]:
    """The facts of a kind on record.

    Raises:
        Nothing.
    """
    with open_notebook(house, mode="read") as ledger, ledger.read() as reader:
        return [fact.data for _, fact in reader.facts(limit=-1) if isinstance(fact.data, kind)]


def mirror_of(ledger: Ledger) -> Mirror:
    """The mirror of an open house.

    Raises:
        Nothing.
    """
    assert ledger.mirror is not None
    return ledger.mirror


def fill(ledger: Ledger, *keys: int, run: str = "r", text: str = '"t"') -> None:
    """One append with these notes.

    Raises:
        Nothing.
    """
    ledger.append_now([note(ledger, key, run=run, text=text) for key in keys])


def notes(folder: Path) -> list[int]:
    """The keys of the notes that a house has, opened without its mirror.

    Raises:
        Nothing.
    """
    with open_notebook(folder, mode="read") as ledger, ledger.read() as reader:
        return sorted(row.key for row in reader.rows(Note))
