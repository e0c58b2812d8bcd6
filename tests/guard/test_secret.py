"""Answers that hold a secret: not recorded, not asked for again, and paid for.

What it is not: what counts as a secret; see ``tests/ledger/test_secret.py``.
"""

import json

import pytest

from tildawn.errors import SecretFound
from tildawn.guard.request import Ended
from tildawn.units import MicroUsd


TOKEN = "correct-horse-battery-staple-1"


@pytest.mark.parametrize("repeat", ["safe", "keyed", "never"])
def test_an_answer_with_a_secret_ends_the_call_and_its_bill_counts(play, house, repeat) -> None:
    """Asking again would bring it again, and what was done was done."""
    house.ledger.secrets.refuse({"SHOP_TOKEN": TOKEN})

    async def scene(s) -> None:
        said = s.answer(f'"{TOKEN}"'.encode(), spend=MicroUsd(7), spend_source="reported")
        s.world.script = [said]
        assert isinstance(await s.drive(s.call(repeat=repeat, reserve=MicroUsd(9))), Ended)
        data, text = s.ear.only
        assert (True, "applied", "secret") == (data.final, data.effect, data.fault)
        assert (7, "reported") == (data.spend_micro_usd, data.spend_source)
        error = json.loads(text or b"")
        assert "the answer of post holds the value of SHOP_TOKEN" in error["message"]
        assert 1 == len(s.world.keys)

    play(scene)
    assert ["CallDispatched", "CallSettled"] == house.kinds()


def test_an_answer_with_a_secret_and_without_a_bill_costs_its_reservation(play, house) -> None:
    """It was answered, so nothing is held in doubt."""
    house.ledger.secrets.refuse({"SHOP_TOKEN": TOKEN})

    async def scene(s) -> None:
        s.world.script = [s.answer(f'"{TOKEN}"'.encode())]
        await s.drive(s.call(reserve=MicroUsd(9)))
        data, _ = s.ear.only
        assert (9, "assumed") == (data.spend_micro_usd, data.spend_source)

    play(scene)


def test_a_picture_with_a_secret_in_it_ends_the_call_likewise(play, house) -> None:
    """Long answers go to the disk before they are settled."""

    async def scene(s) -> None:
        s.world.script = [SecretFound("a file of the house holds a private key")]
        await s.drive(s.call(repeat="never"))
        data, _ = s.ear.only
        assert (True, "applied", "secret") == (data.final, data.effect, data.fault)

    play(scene)


def test_what_is_looked_up_with_a_secret_in_it_is_asked_of_the_owner(play, house) -> None:
    """It happened, and its result may not be recorded: nobody but a person can say what now."""
    house.ledger.secrets.refuse({"SHOP_TOKEN": TOKEN})

    async def scene(s) -> None:
        s.world.script = [s.fault("bad_request", detail=f"said {TOKEN}", sent=True)]
        await s.drive(s.call(repeat="never"))
        _, text = s.ear.only if s.ear.heard else (None, b"")
        assert TOKEN.encode() not in (text or b"")

    play(scene)
    assert TOKEN not in str(house.facts())
