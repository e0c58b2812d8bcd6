"""Checks: named before the work, looked at before and after it, and never true by default."""

import asyncio
import json
import sqlite3

import pytest

from tildawn.apps.night.acceptance import Edited
from tildawn.apps.night.judging import judge
from tildawn.apps.night.looking import MET, NOT_RUN, UNMET, Seen, difference
from tildawn.projections.run import RunRow


COUNT = "SELECT count(*) FROM product WHERE price > ?"


def work(check, *, content="new", path="out.txt"):
    return f"""
  - id: one
    steps:
      - w: {{ file: {{ write: {path}, content: {json.dumps(content)} }} }}
    evidence:
      - {check}
"""


def verdict(bedroom, check, **more):
    bedroom.plan(work(check, **more))
    asyncio.run(bedroom.night())
    [found] = bedroom.verdicts("one")
    return found


def database(bedroom):
    connection = sqlite3.connect(bedroom.folder / "shop.db")
    with connection:
        connection.execute("CREATE TABLE product (sku TEXT, price INTEGER)")
        connection.execute("INSERT INTO product VALUES ('A', 7)")
    connection.close()


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("file: { path: out.txt, exists: true }", "verified"),
        ("file: { path: out.txt, changed: true }", "verified"),
        ("file: { path: out.txt, contains: new }", "verified"),
        ("file: { path: out.txt, contains: old }", "refuted"),
        ("file: { path: other.txt, exists: true }", "refuted"),
        ("file: { path: other.txt, changed: true }", "refuted"),
        ("file: { path: other.txt, exists: false }", "no-change"),
        ("file: { path: here.txt, changed: true }", "refuted"),
        ("file: { path: here.txt, contains: here }", "no-change"),
        ("command: { argv: [python, -c, 'open(\"out.txt\")'] }", "verified"),
        ("command: { argv: [python, -c, 'print(1)'], expect: { stdout: '1' } }", "no-change"),
        ("command: { argv: [python, -c, 'exit(3)'], expect: { exit_code: 3 } }", "no-change"),
        ("command: { argv: [python, -c, 'exit(3)'] }", "refuted"),
        ("command: { argv: [no-such-program-at-all] }", "not-run"),
        ("sql: { database: shop.db, query: 'SELECT sku FROM product', expect: [[A]] }", "no-change"),
        (f"sql: {{ database: shop.db, query: '{COUNT}', parameters: [9], expect: [[1]] }}", "refuted"),
        ("sql: { database: shop.db, query: 'SELECT nothing', expect: [[1]] }", "not-run"),
        ("sql: { database: shop.db, query: 'DELETE FROM product', expect: [] }", "not-run"),
        ("sql: { database: out.txt, query: 'SELECT 1', expect: [[1]] }", "not-run"),
        ("sql: { database: none.db, query: 'SELECT 1', expect: [[1]] }", "refuted"),
        ("image: { file: out.txt }", "refuted"),
        ("json: { path: here.json, expect: { a: 1 } }", "no-change"),
        ("json: { path: here.json, expect: { a: 2 } }", "refuted"),
        ("json: { path: out.txt, expect: { a: 2 } }", "refuted"),
        ('http: { url: "http://127.0.0.1:9/", expect: { status: 200 } }', "not-run"),
    ],
)  # fmt: skip
def test_a_check_says_what_it_saw_and_no_more(bedroom, check, expected):
    """A missing tool is no pass, and what was true before the work is no proof of it."""
    bedroom.write("here.txt", "here")
    bedroom.write("here.json", '{"a": 1, "b": 2}')
    database(bedroom)
    assert verdict(bedroom, check) == expected


def test_a_json_file_that_the_work_writes_is_verified(bedroom):
    """The expected part has to be there, more may be."""
    assert verdict(bedroom, "json: { path: out.txt, expect: { a: [1, 2] } }",
                   content='{"a": [1, 2], "b": 0}') == "verified"  # fmt: skip


def test_writing_the_same_again_is_refuted_by_a_check_for_change(bedroom):
    """A worker that does nothing says done as well."""
    bedroom.write("out.txt", "new")
    assert verdict(bedroom, "file: { path: out.txt, changed: true }") == "refuted"


def test_a_check_on_the_web_sees_what_the_shop_has(bedroom, shop):
    """The shop is asked before and after, by somebody who is not the worker."""
    bedroom.env["SHOP_URL"] = shop.url
    shop.products["OLD"] = {"sku": "OLD", "state": "draft"}
    shop.says["SOLD"] = 201
    bedroom.write("rows.csv", "sku\nNEW\nOLD\n")
    bedroom.plan("""
  - id: one
    for_each: rows.csv
    key: "{{ item.sku }}"
    steps:
      - draft: { http: { method: POST, url: "${SHOP_URL}/products", json: { sku: "{{ item.sku }}" } } }
    evidence:
      - http: { url: "${SHOP_URL}/products/{{ item.sku }}", expect: { status: 200, json: { state: draft } } }
      - http: { url: "${SHOP_URL}/products/{{ item.sku }}", expect: { status: 404 } }
      - http: { url: "${SHOP_URL}/products/{{ draft.json.sku }}", expect: { json: { state: sold } } }
""")
    end = asyncio.run(bedroom.night())
    assert end.exit_code == 1
    saw = [(row.saw, row.verdict) for row in bedroom.checks("one")]
    assert saw == [
        ("unmet", "verified"), ("met", "refuted"), ("not-run", "refuted"),
        ("met", "no-change"), ("unmet", "refuted"), ("not-run", "refuted"),
    ]  # fmt: skip


