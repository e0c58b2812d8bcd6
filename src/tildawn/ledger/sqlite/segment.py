"""The archive in the check of a whole ledger: bodies that left, and every segment that was sealed.

What it is not: the check of one segment; `tildawn.ledger.segment` has that.
"""

from collections.abc import Sequence

import msgspec

from tildawn.errors import ArchiveMissing, LedgerBroken, TildawnError
from tildawn.facts.fact import Registry
from tildawn.facts.segment import SegmentPruned, SegmentSealed
from tildawn.ledger.archive import Archive
from tildawn.ledger.chain import GENESIS, Frontier
from tildawn.ledger.segment import Finding, Hashes, Segment, check_segment
from tildawn.ledger.sqlite.bodies import body_to
from tildawn.ledger.sqlite.connection import Columns, Database
from tildawn.ledger.verdict import State, Verdict


FINDINGS_MAX = 20
"""Segments worth naming; the first ones say enough."""

#: All facts about segments have it; canonical form has no other way to write it.
_MARK = b'"kind":"Segment'


class Segments:
    """Takes facts in order; says at the end what the archive is worth."""

    def __init__(self, archive: Archive, registry: Registry) -> None:
        """Begin before the first fact."""
        self._archive = archive
        self._registry = registry
        self._left = 0
        self._sealed: dict[int, SegmentSealed] = {}
        self._pruned: set[int] = set()
        self._borders = {0: Hashes(GENESIS, Frontier().root())}
        self._absent: dict[int, str] = {}

    def begin(self, database: Database) -> None:
        """See how far bodies have left; they may leave while the check goes on.

        Raises:
            apsw.Error: the file cannot be read.
        """
        self._left = body_to(database)

    def border(self, size: int, chain: bytes, frontier: Frontier) -> None:
        """Note the hashes where a segment ends; called after every fact."""
        if size % self._archive.facts == 0:
            self._borders[size] = Hashes(chain, frontier.root())

    def may_have_left(self, seq: int) -> None:
        """Whether a fact may be without its body.

        Raises:
            LedgerBroken: nothing says that it has left.
        """
        if seq >= self._left:
            message = f"the body of fact {seq} is gone, and nothing says that it was archived"
            raise LedgerBroken(message, seq=seq)

    def whole(self, facts: Sequence[Columns]) -> list[Columns] | None:
        """The facts with their bodies; None when some are nowhere, which is remembered.

        Raises:
            LedgerBroken: the archive holds something else than was recorded.
        """
        complete: list[Columns] = []
        for seq, leaf, body in facts:
            if body:
                self._hear(body)
                complete.append((seq, leaf, body))
                continue
            try:
                whole = self._archive.body(seq, leaf)
            except ArchiveMissing as error:
                self._absent.setdefault(self._archive.segment_of(seq), error.message)
                continue
            self._hear(whole)
            complete.append((seq, leaf, whole))
        return complete if len(complete) == len(facts) else None

    def judge(self, database: Database, verdict: Verdict) -> Verdict:
        """What the whole check comes to, once every segment was read again.

        Args:
            database: outside a transaction; each segment is one of its own.
            verdict: over the facts and the tables.

        Returns:
            The verdict; broken before not provable, not provable before proven.

        Raises:
            apsw.Error: the file cannot be read.
        """
        if verdict.state is State.BROKEN:
            return verdict
        findings = self._findings(database)
        broken = [one for one in findings if one.state is State.BROKEN]
        lost = [one.what for one in findings if one.state is State.NOT_PROVABLE]
        if broken:
            seq = broken[0].number * self._archive.facts
            what, lines = broken[0].what, [one.what for one in broken]
            return _changed(verdict, State.BROKEN, what, lines, seq=seq)
        if self._absent:
            lost = [self._gone(number) for number in sorted(self._absent)] + lost
        if verdict.state is State.NOT_PROVABLE:
            return _changed(verdict, verdict.state, verdict.what, lost)
        if lost:
            what = f"chain and tree hold, but {lost[0]}"
            return _changed(verdict, State.NOT_PROVABLE, what, lost)
        if self._left > len(self._sealed) * self._archive.facts:
            message = f"bodies left up to fact {self._left}, and not so many were sealed"
            return _changed(verdict, State.BROKEN, message, [])
        return verdict

    @property
    def incomplete(self) -> bool:
        """Whether a body was nowhere to be found."""
        return bool(self._absent)

    def _hear(self, body: bytes) -> None:
        """Remember what a fact says about segments."""
        if _MARK not in body:
            return
        try:
            data = self._registry.decode(body).data
        except (msgspec.DecodeError, UnicodeDecodeError, TildawnError):
            return  # what cannot be understood is reported where the content is checked
        if isinstance(data, SegmentSealed):
            self._sealed[data.number] = data
        elif isinstance(data, SegmentPruned):
            self._pruned.add(data.number)

    def _gone(self, number: int) -> str:
        if number in self._pruned:
            return f"the entries of segment {number} were dropped when their time was over"
        return self._absent[number]

    def _findings(self, database: Database) -> list[Finding]:
        findings: list[Finding] = []
        sealed = [self._sealed.get(number) for number in range(max(self._sealed, default=-1) + 1)]
        known: list[SegmentSealed] = []
        for fact in sealed:
            if fact is None:
                break  # its fact left for an archive that is not there, which is said anyhow
            known.append(fact)
            segment = self._segment(database, tuple(known))
            found = segment and check_segment(self._archive, segment)
            if found is not None:
                findings.append(found)
        return findings

    def _segment(self, database: Database, known: tuple[SegmentSealed, ...]) -> Segment | None:
        first = (len(known) - 1) * self._archive.facts
        end = first + self._archive.facts
        if end not in self._borders:
            return None  # sealed while the check went on, behind what it has read
        sql = "SELECT leaf FROM fact WHERE seq >= ? AND seq < ? ORDER BY seq"
        rows = database.execute(sql, (first, end)).fetchall()
        return Segment(
            sealed=known, leaves=b"".join(leaf for (leaf,) in rows),
            before=self._borders[first], after=self._borders[end],
            pruned=known[-1].number in self._pruned,
        )  # fmt: skip


def _changed(
    verdict: Verdict, state: State, what: str, lines: Sequence[str], *, seq: int | None = None
) -> Verdict:
    lines = (*verdict.differences, *lines)[:FINDINGS_MAX]
    return msgspec.structs.replace(
        verdict, state=state, what=what, seq=seq, verified=None,
        differences=lines if len(lines) > 1 else (),
    )  # fmt: skip
