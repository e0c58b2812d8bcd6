"""What a restore means for runs and calls: what was sent since then must not be sent twice.

What it is not: the way back itself; `tildawn.ledger.restore` goes it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tildawn.engine.ending import PAUSED_CHOICES
from tildawn.errors import Misused, PayloadErased, UnknownName
from tildawn.facts.call import (
    CallDispatched,
    CallDoubted,
    CallLookedUp,
    CallResolved,
    CallSettled,
)
from tildawn.facts.fact import Fact, Payload
from tildawn.facts.run import RunAccepted, RunHeld
from tildawn.ledger.entry import Entry
from tildawn.ledger.reader import Reader
from tildawn.ledger.restore import Drafts, Ground
from tildawn.ledger.source import Point
from tildawn.projections.call import CallRow, may_begin_anew
from tildawn.projections.run import ENDED, RunRow
from tildawn.units import SECOND, Seq


HELD = "restored"
"""Why a run is held that may have done what nobody can read any more."""

_DETAIL = "what the house did behind this point cannot be read, so calls may have been sent"


class LostCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was sent behind the point of a restore: its last attempt, and what became of it.

    ``effect`` is none, applied or unknown; ``spend`` are millionths of a dollar.
    """

    run: str
    path: str
    seq: Seq
    at: int
    said: CallDispatched
    effect: str = "unknown"
    spend: int = 0


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """What the part of a house that is left did: runs that were accepted in it, and calls."""

    runs: tuple[str, ...]
    calls: tuple[LostCall, ...]


def lost_since(old: Reader, size: int) -> Lost:
    """Read what a house did from a position on.

    Raises:
        TildawnError: a fact cannot be read.
    """
    runs: list[str] = []
    calls: dict[tuple[str, str], LostCall] = {}
    for seq, fact in old.facts(Seq(size - 1), -1):
        if not isinstance(fact, Fact):
            continue
        if isinstance(fact.data, RunAccepted):
            runs.append(fact.run)
        place = (fact.run, fact.path)
        if isinstance(fact.data, CallDispatched):
            before = calls.get(place)
            calls[place] = LostCall(
                run=fact.run, path=fact.path, seq=seq, at=fact.at, said=fact.data,
                spend=before.spend if before else 0,
            )  # fmt: skip
        elif place in calls:
            calls[place] = _followed(calls[place], fact)
    return Lost(runs=tuple(runs), calls=tuple(calls.values()))


def _followed(call: LostCall, fact: Fact) -> LostCall:
    said, change = fact.data, msgspec.structs.replace
    if isinstance(said, CallSettled):
        return change(call, effect=said.effect, spend=call.spend + said.spend_micro_usd)
    if isinstance(said, CallLookedUp):
        known = {"found": "applied", "absent": "none"}
        return change(call, effect=known.get(said.answer, "unknown"))
    if isinstance(said, CallResolved):
        known = {"applied": "applied", "not-applied": "none"}
        return change(call, effect=known.get(said.choice, "unknown"))
    return change(call, effect="unknown") if isinstance(said, CallDoubted) else call


def carry(ground: Ground) -> Sequence[Entry]:
    """What must follow a restore.

    A call that must never be repeated, and that may have happened since, is put on record as
    sent: its run finds it as it would after a crash, and looks it up or is held for its owner.
    Calls that are safe or keyed are made again; keyed ones under the same key.
    Where nobody can read what happened, every unfinished run is held.

    Raises:
        TildawnError: the house cannot be read.
    """
    # HOLE: money that was spent since is in no budget of the house that went back; the plan of
    # the restore says how much.
    if ground.old is None:
        return [entry for row in _unfinished(ground.new) for entry in _held(ground.drafts, row)]
    calls = lost_since(ground.old, ground.size).calls
    return [
        _sent(ground.drafts, ground.old, call) for call in calls if must_follow(ground.new, call)
    ]


def must_follow(new: Reader, call: LostCall) -> bool:
    """Whether a call of the part that is left must be on record in the house that went back.

    Raises:
        TildawnError: the house cannot be read.
    """
    if call.said.repeat != "never" or call.effect == "none":
        return False
    run, row = new.get(RunRow, call.run), new.get(CallRow, call.run, call.path)
    if run is None or run.state in ENDED:
        return False
    if row is None or row.state in {"ready", "unknown"}:
        return True
    # Under way already then: the house that went back doubts it by itself.
    return row.state == "settled" and may_begin_anew(row, run)


def _sent(drafts: Drafts, old: Reader, call: LostCall) -> Entry:
    what = _payload(drafts, old, call, 0) if call.said.what else None
    about = _payload(drafts, old, call, 1) if call.said.about else None
    said = msgspec.structs.replace(
        call.said, what=what.digest if what else "", about=about.digest if about else ""
    )
    return drafts.draft(said, run=call.run, path=call.path, payloads=(what, about))


def _payload(drafts: Drafts, old: Reader, call: LostCall, slot: int) -> Payload | None:
    try:
        return drafts.payload(old.payload(call.seq, slot))
    except (PayloadErased, UnknownName):
        return None  # it was erased; the call is on record without its words


def _unfinished(new: Reader) -> Iterator[RunRow]:
    states = "state IN ('queued', 'scheduled', 'running', 'waiting')"
    yield from new.rows(RunRow, states, ())


def _held(drafts: Drafts, row: RunRow) -> list[Entry]:
    text = drafts.payload(msgspec.json.encode(_DETAIL))
    data = RunHeld(why=HELD, detail=text.digest, choices=PAUSED_CHOICES)
    return [drafts.draft(data, run=row.run, payloads=(text,))]


def point_of(text: str, zone: str) -> Point:
    """Where to go back to, as it is typed.

    Args:
        text: ``latest``, a number of facts, or an ISO 8601 time.
        zone: of a time that names none.

    Raises:
        Misused: it is none of these.
    """
    if text == "latest":
        return Point()
    if text.isdecimal():
        return Point(size=int(text))
    try:
        at = datetime.fromisoformat(text)
        local = at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(zone))
    except (ValueError, ZoneInfoNotFoundError) as error:
        message = f"{text!r} is neither latest, nor a number of facts, nor a time"
        raise Misused(message, hint='such as --to 1200 or --to "2026-11-20 04:30"') from error
    return Point(at=int(local.timestamp() * SECOND))
