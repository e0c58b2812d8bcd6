"""What a good plan becomes: order, defaults, types, snapshot."""

import sys
from pathlib import Path

import pytest

from tildawn.errors import BadPlan, BadTask
from tildawn.facts.plan import (
    Entry,
    Fixed,
    ListOf,
    MapOf,
    Need,
    Night,
    Once,
    Repeat,
    Step,
    Stop,
    TaskRef,
    When,
    Window,
    plan_bytes,
    plan_from,
    route_of,
)
from tildawn.runtime.plan import problems_of, read_plan, render, resolve_task, take_snapshot
from tildawn.runtime.plan.order import cycles, in_order
from tildawn.units import Micros, MicroUsd


EXAMPLE = Path(__file__).parents[3] / "examples" / "valentine" / "plan.yaml"
ONE = "version: 1\nwork: [ { id: one, steps: [ %s ] } ]"


def _step(compiled, body: str) -> Step:
    return compiled(ONE % body).items[0].steps[0]


def test_the_example_compiles_to_what_it_says():
    """The first plan anybody reads is the one of the tutorial."""
    plan = read_plan(EXAMPLE)

    assert (
        Night(
            window=Window(23 * 60, 6 * 60 + 30),
            zone="Europe/Berlin",
            report_minute=7 * 60,
            budget=MicroUsd(5_000_000),
            stop=Stop(3, 5),
        )
        == plan.night
    )
    assert ("listings", "sitemap", "prices") == tuple(item.id for item in plan.items)
    assert ("SHOP_URL",) == plan.required_env
    listings, sitemap, prices = plan.items
    assert (24, MicroUsd(100_000)) == (listings.runs, listings.budget)
    assert ["copy", "photo", "draft"] == [step.name for step in listings.steps]
    assert ("shop:create", Repeat.KEYED) == (listings.steps[2].route, listings.steps[2].repeat)
    assert (Need("listings"),) == sitemap.needs
    assert (Micros(600_000_000), Repeat.SAFE) == (sitemap.steps[0].timeout, sitemap.steps[0].repeat)
    assert (TaskRef("shop_tasks", "competitor_prices"), {"shops": 3}) == (
        prices.task,
        render(prices.input or Fixed(None), {}),
    )


@pytest.mark.parametrize(
    ("body", "repeat", "route"),
    [
        ("{ s: { chat: { prompt: x } } }", Repeat.SAFE, "p:m"),
        ("{ s: { image: { prompt: x, size: 8x9 } } }", Repeat.SAFE, "p:m:8x9"),
        ("{ s: { http: { url: 'https://a.example:8/x' } } }", Repeat.SAFE, "http:a.example:8"),
        ("{ s: { http: { url: '${U}/x', method: HEAD } } }", Repeat.SAFE, "http:${U}"),
        ("{ s: { http: { url: '${U}/x', method: POST } } }", Repeat.NEVER, "http:${U}"),
        (
            "{ s: { http: { url: '${U}', method: PUT }, repeat: keyed, route: r } }",
            Repeat.KEYED,
            "r",
        ),
        ("{ s: { shell: { argv: [/bin/ls] } } }", Repeat.NEVER, "shell:ls"),
        ("{ s: { file: { read: x } } }", Repeat.SAFE, "file"),
        ("{ s: { file: { append: x, content: y } } }", Repeat.NEVER, "file"),
        ("{ s: { file: { write: x, content: y } } }", Repeat.SAFE, "file"),
    ],
)
def test_each_kind_brings_its_own_defaults(compiled, body, repeat, route):
    """What may be repeated is decided before the night, not in the middle of a crash."""
    step = _step(compiled, body)

    assert (repeat, route) == (step.repeat, route_of(step, provider="p", model="m"))
    assert step.timeout > 0


def test_defaults_are_written_into_the_plan(compiled):
    """A later version with other defaults has to run an accepted plan as it was meant."""
    plan = compiled(
        "version: 1\nwork: [ { id: a, steps: [ { s: { http: { url: 'https://a.example' } } } ], "
        "evidence: [ { command: { argv: [ls] } }, { human: { question: so } } ] } ]"
    )

    command, human = plan.items[0].evidence
    assert "GET" == plan.items[0].steps[0].fields.plain("method")
    assert MapOf((Entry("exit_code", Fixed(0)),)) == command.fields.get("expect")
    assert ListOf((Fixed("yes"), Fixed("no"))) == human.fields.get("choices")


