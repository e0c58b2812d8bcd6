"""Conducts one night: lets work begin, counts what fails, and knows when it is over.

What it is not: the engine.  The engine runs what is accepted; this accepts, opens and shuts.
Whatever it decides it derives from the ledger, so that its successor after a crash goes on.
"""

import asyncio
from enum import StrEnum
from typing import cast

import msgspec

from tildawn.apps.night.acceptance import task_at, task_refs
from tildawn.apps.night.copies import Kept
from tildawn.apps.night.desk import Desk
from tildawn.apps.night.expansion import Expansion
from tildawn.apps.night.names import AFTER, ASK, check_queue
from tildawn.apps.night.news import Announce, News
from tildawn.apps.night.progress import AT_REST, ItemState, Progress, load_progress
from tildawn.apps.night.settling import Settling
from tildawn.apps.night.stopping import Rule
from tildawn.facts.call import CallError, CallRefused
from tildawn.facts.fact import FactData
from tildawn.facts.night import ItemSkipped, NightClosed, NightOpened, NightParked, NightStopped
from tildawn.facts.plan import Stop
from tildawn.projections.night import NightRow
from tildawn.projections.run import RunRow
from tildawn.runtime.operations.naming import label_of
from tildawn.units import SECOND, Micros, Seq


CHECKS_AT_ONCE = 16
"""Looks that go on at once; each may ask a server of the user's."""

LEAVING = Micros(5 * SECOND)
"""How long what is under way may still take when we are asked to leave: half of the ten seconds
within which a worker has to be gone."""

CLOSING = Micros(600 * SECOND)
"""The same at the end of the window: as long as a program may take that the plan bounds not."""

NEVER = Micros(0)
"""The instant that does not come."""

_NOT_YET = Seq(2**62)

_REST = frozenset({"RunDone", "RunFailed", "RunHeld", "RunCancelled", "RunRetried", "RunAnswered"})


class Outcome(StrEnum):
    """How the work on a night ended this time."""

    DONE = "done"
    FAILED = "failed"
    WAITS = "waits"
    STOPPED = "stopped"
    WINDOW = "window"
    LEFT = "left"


class End(msgspec.Struct, frozen=True):
    """The outcome, and the rule of a stop or a reason."""

    outcome: Outcome
    why: str = ""


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """How a night is conducted."""

    #: Runs that are accepted and have not ended: enough to keep every gate busy.
    admitted: int = 256
    #: Runs of an item at once where the plan does not say.
    concurrency: int = 8
    #: A supervisor started this process again: nobody asked a stopped night to go on.
    restarted: bool = False


