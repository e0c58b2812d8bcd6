"""Goes back to an earlier state of a house: from the best source that can be proven.

What it is not: forgetting.  The old house is put aside whole, and the log goes on under another
name, because going on under the same one would be a fork.
"""

import errno
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from tildawn.errors import HouseUnusable, LedgerBroken, StoreFull, UnknownName
from tildawn.facts.erasure import PayloadErased
from tildawn.facts.fact import Fact, FactData, Payload, canonical, payload
from tildawn.facts.house import HouseRestored
from tildawn.ledger.archive import Archive
from tildawn.ledger.blobs import Blobs, read_blob
from tildawn.ledger.checkpoint import origin_of
from tildawn.ledger.durable import sync_folder, write_durably
from tildawn.ledger.entry import Entry
from tildawn.ledger.erasure import RANGES_MOST, ranges_of
from tildawn.ledger.keys import read_key
from tildawn.ledger.layout import Layout
from tildawn.ledger.note import Signer
from tildawn.ledger.opening import Setup
from tildawn.ledger.signing import read_seed
from tildawn.ledger.snapshot import DATABASE, link_tree, snapshots
from tildawn.ledger.source import Point, Source, choose
from tildawn.ledger.sqlite.audit import Audit
from tildawn.ledger.sqlite.prefix import Left, Prefix
from tildawn.ledger.sqlite.reader import Reader
from tildawn.ledger.swap import clear_undecided, decide, finish
from tildawn.ledger.verdict import State
from tildawn.units import SECOND, Micros


EPOCHS_UNSEEN = 1_000
"""How far the epoch is raised where the head of the old house cannot be read: more than it can
have been raised since the newest snapshot, of which there is one a night."""

_SALT_BYTES = 16

LEFT = "left-"
"""Begins the name of the folder, in that of a mirror, for what it had of a log that was left."""


