"""A bad hour of a provider, said by hand into a real ledger: attempts, outages, what was served.

What it is not: a guard.  Nothing here decides; it writes what a guard would have written, so
that reports, levels and explanations can be looked at without waiting for a provider to die.
"""

from collections.abc import Sequence

from tildawn.facts.call import CallDispatched, CallServed, CallSettled
from tildawn.facts.fact import FactData
from tildawn.facts.route import RouteChecked, RouteHeard, RouteTurned
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.projections.traffic import PROBES
from tildawn.testing.clock import ManualClock
from tildawn.units import MILLISECOND, SECOND, Micros


class History:
    """What happened on one route, in the order in which it is said."""

    def __init__(
        self,
        ledger: Ledger,
        clock: ManualClock,
        route: str,
        *,
        kind: str = "chat",
        budgets: Sequence[str] = (),
    ) -> None:
        """Begin a history.

        Args:
            ledger: open to write, with the projections of routes and calls.
            clock: its clock; attempts take time on it.
            route: the route that is spoken of.
            kind: class of its calls.
            budgets: scopes of every call.
        """
        self.ledger = ledger
        self.clock = clock
        self.route = route
        self.kind = kind
        self.budgets = tuple(budgets)
        self.generation = 0
        self.state = "closed"
        self._calls = 0

    def say(self, data: FactData, *, run: str = "", path: str = "") -> int:
        """Record a fact.

        Returns:
            Its position.

        Raises:
            AssertionError: the ledger refused it.
        """
        answer = self.ledger.append_now([self.ledger.draft(data, run=run, path=path)])
        assert isinstance(answer, Committed), answer
        return answer.first

    def wait(self, seconds: float) -> None:
        """Let time go by.

        Raises:
            Nothing.
        """
        self.clock.advance(Micros(round(seconds * SECOND)))

    def attempt(  # noqa: PLR0913 - a test names what it is about
        self,
        fault: str = "",
        *,
        took: float = 1.0,
        run: str = "1" * 32,
        path: str = "",
        spend: int = 0,
        probe: bool = False,
        would: str = "",
        asked_wait: float = 0,
        limit: float = 60.0,
    ) -> str:
        """One call with one attempt, sent and ended.

        Args:
            fault: a kind of fault, empty for an answer.
            took: seconds.
            run: its run.
            path: its place; a new one when empty.
            spend: millionths of a dollar.
            probe: sent to find out whether the other side is back.
            would: what the guard would have done.
            asked_wait: seconds that the other side asked everybody to wait.
            limit: seconds that it might have taken.

        Returns:
            The path.

        Raises:
            AssertionError: the ledger refused it.
        """
        path = path or f"{self.route}#{self._calls}"
        self._calls += 1
        self.say(
            CallDispatched(
                name=self.kind, route=self.route, attempt=1, key=path, args="a", repeat="safe",
                deadline=0, timeout_ms=round(limit * 1_000), reserve_micro_usd=spend,
                budgets=() if run == PROBES else self.budgets, generation=self.generation, probe=probe, basis="p95",
                would=would, kind=self.kind,
            ),
            run=run, path=path,
        )  # fmt: skip
        self.wait(took)
        self.say(
            CallSettled(
                attempt=1, final=True, effect="none" if fault else "applied", fault=fault,
                spend_micro_usd=spend, spend_source="reported" if spend else "none",
                took_ms=round(took * 1_000), asked_wait_ms=round(asked_wait * 1_000),
            ),
            run=run, path=path,
        )  # fmt: skip
        return path

    def turn(self, state: str, *, cause: str = "", why: str = "", wait: float = 0) -> int:
        """The breaker changes its state.

        Args:
            state: closed, open, probing, ramp or blocked.
            cause: the rule.
            why: its numbers, in words.
            wait: seconds before the next check; 0 for none.

        Returns:
            The position of the fact.

        Raises:
            AssertionError: the ledger refused it.
        """
        was, self.state = self.state, state
        if state in {"open", "blocked"} and was in {"closed", "ramp"}:
            self.generation += 1
        pause = round(wait * SECOND)
        return self.say(
            RouteTurned(
                route=self.route, was=was, state=state, generation=self.generation, cause=cause,
                why=why, due=self.clock.wall() + pause if pause else 0,
                wait_ms=pause // MILLISECOND,
            )
        )  # fmt: skip

    def check(self, *, alive: bool, wait: float = 0) -> None:
        """The other side is asked for a sign of life.

        Args:
            alive: whether it gave one.
            wait: seconds before the next check.

        Raises:
            AssertionError: the ledger refused it.
        """
        pause = round(wait * SECOND)
        self.say(
            RouteChecked(
                route=self.route, generation=self.generation, alive=alive,
                fault="" if alive else "network", due=self.clock.wall() + pause if pause else 0,
                wait_ms=pause // MILLISECOND,
            )
        )  # fmt: skip

    def serve(
        self, tier: str, *, instead: str, took: float = 0.05, run: str = "1" * 32, path: str = ""
    ) -> None:
        """A local tier answers in place of the route.

        Args:
            tier: its name.
            instead: why nothing above it served.
            took: seconds from the decision.
            run: its run.
            path: its place; a new one when empty.

        Raises:
            AssertionError: the ledger refused it.
        """
        path = path or f"{self.route}#{self._calls}"
        self._calls += 1
        self.wait(took)
        self.say(
            CallServed(
                name=self.kind, route=self.route, args="a", tier=tier, instead=instead, out="",
                took_ms=round(took * 1_000),
            ),
            run=run, path=path,
        )  # fmt: skip

    def overtaken(
        self, fault: str = "", *, took: float = 60.0, probe: bool = False, asked_wait: float = 0
    ) -> None:
        """A local tier answers while an attempt goes on, and then that ends too.

        Args:
            fault: how the attempt ends, empty for an answer.
            took: seconds that it takes.
            probe: sent to find out whether the other side is back.
            asked_wait: seconds that the other side asked everybody to wait.

        Raises:
            AssertionError: the ledger refused it.
        """
        run, path = "1" * 32, f"{self.route}#{self._calls}"
        at = self.say(
            CallDispatched(
                name=self.kind, route=self.route, attempt=1, key=path, args="a", repeat="safe",
                deadline=0, timeout_ms=60_000, budgets=self.budgets, generation=self.generation,
                basis="p95", kind=self.kind, probe=probe,
            ),
            run=run, path=path,
        )  # fmt: skip
        self.serve("exact", instead="late", took=1.5, run=run, path=path)
        self.wait(took - 1.5)
        self.say(
            RouteHeard(
                route=self.route, generation=self.generation, dispatched=at, limit_ms=60_000,
                fault=fault, took_ms=round(took * 1_000),
                asked_wait_ms=round(asked_wait * 1_000),
            )
        )  # fmt: skip

    def outage(self, *, dead: float, longest: float = 60.0) -> None:
        """Three timeouts, open, free checks until it answers, one paid test, ramp, closed.

        Args:
            dead: seconds for which the other side is dead after it opened.
            longest: seconds between two checks at most.

        Raises:
            AssertionError: the ledger refused it.
        """
        for _ in range(3):
            self.attempt("timeout", took=60.0)
        wait = 5.0
        why = "the last 3 attempts got no answer in time"
        self.turn("open", cause="timeouts-in-a-row", why=why, wait=wait)
        spent = 0.0
        while spent + wait < dead:
            self.wait(wait)
            spent, wait = spent + wait, min(wait * 2, longest)
            self.check(alive=False, wait=wait)
        self.wait(wait)
        self.check(alive=True)
        self.turn("probing", cause="alive", why="it gave a sign of life")
        self.attempt(run=PROBES, probe=True, took=2.0, spend=11_000)
        self.turn("ramp", cause="proven", why="an attempt was answered")
        for _ in range(2):
            self.attempt(took=2.0)
        self.turn("closed", cause="proven", why="3 attempts in a row were answered")
