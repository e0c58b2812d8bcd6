"""Permits at the door: what one does not allow is refused, with a fact, and counts are exact.

What it is not: the rules; those are in tests/guard/test_permit_rules.py.  Campaigns of kills are
in tests/faults/guard/test_permit_kill.py.
"""

import msgspec
import pytest

from tildawn.facts.call import CallRefused
from tildawn.facts.permit import PermitRevoked
from tildawn.facts.run import RunAccepted
from tildawn.guard.authority import Authority, chain_of
from tildawn.guard.mint import Place, below, checked, minted
from tildawn.guard.permit import DEPTH_MOST, Grant, Wanted, allows
from tildawn.guard.policy import PRESETS
from tildawn.guard.request import Ended, Remote
from tildawn.ledger.verdict import State
from tildawn.projections.budget import BudgetRow
from tildawn.projections.permit import PermitUseRow, RefusedRow
from tildawn.units import SECOND, Micros, MicroUsd


NOW = Micros(1_000 * SECOND)


def mint(house, permit="P", *, parent="", **said):
    """Put a permit on record."""
    plain = Grant(operations=frozenset({"call"}))
    grant = checked(msgspec.structs.replace(plain, **said))
    house.ledger.append_now([minted(house.ledger, permit, grant, place=Place(parent=parent))])


def use(house, permit="P") -> PermitUseRow:
    with house.ledger.read() as reader:
        row = reader.get(PermitUseRow, permit)
    assert row is not None
    return row


def refusals(house) -> list[tuple[str, str, str]]:
    with house.ledger.read() as reader:
        return [(row.permit, row.operation, row.why) for row in reader.rows(RefusedRow)]


async def refused(scene, **said) -> CallRefused:
    """Make a call that is refused; what is on record of it."""
    sent = len(scene.world.keys)
    verdict = await scene.drive(scene.call(**said))
    assert isinstance(verdict, Ended)
    assert len(scene.world.keys) == sent, "it was sent all the same"
    data, text = scene.ear.heard[-1][1].data, scene.ear.heard[-1][2]
    assert isinstance(data, CallRefused)
    assert data.why == "not-permitted"
    assert msgspec.json.decode(text or b"")["type"] == "NotPermitted"
    return data


@pytest.mark.parametrize(
    ("said", "call", "why"),
    [
        ({"operations": frozenset({"chat"})}, {}, "operation"),
        ({"routes": ("mail:*",)}, {}, "route"),
        (
            {"operations": frozenset({"http:POST"}), "resources": ("https://a/**",)},
            {"operation": "http:POST", "resource": "https://b/x"},
            "resource",
        ),
        ({"run": "f" * 32}, {}, "run"),
        ({"expires_at": 1}, {}, "expired"),
        ({"max_calls": 0}, {}, "calls"),
        ({"max_cost": 9}, {"reserve": MicroUsd(10)}, "cost"),
    ],
)
def test_what_a_permit_does_not_allow_is_refused_with_a_fact(play, said, call, why) -> None:
    """A typed refusal, a fact of it, and nothing sent."""

    async def script(scene) -> None:
        mint(scene.house, **said)
        await refused(scene, permit="P", **call)
        [(permit, _, reason)] = refusals(scene.house)
        assert (permit, reason) == ("P", why)
        assert use(scene.house).refused == 1
        assert use(scene.house).calls == 0

    play(script)


def test_a_permit_that_is_not_on_record_allows_nothing(play) -> None:
    """A name alone is worth nothing."""

    async def script(scene) -> None:
        await refused(scene, permit="nobody")
        assert refusals(scene.house) == [("nobody", "call", "unknown")]

    play(script)


def test_a_call_without_a_permit_has_the_authority_of_the_owner(play) -> None:
    """Permits limit whoever has one, and nobody else."""

    async def script(scene) -> None:
        mint(scene.house, max_calls=0)
        assert isinstance(await scene.drive(scene.call()), Ended)
        assert scene.world.keys

    play(script)


def test_each_attempt_is_a_use_and_the_last_one_ends_it(play) -> None:
    """Retries reach the world too, so they count."""

    async def script(scene) -> None:
        mint(scene.house, max_calls=3)
        scene.world.script = [scene.fault("server")]
        await scene.drive(scene.call(path="a", permit="P"))
        assert use(scene.house).calls == 2
        await scene.drive(scene.call(path="b", permit="P"))
        await refused(scene, path="c", permit="P")
        assert use(scene.house).calls == 3

    play(script)


def test_a_child_is_counted_for_all_its_parents(play) -> None:
    """Two children cannot have together what their parent has not."""

    async def script(scene) -> None:
        mint(scene.house, "top", max_calls=3, max_cost=100)
        mint(scene.house, "one", parent="top", max_calls=2, max_cost=60)
        mint(scene.house, "two", parent="top", max_calls=2, max_cost=60)
        bill = {"spend": MicroUsd(50), "spend_source": "reported"}
        scene.world.script = [scene.answer(**bill), scene.answer(**bill)]
        await scene.drive(scene.call(path="a", permit="one", reserve=MicroUsd(50)))
        await scene.drive(scene.call(path="b", permit="two", reserve=MicroUsd(50)))
        assert use(scene.house, "top").calls == 2
        await refused(scene, path="c", permit="two", reserve=MicroUsd(5))
        assert refusals(scene.house)[-1] == ("top", "call", "cost")
        with scene.house.ledger.read() as reader:
            spent = {row.scope: row.spent for row in reader.rows(BudgetRow)}
        assert (spent["permit/top"], spent["permit/one"], spent["permit/two"]) == (100, 50, 50)
        await scene.drive(scene.call(path="d", permit="one"))
        await refused(scene, path="e", permit="two")
        assert refusals(scene.house)[-1] == ("top", "call", "calls")

    play(script)


