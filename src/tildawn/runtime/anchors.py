"""Anchors at work: each on its own, beside the work, with what came of it on record.

What it is not: the places, which are `tildawn.runtime.places`, nor ever in the way: a place that
is slow, away or broken holds nothing up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import msgspec

from tildawn.clock import Clock
from tildawn.errors import AnchorFailed, LedgerBroken, ProofBroken, TildawnError, UnknownName
from tildawn.facts import anchor as facts
from tildawn.facts.fact import Payload
from tildawn.ledger.anchor import Claim, Evidence
from tildawn.ledger.checkpoint import check_checkpoint, origin_of, parse_checkpoint
from tildawn.ledger.keyring import SigningKeyRow
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.note import Verifier
from tildawn.projections.anchor import AnchorRow, origin_now, owed
from tildawn.runtime.places import Place
from tildawn.units import MILLISECOND, SECOND, Micros


T = TypeVar("T")

LIMIT = Micros(60 * SECOND)
"""How long one try may take; a push over a slow line takes some seconds."""

FIRST_WAIT = Micros(30 * SECOND)
"""After a failure; each further one waits twice as long, at most as long as after a success."""

_log = logging.getLogger(__name__)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking one place.

    ``state`` is ``anchored`` (it has ``size`` facts, and the ledger goes on from them),
    ``missing`` (it has less than it once took), ``failed`` (it did not answer) or ``broken``
    (it has a larger or another ledger).
    """

    anchor: str
    kind: str
    state: str
    size: int = 0
    text: str = ""
    warning: str = ""

    @property
    def exit_code(self) -> int:
        """0 anchored, 4 broken, 3 anything else."""
        return {"anchored": 0, "broken": 4}.get(self.state, 3)


