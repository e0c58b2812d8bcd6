"""A night from its plan to its end: the work, its order, its money, its signals."""

import asyncio
import sys
from typing import cast

from tildawn.facts.call import CallDispatched
from tildawn.projections.budget import BudgetRow
from tildawn.runtime.setting import ProviderSettings
from tildawn.units import SECOND


LISTINGS = """
  - id: listings
    for_each: products.csv
    key: "{{ item.sku }}"
    steps:
      - draft:
          http: { method: POST, url: "${SHOP_URL}/products", json: { sku: "{{ item.sku }}" } }
          repeat: keyed
    evidence:
      - http: { url: "${SHOP_URL}/products/{{ item.sku }}", expect: { status: 200, json: { state: draft } } }
"""

WRITE = """
  - id: {0}
    needs: [{1}]
    steps:
      - w: {{ file: {{ write: {0}.txt, content: x }} }}
"""


def test_a_night_does_the_work_of_every_row_and_has_it_checked(bedroom, shop):
    """This is what the whole application is for."""
    bedroom.env["SHOP_URL"] = shop.url
    bedroom.products(20)
    bedroom.plan(LISTINGS)
    end = asyncio.run(bedroom.night())
    assert end.exit_code == 0, bedroom.news[-3:]
    assert bedroom.states() == ["done"] * 20
    assert bedroom.verdicts("listings") == ["verified"] * 20
    assert len(shop.products) == 20
    assert bedroom.last.outcome == "done"


def test_outputs_of_steps_reach_later_steps_files_and_checks(bedroom):
    """A picture that is drawn has to end in a file, and its check has to see that file."""
    bedroom.provider = ProviderSettings(name="sim")
    bedroom.env["SIM_API_KEY"] = "sim"
    bedroom.plan("""
  - id: card
    steps:
      - copy: { chat: { prompt: "A title", schema: { title: str } } }
      - photo: { image: { prompt: "{{ copy.title }}", size: 64x64 } }
      - keep: { file: { write: card.png, content: "{{ photo }}" } }
      - note: { file: { write: title.txt, content: "{{ copy.title }}" } }
    evidence:
      - image: { file: "{{ photo }}", size: 64x64 }
      - image: { file: card.png, size: 64x64 }
      - file: { path: title.txt, changed: true }
""")
    end = asyncio.run(bedroom.night(simulated=True))
    assert end.exit_code == 0, bedroom.verdicts("card")
    assert bedroom.verdicts("card") == ["verified"] * 3
    assert (bedroom.folder / "card.png").read_bytes().startswith(b"\x89PNG")
    assert bedroom.last.simulated == 1
    assert bedroom.runs()[0].simulated == 1


def test_what_changed_in_the_world_is_on_record_once(bedroom, shop):
    """A report that lists an effect twice is as wrong as one that leaves it out."""
    bedroom.env["SHOP_URL"] = shop.url
    bedroom.write("old.txt", "old")
    bedroom.plan("""
  - id: one
    steps:
      - a: { file: { write: old.txt, content: new } }
      - b: { file: { write: fresh.txt, content: new } }
      - c: { http: { method: POST, url: "${SHOP_URL}/products?token=x", json: { sku: A } } }
""")
    asyncio.run(bedroom.night())
    told = [said.replace(" ", "") for said in bedroom.said("EffectObserved")]
    assert len(told) == 3
    assert '"target":"old.txt"' in told[0]
    assert '"before":"' in told[0]
    assert '"before"' not in told[1]
    assert '"target":"/products/A","note":"POST201"' in told[2]


def test_a_file_that_is_as_it_was_is_no_change(bedroom):
    """Writing the same bytes again has an effect on nobody."""
    bedroom.write("out.txt", "x")
    bedroom.plan(WRITE.format("out", ""))
    asyncio.run(bedroom.night())
    assert bedroom.states() == ["done"]
    assert bedroom.said("EffectObserved") == []


