"""What follows when nobody knows whether a call happened, by repeat and by lookup.

What it is not: a real crash; see test_crash.py.
"""

from typing import Any

import msgspec
import pytest

from tildawn.errors import BadValue
from tildawn.facts.run import RunAnswered, RunHeld, RunStarted
from tildawn.guard.recover import resolution
from tildawn.guard.request import Absent, Ended, Found, Hold, Later, Unclear
from tildawn.guard.retry import RetryPolicy
from tildawn.units import SECOND, Micros


FOUND = Found(value=b'{"id":7}')


def asks(*answers):
    """A lookup that gives these answers, and the list of what it was asked."""
    script, asked = list(answers), []

    async def lookup(attempt):
        asked.append(attempt.key)
        said = script.pop(0)
        if isinstance(said, BaseException):
            raise said
        return said

    return lookup, asked


@pytest.mark.parametrize("repeat", ["safe", "keyed"])
def test_a_lost_call_that_may_repeat_is_made_again_under_its_key(play, house, repeat) -> None:
    """That is what safe and keyed promise; the doubt is on record first."""

    async def scene(s) -> None:
        await s.lose(repeat=repeat)
        assert isinstance(await s.drive(s.call(repeat=repeat)), Ended)
        assert 2 == len(s.world.keys)
        assert 1 == len(set(s.world.keys))

    play(scene)
    assert ["CallDispatched", "CallDoubted", "CallDispatched", "CallSettled"] == house.kinds()[:4]
    assert (2, 1) == (house.row().attempt, house.row().failures)


def test_a_death_of_ours_uses_up_no_try(play, house) -> None:
    """Three crashes are no reason to give up on a provider that has not failed once."""

    async def scene(s) -> None:
        for _ in range(3):
            await s.lose()
        s.world.script = [s.fault("network"), s.fault("network"), b"2"]
        assert isinstance(await s.drive(s.call()), Ended)
        assert b"2" == s.ear.only[1]

    play(scene)
    assert (6, 3, 5) == (house.row().attempt, house.row().tries, house.row().failures)


def test_a_key_protects_only_the_request_it_was_made_for(play, house) -> None:
    """With another body the other side would see a new request, and do it a second time."""

    async def scene(s) -> None:
        await s.lose(repeat="keyed")
        verdict = await s.drive(s.call(repeat="keyed", body_digest="edited"))
        assert isinstance(verdict, Hold)
        assert "changed" in verdict.detail
        assert 1 == len(s.world.keys)

    play(scene)


def test_a_lost_call_that_must_not_repeat_is_held_without_a_lookup(play, house) -> None:
    """Nobody but the owner can say what became of it; the same again after another crash."""

    async def scene(s) -> None:
        await s.lose(repeat="never")
        for _ in range(2):
            verdict = await s.drive(s.call(repeat="never"))
            assert isinstance(verdict, Hold)
            assert ("applied", "not-applied", "give-up") == verdict.choices
            assert "call-in-doubt" == verdict.why
            s.crash()
        assert 1 == len(s.world.keys)
        assert not s.ear.heard

    play(scene)
    assert ["CallDispatched", "CallDoubted"] == house.kinds()[:2]
    assert ("unknown", "unknown") == (house.row().state, house.row().effect)


def test_what_a_lookup_finds_is_the_answer(play, house) -> None:
    """It happened, once; asking is all that was left to do."""
    lookup, asked = asks(FOUND)

    async def scene(s) -> None:
        await s.lose(repeat="never", lookup=lookup)
        assert isinstance(await s.drive(s.call(repeat="never", lookup=lookup)), Ended)
        data, text = s.ear.only
        assert ("applied", "", FOUND.value) == (data.effect, data.fault, text)
        assert s.world.keys == asked, "asked once, with the key it was sent with"

    play(scene)
    assert ["CallDispatched", "CallDoubted", "CallLookedUp", "CallSettled"] == house.kinds()[:4]