class Conductor:
    """The work on one night, in the process that holds the pen."""

    def __init__(
        self, desk: Desk, night: str, *, conduct: Conduct, leave: asyncio.Event, announce: Announce
    ) -> None:
        """Take an accepted night.

        Args:
            desk: the house.
            night: its name.
            conduct: how.
            leave: set when this process is asked to go.
            announce: told what happens.
        """
        self._desk = desk
        self._night = night
        self._conduct = conduct
        self._leave = leave
        self._announce = announce
        self._kept: Kept = desk.copies.of(night)
        self._expansion = Expansion(desk, self._kept, concurrency=conduct.concurrency)
        self._changed = asyncio.Event()
        self._alarm: Micros | None = None
        self._progress: Progress = cast("Progress", None)
        self._settling: Settling = cast("Settling", None)
        self._stopped: Rule | None = None
        #: What settled from this position on is heard; what settled before is in the tables.
        self._loaded = _NOT_YET

    async def run(self, *, opens: Micros, closes: Micros, report_at: Micros) -> End:
        """Work until the night is over, or has to pause.

        Args:
            opens: nothing begins before this instant.
            closes: nothing begins after it; 0 for never.
            report_at: kept with the opening.

        Returns:
            How it ended; the facts that say so are on record.

        Raises:
            TildawnError: the ledger takes nothing.
        """
        engine = self._desk.engine
        engine.on_rest.append(self._rested)
        engine.on_tick.append(self._ticked)
        leaving = asyncio.ensure_future(self._watch_leaving())
        try:
            return await self._run(opens, closes, report_at)
        finally:
            leaving.cancel()
            engine.on_rest.remove(self._rested)
            engine.on_tick.remove(self._ticked)

    async def _run(self, opens: Micros, closes: Micros, report_at: Micros) -> End:
        for ref in task_refs(self._kept.plan):
            self._desk.engine.tasks.add(task_at(self._kept.folder, ref))
        row = self._load()
        if row.state == "stopped" and self._conduct.restarted:
            return await self._finish_stopped(Rule(row.rule, row.rule_count))
        if not await self._opened(opens):
            return await self._park("signal", Outcome.LEFT)
        again = NightOpened(night=self._night, closes=closes, report_at=report_at)
        await self._append(again)
        self._say("opened", until=closes)
        return await self._work(closes)

    def _load(self) -> NightRow:
        with self._desk.ledger.read() as reader:
            size = reader.head().size
            row = cast("NightRow", reader.get(NightRow, self._night))
            self._progress = load_progress(reader, row, self._kept.plan)
        self._settling = Settling(self._desk, self._kept, self._progress)
        self._loaded = size
        return row

    # -- waiting -----------------------------------------------------------------------------

    def _rested(self, run: str, kind: str, seq: Seq) -> None:
        """Called before the engine looks for the next run, so that a rule that is met holds."""
        if kind in _REST and seq >= self._loaded:
            self._hear(run, kind, seq)
            if self._rule() is not None:
                self._shut()
            self._changed.set()

    def _ticked(self) -> None:
        if self._alarm is not None and self._desk.clock.wall() >= self._alarm:
            self._alarm = None
            self._changed.set()

    async def _watch_leaving(self) -> None:
        await self._leave.wait()
        self._changed.set()

    async def _change(self, until: Micros | None = None) -> None:
        """Wait until something settled, an instant has come, or we are to leave."""
        if until is not None and self._desk.clock.wall() >= until:
            return
        self._alarm = until
        await self._changed.wait()
        self._changed.clear()

    async def _opened(self, opens: Micros) -> bool:
        """Wait for the window; False when we are to leave before."""
        while self._desk.clock.wall() < opens:
            if self._leave.is_set():
                return False
            self._say("waiting", until=opens)
            await self._change(opens)
        return not self._leave.is_set()

    # -- working -----------------------------------------------------------------------------

    async def _work(self, closes: Micros) -> End:
        self._desk.gate(check_queue(self._night), CHECKS_AT_ONCE)
        for state in self._progress.items.values():
            self._expansion.open(state.item)
        while True:
            await self._settle()
            end = await self._ended_early(closes)
            if end is not None:
                return end
            if await self._grow():
                continue
            if self._over():
                return await self._close()
            await self._change(closes or None)

    async def _ended_early(self, closes: Micros) -> End | None:
        """The end that something brings before the work is done, or None."""
        if self._leave.is_set():
            return await self._leave_now()
        rule = self._rule()
        if rule is not None:
            return await self._stop_by(rule)
        if closes and self._desk.clock.wall() >= closes:
            return await self._close_window()
        return None

    def _rule(self) -> Rule | None:
        said = self._kept.said
        stop = Stop(in_a_row=said.stop_in_a_row, total=said.stop_total)
        return self._stopped or self._progress.tally.met(stop)

    async def _grow(self) -> bool:
        """Let more work begin; whether any was accepted or given up."""
        grew = False
        for state in self._progress.items.values():
            if state.skipped or state.expanded >= state.planned:
                continue
            wants = self._progress.wants(state)
            if wants == "wait":
                continue
            if wants != "yes":
                await self._skip(state, wants)
                grew = True
                continue
            room = self._conduct.admitted - self._progress.open
            if room > 0 and await self._expansion.more(state, room):
                self._say("expanded", item=state.item.id)
                grew = True
        return grew

    async def _skip(self, state: ItemState, why: str) -> None:
        await self._append(ItemSkipped(night=self._night, item=state.item.id, why=why))
        state.skipped = True
        self._say("skipped", item=state.item.id, what=why)

    # -- what settled ------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Tell what follows from everything that came to rest."""
        progress = self._progress
        while progress.to_settle or progress.to_judge:
            if progress.to_settle:
                await self._settling.settle(progress.to_settle.pop(0))
            else:
                await self._judge(progress.to_judge.pop(0))

    def _hear(self, run: str, kind: str, seq: Seq) -> None:
        """Take in that a run came to rest or was let go on."""
        with self._desk.ledger.read() as reader:
            row = reader.get(RunRow, run)
        if row is None or row.night != self._night or row.parent:
            return
        if not row.evidence_for:
            self._ran(row, kind, seq)
        elif row.task == ASK:
            self._progress.asked(row)
        elif row.task == AFTER and row.state in AT_REST:
            self._looked(row)

    def _ran(self, row: RunRow, kind: str, seq: Seq) -> None:
        if row.state == "done" and kind != "RunDone":
            return  # An older fact about a run whose end is heard next.
        self._progress.ran(row, seq)
        if row.why == "budget-spent" and self._night_is_spent(row.run):
            self._stopped = Rule("budget")
        if row.state in AT_REST:
            self._say("settled", item=row.item, run=row.run, what=row.state)

    def _looked(self, row: RunRow) -> None:
        if row.evidence_for in self._progress.items[row.item].unjudged:
            self._progress.to_judge.append(row)

    async def _judge(self, look: RunRow) -> None:
        if look.state == "held" and look.task == AFTER:
            await self._desk.owner.cancel(look.run, "its verdict is on record")
        verdict = await self._settling.judge(look)
        if verdict is not None:
            self._say("judged", item=verdict.item, run=verdict.run, what=verdict.what)

    def _night_is_spent(self, run: str) -> bool:
        """Whether it was the night's own budget that said no to a run."""
        with self._desk.ledger.read() as reader:
            for seq, fact in reversed(reader.history(run)):
                if isinstance(fact.data, CallRefused):
                    error = msgspec.json.decode(reader.payload(seq, 0), type=CallError)
                    return error.scope.startswith("night/")
        return False

    # -- the end -----------------------------------------------------------------------------

    def _over(self) -> bool:
        """Whether nothing goes on and nothing can begin without the owner."""
        progress = self._progress
        if any(
            state.open or state.unjudged or state.answering for state in progress.items.values()
        ):
            return False
        return all(
            state.ended or progress.wants(state) == "wait" for state in progress.items.values()
        )

    async def _close(self) -> End:
        states = list(self._progress.items.values())
        if any(state.waits or not state.ended for state in states):
            return await self._park("waits for its owner", Outcome.WAITS)
        outcome = Outcome.DONE if all(state.well for state in states) else Outcome.FAILED
        await self._append(NightClosed(night=self._night, outcome=outcome.value))
        self._say("closed", what=outcome.value)
        return End(outcome)

    async def _stop_by(self, rule: Rule) -> End:
        """A rule says stop: nothing new begins from here on, whatever happens to this process."""
        await self._append(NightStopped(night=self._night, rule=rule.name, count=rule.count))
        self._say("stopped", what=rule.name)
        return await self._finish_stopped(rule)

    async def _finish_stopped(self, rule: Rule) -> End:
        self._shut()
        await self._drain(None)
        return End(Outcome.STOPPED, rule.name)

    async def _close_window(self) -> End:
        self._shut()
        await self._drain(CLOSING)
        if self._over():
            return await self._close()
        return await self._park("window", Outcome.WINDOW)

    async def _leave_now(self) -> End:
        self._shut()
        await self._drain(LEAVING, leaving=True)
        return await self._park("signal", Outcome.LEFT)

    async def _park(self, why: str, outcome: Outcome) -> End:
        await self._append(NightParked(night=self._night, why=why))
        self._say("parked", what=why)
        return End(outcome, why)

    def _shut(self) -> None:
        for state in self._progress.items.values():
            self._expansion.shut(state.item)

    async def _drain(self, at_most: Micros | None, *, leaving: bool = False) -> None:
        """Let what is under way end, and its checks; no longer than is given."""
        clock = self._desk.clock
        until = None if at_most is None else Micros(clock.wall() + at_most)
        self._desk.gate(check_queue(self._night), CHECKS_AT_ONCE)
        while True:
            await self._settle()
            if until is not None and clock.wall() >= until:
                return
            if not self._under_way() or (self._leave.is_set() and not leaving):
                return
            await self._change(until)

    def _under_way(self) -> bool:
        """Whether a run of the night goes on in this process, or a check is still awaited."""
        if any(state.unjudged or state.answering for state in self._progress.items.values()):
            return True
        with self._desk.ledger.read() as reader:
            going = reader.count(RunRow, "state = 'running' AND night = ?", (self._night,))
        residents = self._desk.engine.residents.values()
        return going > 0 or any(one.row.night == self._night for one in residents)

    # -- saying ------------------------------------------------------------------------------

    async def _append(self, data: FactData) -> None:
        await self._desk.ledger.append([self._desk.ledger.draft(data)])

    def _say(self, kind: str, *, item: str = "", run: str = "", what: str = "",
             until: Micros = NEVER) -> None:  # fmt: skip
        states = self._progress.items.values()
        ended = sum(state.expanded - len(state.open) - len(state.unjudged) for state in states)
        news = News(
            kind=cast("News", kind), night=self._night, item=item, run=run, what=what,  # pyright: ignore[reportArgumentType]  # spelled out in `News`
            ended=ended, planned=sum(state.planned for state in states), until=until,
            label=self._label(run) if run else "", zone=self._kept.said.zone,
        )  # fmt: skip
        self._announce(news)

    def _label(self, run: str) -> str:
        with self._desk.ledger.read() as reader:
            row = reader.get(RunRow, run)
            return label_of(reader, row) if row is not None else ""
