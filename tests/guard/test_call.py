"""The door: its order, its commits, the four outcomes of an effect, and who may try again.

What it is not: what happens after a crash; see test_doubt.py and test_crash.py.
"""

import asyncio

import msgspec
import pytest

from tildawn.guard.fault import InvalidAnswer
from tildawn.guard.request import Ended, Later, Stale
from tildawn.guard.retry import RetryPolicy
from tildawn.guard.visit import Visit
from tildawn.units import SECOND, Micros


def test_a_call_that_works_at_once_makes_two_commits(play, house) -> None:
    """Dispatch before anything leaves, settlement after: that is all that success may cost."""
    before = house.ledger.next_seq

    async def scene(s) -> None:
        verdict = await s.call()
        assert Ended(before + 1) == verdict
        data, text = s.ear.only
        assert (data.final, data.effect, data.fault, text) == (True, "applied", "", b'"done"')

    play(scene)
    assert ["CallDispatched", "CallSettled"] == house.kinds()
    assert before + 2 == house.ledger.next_seq
    assert "settled" == house.row().state


def test_the_dispatch_is_on_the_disk_before_the_call_runs(play, house) -> None:
    """A crash after the socket opened must find what was sent."""

    async def scene(s) -> None:
        seen = []

        async def perform(attempt):
            seen.append(house.row().state)
            return s.answer()

        await s.door.call(msgspec.structs.replace(house.request(s.world), perform=perform), s.ear)
        assert ["dispatched"] == seen

    play(scene)


def test_final_is_told_inside_the_callback_of_the_commit(play, house) -> None:
    """The engine delivers records in ledger order, so it must hear of them in that order."""

    async def scene(s) -> None:
        paths = [f"p{n}" for n in range(20)]
        await asyncio.gather(*(s.call(path=path) for path in paths))
        seqs = [seq for seq, _, _ in s.ear.heard]
        assert sorted(seqs) == seqs
        assert 20 == len(seqs)

    play(scene)


def test_every_attempt_carries_the_same_key(play) -> None:
    """The other side recognises the second request only by it."""

    async def scene(s) -> None:
        s.world.script = [s.fault("network"), s.fault("server", status=503), b"1"]
        assert isinstance(await s.drive(s.call(repeat="keyed")), Ended)
        assert 3 == len(s.world.keys)
        assert 1 == len(set(s.world.keys))

    play(scene)


def test_another_run_place_route_or_body_has_another_key(play, house) -> None:
    """One key for two requests would make the other side drop the second."""

    async def scene(s) -> None:
        def key(**fields) -> str:
            request = house.request(s.world, **fields)
            return Visit(house.ledger, request, s.ear, until=Micros(0)).key

        others = [{"run": "2" * 32}, {"path": "q"}, {"route": "shop:delete"}, {"body_digest": "c"}]
        assert 5 == len({key(), *(key(**other) for other in others)})
        assert key() == key(timeout=Micros(1), model="m", what="x")

    play(scene)


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        ("timeout", [2, 4]),
        ("network", [1, 2]),
        ("server", [1, 2]),
        ("invalid_answer", [0]),
        ("not_found", []),
        ("auth", []),
        ("quota", []),
        ("bad_request", []),
        ("refused_content", []),
        ("unknown", []),
        ("made up", []),
    ],
)
def test_each_kind_of_fault_is_tried_as_often_as_its_rule_says(play, house, kind, waits) -> None:
    """Blind retries of auth and quota burn money and accounts; network faults heal."""

    async def scene(s) -> None:
        s.without_breaker()
        s.world.script = [s.fault(kind) for _ in range(9)]
        assert isinstance(await s.drive(s.call()), Ended)
        data, text = s.ear.only
        assert (kind if kind != "made up" else "unknown") == data.fault
        assert data.effect == "unknown"
        assert data.fault == msgspec.json.decode(text)["code"]
        assert len(waits) + 1 == len(s.world.keys)

    play(scene)
    assert waits == house.waits()


def test_a_rate_limit_waits_as_long_as_it_asks(play, house) -> None:
    """Coming back earlier prolongs the ban; longer waits than ten seconds are the engine's."""

    async def scene(s) -> None:
        s.world.script = [
            s.fault("rate", status=429, retry_after=3 * SECOND),
            s.fault("rate", status=429, retry_after=40 * SECOND),
        ]
        later = await s.drive(s.call())
        assert Later(Micros(s.clock.wall() + 44 * SECOND), "rate") == later
        assert "ready" == house.row().state
        assert not s.ear.heard

        assert later == await s.call(), "asked too early, it says the same again"
        s.clock.advance(Micros(44 * SECOND))
        assert isinstance(await s.call(), Ended)

    play(scene)
    # Never earlier than asked: by a tenth later, at this chance.
    assert [3.3, 44] == house.waits()
    # Nor is a try spent on a wait that the other side asks of everybody.
    assert (3, 1, 2) == (house.row().attempt, house.row().tries, house.row().failures)


