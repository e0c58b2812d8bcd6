"""What is printed before a night: runs, worst cost, reach; and the schema editors use."""

import json
import re
from pathlib import Path
from typing import cast

import pytest

from tildawn.errors import BadValue
from tildawn.facts.plan import Mode, Repeat
from tildawn.runtime.plan import (
    BUILTIN,
    NUMBER,
    EvidenceKind,
    FieldSpec,
    Kind,
    Reach,
    ShownReach,
    TextShape,
    plan_schema,
    read_plan,
    record,
    show,
    show_text,
)
from tildawn.runtime.plan.document import Mapping, Node, Scalar, Sequence, read_document
from tildawn.runtime.plan.problem import Problems
from tildawn.units import Micros, MicroUsd


EXAMPLE = Path(__file__).parents[3] / "examples" / "valentine" / "plan.yaml"
PRICES = {"chat": MicroUsd(2_000), "image": MicroUsd(40_000)}


def _price(kind: str, _fields: object, _model: str | None) -> MicroUsd | None:
    return PRICES.get(kind)


def test_the_worst_cost_is_that_of_every_run_and_every_step(compiled):
    """The owner decides by this number whether to go to bed."""
    plan = compiled(
        "version: 1\nwork: [ { id: a, for_each: products.csv, key: '{{ item.sku }}', steps: "
        "[ { c: { chat: { prompt: x } } }, { p: { image: { prompt: x, size: 8x8 } } }, "
        "{ d: { chat: { prompt: x }, max_cost: '0.01' } }, { f: { file: { read: x } } } ] } ]"
    )

    shown = show(plan, _price)

    assert [2_000, 40_000, 10_000, 0] == [step.worst_micro_usd for step in shown.items[0].steps]
    assert 2 * 52_000 == shown.worst_micro_usd


def test_budgets_cap_the_worst_cost():
    """A call that its budget does not allow is not made."""
    shown = show(read_plan(EXAMPLE), _price)

    assert [24 * 42_000, 0, None] == [item.worst_micro_usd for item in shown.items]
    assert 5_000_000 == shown.worst_micro_usd


def test_an_unknown_price_is_named_and_never_a_number(compiled):
    """Zero in its place would be a lie that costs money."""
    plan = compiled("version: 1\nwork: [ { id: a, steps: [ { c: { chat: { prompt: x } } } ] } ]")

    shown = show(plan, lambda *_: None)

    assert (None, ("a.c",)) == (shown.worst_micro_usd, shown.unpriced)
    assert "price not known: a.c" in show_text(shown)
    assert "at most an unknown amount" in show_text(shown)


def test_what_is_touched_is_listed_with_who_touches_it():
    """Permits are given by this list."""
    shown = show(read_plan(EXAMPLE), _price)

    assert (
        ShownReach("ask", "a model", ("listings",)),
        ShownReach("draw", "a model", ("listings",)),
        ShownReach("POST", "${SHOP_URL}", ("listings",)),
        ShownReach("GET", "${SHOP_URL}", ("listings",)),
        ShownReach("run", "python", ("sitemap",)),
        ShownReach("read", "sitemap.xml", ("sitemap",)),
        ShownReach("import", "shop_tasks", ("prices",)),
    ) == shown.reaches
    assert (True, ("SHOP_URL",)) == (shown.models, shown.required_env)


def test_a_plan_is_shown_in_words():
    """The exact text of the tutorial."""
    plan = read_plan(EXAMPLE)

    assert """\
listings: List the Valentine products, 24 runs, at most $1.008
    copy: chat, repeat safe, at most $0.002
    photo: image, repeat safe, at most $0.04
    draft: http, repeat keyed, route shop:create
    then checked by http
sitemap: sitemap, 1 run, at most $0.00
    build: shell, repeat safe, route shell:python
    then checked by file
prices: prices, 1 run, at most an unknown amount
    task shop_tasks:competitor_prices

26 runs in all, at most $5.00
budget of the night $5.00
reaches for:
    ask a model (listings)
    draw a model (listings)
    POST ${SHOP_URL} (listings)
    GET ${SHOP_URL} (listings)
    run python (sitemap)
    read sitemap.xml (sitemap)
    import shop_tasks (prices)
variables: SHOP_URL
provider of models: needed""" == show_text(show(plan, _price))