def test_a_check_is_looked_at_before_its_run_starts(bedroom):
    """That order on record is what makes a verdict verified and not claimed."""
    bedroom.plan(work("file: { path: out.txt, exists: true }"))
    asyncio.run(bedroom.night())
    kinds = [fact.kind for fact in bedroom.facts(
        "EvidenceBaselined", "ItemExpanded", "RunDone", "EvidenceJudged")]  # fmt: skip
    assert kinds == [
        "RunDone",
        "ItemExpanded",
        "EvidenceBaselined",
        "RunDone",
        "RunDone",
        "EvidenceJudged",
    ]
    [check] = bedroom.checks("one")
    [run] = bedroom.runs()
    starts = [fact for fact in bedroom.facts("RunStarted") if fact.run == run.run]
    assert check.baselined < run.accepted < run.state_at < check.judged
    assert len(starts) == 1


def test_a_question_waits_for_its_owner_and_the_answer_is_the_verdict(bedroom):
    """What only a person can see is unknown until a person has looked."""
    bedroom.plan(work("human: { question: 'Is it nice?', choices: [nice, ugly] }"))

    async def scenario():
        end = await bedroom.night()
        assert (end.exit_code, bedroom.verdicts("one")) == (1, ["unknown"])
        [asked] = bedroom.rows(RunRow, "task = 'night.ask'")
        assert (asked.state, asked.why, asked.choices) == ("held", "ask", "nice\nugly")
        await bedroom.begin()
        await bedroom.owner.answer(asked.run, "nice")
        end = await bedroom.run()
        await bedroom.end()
        return end

    assert asyncio.run(scenario()).exit_code == 0
    assert bedroom.verdicts("one") == ["verified"]
    assert len(bedroom.nights) == 1


def test_a_question_of_a_night_that_was_given_up_is_asked_no_more(bedroom):
    """The report of a night that is over must not send its owner to look at it."""
    bedroom.plan(work("human: { question: 'Is it nice?', choices: [nice, ugly] }"))
    asyncio.run(bedroom.night())
    bedroom.plan(work("human: { question: 'Is it good?', choices: [good, bad] }"))
    asyncio.run(bedroom.night(edited=Edited.NEW))

    asked = bedroom.rows(RunRow, "task = 'night.ask'")
    assert ["cancelled", "held"] == [one.state for one in sorted(asked, key=lambda one: one.run)]


def test_an_answer_that_is_not_the_first_one_refutes(bedroom):
    """The plan says which word is the good one."""
    bedroom.plan(work("human: { question: 'Is it nice?' }"))

    async def scenario():
        await bedroom.night()
        [asked] = bedroom.rows(RunRow, "task = 'night.ask'")
        await bedroom.begin()
        await bedroom.owner.answer(asked.run, "no")
        end = await bedroom.run()
        await bedroom.end()
        return end

    assert asyncio.run(scenario()).exit_code == 1
    assert bedroom.verdicts("one") == ["refuted"]


def test_what_is_refuted_keeps_what_needs_it_from_beginning(bedroom):
    """Done is not enough: a sitemap of listings that are not there would be published."""
    bedroom.plan(
        work("file: { path: other.txt, exists: true }")
        + """
  - id: two
    needs: [one]
    steps:
      - w: { file: { write: two.txt, content: x } }
"""
    )
    assert asyncio.run(bedroom.night()).exit_code == 1
    assert bedroom.states("two") == []
    assert not (bedroom.folder / "two.txt").exists()


def test_a_check_of_a_python_task_is_run_for_each_of_its_rows(bedroom):
    """Whoever writes a task of their own gets the same proof."""
    bedroom.plan(
        bedroom.numbers(
            3,
            'n == "1" or (Path(__file__).parent / f"{n}.out").write_text(n)',
            extra='evidence: [ { file: { path: "{{ item.n }}.out", exists: true } } ]',
        )
    )
    asyncio.run(bedroom.night())
    assert bedroom.verdicts("number") == ["verified", "refuted", "verified"]


NOTHING, OLD, NEW = Seen(UNMET), Seen(MET, digest="a"), Seen(MET, digest="b")
COMPARED = Seen(MET, digest="b", compares=True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (NOTHING, NEW, "verified"),
        (OLD, NEW, "no-change"),
        (NOTHING, NOTHING, "refuted"),
        (OLD, NOTHING, "refuted"),
        (Seen(NOT_RUN), NEW, "verified"),
        (NOTHING, Seen(NOT_RUN), "not-run"),
        (Seen(UNMET, digest="a"), COMPARED, "verified"),
        (Seen(UNMET, digest="b"), COMPARED, "refuted"),
        (Seen(NOT_RUN), COMPARED, "not-run"),
    ],
)
def test_a_verdict_follows_from_two_looks(before, after, expected):
    """One rule for all kinds of checks."""
    assert judge("file", before, after).verdict == expected


@pytest.mark.parametrize(
    ("expected", "found", "says"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": 1}, {"a": 1.0}, ""),
        ({"a": True}, {"a": 1}, "a is 1, expected true"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
        ([1, 2], [1], "it has 1 entries, expected 2"),
        ([{"a": 1}], [{"a": 2}], "[0].a is 2, expected 1"),
        (None, 0, "it is 0, expected null"),
    ],
)
def test_a_difference_names_its_place(expected, found, says):
    """A report that says only no helps nobody."""
    assert difference(expected, found) == says