def test_the_count_of_tries_goes_on_after_a_long_wait(play, house) -> None:
    """A counter in memory would try for ever, five at a time."""

    async def scene(s) -> None:
        s.world.script = [s.fault("rate", status=429) for _ in range(9)]
        verdict = await s.drive(s.call())
        while isinstance(verdict, Later):
            s.clock.advance(Micros(verdict.due - s.clock.wall()))
            verdict = await s.drive(s.call())
        assert isinstance(verdict, Ended)
        assert 5 == len(s.world.keys)

    play(scene)


def test_the_retries_of_a_route_share_one_budget(play, house) -> None:
    """A provider that fails everybody must not be asked three times as often as a healthy one."""

    async def scene(s) -> None:
        s.without_breaker()
        s.world.script = [s.fault("network") for _ in range(20)]
        verdicts = [await s.drive(s.call(path=f"p{n}")) for n in range(4)]
        # Four calls allow the least of three retries: two for the first, one for the second.
        assert [Ended, Later, Later, Later] == [type(verdict) for verdict in verdicts]
        assert "retry-budget" == verdicts[-1].why
        assert 4 + 3 == len(s.world.keys)

        s.clock.advance(Micros(60 * SECOND))
        assert isinstance(await s.drive(s.call(path="p3")), Later), "still used up"
        assert 4 + 3 == len(s.world.keys)
        s.clock.advance(Micros(600 * SECOND))
        s.world.script = []
        assert isinstance(await s.drive(s.call(path="p3")), Ended)

    play(scene)


def test_the_retry_budget_survives_a_new_process(play, house) -> None:
    """A crash loop would otherwise start with a full budget each time."""
    policy = RetryPolicy(budget_least=1)

    async def first(s) -> None:
        s.without_breaker()
        s.world.script = [s.fault("network"), s.fault("auth")]
        assert isinstance(await s.drive(s.call(retry=policy)), Ended)

    async def second(s) -> None:
        s.without_breaker()
        s.world.script = [s.fault("network")]
        verdict = await s.call(path="q", retry=policy)
        assert isinstance(verdict, Later)
        assert "retry-budget" == verdict.why

    play(first)
    house.reopen()
    play(second)


# -- deadlines -----------------------------------------------------------------------------


def test_a_hung_attempt_ends_at_its_timeout_and_its_socket_with_it(play, house) -> None:
    """The hang is the oldest fault of all; the rest of the night must not hang with it."""

    async def scene(s) -> None:
        s.world.script = ["hang", b"2"]
        began = s.clock.mono()
        assert isinstance(await s.drive(s.call()), Ended)
        assert (5 + 2) * SECOND == s.clock.mono() - began
        assert 1 == s.world.ended

    play(scene)
    assert (2, 1, "") == (house.row().attempt, house.row().failures, house.row().fault)


def test_the_deadline_bounds_attempts_and_waits_together(play, house) -> None:
    """Three timeouts of five seconds and their waits are more than the nine that were given."""

    async def scene(s) -> None:
        s.world.script = ["hang", "hang", "hang"]
        began = s.clock.mono()
        assert isinstance(await s.drive(s.call(deadline=Micros(9 * SECOND))), Ended)
        assert 9 * SECOND == s.clock.mono() - began

    play(scene)
    assert ("timeout", 2) == (house.row().fault, house.row().attempt)


def test_a_wait_that_would_outlive_the_deadline_is_not_begun(play, house) -> None:
    """To wait for the end of one's time and then to give up helps nobody."""

    async def scene(s) -> None:
        s.world.script = ["hang"]
        assert isinstance(await s.drive(s.call(deadline=Micros(6 * SECOND))), Ended)
        assert 5 * SECOND == s.clock.mono()

    play(scene)


def test_an_attempt_that_swallows_its_end_is_abandoned_by_name(play, house) -> None:
    """A call ends within its deadline and one second, whatever the code outside does."""

    async def scene(s) -> None:
        s.world.script = ["swallow"]
        call = s.call(deadline=Micros(3 * SECOND), budgets=("night",), reserve=5)
        assert isinstance(await s.drive(call), Ended)
        assert (3 + 1) * SECOND == s.clock.mono()
        [left] = s.door.abandoned()
        assert ("p", "post", 1) == (left.path, left.name, left.attempt)
        assert s.ear.only[0].abandoned

        s.world.go_on.set()
        await s.settle()
        assert not s.door.abandoned()

    house.limit("night", 5)
    play(scene)
    row = house.row()
    assert ("timeout", True) == (row.fault, row.late > row.settled), "no recorded value changes"
    assert (7, 0, 2) == (row.spend, row.assumed, row.overrun), "its bill takes the place"
    assert (7, 0, 2, 1) == tuple(
        getattr(house.budget("night"), name) for name in ("spent", "reserved", "overrun", "stopped")
    )


