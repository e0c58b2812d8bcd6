"""Compares a house with its mirror, fact by fact: reading only, while both are written.

What it is not: a repair, nor trust in what either notes about itself.
"""

from collections.abc import Iterable, Sequence

import msgspec

from tildawn.errors import LedgerBroken, TildawnError
from tildawn.ledger.blobs import read_blob
from tildawn.ledger.chain import GENESIS, Frontier
from tildawn.ledger.frame import Held, Kept
from tildawn.ledger.layout import Layout
from tildawn.ledger.mirror import LAG_FACTS_MAX, Wish, check_place, founder_of
from tildawn.ledger.shelf import Shelf
from tildawn.ledger.sqlite.source import Source, reading
from tildawn.ledger.twin import Batch
from tildawn.ledger.verdict import State, Verdict


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a mirror is, as its folder says: ``behind`` is negative when it is ahead.

    ``reached`` is whether the folder could be read at all.
    """

    reached: bool
    facts: int = 0
    behind: int = 0
    why: str = ""


def standing(layout: Layout, wish: Wish) -> Standing:
    """How far a mirror is behind its house now.

    Raises:
        TildawnError: the database cannot be read.
    """
    try:
        check_place(wish, layout)
        facts = Shelf(wish.folder).find_end().size
    except OSError as error:
        return Standing(reached=False, why=error.strerror or "it cannot be read")
    except TildawnError as error:
        return Standing(reached=False, why=error.message)
    with reading(layout) as source:
        # Read after the mirror, which is at most one commit ahead of what is read here.
        size, _, _ = source.head()
    return Standing(reached=True, facts=facts, behind=size - facts)


def compare(layout: Layout, wish: Wish) -> Verdict:
    """Read a mirror from its first byte on, and compare it with its house.

    Args:
        layout: the house; another process may be writing to it.
        wish: where the mirror is, and whether it may be behind.

    Returns:
        Proven: every fact of the mirror is that of the house, with payloads and blobs, and
        none is missing that should be there.  Broken: the first fact that is not.  Not
        provable: the mirror is not there, or facts are missing.

    Raises:
        Nothing.
    """
    try:
        check_place(wish, layout)
        return _Comparison(layout, wish).run()
    except LedgerBroken as error:
        seq = error.fields.get("seq")
        return Verdict(
            state=State.BROKEN, what=error.message, seq=seq if isinstance(seq, int) else None
        )
    except (OSError, TildawnError) as error:
        return Verdict(state=State.NOT_PROVABLE, what=f"the mirror cannot be compared: {error}")


class _Comparison:
    def __init__(self, layout: Layout, wish: Wish) -> None:
        self._layout = layout
        self._shelf = Shelf(wish.folder)
        self._lag = LAG_FACTS_MAX if wish.mode == "async" else 0
        self._frontier = Frontier()
        self._chain = GENESIS

    def run(self) -> Verdict:
        end = self._shelf.find_end()
        if end.size == 0:
            return self._verdict(State.NOT_PROVABLE, "the mirror is empty")
        with reading(self._layout) as source:
            if self._shelf.name() != founder_of(source.first()):
                message = "the mirror is that of another house, or its first line is damaged"
                raise LedgerBroken(message, seq=0)
            for held in self._shelf.batches(0):
                size, _, _ = source.head()
                if held.first != self._frontier.size or held.first >= size:
                    break
                self._take(held, source, size)
            size, _, _ = source.head()
        done = self._frontier.size
        if done < min(end.size, size):
            message = f"the mirror is damaged behind fact {done}: no whole batch begins there"
            raise LedgerBroken(message, seq=done)
        if size - done > self._lag:
            return self._verdict(State.NOT_PROVABLE, f"the mirror lacks {size - done} facts")
        if end.size > size:
            message = f"the ledger lacks {end.size - size} facts that its mirror has"
            return self._verdict(State.NOT_PROVABLE, message)
        return self._verdict(State.PROVEN, "")

    def _take(self, held: Held, source: Source, size: int) -> None:
        stop = min(held.size, size)
        ours = source.batch(held.first, held.before, stop - held.first)
        facts, _, uses = ours.parts[0]
        for (seq, leaf, _), (theirs, _) in zip(facts, held.facts, strict=False):
            if leaf != theirs:
                message = f"fact {seq} is another one in the mirror"
                raise LedgerBroken(message, seq=seq)
            self._frontier.add(leaf)
        self._chain = held.chain
        _same_payloads(ours, (one for one in held.payloads if one.id < stop * 8))
        if set(uses) - {(blob, seq) for blob, seq in held.uses}:
            message = f"the mirror does not know which blobs the facts from {held.first} on keep"
            raise LedgerBroken(message, seq=held.first)
        for name in {blob for blob, _ in uses}:
            read_blob(self._shelf.blobs, name)

    def _verdict(self, state: State, what: str) -> Verdict:
        return Verdict(
            state=state, what=what, size=self._frontier.size, chain=self._chain.hex(),
            root=self._frontier.root().hex(),
        )  # fmt: skip


def _same_payloads(ours: Batch, theirs: Iterable[Kept]) -> None:
    erased = dict(ours.erased)
    rows: Sequence[tuple[int, bytes | None, bytes | None, str | None]] = ours.parts[0][1]
    wanted = {
        place: Kept(
            id=place, salt=salt or b"", text=text, blob=blob or "", erased=erased.get(place, -1)
        )
        for place, salt, text, blob in rows
    }
    for kept in theirs:
        mine = wanted.pop(kept.id, None)
        if mine != kept:
            what = "is erased, and the mirror still has it" if kept.erased < 0 else "differs"
            if mine is not None and mine.erased < 0:
                what = "is another one in the mirror"
            message = f"a payload of fact {kept.id // 8} {what}"
            raise LedgerBroken(message, seq=kept.id // 8)
    if wanted:
        seq = min(wanted) // 8
        message = f"the mirror lacks a payload of fact {seq}"
        raise LedgerBroken(message, seq=seq)
