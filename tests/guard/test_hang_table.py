"""Each fault of a provider against each contract of a call, in four outcomes, over real HTTP.

What a call comes to follows from three things: what the fault did in the world, whether doing it
again is harmless, and what the provider does next.  `foretold` says it in a few lines; the door,
the adapter and the simulator have to agree with it.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import pytest

from tildawn.guard.call import Door
from tildawn.guard.request import Absent, Answer, Attempt, Ended, Found, Hold, Later
from tildawn.guard.retry import RULES
from tildawn.ledger.verdict import State
from tildawn.providers.dialect import dialect
from tildawn.providers.http import HttpRequest, send
from tildawn.providers.openai_compatible import OpenAiCompatible
from tildawn.providers.port import ChatRequest, ImageRequest, Message, Wire
from tildawn.providers.sim.meter import Meter
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse
from tildawn.providers.sim.script import Asked, Hang, Script
from tildawn.providers.sim.server import SimServer
from tildawn.providers.wire import Wires
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


LIMIT, RESERVE = Micros(30 * SECOND), 25_000


class Row(NamedTuple):
    """A fault: as the simulator is told, what it is to us, and what it did."""

    fault: str
    kind: str
    effect: str
    #: Whether the provider did the work, and billed it.
    worked: bool
    #: Whether it goes on until somebody's patience ends.
    stuck: bool = False
    image: bool = False
    #: How many requests it befalls before the provider goes over to the outcome.
    burst: int = 1


ROWS = {
    "hang before headers": Row("kind = 'hang'", "timeout", "unknown", worked=False, stuck=True),
    "accept, then hang": Row(
        "kind = 'accept-then-hang'", "timeout", "unknown", worked=True, stuck=True
    ),
    "drip": Row("kind = 'drip', every = '1s'", "timeout", "unknown", worked=True, stuck=True),
    "late answer": Row(
        "kind = 'late', delay = '65s'", "timeout", "unknown", worked=True, stuck=True
    ),
    "cut in the body": Row("kind = 'cut'", "network", "unknown", worked=True),
    "reset": Row("kind = 'reset'", "network", "unknown", worked=False),
    "429, seconds": Row("kind = 'rate'", "rate", "none", worked=False),
    "429, date": Row("kind = 'rate', spelling = 'date'", "rate", "none", worked=False),
    "429, milliseconds": Row("kind = 'rate', spelling = 'ms'", "rate", "none", worked=False),
    "burst of 503": Row("kind = 'server'", "server", "unknown", worked=False, burst=2),
    "empty address": Row(
        "kind = 'empty-url'", "invalid_answer", "unknown", worked=True, image=True
    ),
    "broken JSON": Row("kind = 'malformed'", "invalid_answer", "unknown", worked=True),
}

OUTCOMES = {
    "answered": "",
    "refused": "kind = 'refused'",
    "timed out": "kind = 'hang'",
    "aborted": "",
}
"""What the provider does to every request after the fault; an abort is the caller's doing."""

CONTRACTS = ("safe", "keyed", "never", "never, with a lookup")


class Foretold(NamedTuple):
    """What a call comes to: its fault, empty for an answer, or ``held``; and on the way there."""

    end: str
    requests: int
    #: How often the work was done and billed.
    works: int
    #: Attempts of which nobody knew at their end what they had done.
    unknown: int


class Struck(NamedTuple):
    """What a request comes to."""

    kind: str
    effect: str
    worked: bool
    left: bool = False


def struck(row: Row, outcome: str, request: int) -> Struck:
    """What becomes of a request, by its number."""
    left = outcome == "aborted" and request == (1 if row.stuck else row.burst + 1)
    if request <= row.burst:
        return Struck(row.kind, row.effect, row.worked, left)
    if outcome == "timed out" or left:
        return Struck("timeout", "unknown", worked=False, left=left)
    if outcome == "refused":
        return Struck("refused_content", "none", worked=False)
    return Struck("", "applied", worked=True)