class Drafts:
    """Stamps and encodes facts where no ledger is open."""

    def __init__(self, setup: Setup) -> None:
        """Take clock and randomness."""
        self._setup = setup

    def payload(self, text: bytes) -> Payload:
        """A value as JSON text, salted.

        Raises:
            Nothing.
        """
        return payload(text, salt=self._setup.ids.random(_SALT_BYTES))

    def draft(
        self,
        data: FactData,
        *,
        run: str = "",
        path: str = "",
        payloads: Sequence[Payload | None] = (),
    ) -> Entry:
        """A fact that the restore adds.

        Raises:
            BadValue: its body is too long.
        """
        kind = type(data)
        fact = Fact(
            at=self._setup.clock.wall(), data=data, kind=kind.__name__, v=kind.VERSION,
            actor="restore", run=run, path=path,
        )  # fmt: skip
        return Entry(fact=fact, body=canonical(fact), payloads=tuple(payloads))


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when the facts behind a restore are made.

    ``new`` is the house as it was; ``old`` the one that is left, None where what it has from
    ``size`` on cannot be read.
    """

    size: int
    new: Reader
    old: Reader | None
    drafts: Drafts


Carry = Callable[[Ground], Sequence[Entry]]
"""Says which facts must follow a restore, so that nothing that was left happens twice."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Where to go back to; from one snapshot where its folder is given."""

    to: Point
    source: Path | None = None
    reason: str = ""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A house that went back to ``size`` facts; ``missing`` are blobs that nobody has any more."""

    said: HouseRestored
    size: int
    aside: Path
    missing: tuple[str, ...]


def restore(layout: Layout, setup: Setup, wish: Wish, carry: Carry) -> Restored:
    """Go back.  The caller holds the pen.

    A crash leaves the old house or the new one; which one is decided by a mark, and whoever
    opens the house to write does what is left.

    Args:
        layout: of the house; its ledger may be damaged or gone.
        setup: kinds, folds, clock, names.
        wish: where to.
        carry: what must follow.

    Returns:
        What was done.

    Raises:
        Misused: the point lies behind the end of what there is.
        LedgerBroken: no source can be proven that far, it is of another house, or what was made
            does not verify.
        HouseUnusable: the key is missing, or the disk will not do.
        StoreFull: there is no space.  In all four, nothing was changed.
    """
    read_key(layout.key)
    with _refusals(layout):
        finish(layout)
        clear_undecided(layout)
        try:
            place = layout.restoring / "source"
            place.mkdir(parents=True, mode=0o700)
            source = choose(layout, wish.to, place=place, only=wish.source)
            said, missing = _make(layout, setup, source, wish, carry)
        except BaseException:
            clear_undecided(layout)
            raise
        if setup.mirror is not None:
            _leave_mirror(setup.mirror.folder, setup.clock.wall())
        decide(layout, name=said.name, at=setup.clock.wall())
        # A crash from here on leaves the new house, however far the swap got.
        aside = finish(layout)
    assert aside is not None, "it was decided"
    return Restored(said=said, size=source.size, aside=aside, missing=missing)


def _make(
    layout: Layout, setup: Setup, source: Source, wish: Wish, carry: Carry
) -> tuple[HouseRestored, tuple[str, ...]]:
    """Make the new database, verified and durable; the house gets blobs and segments that it lacks."""
    blobs, drafts = Blobs(layout.blobs, setup.clock), Drafts(setup)
    parts = (setup.projections, setup.registry, blobs)
    archive = Archive(layout.archive)
    path = layout.restoring / DATABASE
    with (
        closing(Prefix(path, *parts, source.archive)) as new,
        closing(Left(layout.database, *parts, archive)) as left,
    ):
        new.take(source.database, source.size)
        first = left.first()
        if first and new.reader().tree().leaf(0) != first:
            # HOLE: where the old database cannot be read, nothing is left to compare with.
            message = f"{source.name} is of another house; nothing was changed"
            raise LedgerBroken(message, hint="tildawn snapshot --list", seq=0)
        missing = _bring_blobs(blobs, new.blobs(), source)
        if source.snapshot is not None:
            # Segments that are sealed in what is kept belong to it; what is there stays.
            link_tree(source.archive.folder, layout.archive)
        old = left.reader if left.whole_from(source.size) else None
        ground = Ground(size=source.size, new=new.reader(), old=old, drafts=drafts)
        gone = _erased(drafts, new, source.size)
        after = list(carry(ground))
        reason = drafts.payload(msgspec.json.encode(wish.reason)) if wish.reason else None
        name = setup.ids.new()
        signer = _signer(layout, name)
        head = left.reader.head() if left.reader is not None else None
        said = HouseRestored(
            name=name, from_name=_name(layout), from_size=head.size if head else 0,
            from_root=head.root if head else "", epoch=_epoch(layout, head.epoch if head else -1),
            source=source.name, public=signer.verifier.public.hex() if signer else "", doubted=len({one.fact.run for one in after}),
            erased=len(gone), reason=reason.digest if reason else "",
        )  # fmt: skip
        entries = [drafts.draft(said, payloads=(reason,)), *gone, *after]
        note = new.begin_anew(entries, epoch=said.epoch, signer=signer)
        if note is not None:
            write_durably(layout.restoring / layout.checkpoint.name, note.dump().encode())
        new.seal()
    _verify(layout, setup, frozenset(missing))
    return said, missing


def _erased(drafts: Drafts, new: Prefix, size: int) -> list[Entry]:
    """Facts behind `HouseRestored` for what was erased behind its point: it stays erased."""
    ids = new.erased_since(size)
    entries: list[Entry] = []
    for begin in range(0, len(ids), RANGES_MOST):
        part = ids[begin : begin + RANGES_MOST]
        new.answer_for(part, size + 1 + len(entries))
        ranges = tuple(number for pair in ranges_of(part) for number in pair)
        entries.append(drafts.draft(PayloadErased(ranges=ranges, why="restored")))
    return entries


def _leave_mirror(folder: Path, at: Micros) -> None:
    """Put aside what a mirror has of the old log; the new one is mirrored from its first fact.

    A crash behind this leaves the old house with an empty mirror, which it fills again.
    """
    there = [path for path in folder.glob("*") if not path.name.startswith(LEFT)]
    if not there:
        return
    aside = folder / f"{LEFT}{at // SECOND}"
    aside.mkdir(mode=0o700, exist_ok=True)
    for path in there:
        path.rename(aside / path.name)
    sync_folder(aside)
    sync_folder(folder)


def _verify(layout: Layout, setup: Setup, missing: frozenset[str]) -> None:
    """Prove what was made, as `tildawn verify` does; its tables have just been folded from it."""
    made = Layout(layout.restoring)
    made.blobs, made.archive = layout.blobs, layout.archive
    audit = Audit(made, setup.registry, (), missing=missing)
    try:
        said = audit.run(hashes_only=False)
    finally:
        audit.close()
    if said.state is not State.PROVEN:
        message = f"what was made does not verify: {said.what}; nothing was changed"
        raise LedgerBroken(message, seq=said.seq)


def _bring_blobs(blobs: Blobs, names: Iterable[str], source: Source) -> tuple[str, ...]:
    """Take from the snapshot what the house lacks; the names of what neither has whole."""
    lacking = [name for name in names if not _whole(blobs, name)]
    if source.snapshot is None:
        return tuple(lacking)
    missing: list[str] = []
    for name in lacking:
        try:
            content = read_blob(source.snapshot.folder / "blobs", name)
        except (UnknownName, LedgerBroken):
            missing.append(name)
            continue
        blobs.put(content)
    return tuple(missing)


def _whole(blobs: Blobs, name: str) -> bool:
    try:
        blobs.get(name)
    except (UnknownName, LedgerBroken):
        return False
    return True


def _signer(layout: Layout, name: str) -> Signer | None:
    """The key that is there, under the new name, whichever one signed at that point."""
    path = layout.signing_key
    return Signer(origin_of(name), read_seed(path)) if path.exists() else None


def _name(layout: Layout) -> str:
    try:
        return layout.founded.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _epoch(layout: Layout, head: int) -> int:
    """The highest epoch that was seen anywhere, -1 being a head that nobody can read."""
    seen = max((one.manifest.epoch for one in snapshots(layout)), default=0)
    return max(seen, head) if head >= 0 else seen + EPOCHS_UNSEEN


@contextmanager
def _refusals(layout: Layout) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreFull(hint="free some space, then try again") from error
        message = f"{error.filename or layout.folder}: {error.strerror}"
        raise HouseUnusable(message, hint="look at the disk, then try again") from error