def test_the_model_of_an_item_is_that_of_its_steps_that_ask_one(compiled):
    """Said once for all of them."""
    plan = compiled(
        "version: 1\nwork: [ { id: a, model: small, steps: [ { s: { chat: { prompt: x } } }, "
        "{ t: { chat: { prompt: x }, model: big } }, { u: { file: { read: x } } } ] } ]"
    )

    assert ["small", "big", None] == [step.model for step in plan.items[0].steps]


def test_free_json_is_typed_as_json_would_write_it(compiled):
    """A sku 1e3 or 010 stays what it is, and a count is a number."""
    plan = compiled(
        "version: 1\nwork: [ { id: a, task: 'json:dump', input: { a: 3, b: 010, c: 1e3, d: on, "
        "e: true, f: null, g: '3', h: -1.50, i: ~, j: [yes, 0x1F, 1_000, .5], k: } } ]"
    )

    assert {
        "a": 3,
        "b": "010",
        "c": "1e3",
        "d": "on",
        "e": True,
        "f": None,
        "g": "3",
        "h": -1.5,
        "i": "~",
        "j": ["yes", "0x1F", "1_000", ".5"],
        "k": None,
    } == render(plan.items[0].input or Fixed(None), {})


def test_the_short_form_of_a_schema_becomes_json_schema(compiled):
    """Providers take JSON Schema; people should not have to write it."""
    step = _step(
        compiled,
        "{ s: { chat: { prompt: x, schema: { a: str, b: [int], c: { d: bool }, e: float? } } } }",
    )

    assert {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "items": {"type": "integer"}},
            "c": {
                "type": "object",
                "properties": {"d": {"type": "boolean"}},
                "required": ["d"],
                "additionalProperties": False,
            },
            "e": {"type": ["number", "null"]},
        },
        "required": ["a", "b", "c", "e"],
        "additionalProperties": False,
    } == render(step.fields.get("schema") or Fixed(None), {})


def test_items_come_after_those_they_need_and_otherwise_as_written(compiled):
    """The order of the file is the owner's; only needs may change it."""
    entry = "{ id: %s, needs: [%s], steps: [ { s: { file: { read: x } } } ] }"
    work = ", ".join(
        entry % pair
        for pair in [("c", "a, {item: b, when: finished}"), ("x", ""), ("b", "a"), ("a", "")]
    )
    plan = compiled(f"version: 1\nwork: [ {work} ]")

    assert ["x", "a", "b", "c"] == [item.id for item in plan.items]
    assert (Need("a"), Need("b", When.FINISHED)) == plan.items[3].needs


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ({"a": ["a"]}, [["a"]]),
        ({"a": ["b"], "b": ["a"]}, [["a", "b"]]),
        ({"a": ["b", "c"], "b": ["d"], "c": ["a"], "d": []}, [["a", "c"]]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, [["a", "b"], ["c", "d"]]),
        ({"a": ["b", "c"], "b": ["c"], "c": []}, []),
    ],
)
def test_circles_are_found_by_their_members(needs, found):
    """The members are what the owner has to look at."""
    assert found == cycles(needs)
    assert (in_order(needs) is None) == bool(found)


def test_a_chain_of_ten_thousand_needs_is_ordered():
    """No recursion: a plan that a program emitted may be long."""
    needs = {str(n): [str(n + 1)] for n in range(10_000)}

    assert "10000" not in (in_order(needs) or [])
    assert "9999" == (in_order(needs) or [""])[0]
    assert [] == cycles(needs)


def test_a_compiled_plan_goes_to_bytes_and_back():
    """The house keeps the bytes, and every later version reads them."""
    plan = read_plan(EXAMPLE)

    assert plan == plan_from(plan_bytes(plan))
    assert b"${" not in plan_bytes(plan)
    assert b'"name":"SHOP_URL"' in plan_bytes(plan)


def test_an_order_of_keys_or_a_comment_changes_no_compiled_plan(compiled):
    """Only what is meant counts; the file's own digest says whether it was touched."""
    one = compiled(ONE % "{ s: { http: { url: 'https://a.example', method: GET }, timeout: 1m } }")
    two = compiled(
        "# a comment\n"
        + ONE % "{ s: { timeout: 60s, http: { method: GET, url: https://a.example } } }"
    )

    assert plan_bytes(one) == plan_bytes(two)


