"""A crash at every append of a night: the next process goes on as if there had been none."""

import asyncio

import pytest

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