def test_a_step_leaves_under_the_terms_that_the_plan_gives_it(bedroom, shop):
    """Whether a lost answer may be asked for again is the author's word, not the runner's."""
    bedroom.env["SHOP_URL"] = shop.url
    bedroom.plan("""
  - id: one
    steps:
      - a:
          http: { method: POST, url: "${SHOP_URL}/products", json: { sku: A } }
          route: "shop:create"
          repeat: keyed
          timeout: 7s
      - b: { http: { method: POST, url: "${SHOP_URL}/products", json: { sku: B } } }
""")
    asyncio.run(bedroom.night())
    left = [cast("CallDispatched", fact.data) for fact in bedroom.facts("CallDispatched")]
    terms = [(call.name, call.route, call.repeat, call.timeout_ms) for call in left]
    assert terms == [
        ("a", "shop:create", "keyed", 7_000),
        ("b", "http:${SHOP_URL}", "never", 30_000),
    ]


def test_an_item_waits_for_all_that_it_needs(bedroom):
    """A sitemap of half a shop is worse than none."""
    bedroom.plan(bedroom.numbers(5, name="first") + WRITE.format("second", "first"))
    asyncio.run(bedroom.night())
    [second] = bedroom.runs("second")
    assert second.state == "done"
    assert second.accepted > max(run.state_at for run in bedroom.runs("first"))


def test_an_item_whose_need_failed_is_skipped_and_says_why(bedroom):
    """It would never begin; a night that waits for it would never end."""
    bedroom.plan(
        bedroom.numbers(2, 'if n == "1": fail()', name="first")
        + WRITE.format("second", "first")
        + WRITE.format("third", "{ item: first, when: finished }")
    )
    end = asyncio.run(bedroom.night())
    assert end.exit_code == 1
    assert sorted(bedroom.states("first")) == ["done", "failed"]
    assert bedroom.states("second") == []
    assert (
        bedroom.item("second").skipped_why
        == "it needs first, which has 1 run that did not end well"
    )
    assert bedroom.states("third") == ["done"]
    assert bedroom.last.outcome == "failed"


def test_a_night_that_waits_for_its_owner_goes_on_when_it_is_run_again(still):
    """What is held at three o'clock is answered at seven, and then the rest is done."""
    still.plan(
        still.numbers(1, 'there("ok") or stumble()', name="first") + WRITE.format("second", "first")
    )

    async def scenario():
        end = await still.night()
        assert (end.end.outcome, end.exit_code) == ("waits", 1)
        assert still.states("first") == ["held"]
        assert still.last.state == "parked"
        still.write("ok", "")
        await still.begin()
        await still.owner.retry(still.runs("first")[0].run)
        end = await still.played(still.run())
        await still.end()
        return end

    end = asyncio.run(scenario())
    assert end.exit_code == 0
    assert still.states() == ["done", "done"]
    assert len(still.nights) == 1


def test_money_is_limited_by_run_item_and_night(bedroom):
    """A limit that no scope carries is a number on paper."""
    bedroom.provider = ProviderSettings(name="sim")
    bedroom.env["SIM_API_KEY"] = "sim"
    bedroom.write("rows.csv", "n\n1\n2\n")
    bedroom.plan(
        """
  - id: words
    for_each: rows.csv
    key: "{{ item.n }}"
    budget: "$0.10"
    budget_total: "$0.15"
    steps:
      - say: { chat: { prompt: "{{ item.n }}" } }
""",
        night='{ budget: "$1.00" }',
    )
    asyncio.run(bedroom.night(simulated=True))
    night = bedroom.last.night
    caps = {row.scope: row.cap for row in bedroom.rows(BudgetRow)}
    runs = bedroom.runs()
    assert caps[f"night/{night}"] == 1_000_000
    assert caps[f"item/{night}/words"] == 150_000
    assert [caps[f"run/{run.run}"] for run in runs] == [100_000, 100_000]
    assert runs[0].budgets.split("\n") == [
        f"run/{runs[0].run}",
        f"item/{night}/words",
        f"night/{night}",
    ]