def test_what_the_parent_of_a_permit_does_not_say_is_not_allowed(play) -> None:
    """Even a child that was minted wider, by whatever mistake, is held to its parents."""

    async def script(scene) -> None:
        mint(scene.house, "top", routes=("mail:*",))
        mint(scene.house, "wide", parent="top")
        await refused(scene, permit="wide")
        assert refusals(scene.house) == [("top", "call", "route")]

    play(script)


def test_a_revoked_permit_ends_its_children_at_once(play) -> None:
    """What is in memory of a permit must not outlive it."""

    async def script(scene) -> None:
        mint(scene.house, "top")
        mint(scene.house, "child", parent="top")
        await scene.drive(scene.call(path="a", permit="child"))
        scene.house.say(PermitRevoked(permit="top"), run="")
        await refused(scene, path="b", permit="child")
        assert refusals(scene.house) == [("top", "call", "revoked")]

    play(script)


def test_a_permit_that_ends_between_two_attempts_ends_the_call(play) -> None:
    """A retry is asked for as the first attempt was."""

    async def script(scene) -> None:
        mint(scene.house, expires_at=scene.clock.wall() + SECOND // 100)
        scene.world.script = [scene.fault("server")]
        await scene.drive(scene.call(permit="P"))
        assert isinstance(scene.ear.heard[-1][1].data, CallRefused)
        assert len(scene.world.keys) == 1
        assert refusals(scene.house) == [("P", "call", "expired")]

    play(script)


def test_a_permit_of_an_attempt_dies_with_it(play) -> None:
    """A worker that was thought dead and comes back has nothing left to act with."""

    async def script(scene) -> None:
        mint(scene.house, run=scene.house.request(scene.world).run, attempt=1)
        await scene.drive(scene.call(path="a", permit="P"))
        scene.crash()
        await refused(scene, path="b", permit="P")
        assert refusals(scene.house) == [("P", "call", "attempt")]

    play(script)


def test_another_tier_that_is_not_permitted_is_not_asked(play) -> None:
    """A fallback is no way around a permit."""

    async def script(scene) -> None:
        mint(scene.house, routes=("shop:create",))

        async def never(_attempt):
            raise AssertionError

        other = Remote(name="other", route="mail:send", model="m", perform=never)
        once = msgspec.structs.replace(PRESETS["http"].retry, rules={})
        scene.world.script = [scene.fault("server")]
        await scene.drive(scene.call(permit="P", remotes=(other,), retry=once))
        assert refusals(scene.house) == [("P", "call", "route")]
        assert scene.ear.heard[-1][1].data.fault == "server"

    play(script)


def test_a_permit_whose_addresses_were_erased_allows_no_address(play) -> None:
    """What a permit no longer says it does not allow."""

    async def script(scene) -> None:
        mint(scene.house, operations=frozenset({"http:GET"}), resources=("https://a/**",))
        with scene.house.ledger.read() as reader:
            [link] = chain_of(reader, "P")
        assert link.grant.resources == ("https://a/**",)
        gone = msgspec.structs.replace(link.grant, resources=None)
        wanted = Wanted(operation="http:GET", resource="https://a/b")
        assert allows(gone, wanted, NOW) == "erased"

    play(script)


def test_a_chain_has_an_end(play) -> None:
    """Each use is counted for every parent, so there are not many."""

    async def script(scene) -> None:
        for depth in range(DEPTH_MOST):
            mint(scene.house, f"p{depth}", parent=f"p{depth - 1}" if depth else "")
        with scene.house.ledger.read() as reader:
            chain = chain_of(reader, f"p{DEPTH_MOST - 1}")
        error = below(chain, chain[0].grant)
        assert error is not None
        assert error.fields["reason"] == "wider"

    play(script)


def test_two_hundred_callers_use_a_permit_as_often_as_it_says(play) -> None:
    """The count is part of the commit, so nobody can get between."""

    async def script(scene) -> None:
        mint(scene.house, max_calls=50)
        tasks = [scene.call(path=f"p{n}", permit="P", route=f"r{n % 7}") for n in range(200)]
        await scene.drive(*tasks)
        assert use(scene.house).calls == 50
        assert len(scene.world.keys) == 50
        assert len(refusals(scene.house)) == 150
        assert scene.house.verdict().state == State.PROVEN

    play(script)


def test_a_look_before_the_commit_alone_is_noticed(play, monkeypatch) -> None:
    """The test above can say no: without the expectation more calls leave than are allowed."""
    monkeypatch.setattr(Authority, "expected", lambda *_: [])

    async def script(scene) -> None:
        mint(scene.house, max_calls=50)
        await scene.drive(*[scene.call(path=f"p{n}", permit="P") for n in range(60)])
        assert use(scene.house).calls == 60

    play(script)


def test_facts_without_a_permit_are_the_same_bytes_as_before(play) -> None:
    """A field that is left out where there is none changes no ledger."""

    async def script(scene) -> None:
        await scene.drive(scene.call())
        [sent] = [fact.data for fact in scene.house.facts() if fact.kind == "CallDispatched"]
        assert b"permit" not in msgspec.json.encode(sent)
        accepted = RunAccepted(task="t", args="")
        assert b"permit" not in msgspec.json.encode(accepted)

    play(script)