def test_an_answer_that_comes_while_the_attempt_is_being_ended_counts(play, house) -> None:
    """It reached us, and an answer that reached us is never bought twice."""

    async def scene(s) -> None:
        async def perform(_attempt):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return s.answer(b'"just in time"')

        s.world.perform = perform
        assert isinstance(await s.drive(s.call()), Ended)
        assert b'"just in time"' == s.ear.only[1]

    play(scene)
    assert (1, "") == (house.row().attempt, house.row().fault)


def test_a_timeout_before_anything_was_sent_had_no_effect(play, house) -> None:
    """Only then may a call that must never repeat be made again without asking anybody."""

    async def scene(s) -> None:
        s.world.script = ["hang unsent", b"2"]
        assert isinstance(await s.drive(s.call(repeat="never")), Ended)
        assert 2 == len(s.world.keys)

    play(scene)


# -- cancellation and fences ---------------------------------------------------------------


def test_a_cancelled_call_ends_its_attempt_and_stays_open(play, house) -> None:
    """Parking a night cancels calls; the next start must be able to go on with them."""

    async def scene(s) -> None:
        s.world.script = ["hang", b"2"]
        call = s.call()
        await s.world.started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert 1 == s.world.ended
        assert not s.ear.heard
        assert ("unknown", "cancelled", 0) == (
            house.row().state,
            house.row().fault,
            house.row().tries,
        )
        assert isinstance(await s.call(), Ended)

    play(scene)


def test_a_call_cancelled_while_its_dispatch_commits_sends_nothing(play, house) -> None:
    """The facts of an append are not taken back, so the end must be recorded too."""

    async def scene(s) -> None:
        call = s.call(budgets=("night",), reserve=5)
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not s.world.keys
        assert ("ready", "none") == (house.row().state, house.row().effect)
        assert 0 == house.budget("night").reserved

    house.limit("night", 5)
    play(scene)


def test_a_zombie_is_refused_before_anything_is_sent(play, house) -> None:
    """Two attempts of one run must not act on the world side by side."""

    async def scene(s) -> None:
        stale = house.run_attempt
        house.begin()
        assert Stale() == await s.call(run_attempt=stale)
        assert not s.world.keys

    play(scene)
    assert not house.kinds()


def test_an_answer_of_a_fenced_attempt_is_kept_and_used_by_the_next(play, house) -> None:
    """It changes nothing of the new attempt's order, and an answer is never bought twice."""

    async def scene(s) -> None:
        s.world.script = ["swallow"]
        old = s.call(budgets=("night",), reserve=9)
        await s.world.started.wait()
        house.begin()
        s.world.go_on.set()
        assert Stale() == await old
        assert not s.ear.heard
        assert ("unknown", 7) == (house.row().state, house.row().spend)

        assert isinstance(await s.call(budgets=("night",), reserve=9), Ended)
        assert b'"late"' == s.ear.only[1]
        assert 1 == len(s.world.keys)

    house.limit("night", 9)
    play(scene)
    assert (7, 0) == (house.budget("night").spent, house.budget("night").reserved)


def test_a_new_attempt_of_the_run_ends_what_the_old_one_still_does(play, house) -> None:
    """The same call must not be under way twice, not even while the old one is being ended."""

    async def scene(s) -> None:
        s.world.script = ["hang", b"2"]
        old = s.call()
        await s.world.started.wait()
        house.begin()
        assert isinstance(await s.call(), Ended)
        with pytest.raises(asyncio.CancelledError):
            await old
        assert 1 == s.world.ended
        assert b"2" == s.ear.only[1]

    play(scene)


def test_a_call_that_has_ended_is_not_made_again(play, house) -> None:
    """Only the owner or a retry of the run goes back to a place before the end."""

    async def scene(s) -> None:
        await s.call()
        assert Stale() == await s.call()
        assert 1 == len(s.world.keys)

    play(scene)


# -- answers -------------------------------------------------------------------------------


def test_an_invalid_answer_is_paid_for_and_asked_for_once_more(play, house) -> None:
    """An image without pixels is no image; but it was made, and it costs."""

    def validate(value: bytes) -> None:
        detail = "nothing in it"
        if value == b'""':
            raise InvalidAnswer(detail)

    async def scene(s) -> None:
        bill = {"spend": 3, "spend_source": "reported"}
        s.world.script = [s.answer(b'""', **bill), s.answer(b'"x"', **bill)]
        assert isinstance(await s.call(validate=validate, budgets=("night",), reserve=5), Ended)

    house.limit("night", 10)
    play(scene)
    assert (6, 0, 0) == (house.row().spend, house.row().assumed, house.budget("night").reserved)
    assert (2, 1) == (house.row().attempt, house.row().failures)


def test_what_fits_no_class_ends_the_call_as_unknown(play, house) -> None:
    """The night stops on it: nobody has understood what happened."""

    async def scene(s) -> None:
        s.world.script = [ZeroDivisionError("division by zero")]
        assert isinstance(await s.call(), Ended)
        data, text = s.ear.only
        assert ("unknown", "unknown") == (data.fault, data.effect)
        assert "ZeroDivisionError" in msgspec.json.decode(text)["message"]

    play(scene)