def foretold(row: Row, contract: str, outcome: str) -> Foretold:
    """Follow the rules by hand."""
    requests = works = unknown = spent = 0
    done = False
    while True:
        requests += 1
        what = struck(row, outcome, requests)
        works += what.worked and not (done and contract == "keyed")
        done |= what.worked
        unknown += what.effect == "unknown"
        doubtful = what.effect == "unknown" and contract.startswith("never")
        if doubtful and contract == "never":
            return Foretold("held", requests, works, unknown)
        if what.effect == "applied" or (doubtful and done):
            return Foretold("", requests, works, unknown)
        # A refusal that says how long to wait costs no retry: nobody tried anything.
        spent += what.kind != "rate"
        tries = RULES[what.kind].tries if what.kind in RULES else 1
        if not what.left and spent >= tries:
            return Foretold(what.kind, requests, works, unknown)


class WatchedClock(ManualClock):
    """A test's clock as the simulator sees it, which knows whether the simulator waits."""

    def __init__(self, clock: ManualClock) -> None:
        self._real = clock
        self.waiting = 0

    def wall(self) -> Micros:
        """See `Clock.wall`."""
        return self._real.wall()

    def mono(self) -> Micros:
        """See `Clock.mono`."""
        return self._real.mono()

    async def sleep(self, wait: Micros) -> None:
        """See `Clock.sleep`."""
        self.waiting += 1
        try:
            await self._real.sleep(wait)
        finally:
            self.waiting -= 1


class WatchedModel(SimModel):
    """A simulator that knows whether it will ever answer the last request."""

    hangs = False

    def script(self, asked: Asked, *, now: Micros) -> Script:
        """See `SimModel.script`."""
        made = super().script(asked, now=now)
        self.hangs = any(isinstance(action, Hang) for action in made)
        return made


class Outside:
    """The provider as a call sees it, and how far the call has got."""

    def __init__(self, row: Row, outcome: str, clock: ManualClock) -> None:
        self.row = row
        self.outcome = outcome
        self.clock = WatchedClock(clock)
        self.wires = Wires(clock=clock)
        self.path = "/v1/images/generations" if row.image else "/v1/chat/completions"
        self.url = ""
        self.model = WatchedModel(scenario=parse(self.scenario()))
        #: Attempts begun, attempts and lookups under way.
        self.begun = self.going = self.looking = 0

    def scenario(self) -> str:
        """The fault, and then what follows."""
        row, after = self.row, OUTCOMES[self.outcome]
        nth = f"{row.burst + 1}-"
        if self.outcome == "aborted" and not row.stuck:
            after, nth = "kind = 'hang'", f"{row.burst + 1}"
        rules = [(f"1-{row.burst}", row.fault), *([(nth, after)] if after else [])]
        return "".join(
            f"[[rule]]\npath = '/v1/'\nnth = '{nth}'\nfault = {{ {fault} }}\n"
            for nth, fault in rules
        )

    @property
    def requests(self) -> int:
        """How many have reached the provider."""
        return self.model.meter.by_path.get(self.path, 0)

    @property
    def stuck(self) -> bool:
        """Whether nothing but time can move the attempt under way."""
        return self.model.hangs or self.clock.waiting > 0

    async def perform(self, attempt: Attempt) -> Answer:
        """Ask for a text or a picture."""
        self.begun += 1
        self.going += 1
        try:
            return await self._perform(attempt)
        finally:
            self.going -= 1

    async def _perform(self, attempt: Attempt) -> Answer:
        wire = attempt.wire = Wire()
        spoken = msgspec.structs.replace(dialect("sim"), image_format="url")
        host = OpenAiCompatible(spoken, wires=self.wires, key="sim", base_url=self.url + "/v1")
        if self.row.image:
            asked = ImageRequest(model="sim-image", prompt="mug", size="32x32")
            bill = (await host.image(asked, idempotency_key=attempt.key, wire=wire)).bill
        else:
            words = ChatRequest(model="sim-chat", messages=(Message("user", "mug"),))
            bill = (await host.chat(words, idempotency_key=attempt.key, wire=wire)).bill
        assert bill.cost is not None
        return Answer(value=b'"done"', spend=bill.cost, spend_source="reported")

    async def lookup(self, attempt: Attempt) -> Found | Absent:
        """Ask the provider what it has done; it has one customer."""
        self.looking += 1
        try:
            request = HttpRequest(method="GET", url=f"{self.url}/sim/meter")
            got = await send(request, wires=self.wires, idempotency_key=attempt.key)
            done = msgspec.json.decode(got.body, type=Meter).answers
            return Found(value=b'"done"') if done else Absent()
        finally:
            self.looking -= 1

    async def drive(self, s: Any, call: "asyncio.Task[Any]") -> None:
        """Let time pass whenever nothing but time can change anything."""
        while not call.done():
            await s.settle()
            on_its_way = self.looking or (
                self.going and (self.requests < self.begun or not self.stuck)
            )
            due = s.clock.next_due()
            if not call.done() and not on_its_way and due is not None:
                s.clock.advance(due)

    async def until_asked(self, s: Any, times: int, call: "asyncio.Task[Any]") -> bool:
        """Drive until so many requests have come; False if the call ends before that."""
        while self.requests < times and not call.done():
            await s.settle()
            due = s.clock.next_due()
            quiet = not (self.going or self.looking) or (self.stuck and self.requests == self.begun)
            if quiet and due is not None and self.requests < times:
                s.clock.advance(due)
        await s.settle()
        return not call.done()


