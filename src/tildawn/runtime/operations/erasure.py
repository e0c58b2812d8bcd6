"""What is asked of a house about a person: to forget them.

What it is not: how; `tildawn.runtime.erasure` does it.
"""

import asyncio
import re

import msgspec

from tildawn.engine.owner import subject_digest
from tildawn.errors import Busy, Misused, UnknownName
from tildawn.ledger.erasure import unfinished
from tildawn.projections.erasure import runs_of
from tildawn.runtime.erasure import BEYOND, Scope, erase_everywhere, refuse_open_nights, scope_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.naming import run_meant
from tildawn.runtime.remains import rows_about
from tildawn.runtime.snapshot import Keeper


class EraseInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom or which run; ``reason`` is a word, as it stays on record for ever."""

    subject: str = ""
    run: str = ""
    reason: str = "asked"
    plan: bool = False
    cancel: bool = False


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, or would be."""

    done: bool
    runs: int
    payloads: int
    blobs: int
    #: Nights whose kept rows went too.
    nights: int
    #: What else was removed, such as reports and snapshots.
    beside: tuple[str, ...]
    #: Numbers of nights whose plan stays, as other runs of them do.
    plans: tuple[int, ...]
    #: Where nothing of ours can erase.
    beyond: tuple[str, ...]


_REASON = re.compile(r"[a-z][a-z-]{0,39}")


async def _erase(desk: Desk, given: EraseInput) -> Erased:
    house = desk.house
    if bool(given.subject) == bool(given.run):
        message = "name either a subject or a run"
        raise Misused(message, hint="tildawn erase SUBJECT, or tildawn erase --run RUN")
    if not _REASON.fullmatch(given.reason):
        message = "a reason is a word such as asked or leaked; it can never be erased itself"
        raise Misused(message)
    subject = subject_digest(house.ledger, given.subject) if given.subject else ""
    scope = _scope(desk, given, subject)
    if given.plan:
        return _said(scope, (), done=False)
    if scope.open and given.cancel:
        for run in scope.open:
            await house.owner.cancel(run, "erased")
        scope = _scope(desk, given, subject)
        if scope.open:
            message = f"{len(scope.open)} runs were asked to stop and have not ended yet"
            raise Busy(message, hint="let them end (tildawn up), then try again")
    if scope.open:
        message = f"{len(scope.open)} of {len(scope.runs)} runs have not ended"
        raise Misused(message, hint="wait, or add --cancel")
    keeper = Keeper(house.folder, house.settings, desk.clock)
    with house.ledger.read() as reader:
        refuse_open_nights(reader, scope.nights)
    beside = await asyncio.to_thread(
        erase_everywhere, house.ledger, house.folder, scope, keeper, subject=subject,
        why=given.reason,
    )  # fmt: skip
    return _said(scope, beside, done=True)


def _scope(desk: Desk, given: EraseInput, subject: str) -> Scope:
    with desk.house.ledger.read() as reader:
        runs = [run_meant(reader, given.run).run] if given.run else runs_of(reader, subject)
        about = rows_about(desk.house.ledger, reader, given.subject) if given.subject else []
        if not runs and not about and not unfinished(desk.house.folder):
            message = "no run was accepted for that subject"
            raise UnknownName(message, hint="tildawn runs; subjects are kept as digests only")
        return scope_of(reader, runs, about=about)


def _said(scope: Scope, beside: tuple[str, ...], *, done: bool) -> Erased:
    return Erased(
        done=done, runs=len(scope.runs), payloads=len(scope.going.ids),
        blobs=len({blob for blob, _ in scope.going.uses}), nights=len(scope.nights),
        beside=beside,
        plans=tuple(row.number for row in scope.ending.staying), beyond=BEYOND,
    )  # fmt: skip


ERASE = Operation(
    name="erase", input=EraseInput, output=Erased, effect=Effect.WRITE,
    permission=Permission.OWN, run=_erase,
    help="Erase what is kept of a person or of a run; the ledger still verifies.",
)  # fmt: skip
