"""Plans as values: canonical bytes, digests, routes."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tildawn.facts.plan import (
    Accepted,
    Entry,
    Env,
    Expr,
    Filter,
    Fixed,
    Item,
    ListOf,
    MapOf,
    Mode,
    Night,
    Patience,
    Plan,
    Repeat,
    Role,
    Source,
    Step,
    Template,
    Text,
    parts_of,
    plan_bytes,
    plan_from,
    route_of,
)
from tildawn.units import Micros


_PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
_PARTS = st.one_of(
    st.builds(Text, st.text(max_size=5)),
    st.builds(Env, st.text(max_size=3)),
    st.builds(
        Expr,
        st.text(max_size=3),
        st.lists(st.text(max_size=3) | st.integers(-9, 9), max_size=2).map(tuple),
        st.lists(st.builds(Filter, st.text(max_size=3), st.tuples(_PLAIN)), max_size=2).map(tuple),
    ),
)
_VALUES = st.recursive(
    st.builds(Fixed, _PLAIN)
    | st.builds(
        Template, st.lists(_PARTS, min_size=1, max_size=3).map(tuple), st.sampled_from(Mode)
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: ListOf(tuple(items)))
        | st.lists(st.builds(Entry, st.text(max_size=3), inner), max_size=3).map(
            lambda entries: MapOf(tuple(entries))
        )
    ),
    max_leaves=8,
)


def _plan(fields: MapOf) -> Plan:
    step = Step(
        name="s", kind="k", fields=fields, route=None, repeat=Repeat.SAFE, timeout=Micros(1)
    )
    item = Item(id="a", title="a", key=Fixed("a"), steps=(step,))
    return Plan(version=1, night=Night(), items=(item,))


@given(_VALUES)
def test_a_plan_goes_to_bytes_and_back_unchanged(value):
    """A night is continued from these bytes after every crash."""
    plan = _plan(MapOf((Entry("x", value),)))

    assert plan == plan_from(plan_bytes(plan))
    assert plan_bytes(plan) == plan_bytes(plan_from(plan_bytes(plan)))


def test_the_bytes_of_a_plan_do_not_drift():
    """Houses of every released version hold such bytes: another spelling would be another plan."""
    fields = MapOf((Entry("x", Template((Text("a"), Env("B"), Expr("c", ("d", 0))), Mode.URL)),))

    assert (
        b'{"items":[{"budget":null,"budget_total":null,"concurrency":null,"evidence":[],'
        b'"for_each":null,"id":"a","input":null,"key":{"type":"fixed","value":"a"},'
        b'"lane":"owner","model":null,"must":false,"needs":[],"once":"night","priority":0,'
        b'"steps":[{"accepts":[],"approve":false,"fields":{"entries":[{"name":"x","value":'
        b'{"mode":"url","parts":[{"text":"a","type":"text"},{"name":"B","type":"env"},'
        b'{"filters":[],"path":["d",0],"root":"c","type":"expr"}],"type":"template"}}],'
        b'"type":"map"},"kind":"k","max_cost":null,"model":null,"name":"s","repeat":"safe",'
        b'"retry":null,"route":null,"tiers":[],"timeout":1}],"task":null,"title":"a",'
        b'"trial":false,"when":null}],"night":{"budget":null,"report_minute":null,"stop":'
        b'{"in_a_row":3,"total":5},"window":null,"zone":null},"required_env":[],"version":1}'
    ) == plan_bytes(_plan(fields))


def test_patience_is_in_the_bytes_only_where_the_author_said_it():
    """It came after plans were first kept: those of before must stay the same plans."""
    silent = _plan(MapOf(()))
    [item] = silent.items
    for patience, interactive in ((Patience.BATCH, False), (Patience.INTERACTIVE, True)):
        step = msgspec.structs.replace(item.steps[0], patience=patience)
        said = msgspec.structs.replace(item, steps=(step,))
        plan = msgspec.structs.replace(silent, items=(said,))

        assert b"patience" not in plan_bytes(silent)
        assert plan == plan_from(plan_bytes(plan))
        assert plan.items[0].steps[0].interactive is interactive
    assert silent.items[0].steps[0].interactive is False


def test_an_accepted_plan_is_named_by_all_it_was_made_from():
    """The digest is what says that nothing was changed between acceptance and execution."""
    source = Source(role=Role.ROWS, item="a", path="a.csv", sha256="0" * 64, size=1)
    plan = _plan(MapOf())
    accepted = Accepted(plan=plan, sources=(source,), folder="/a")
    others = [
        Accepted(plan=_plan(MapOf((Entry("x", Fixed(1)),))), sources=(source,), folder="/a"),
        Accepted(plan=plan, sources=(), folder="/a"),
    ]

    assert accepted.digest not in {other.digest for other in others}
    assert accepted.digest == Accepted(plan=plan, sources=(source,), folder="/b").digest
    assert source == accepted.rows_of("a")
    assert accepted.rows_of("b") is None


def test_segments_are_found_wherever_they_stand():
    """Needed variables are listed from them."""
    deep = ListOf((MapOf((Entry("x", Template((Text("a"), Env("B")))),)), Fixed("no")))

    assert [Text("a"), Env("B")] == list(parts_of(deep))
    assert [] == list(parts_of(None))


def test_the_route_of_a_picture_names_its_size():
    """Large pictures are slow; they must not open the breaker of small ones."""
    step = _plan(MapOf((Entry("size", Fixed("8x8")),))).items[0].steps[0]

    assert "openai:gpt:8x8" == route_of(step, provider="openai", model="gpt")