class Anchors:
    """The anchors of an open house; belongs to one event loop once it is used."""

    def __init__(self, ledger: Ledger, places: Sequence[Place], clock: Clock) -> None:
        """Take the parts; nothing is asked yet."""
        self._ledger = ledger
        self._clock = clock
        self._keeping = {place.anchor.name: _Keeping(place) for place in places}
        self._swept = False

    @property
    def names(self) -> tuple[str, ...]:
        """As the settings have them."""
        return tuple(self._keeping)

    async def turn(self) -> None:
        """Begin what is due, each on its own, and wait for nothing.

        Raises:
            TildawnError: the house cannot be read or written.
        """
        if not self._swept:
            await self._remove_old()
            self._swept = True
        now = self._clock.mono()
        for keeping in self._keeping.values():
            if keeping.task is not None and keeping.task.done():
                keeping.task.result()  # a fault of ours is not hidden
                keeping.task = None
            if keeping.task is None and now >= keeping.due:
                keeping.task = asyncio.create_task(self._try(keeping))

    async def now(self, names: Sequence[str] = ()) -> tuple[Standing, ...]:
        """Anchor at once, and wait for what comes of it.

        Args:
            names: which ones; all when empty.

        Raises:
            UnknownName: no anchor has that name.
            TildawnError: the house cannot be read or written.
        """
        chosen = self._chosen(names)
        return tuple(await asyncio.gather(*(self._anchor(one, ask=True) for one in chosen)))

    async def check(self, names: Sequence[str] = ()) -> tuple[Standing, ...]:
        """Ask what each place has now, and compare the ledger with it; records nothing.

        Args:
            names: which ones; all when empty.

        Raises:
            UnknownName: no anchor has that name.
            TildawnError: the house cannot be read.
        """
        return tuple(await asyncio.gather(*(self._check(one) for one in self._chosen(names))))

    async def close(self) -> None:
        """End what is under way; a place that has taken it meanwhile is found the next time.

        Raises:
            Nothing.
        """
        tasks = [one.task for one in self._keeping.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._keeping.values():
            await one.place.anchor.aclose()

    def _chosen(self, names: Sequence[str]) -> list["_Keeping"]:
        for name in names:
            if name not in self._keeping:
                message = f"no anchor is called {name}"
                raise UnknownName(message, hint="tildawn anchor list")
        return [one for name, one in self._keeping.items() if not names or name in names]

    async def _try(self, keeping: "_Keeping") -> None:
        try:
            stands = await self._anchor(keeping, ask=False)
        except TildawnError:
            # The ledger itself cannot be read, or contradicts its checkpoint: others say so.
            _log.exception("anchor %s was not asked", keeping.name)
            stands = None
        every = keeping.place.every
        if stands is not None and stands.state not in {"anchored", keeping.state}:
            tell = _log.error if stands.state == "broken" else _log.warning
            tell("anchor %s: %s", keeping.name, stands.text)
        keeping.state = "" if stands is None else stands.state
        if stands is None or stands.state != "anchored":
            wait = min(FIRST_WAIT << min(keeping.failures, 20), every)
            keeping.failures += 1
        else:
            wait, keeping.failures = every, 0
        keeping.due = Micros(self._clock.mono() + wait)

    async def _anchor(self, keeping: "_Keeping", *, ask: bool) -> Standing:
        anchor = keeping.place.anchor
        async with keeping.lock:
            claim, row = self._look(anchor.name)
            if claim is None:
                return Standing(
                    anchor=anchor.name, kind=anchor.kind, state="missing",
                    text="no checkpoint was signed yet",
                )  # fmt: skip
            if not ask and row is not None and self._has_all(row, claim):
                return _stands(keeping, Evidence(size=row.size, root=b"", text=""))
            try:
                evidence = await self._bounded(anchor.anchor(claim))
            except (AnchorFailed, ProofBroken) as error:
                return await self._failed(keeping, claim, row, error)
            return await self._took(keeping, claim, row, evidence)

    async def _check(self, keeping: "_Keeping") -> Standing:
        anchor = keeping.place.anchor
        async with keeping.lock:
            claim, row = self._look(anchor.name)
            while claim is not None:
                try:
                    evidence = await self._bounded(anchor.check(claim))
                except (AnchorFailed, ProofBroken) as error:
                    # Whoever holds the pen may have anchored more since we looked.
                    later, row = self._look(anchor.name)
                    if isinstance(error, ProofBroken) and _newer(later, claim):
                        claim = later
                        continue
                    return _fell(keeping, error)
                return _compared(keeping, evidence, row, claim)
        return Standing(
            anchor=anchor.name, kind=anchor.kind, state="missing",
            text="the ledger has no checkpoint",
        )  # fmt: skip

    def _look(self, name: str) -> tuple[Claim | None, AnchorRow | None]:
        """The newest checkpoint, and what the place has of the same log by our record."""
        claim = claim_of(self._ledger)
        with self._ledger.read() as reader:
            row = reader.get(AnchorRow, name)
        if claim is None or row is None or row.origin != claim.checkpoint.origin:
            return claim, None
        return claim, row

    def _has_all(self, row: AnchorRow, claim: Claim) -> bool:
        """Whether nothing but facts about anchors was recorded since the place took the rest."""
        if row.state != "anchored":
            return False
        with self._ledger.read() as reader:
            found = owed(reader, row.size)
        return found is None or found[0] >= claim.checkpoint.size

    async def _bounded(self, asked: Awaitable[T]) -> T:
        """The answer, or a failure after `LIMIT`; then whatever was started has ended."""
        asking, timer = (
            asyncio.ensure_future(asked),
            asyncio.ensure_future(self._clock.sleep(LIMIT)),
        )
        try:
            await asyncio.wait({asking, timer}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        finally:
            timer.cancel()
            asking.cancel()
            await asyncio.gather(asking, timer, return_exceptions=True)
        message = f"no answer within {LIMIT // SECOND} s; it may have taken it all the same"
        raise AnchorFailed(message, hint="it is tried again")

    async def _took(
        self, keeping: "_Keeping", claim: Claim, row: AnchorRow | None, evidence: Evidence
    ) -> Standing:
        """A crash before the fact leaves the place with it and us without; asking again is harmless."""
        known = row is not None and (row.state, row.size, row.kind) == (
            "anchored", evidence.size, keeping.place.anchor.kind,
        )  # fmt: skip
        if not known:
            evident, warning = self._said(evidence.text), self._said(evidence.warning)
            said = facts.Anchored(
                anchor=keeping.name, kind=keeping.place.anchor.kind,
                origin=claim.checkpoint.origin, size=evidence.size, root=evidence.root.hex(),
                every_ms=keeping.place.every // MILLISECOND,
                evidence="" if evident is None else evident.digest,
                warning="" if warning is None else warning.digest,
            )  # fmt: skip
            await self._ledger.append([self._ledger.draft(said, payloads=[evident, warning])])
        return _stands(keeping, evidence)

    async def _failed(
        self, keeping: "_Keeping", claim: Claim, row: AnchorRow | None,
        error: AnchorFailed | ProofBroken,
    ) -> Standing:  # fmt: skip
        stands = _fell(keeping, error)
        if row is None or row.state != stands.state:
            reason = self._said(error.message)
            assert reason is not None, "an error has a message"
            said = facts.AnchorFailed(
                anchor=keeping.name, kind=keeping.place.anchor.kind,
                origin=claim.checkpoint.origin, state=stands.state, size=claim.checkpoint.size,
                every_ms=keeping.place.every // MILLISECOND, reason=reason.digest,
            )  # fmt: skip
            await self._ledger.append([self._ledger.draft(said, payloads=[reason])])
        return stands

    async def _remove_old(self) -> None:
        with self._ledger.read() as reader:
            old = [row.anchor for row in reader.rows(AnchorRow) if row.anchor not in self._keeping]
        if old:
            said = [self._ledger.draft(facts.AnchorRemoved(anchor=name)) for name in old]
            await self._ledger.append(said)

    def _said(self, text: str) -> Payload | None:
        return self._ledger.payload(msgspec.json.encode(text)) if text else None


class _Keeping:
    """One place and how it is getting on."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.anchor.name
        #: One question at a time, whoever asks.
        self.lock = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None
        self.due = Micros(0)
        self.failures = 0
        #: What came of the last try, so that a log says it once.
        self.state = ""


def claim_of(ledger: Ledger) -> Claim | None:
    """The newest signed checkpoint of a house, and how to show how it grew.

    Returns:
        None when the log, under the name that it has now, has none.

    Raises:
        LedgerBroken: the ledger is not what its own checkpoint says.
        TildawnError: the house cannot be read.
    """
    with ledger.read() as reader:
        note, origin = reader.checkpoint(), origin_now(reader)
        if note is None or parse_checkpoint(note.text).origin != origin:
            return None
        keys = tuple(
            Verifier(origin, bytes.fromhex(row.public))
            for row in reader.rows(SigningKeyRow)
            if origin_of(row.name) == origin
        )
        try:
            checkpoint = check_checkpoint(note, origin, keys)
        except ProofBroken as error:
            message = f"the newest checkpoint of this house is none: {error.message}"
            raise LedgerBroken(message, hint="tildawn verify") from error
        if checkpoint.size > reader.head().size or (
            reader.tree().root(checkpoint.size) != checkpoint.root
        ):
            message = f"the ledger is not what its checkpoint of {checkpoint.size} facts says"
            raise LedgerBroken(message, hint="tildawn verify")

    def prove(old: int) -> tuple[bytes, ...]:
        with ledger.read() as reader:
            return reader.consistency(old, checkpoint.size)

    return Claim(note, keys, prove)


def _newer(later: Claim | None, claim: Claim) -> bool:
    return later is not None and later.checkpoint.size > claim.checkpoint.size


def _stands(keeping: _Keeping, evidence: Evidence) -> Standing:
    return Standing(
        anchor=keeping.name, kind=keeping.place.anchor.kind, state="anchored",
        size=evidence.size, text=evidence.text, warning=evidence.warning,
    )  # fmt: skip


def _fell(keeping: _Keeping, error: AnchorFailed | ProofBroken) -> Standing:
    state = "broken" if isinstance(error, ProofBroken) else "failed"
    return Standing(
        anchor=keeping.name, kind=keeping.place.anchor.kind, state=state, text=error.message
    )


def _compared(
    keeping: _Keeping, evidence: Evidence | None, row: AnchorRow | None, claim: Claim
) -> Standing:
    """What a place has against what it once took: less is a place that was put back, or emptied."""
    has = 0 if evidence is None else evidence.size
    taken = 0 if row is None else row.size
    if evidence is None or has < taken:
        text = f"it has {has or 'nothing'} of {claim.checkpoint.size} facts"
        text += f", and took {taken}" if taken else "; nothing was anchored there yet"
        return Standing(
            anchor=keeping.name, kind=keeping.place.anchor.kind, state="missing", size=has,
            text=text,
        )  # fmt: skip
    return _stands(keeping, evidence)