def _json(node: Node | None, schema: object) -> object:
    """A node as an editor's YAML reader would give it, near enough for the example."""
    match node:
        case Mapping():
            return {key.text: _json(value, schema) for key, value in node.entries}
        case Sequence():
            return [_json(item, schema) for item in node.items]
        case Scalar():
            if node.plain and re.fullmatch(r"\d+", node.text):
                return int(node.text)
            return (
                {"true": True, "false": False}.get(node.text, node.text)
                if node.plain
                else node.text
            )
        case None:
            return None


_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
}


def _faults(value: object, schema: dict[str, object], at: str = "$") -> list[str]:
    """What a JSON Schema has against a value: the keywords that we use, and no others."""
    known = {
        *("type", "properties", "required", "additionalProperties", "items", "minItems", "enum"),
        *("pattern", "minimum", "maximum", "minProperties", "maxProperties", "propertyNames"),
        *("oneOf", "anyOf", "description", "examples", "$schema", "title"),
    }
    assert known >= set(schema), set(schema) - known
    found: list[str] = []
    types = schema.get("type")
    names = [types] if isinstance(types, str) else cast("list[str]", types or [])
    if names and not any(isinstance(value, _TYPES[name]) for name in names):
        return [f"{at} is no {names}"]
    if "enum" in schema and value not in cast("list[object]", schema["enum"]):
        found.append(f"{at} is none of {schema['enum']}")
    if "pattern" in schema and isinstance(value, str):
        found += [] if re.search(str(schema["pattern"]), value) else [f"{at} does not match"]
    found += _option_faults(value, schema, at)
    if isinstance(value, dict):
        found += _object_faults(cast("dict[str, object]", value), schema, at)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(cast("list[object]", value)):
            found += _faults(item, cast("dict[str, object]", schema["items"]), f"{at}[{index}]")
    return found


def _option_faults(value: object, schema: dict[str, object], at: str) -> list[str]:
    found: list[str] = []
    for key in ("oneOf", "anyOf"):
        options = cast("list[dict[str, object]]", schema.get(key, []))
        fits = [option for option in options if not _faults(value, option, at)]
        if options and (not fits or (key == "oneOf" and len(fits) > 1)):
            found.append(f"{at} fits {len(fits)} of {key}")
    return found


def _object_faults(value: dict[str, object], schema: dict[str, object], at: str) -> list[str]:
    properties = cast("dict[str, dict[str, object]]", schema.get("properties", {}))
    missing = [n for n in cast("list[str]", schema.get("required", [])) if n not in value]
    found = [f"{at} has no {name}" for name in missing]
    for name, item in value.items():
        inner = properties.get(name, schema.get("additionalProperties", {}))
        if inner is False:
            found.append(f"{at} may not have {name}")
        elif isinstance(inner, dict):
            found += _faults(item, cast("dict[str, object]", inner), f"{at}.{name}")
    return found


def test_the_schema_accepts_the_example_and_refuses_a_misspelling():
    """Editors complete and underline by it; it must say what the compiler says."""
    schema = json.loads(plan_schema())
    node = read_document(EXAMPLE.read_bytes(), Problems("p"))

    assert [] == _faults(_json(node, schema), schema)
    wrong = EXAMPLE.read_text().replace("for_each", "foreach").replace("{ url:", "{ urll:")
    faults = _faults(_json(read_document(wrong.encode(), Problems("p")), schema), schema)
    assert "$.work[0] may not have foreach" in faults
    assert "$.work[0].evidence[0] fits 0 of oneOf" in faults