@contextmanager
def told(what: str) -> Generator[None]:
    """Say which outcome it was that went wrong."""
    try:
        yield
    except AssertionError as error:
        error.add_note(what)
        raise


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_what_a_fault_did_and_the_contract_decide_what_a_call_comes_to(
    play: Any, house: Any, row: Row, contract: str
) -> None:
    """A night is full of these, and each wrong cell is a second bill, a lost answer or a hang."""

    async def scene(s: Any) -> None:
        # Without the breaker: it is no part of the contract, and would have calls wait for it.
        s.doors.append(s.door)
        s.door = Door(house.ledger, s.clock, s.door._means.rng, environment="off")
        for outcome in OUTCOMES:
            with told(outcome):
                await one(s, house, Outside(row, outcome, s.clock), contract)

    play(scene)
    assert State.PROVEN == house.verdict().state, house.verdict()


async def one(s: Any, house: Any, out: Outside, contract: str) -> None:
    """One call, to its end or to its owner; then everybody's books."""
    row, outcome = out.row, out.outcome
    then = foretold(row, contract, outcome)
    async with SimServer(out.model, clock=out.clock) as server:
        out.url = server.url
        out.model._idempotency = contract == "keyed"
        try:
            verdict = await ended(s, out, contract)
        finally:
            await out.wires.aclose()
        assert isinstance(verdict, Hold if then.end == "held" else Ended)
        facts = [fact for fact in house.facts() if fact.path == outcome]
        sent = [fact for fact in facts if fact.kind == "CallDispatched"]
        assert (out.requests, len(sent)) == (then.requests, then.requests)
        ends = [fact.data for fact in facts if fact.kind == "CallSettled"]
        if then.end != "held":
            assert (ends[-1].final, ends[-1].fault) == (True, then.end)
        open_ends = [end for end in ends if end.fault and end.spend_micro_usd >= 0]
        assert sum(end.effect == "unknown" for end in open_ends[: then.requests]) == then.unknown
        assert out.model.meter.answers == then.works
        money(house.budget(outcome), out.model.meter.billed_micro_usd, then, row)
        if row.stuck or (outcome in {"timed out", "aborted"} and then.requests > row.burst):
            await server.until(lambda model: model.meter.disconnects > 0)


async def ended(s: Any, out: Outside, contract: str) -> Any:
    """Make the call as the engine does: again when it is due, and again after an abort."""
    leaves = out.outcome == "aborted"
    while True:
        request = s.house.request(
            out, path=out.outcome, route=f"sim:{out.outcome}", repeat=contract.partition(",")[0],
            lookup=out.lookup if "lookup" in contract else None, timeout=LIMIT,
            deadline=Micros(600 * SECOND), reserve=RESERVE, budgets=(out.outcome,),
        )  # fmt: skip
        call = asyncio.create_task(s.door.call(request, s.ear))
        s.begun.append(call)
        place = 1 if out.row.stuck else out.row.burst + 1
        if leaves and await out.until_asked(s, place, call):
            leaves = False
            call.cancel()
            await asyncio.wait({call})
            assert call.cancelled()
            continue
        await out.drive(s, call)
        verdict = call.result()
        if not isinstance(verdict, Later):
            return verdict
        s.clock.advance(Micros(max(verdict.due - s.clock.wall(), 0)))


def money(budget: Any, billed: int, then: Foretold, row: Row) -> None:
    """What we have committed covers what was billed, and no attempt more than its reservation."""
    committed = budget.spent + getattr(budget, "held", 0)
    assert budget.reserved == 0
    assert billed <= committed <= then.requests * RESERVE
    if not then.unknown:
        assert committed == billed