def test_a_spent_night_stops_and_says_that_it_was_the_money(bedroom):
    """Twenty runs that fail one after the other for want of money would say less."""
    bedroom.provider = ProviderSettings(name="sim")
    bedroom.env["SIM_API_KEY"] = "sim"
    bedroom.write("rows.csv", "n\n" + "".join(f"{n}\n" for n in range(20)))
    bedroom.plan(
        """
  - id: words
    for_each: rows.csv
    key: "{{ item.n }}"
    concurrency: 1
    steps:
      - say: { chat: { prompt: "{{ item.n }}" } }
""",
        night='{ budget: "$0.000001" }',
    )
    end = asyncio.run(bedroom.night(simulated=True))
    assert end.exit_code == 3
    assert bedroom.last.rule == "budget"
    assert bedroom.states().count("failed") in {1, 2}


def test_at_most_so_many_runs_of_an_item_go_on_at_once(bedroom):
    """The owner knows what the shop bears."""
    bedroom.plan(
        bedroom.numbers(12, "await ctx.step(enter); await ctx.step(leave)", extra="concurrency: 2")
    )
    [path] = bedroom.folder.glob("work_*.py")
    path.write_text(
        path.read_text()
        + """
inside, most = [], []
def enter() -> None:
    inside.append(1)
    most.append(len(inside))
def leave() -> None:
    inside.pop()
"""
    )
    end = asyncio.run(bedroom.night())
    assert end.exit_code == 0
    assert max(sys.modules[path.stem].most) == 2


def test_two_plans_have_two_nights_and_one_does_not_start_the_others_work(bedroom):
    """Whoever runs one plan has not asked for what another one left behind."""
    work = bedroom.numbers(10, "fail()", name="bad")
    bedroom.plan(work, night="{ stop: { in_a_row: 1, total: 1 } }")
    asyncio.run(bedroom.night(concurrency=1))
    first, left = bedroom.last.night, bedroom.states().count("queued")
    assert left >= 8
    bedroom.write("other.yaml", "version: 1\nwork:" + WRITE.format("fine", ""))
    end = asyncio.run(bedroom.night(plan="other.yaml"))
    assert end.exit_code == 0
    states = [row.state for row in bedroom.runs(night=first)]
    assert states.count("queued") == left


def test_a_night_that_is_told_to_leave_parks_and_goes_on_later(still):
    """A closed lid at midnight must cost nothing but time."""
    still.plan(still.numbers(3, 'await ctx.sleep("90s")'))

    async def scenario():
        await still.begin()
        task = asyncio.ensure_future(still.run())
        await still.until(lambda: still.states() == ["waiting"] * 3)
        still.leave.set()
        began = still.clock.mono()
        end = await still.played(task)
        assert still.clock.mono() - began < 10 * SECOND
        await still.end()
        assert (end.exit_code, still.last.state, still.last.parked_why) == (75, "parked", "signal")
        still.leave.clear()
        return await still.night()

    end = asyncio.run(scenario())
    assert end.exit_code == 0
    assert still.states() == ["done"] * 3


def test_a_hundred_thousand_rows_are_accepted_as_one_and_run_a_few_at_a_time(bedroom):
    """A big file must fill neither memory nor queue before its first row is done."""
    bedroom.plan(bedroom.numbers(100_000))

    async def scenario():
        await bedroom.begin()
        task = asyncio.ensure_future(bedroom.run(admitted=64))
        while not bedroom.nights or bedroom.item("number").expanded < 200:
            await asyncio.wait({task}, timeout=0.02)
            open_runs = [state for state in bedroom.states() if state != "done"]
            assert len(open_runs) <= 64
        bedroom.leave.set()
        await task
        await bedroom.end()

    asyncio.run(scenario())
    row = bedroom.item("number")
    assert row.planned == 100_000
    assert row.expanded < 20_000
    assert len(bedroom.facts("PlanAccepted")) == 1