def test_a_snapshot_holds_every_byte_that_was_read(folder, steps):
    """After acceptance the files may be edited or gone."""
    text = steps("- s: { file: { read: x } }")
    (folder / "plan.yaml").write_text(text)

    taken = take_snapshot("plan.yaml")

    assert [text.encode(), (folder / "products.csv").read_bytes()] == [c.body for c in taken.copies]
    assert [copy.source for copy in taken.copies] == list(taken.accepted.sources)
    assert str(folder) == taken.accepted.folder
    rows = taken.accepted.rows_of("a")
    assert rows is not None
    assert "products.csv" == rows.path


def test_any_edit_changes_the_digest_and_the_place_does_not(folder, steps):
    """The digest decides whether a night is continued or asked about."""
    (folder / "plan.yaml").write_text(steps("- s: { file: { read: x } }"))
    first = take_snapshot("plan.yaml").accepted.digest
    (folder / "products.csv").write_text("sku,title\nA-1,Candle\nB-2,Cup!\n")
    edited = take_snapshot("plan.yaml").accepted.digest
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("plan.yaml", "products.csv"):
        (folder / name).rename(elsewhere / name)

    assert first != edited
    assert edited == take_snapshot(elsewhere / "plan.yaml").accepted.digest


def test_once_ever_is_kept_on_the_item(compiled):
    """A key may be unique for longer than one night."""
    plan = compiled(
        "version: 1\nwork: [ { id: a, once: ever, steps: [ { s: { file: { read: x } } } ] } ]"
    )

    assert Once.EVER == plan.items[0].once


def test_the_program_and_the_text_of_an_interpreter_may_be_fixed(compiled):
    """Data goes beside the text, as an argument of its own."""
    step = _step(
        compiled,
        """{ s: { shell: { argv: [sh, -c, 'echo "$1"', sh, "x"], env: { T: "${T}" } } } }""",
    )

    assert isinstance(step.fields.get("argv"), ListOf)
    assert isinstance(step.fields.get("env"), MapOf)


def test_a_task_beside_the_plan_is_found_without_being_run_and_imported_on_demand(
    folder, monkeypatch
):
    """Checking a plan must not execute it; a wrong name is found before the night."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "jobs_beside.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\ndef work(): return 'done'\n"
    )
    (folder / "plan.yaml").write_text("version: 1\nwork: [ { id: a, task: 'jobs_beside:work' } ]")

    plan = read_plan("plan.yaml")

    assert not (folder / "ran").exists()
    function = resolve_task(folder, plan.items[0].task or TaskRef("", ""))
    assert callable(function)
    assert "done" == function()
    del sys.modules["jobs_beside"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("def wrok(): ...\n", "there is no 'work' in the module 'jobs_bad'; did you mean 'wrok'?"),
        ("def (", "the module 'jobs_bad' cannot be read: invalid syntax"),
    ],
)
def test_a_task_that_cannot_be_there_is_said_at_the_check(folder, said, body, found):
    """At three in the morning it would be too late."""
    (folder / "jobs_bad.py").write_text(body)

    listed = said("version: 1\nwork: [ { id: a, task: 'jobs_bad:work' } ]")

    assert [True] == [line.startswith(f"plan.yaml:2:24: {found}") for line in listed]


def test_a_module_of_the_same_name_that_was_loaded_before_is_not_taken_for_the_plans(
    folder, monkeypatch
):
    """Two plans may both have a tasks.py."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    other = folder / "other"
    other.mkdir()
    for place in (folder, other):
        (place / "jobs_twice.py").write_text("def work(): ...\n")
    resolve_task(folder, TaskRef("jobs_twice", "work"))

    with pytest.raises(BadTask, match="loaded already"):
        resolve_task(other, TaskRef("jobs_twice", "work"))

    del sys.modules["jobs_twice"]


@pytest.mark.parametrize("body", ["raise SystemError('no')", "import nowhere_at_all", "x = 1"])
def test_a_task_that_cannot_be_imported_is_a_bad_task(folder, monkeypatch, body):
    """What a stranger's module raises is said, never passed on raw."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "jobs_broken.py").write_text(body)

    with pytest.raises(BadTask, match="jobs_broken"):
        resolve_task(folder, TaskRef("jobs_broken", "work"))

    sys.modules.pop("jobs_broken", None)


def test_problems_of_another_error_are_none():
    """A bad plan may also be refused by somebody else."""
    assert () == problems_of(BadPlan())
