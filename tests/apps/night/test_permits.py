"""Permits of a night: items do what their permit allows, and checks only look.

What it is not: the rules of permits; those are beside the guard.
"""

import asyncio

import pytest

from tildawn.apps.night.reporting import write_report
from tildawn.errors import BadPlan
from tildawn.projections.permit import PermitRow, PermitUseRow, RefusedRow
from tildawn.projections.run import RunRow
from tildawn.runtime.plan.permit import OPERATIONS


def report_of(bedroom):
    """The report of the night, as anybody would write it."""
    return write_report(
        bedroom.ledger, bedroom.house, night="", clock=bedroom.clock, alive=False
    ).report


def plan(permit: str, *, url: str = "", evidence: str = "") -> str:
    """One item that posts and then writes a file, under a permit."""
    return f"""
  - id: one
    permit: {permit}
    steps:
      - post: {{ route: "shop:create", http: {{ method: POST, url: "{url}/products", json: {{ sku: A }} }} }}
      - w: {{ file: {{ write: out/a.txt, content: x }} }}
{evidence}
"""


def test_an_item_does_what_its_permit_allows(bedroom, shop) -> None:
    """Both calls are named, on their routes and to their addresses, often enough."""
    bedroom.plan(plan(
        f"{{ operations: ['http:POST', 'file:write'], routes: ['shop:*', file],"
        f" resources: ['{shop.url}/**', 'out/*'], max_calls: 2, expires: 8h }}",
        url=shop.url,
    ))  # fmt: skip
    asyncio.run(bedroom.night())
    [run] = bedroom.runs()
    [permit] = bedroom.rows(PermitRow)
    [use] = bedroom.rows(PermitUseRow)
    assert run.state == "done"
    assert run.permit == permit.permit
    assert (permit.night, permit.item, permit.part) == (run.night, "one", "work")
    assert use.calls == 2
    assert bedroom.rows(RefusedRow) == []


@pytest.mark.parametrize(
    ("permit", "why"),
    [
        ("{ operations: ['http:GET'] }", "operation"),
        ("{ operations: [] }", "operation"),
        ("{ operations: [http], routes: ['mail:*'] }", "route"),
        ("{ operations: [http], resources: ['https://elsewhere.example/**'] }", "resource"),
        ("{ operations: [http], max_calls: 0 }", "calls"),
    ],
)
def test_what_the_permit_of_an_item_does_not_allow_is_not_done(bedroom, shop, permit, why) -> None:
    """The run fails with the reason, nothing is sent, and the report says so."""
    bedroom.plan(plan(permit, url=shop.url))
    asyncio.run(bedroom.night())
    [run] = bedroom.runs()
    assert run.state in {"failed", "held"}
    assert shop.requests == []
    assert [row.why for row in bedroom.rows(RefusedRow)] == [why]
    said = {one.kind: one for one in report_of(bedroom).anomalies}["not-permitted"]
    [refused] = bedroom.facts("PermitRefused")
    assert "time: http:POST on shop:create under permit" in said.sentence
    assert refused.data.permit in said.sentence


def test_all_runs_of_an_item_share_its_permit(bedroom) -> None:
    """Three rows and two calls: one row goes without."""
    bedroom.products(3)
    bedroom.plan("""
  - id: one
    for_each: products.csv
    key: "{{ item.sku }}"
    permit: { operations: ["file:write"], max_calls: 2 }
    steps:
      - w: { file: { write: "out/{{ item.sku }}.txt", content: x } }
""")
    asyncio.run(bedroom.night())
    states = sorted(run.state for run in bedroom.runs())
    assert states.count("done") == 2
    assert [row.why for row in bedroom.rows(RefusedRow)] == ["calls"]


def test_checks_look_under_a_permit_that_only_looks(bedroom, shop) -> None:
    """Who judges the work must not be able to do it."""
    bedroom.plan(plan(
        "{ operations: [http, file] }", url=shop.url,
        evidence=f"    evidence:\n      - http: {{ url: '{shop.url}/products/A', expect: {{ status: 200 }} }}",
    ))  # fmt: skip
    asyncio.run(bedroom.night())
    permits = {row.part: row for row in bedroom.rows(PermitRow)}
    assert permits["checks"].operations.split("\n") == ["http:GET", "http:HEAD"]
    assert permits["checks"].max_cost == 0
    looks = bedroom.rows(RunRow, "evidence_for <> ''")
    assert {look.permit for look in looks} == {permits["checks"].permit}
    sent = [fact.data for fact in bedroom.facts("CallDispatched")]
    assert {one.permit for one in sent if one.name.startswith("check-")} == {looks[0].permit}
    [check] = bedroom.checks("one")
    assert check.verdict == "verified"


def test_a_night_without_permits_is_as_it_was(bedroom) -> None:
    """A plan is its owner's, and does what its owner may."""
    bedroom.plan("""
  - id: one
    steps:
      - w: { file: { write: out.txt, content: x } }
""")
    asyncio.run(bedroom.night())
    [run] = bedroom.runs()
    assert (run.state, run.permit) == ("done", "")
    assert bedroom.rows(PermitRow) == []


@pytest.mark.parametrize(
    ("permit", "said"),
    [
        ("{ operations: [teleport] }", "teleport"),
        ("{ operations: [enqueue] }", "enqueue"),
        ("{ routes: ['shop:*'] }", "operations"),
        ("{ operations: [http], routes: [] }", "at least 1"),
        ("{ operations: [http], max_calls: -1 }", "max_calls"),
        ("{ operations: [http], forever: true }", "forever"),
        ("[http]", "permit"),
    ],
)
def test_a_permit_that_cannot_be_is_found_when_the_plan_is_read(bedroom, permit, said) -> None:
    """Before the night, with its place, and not at three in the morning."""
    bedroom.plan(plan(permit, url="https://shop.example"))
    with pytest.raises(BadPlan, match=said):
        asyncio.run(bedroom.night())


def test_a_plan_allows_calls_and_nothing_of_the_house() -> None:
    """A plan does not show tokens to anybody."""
    assert "enqueue" not in OPERATIONS
    assert "work" not in OPERATIONS
    assert "http" in OPERATIONS
