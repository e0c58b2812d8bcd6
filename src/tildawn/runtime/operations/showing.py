"""One run in full: what it was asked, how it stands, what it did, and what it waits for.

What it is not: a judgement; reports judge.
"""

import msgspec

from tildawn.errors import PayloadErased, UnknownName
from tildawn.facts.fact import Fact, RawFact
from tildawn.ledger.reader import Reader
from tildawn.projections.call import CallRow
from tildawn.projections.run import RunRow
from tildawn.projections.tally import calls_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.listing import RunLine, line_of
from tildawn.runtime.operations.naming import run_meant
from tildawn.units import Seq
from tildawn.watch.waits import wait_of
from tildawn.watch.words import Times


HISTORY_MOST = 200
"""Facts of a run that are shown, the last ones; the ledger has them all."""

TEXT_MOST = 4_000
"""Longest text of a payload beside a fact."""


class ShowInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which run."""

    run: str


class FactLine(msgspec.Struct, frozen=True, kw_only=True):
    """One fact of a run; ``text`` is what its payloads say, cut where it is long."""

    seq: int
    at: int
    kind: str
    path: str
    text: str


class CallLine(msgspec.Struct, frozen=True, kw_only=True):
    """One call; amounts are millionths of a US dollar."""

    path: str
    name: str
    route: str
    state: str
    attempts: int
    #: Empty for an answer.
    fault: str
    effect: str
    spend_micro_usd: int
    assumed_micro_usd: int
    reserved_micro_usd: int
    #: Kept for attempts of which nobody knows what became.
    held_micro_usd: int
    key: str
    #: Who or what answered in place of the primary, and why; empty for the primary.
    tier: str
    instead: str
    sent_at: int
    ended_at: int
    seq: int


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One run; ``input`` and ``result`` are JSON, null where there is none."""

    run: RunLine
    priority: int
    lane: str
    failures: int
    deaths: int
    parent: str
    row: int
    budgets: tuple[str, ...]
    cancel_asked: bool
    input: msgspec.Raw
    result: msgspec.Raw
    #: What it last stumbled over, or why it is held.
    trouble: str
    choices: tuple[str, ...]
    call_path: str
    #: For which route it waits, until when and why; empty where it does not wait for one.
    wait: str
    calls: tuple[CallLine, ...]
    children: tuple[RunLine, ...]
    facts: tuple[FactLine, ...]
    facts_total: int


_NULL = msgspec.Raw(b"null")
_ERASED = msgspec.Raw(b'{"erased":true}')
_TROUBLE = frozenset({"RunHeld", "RunFailed", "RunRetried"})


async def _show(desk: Desk, given: ShowInput) -> Shown:
    with desk.house.ledger.read() as reader:
        row = run_meant(reader, given.run)
        history = list(reader.facts(run=row.run, limit=-1))
        children = reader.rows(
            RunRow, "parent = ? AND parent <> ''", (row.run,), order="accepted", limit=HISTORY_MOST
        )
        return Shown(
            run=line_of(reader, row),
            priority=row.priority,
            lane=row.lane,
            failures=row.failures,
            deaths=row.deaths,
            parent=row.parent,
            row=row.row,
            budgets=tuple(part for part in row.budgets.split("\n") if part),
            cancel_asked=bool(row.cancel_asked),
            input=_payload(reader, Seq(row.args_at), 0),
            result=_result(reader, history),
            trouble=_trouble(reader, history) if row.state != "done" else "",
            choices=tuple(part for part in row.choices.split("\n") if part),
            call_path=row.call_path,
            wait=_wait(reader, row, desk),
            calls=tuple(_call(call) for call in calls_of(reader, row.run)),
            children=tuple(line_of(reader, child) for child in children),
            facts=tuple(fact_line(reader, seq, fact) for seq, fact in history[-HISTORY_MOST:]),
            facts_total=len(history),
        )


def _wait(reader: Reader, row: RunRow, desk: Desk) -> str:
    times = Times(desk.house.settings.house.zone, begins_at=desk.clock.wall())
    wait = wait_of(reader, row, times)
    return "" if wait is None else wait.words


def fact_line(reader: Reader, seq: Seq, fact: Fact | RawFact) -> FactLine:
    """One fact as a line.

    Raises:
        LedgerBroken: a payload cannot be read.
    """
    said: list[str] = []
    if isinstance(fact, Fact):
        names = type(fact.data).PAYLOADS
        said = [_text(reader, seq, slot) for slot, name in enumerate(names)
                if getattr(fact.data, name)]  # fmt: skip
    text = " ".join(said)
    cut = text if len(text) <= TEXT_MOST else text[:TEXT_MOST] + "…"
    return FactLine(seq=seq, at=fact.at, kind=fact.kind, path=fact.path, text=cut)


def _text(reader: Reader, seq: Seq, slot: int) -> str:
    return bytes(_payload(reader, seq, slot)).decode("utf-8", "replace")


def _payload(reader: Reader, seq: Seq, slot: int) -> msgspec.Raw:
    try:
        return msgspec.Raw(reader.payload(seq, slot))
    except PayloadErased:
        return _ERASED
    except UnknownName:
        return _NULL


def _result(reader: Reader, history: list[tuple[Seq, Fact | RawFact]]) -> msgspec.Raw:
    ended = [seq for seq, fact in history if fact.kind == "RunDone"]
    return _payload(reader, ended[-1], 0) if ended else _NULL


def _trouble(reader: Reader, history: list[tuple[Seq, Fact | RawFact]]) -> str:
    found = [seq for seq, fact in history if fact.kind in _TROUBLE]
    if not found:
        return ""
    raw = _text(reader, found[-1], 0)
    try:
        said = msgspec.json.decode(raw, type=_ErrorSaid | str)
    except msgspec.DecodeError:
        return raw
    if isinstance(said, str):
        return said
    return f"{said.type}: {said.message}" if said.type else said.message


class _ErrorSaid(msgspec.Struct, frozen=True):
    """The part of a recorded error that a person reads first."""

    message: str
    type: str = ""


def _call(row: CallRow) -> CallLine:
    return CallLine(
        path=row.path, name=row.name, route=row.route, state=row.state, attempts=row.attempt,
        fault=row.fault, effect=row.effect, spend_micro_usd=row.spend,
        assumed_micro_usd=row.assumed, reserved_micro_usd=row.reserve, held_micro_usd=row.held,
        key=row.key, tier=row.tier, instead=row.instead, sent_at=row.sent_at,
        ended_at=row.ended_at, seq=row.state_at,
    )  # fmt: skip


SHOW = Operation(
    name="show", input=ShowInput, output=Shown, effect=Effect.READ, permission=Permission.LOOK,
    run=_show,
    help="Show one run: its calls, its trouble, its facts, and what may be answered.",
)  # fmt: skip