def test_the_dearest_model_that_may_answer_is_the_worst_cost(compiled):
    """The cheap one may be down all night."""
    plan = compiled(
        "version: 1\nwork: [ { id: a, steps: [ { p: { image: { prompt: x, size: 8x8 }, model: big, "
        "accepts: [small, huge], tiers: [global, exact], patience: interactive } } ] } ]"
    )
    prices = {"big": MicroUsd(5), "small": MicroUsd(1), "huge": MicroUsd(9)}

    shown = show(plan, lambda _, __, model: prices.get(model or ""))

    [step] = shown.items[0].steps
    assert (9, ("small", "huge"), ("global", "exact"), True) == (
        step.worst_micro_usd, step.accepts, step.tiers, step.interactive,
    )  # fmt: skip
    assert "model big, or small or huge, else what is global or exact, somebody waits" in show_text(
        shown
    )
    del prices["small"]
    assert ("a.p",) == show(plan, lambda _, __, model: prices.get(model or "")).unpriced


def test_what_a_kind_does_not_have_is_not_published_for_it():
    """An editor that offers tiers at a file offers what is then refused."""
    schema = json.loads(plan_schema())
    item = schema["properties"]["work"]["items"]["properties"]
    bodies = item["steps"]["items"]["additionalProperties"]["oneOf"]
    tiers = {
        next(kind for kind in BUILTIN.kinds if kind in body["properties"]): (
            body["properties"].get("tiers", {}).get("items", {}).get("enum"),
            {"accepts", "patience", "model"} & set(body["properties"]),
        )
        for body in bodies
    }

    ladder = {"accepts", "patience", "model"}
    assert tiers == {
        "chat": (["exact"], ladder),
        "image": (["exact", "related", "global", "procedural"], ladder),
        "http": (None, set()),
        "shell": (None, set()),
        "file": (None, set()),
    }


def test_no_reserved_key_is_published():
    """A completion that is then refused would be a trap."""
    schema = json.loads(plan_schema())
    item = schema["properties"]["work"]["items"]["properties"]

    assert set(item).isdisjoint(BUILTIN.reserved)
    step = item["steps"]["items"]["additionalProperties"]["oneOf"][0]["properties"]
    assert set(step).isdisjoint(BUILTIN.reserved)


PAINT = Kind(
    name="paint",
    help="Paint something.",
    fields=(FieldSpec("motif", TextShape(Mode.TEXT), required=True, help="what"),),
    example="{ motif: … }",
    timeout=Micros(1),
    repeat=lambda _: Repeat.KEYED,
    reach=lambda _: (Reach("paint", "a wall"),),
    output=lambda _: record(strokes=NUMBER),
)
SEEN = EvidenceKind(
    name="seen",
    help="Somebody saw it.",
    fields=(FieldSpec("by", TextShape(), required=True),),
    example="{ by: … }",
    reach=lambda _: (),
)


def test_an_application_brings_its_own_kinds(folder):
    """The gallery's kinds are read, checked, shown and published as ours are."""
    registry = BUILTIN.extended(kinds=(PAINT,), evidence=(SEEN,))
    (folder / "plan.yaml").write_text(
        "version: 1\nwork: [ { id: a, steps: [ { p: { paint: { motif: x } } }, "
        "{ f: { file: { write: y, content: '{{ p.strokes }}' } } } ], evidence: [ { seen: { by: me } } ] } ]"
    )

    plan = read_plan("plan.yaml", registry=registry)

    assert ("paint", Repeat.KEYED) == (plan.items[0].steps[0].kind, plan.items[0].steps[0].repeat)
    assert ShownReach("paint", "a wall", ("a",)) in show(plan, _price, registry=registry).reaches
    assert '"paint"' in plan_schema(registry)
    assert '"seen"' in plan_schema(registry)


def test_two_kinds_of_one_name_are_refused():
    """Otherwise the order of imports would decide what a plan does."""
    with pytest.raises(BadValue, match="registered already"):
        BUILTIN.extended(kinds=(PAINT, PAINT))
