"""Work whose calls are turned away begins no more runs, and other work goes on.

What it is not: about the rules that turn calls away; those are the guard's.
"""

import asyncio
from typing import Any

import pytest

from tildawn.engine import port
from tildawn.engine.pressure import Pressure
from tildawn.engine.task import task
from tildawn.facts.call import CallServed
from tildawn.runtime.context import Context
from tildawn.units import SECOND, Micros


class Outside:
    """The other side of calls: shut, or open and answering at once."""

    def __init__(self, workshop: Any) -> None:
        self.workshop = workshop
        self.shut = True
        #: The runs that asked, in order.
        self.asked: list[str] = []

    async def perform(self, ticket: port.Ticket, final: port.Final) -> port.Verdict:
        """Turn it away for a minute, or answer."""
        self.asked.append(ticket.run)
        if self.shut:
            due = Micros(self.workshop.clock.wall() + 60 * SECOND)
            return port.Later(due, "route-open", shared=True)
        ledger = self.workshop.ledger
        payload = ledger.payload(b"1")
        served = CallServed(
            name="ask", route="r", args="", tier="exact", instead="", out=payload.digest
        )
        entry = ledger.draft(served, run=ticket.run, path=ticket.path, payloads=(payload,))
        answer = await ledger.append([entry])
        final(answer.first, entry.fact, b"1")
        return port.Ended()

    async def call(self, ctx: Context) -> None:
        """Ask it."""
        await ctx._asking.call("ask", b"{}", lambda text: text, self.perform)


def work(workshop: Any, outside: Outside) -> Any:
    """Work that asks, and work that does not."""

    @task(name="asks")
    async def asks(ctx: Context) -> None:
        await outside.call(ctx)

    @task(name="plain")
    async def plain(ctx: Context) -> None:
        await ctx.sleep(0)

    for one in (asks, plain):
        workshop.tasks.add(one)
    return asks, plain


def test_no_more_runs_begin_whose_calls_would_be_turned_away(workshop: Any) -> None:
    """A thousand runs that all wait for one provider would fill the memory with waiting."""

    async def story() -> None:
        outside = Outside(workshop)
        asks, plain = work(workshop, outside)
        await workshop.start()
        first = await workshop.enqueue(asks)
        await workshop.settle()
        later = [await workshop.enqueue(asks) for _ in range(5)]
        other = await workshop.enqueue(plain)
        await workshop.ended(other)

        assert {first} == set(outside.asked)
        assert ["queued"] * 5 == [workshop.row(run).state for run in later]

        # When it is time, they come one at a time until one is let in; then all do.
        await workshop.tick(61 * SECOND)
        assert 2 == len(set(outside.asked))
        outside.shut = False
        await workshop.tick(61 * SECOND)
        for run in later:
            await workshop.ended(run)
        await workshop.engine.stop()

    asyncio.run(story())


def test_a_queue_that_never_listens_is_noticed(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that cannot fail proves nothing."""
    monkeypatch.setattr(Pressure, "turned_away", lambda *_: None)

    async def story() -> None:
        outside = Outside(workshop)
        asks, _ = work(workshop, outside)
        await workshop.start()
        await workshop.enqueue(asks)
        await workshop.settle()
        for _ in range(5):
            await workshop.enqueue(asks)
        await workshop.settle()
        assert 6 == len(set(outside.asked))
        await workshop.engine.stop()

    asyncio.run(story())