def test_what_a_lookup_finds_absent_is_sent_again(play, house) -> None:
    """Then nothing happened, and even a call that must not repeat may be made."""
    lookup, asked = asks(Absent())

    async def scene(s) -> None:
        await s.lose(repeat="never", lookup=lookup)
        assert isinstance(await s.drive(s.call(repeat="never", lookup=lookup)), Ended)
        assert (2, 1) == (len(s.world.keys), len(asked))

    play(scene)
    assert "absent" == house.facts()[2].data.answer


@pytest.mark.parametrize("how", ["unclear", "fault", "broken", "invalid"])
def test_a_lookup_that_cannot_tell_leaves_it_to_the_owner(play, house, how) -> None:
    """A guess here is a second order in somebody's shop."""

    def validate(value: bytes) -> None:
        if value == FOUND.value:
            raise ValueError(value)

    async def scene(s) -> None:
        answers = {
            "unclear": [Unclear("two of that name")],
            "fault": [s.fault("network")] * 3,
            "broken": [ZeroDivisionError()],
            "invalid": [FOUND],
        }[how]
        lookup, asked = asks(*answers)
        said: dict[str, Any] = {"repeat": "never", "lookup": lookup}
        if how == "invalid":
            said["validate"] = validate
        await s.lose(**said)
        assert isinstance(await s.drive(s.call(**said)), Hold)
        assert len(answers) == len(asked)
        assert 1 == len(s.world.keys)

    play(scene)
    assert "unclear" == house.row().looked


def test_a_hanging_lookup_is_cut_off_too(play) -> None:
    """A lookup goes to the same sick service; the call must end all the same."""

    async def scene(s) -> None:
        async def lookup(attempt):
            return await s.world._hang()

        await s.lose(repeat="never", lookup=lookup)
        began = s.clock.mono()
        verdict = await s.drive(s.call(repeat="never", lookup=lookup))
        assert isinstance(verdict, Hold | Later)
        assert s.clock.mono() - began <= 61 * SECOND

    play(scene)


def test_a_lookup_without_time_left_is_made_by_the_next_entry(play) -> None:
    """The deadline of an entry holds for its lookups, and a question is not worth a breach."""
    lookup, asked = asks(FOUND)

    async def scene(s) -> None:
        s.world.script = ["hang"]
        said = {"repeat": "never", "lookup": lookup, "deadline": Micros(5 * SECOND)}
        verdict = await s.drive(s.call(**said))
        assert isinstance(verdict, Later)
        assert not asked
        s.clock.advance(Micros(verdict.due - s.clock.wall()))
        assert isinstance(await s.drive(s.call(**said)), Ended)
        assert FOUND.value == s.ear.only[1]

    play(scene)


# -- the owner's word ----------------------------------------------------------------------


def answer(house, choice: str, out: bytes | None = None) -> None:
    """The run is held, the owner answers, the run goes on."""
    said = resolution(house.ledger, house.row(), choice, out=out)
    house.say(RunHeld(why="call-in-doubt", call_path="p"))
    house.ledger.append_now(said.entries, expect=said.expect)
    house.run_attempt += 1
    house.say(RunAnswered(choice=choice), RunStarted(attempt=house.run_attempt))


@pytest.mark.parametrize(("out", "text"), [(None, b"null"), (b'{"id":9}', b'{"id":9}')])
def test_a_call_that_the_owner_says_happened_has_that_answer(play, house, out, text) -> None:
    """The owner has looked; without an answer to give, the task gets nothing."""

    async def scene(s) -> None:
        await s.lose(repeat="never")
        assert isinstance(await s.drive(s.call(repeat="never")), Hold)
        answer(house, "applied", out)
        assert isinstance(await s.drive(s.call(repeat="never")), Ended)
        data, said = s.ear.only
        assert ("applied", "", text) == (data.effect, data.fault, said)
        assert 1 == len(s.world.keys)

    play(scene)


def test_a_call_that_the_owner_says_did_not_happen_is_sent_again(play, house) -> None:
    """It counts as new: the tries that failed before are no reason against it."""

    async def scene(s) -> None:
        s.world.script = [s.fault("network"), b"2"]
        assert isinstance(await s.drive(s.call(repeat="never")), Hold)
        answer(house, "not-applied")
        assert isinstance(await s.drive(s.call(repeat="never")), Ended)
        assert (2, 1) == (house.row().attempt, house.row().tries)

    play(scene)


