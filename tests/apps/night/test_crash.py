"""A crash at every append of a night: the next process goes on as if there had been none."""

import asyncio

import pytest

from tildawn.apps.night.desk import Desk
from tildawn.apps.night.expansion import Expansion
from tildawn.apps.night.progress import load_progress
from tildawn.apps.night.settling import Settling
from tildawn.errors import InvariantViolated
from tildawn.projections.run import RunRow


PLAN = """
  - id: listings
    for_each: products.csv
    key: "{{ item.sku }}"
    steps:
      - draft:
          http: { method: POST, url: "${SHOP_URL}/products", json: { sku: "{{ item.sku }}" } }
          repeat: keyed
      - keep: { file: { write: "{{ item.sku }}.txt", content: "{{ draft.json.sku }}" } }
    evidence:
      - http: { url: "${SHOP_URL}/products/{{ item.sku }}", expect: { status: 200 } }
      - file: { path: "{{ item.sku }}.txt", changed: true }
  - id: index
    needs: [listings]
    steps:
      - write: { file: { write: index.txt, content: done } }
"""


def desk_of(bedroom):
    desk = Desk(bedroom.engine, bedroom.ids)
    kept = desk.copies.of(bedroom.last.night)
    with bedroom.ledger.read() as reader:
        return desk, kept, load_progress(reader, bedroom.last, kept.plan)


def test_rows_that_are_runs_already_cannot_become_runs_again(bedroom, shop):
    """Two conductors must be impossible; if they happen, the ledger says no to the second."""
    bedroom.env["SHOP_URL"] = shop.url
    bedroom.products(3)
    bedroom.plan(PLAN)

    async def scenario():
        await bedroom.night()
        await bedroom.begin()
        desk, kept, progress = desk_of(bedroom)
        state = progress.items["index"]
        state.expanded = 0
        with pytest.raises(InvariantViolated):
            await Expansion(desk, kept, concurrency=1).more(state, 9)
        await bedroom.end()

    asyncio.run(scenario())
    assert bedroom.states("index") == ["done"]


def test_what_a_check_found_is_told_once(bedroom, shop):
    """A verdict on record twice would be two verdicts."""
    bedroom.env["SHOP_URL"] = shop.url
    bedroom.products(3)
    bedroom.plan(PLAN)

    async def scenario():
        await bedroom.night()
        await bedroom.begin()
        desk, kept, progress = desk_of(bedroom)
        settling = Settling(desk, kept, progress)
        looks = bedroom.rows(RunRow, "task = 'night.after'")
        again = [await settling.judge(look) for look in looks]
        for run in bedroom.runs("listings"):
            await settling.settle(run)
        await bedroom.end()
        return again

    assert asyncio.run(scenario()) == [None] * 3
    assert len(bedroom.facts("EvidenceJudged")) == 6
    assert len(bedroom.said("EffectObserved")) == 7
    assert len(bedroom.rows(RunRow, "task = 'night.after'")) == 3


def outcome(bedroom):
    """What must be the same however often the process died."""
    looks = bedroom.rows(RunRow, "night = ? AND task = 'night.after'", (bedroom.last.night,))
    return {
        "listings": [
            (run.row, run.state) for run in sorted(bedroom.runs("listings"), key=lambda r: r.row)
        ],
        "index": bedroom.states("index"),
        "verdicts": bedroom.verdicts("listings"),
        "looks": len(looks),
        "night": (bedroom.last.state, bedroom.last.outcome, len(bedroom.nights)),
    }


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 21))
def test_a_night_ends_the_same_wherever_its_conductor_dies(bedroom, shop, number, after):
    """Each append is a place where the light may go out: nothing is lost, nothing done twice."""
    bedroom.env["SHOP_URL"] = shop.url
    bedroom.products(3)
    bedroom.plan(PLAN)
    asyncio.run(bedroom.crashed(number, after=after))
    # What a night ended before the crash would begin anew is tested with acceptance.
    if bedroom.nights and bedroom.last.state == "closed":
        return
    assert asyncio.run(bedroom.night()).exit_code == 0
    found = outcome(bedroom)
    assert found["listings"] == [(0, "done"), (1, "done"), (2, "done")]
    assert found["index"] == ["done"]
    assert found["verdicts"] == ["verified", "verified"] * 3
    assert found["looks"] == 3
    effects = bedroom.said("EffectObserved")
    assert len(effects) == len(set(effects)) == 7
    assert found["night"] == ("closed", "done", 1)
    assert len(shop.products) == 3