def test_a_call_given_up_ends_as_unknown_and_is_not_retryable(play, house) -> None:
    """The report must say that nobody knows; a retry of the run must ask again, not send."""

    async def scene(s) -> None:
        s.world.script = [s.fault("network")]
        assert isinstance(await s.drive(s.call(repeat="never")), Hold)
        answer(house, "give-up")
        assert isinstance(await s.drive(s.call(repeat="never")), Ended)
        data, text = s.ear.only
        assert ("network", "unknown") == (data.fault, data.effect)
        assert "CallInDoubt" == msgspec.json.decode(text)["type"]

        # The owner lets the run go back to before the call: it is in doubt again.
        house.run_attempt += 1
        house.say(
            RunHeld(why="failed"), RunAnswered(choice="retry", void=house.row().settled),
            RunStarted(attempt=house.run_attempt),
        )  # fmt: skip
        assert isinstance(await s.drive(s.call(repeat="never")), Hold)
        assert 1 == len(s.world.keys)

    play(scene)


def test_the_owner_can_answer_only_what_is_in_doubt(play, house) -> None:
    """A late click must not reopen a call that has ended meanwhile."""

    async def scene(s) -> None:
        await s.call()
        with pytest.raises(BadValue, match="not in doubt"):
            resolution(house.ledger, house.row(), "applied")
        with pytest.raises(BadValue, match="no answer"):
            resolution(house.ledger, house.row(), "yes")

    play(scene)


def test_a_failed_call_is_made_anew_when_the_run_goes_back_before_it(play, house) -> None:
    """A retry of the run forgets the failure at its origin, with all its tries."""

    async def scene(s) -> None:
        s.world.script = [s.fault("quota", status=429), b"2"]
        assert isinstance(await s.drive(s.call(repeat="never")), Ended)
        house.run_attempt += 1
        house.say(
            RunHeld(why="failed"), RunAnswered(choice="retry", void=house.row().settled),
            RunStarted(attempt=house.run_attempt),
        )  # fmt: skip
        assert isinstance(await s.drive(s.call(repeat="never")), Ended)
        assert (2, 1) == (house.row().attempt, house.row().tries)
        assert ["quota", ""] == [fact.data.fault for _, fact, _ in s.ear.heard]

    play(scene)


def test_going_back_is_no_retry_of_the_route(play, house) -> None:
    """The owner or the run decided on it; the budget is there against storms of our own."""
    policy = RetryPolicy(budget_least=2)

    async def scene(s) -> None:
        s.world.script = [s.fault("network")] * 3
        assert isinstance(await s.drive(s.call(retry=policy)), Ended)
        house.run_attempt += 1
        house.say(
            RunHeld(why="failed"), RunAnswered(choice="retry", void=house.row().settled),
            RunStarted(attempt=house.run_attempt),
        )  # fmt: skip
        assert isinstance(await s.drive(s.call(retry=policy)), Ended)
        assert b'"done"' == s.ear.heard[-1][2]

    play(scene)


# -- four outcomes of an effect ------------------------------------------------------------


@pytest.mark.parametrize("repeat", ["safe", "keyed", "never"])
@pytest.mark.parametrize("outcome", ["done", "refused", "failed-but-applied", "hung"])
def test_each_outcome_of_an_effect_ends_as_its_repeat_allows(play, house, repeat, outcome) -> None:
    """These four are all that can happen outside; a second effect needs leave to repeat."""

    async def scene(s) -> None:
        does = {
            "done": b"1",
            "refused": s.fault("bad_request", status=422),
            "failed-but-applied": s.fault("server", status=500),
            "hung": "hang",
        }
        s.world.script = [does[outcome]]
        verdict = await s.drive(s.call(repeat=repeat))
        sent = len(s.world.keys)
        held = repeat == "never" and outcome in {"failed-but-applied", "hung"}
        assert held == isinstance(verdict, Hold)
        again = repeat != "never" and outcome in {"failed-but-applied", "hung"}
        assert (2 if again else 1) == sent
        effect = {"done": "applied", "refused": "none"}.get(
            outcome, "applied" if again else "unknown"
        )
        assert effect == house.row().effect

    play(scene)
