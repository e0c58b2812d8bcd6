"""A model's answer counts only if it is what the schema asks for.

What it is not: a test of JSON Schema as a whole; a subset is checked, the rest is refused.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadValue
from tildawn.guard.answer import schema_check
from tildawn.guard.fault import InvalidAnswer


PRODUCT = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 20},
        "bullets": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3},
        "price": {"type": "number", "minimum": 0, "maximum": 99},
        "stock": {"type": "integer"},
        "kind": {"enum": ["card", "cup", 1]},
        "gift": {"type": ["boolean", "null"]},
        "size": {"$ref": "#/$defs/size"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "v": {"const": 1},
    },
    "required": ["title", "bullets"],
    "additionalProperties": False,
    "$defs": {"size": {"type": "object", "properties": {"inner": {"$ref": "#/$defs/size"}}}},
}
GOOD = {
    "title": "A cup", "bullets": ["a", "b", "c"], "price": 9.5, "stock": 2.0, "kind": "cup",
    "gift": None, "size": {"inner": {"inner": {}}}, "note": "x", "v": 1,
}  # fmt: skip


def check(schema: object, value: object) -> None:
    schema_check(json.dumps(schema))(json.dumps(value).encode())


def test_an_answer_as_asked_passes() -> None:
    """The other tests change one thing of it each."""
    check(PRODUCT, GOOD)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"title": 7}, "$.title: expected string, got 7"),
        ({"title": ""}, "least is 1"),
        ({"title": "x" * 21}, "most is 20"),
        ({"bullets": ["a", "b"]}, "least is 3"),
        ({"bullets": ["a", 2, "c"]}, "$.bullets[1]: expected string, got 2"),
        ({"bullets": "abc"}, "expected array"),
        ({"price": -1}, "least is 0"),
        ({"price": "1"}, "expected number"),
        ({"price": True}, "expected number"),
        ({"stock": 2.5}, "expected integer"),
        ({"kind": "plate"}, "expected one of"),
        ({"kind": True}, "expected one of"),
        ({"gift": 0}, "expected boolean or null"),
        ({"size": {"inner": {"inner": 1}}}, "$.size.inner.inner: expected object"),
        ({"note": 3}, "fits none of the alternatives"),
        ({"v": True}, "expected 1, got true"),
        ({"extra": 1}, "$.extra: no such property"),
    ],
)
def test_each_deviation_is_named_with_its_place(change, says) -> None:
    """The one repair attempt needs to know what to repair."""
    with pytest.raises(InvalidAnswer) as caught:
        check(PRODUCT, GOOD | change)

    assert says in caught.value.detail


def test_what_is_missing_is_named() -> None:
    """A title that is not there is not an empty one."""
    with pytest.raises(InvalidAnswer, match="bullets is missing"):
        check(PRODUCT, {"title": "A cup"})


def test_the_rest_of_an_object_can_have_a_schema() -> None:
    """Maps of names to numbers are asked for this way."""
    scores = {"type": "object", "additionalProperties": {"type": "integer"}}
    check(scores, {"a": 1})
    with pytest.raises(InvalidAnswer, match=r"\$\.b: expected integer"):
        check(scores, {"a": 1, "b": "2"})


@pytest.mark.parametrize("text", [b"", b"no", b'{"a":', b"NaN", b'"\xff"', b"[" * 100_000])
def test_what_is_no_json_is_an_invalid_answer(text) -> None:
    """Models explain themselves before, after and instead of JSON."""
    with pytest.raises(InvalidAnswer, match="no JSON"):
        schema_check("{}")(text)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "a+"},
        {"type": "text"},
        {"type": []},
        {"properties": {"a": {"oneOf": []}}},
        {"items": {"uniqueItems": True}},
        {"anyOf": [{"not": {}}]},
        {"$defs": {"a": {"if": {}}}},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/schema"},
        {"minLength": -1},
        {"required": "a"},
        7,
    ],
)
def test_a_keyword_that_is_not_checked_is_refused(schema) -> None:
    """A check that is skipped in silence looks like one that passed."""
    with pytest.raises(BadValue, match="schema"):
        schema_check(json.dumps(schema))


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A reference in a circle must be an answer that does not fit, not a hang."""
    with pytest.raises(InvalidAnswer, match="nested deeper"):
        check({"$ref": "#"}, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(value=JSON)
def test_every_value_fits_the_schema_of_itself_and_no_other_constant(value) -> None:
    """The judge says yes to what is right, whatever it is."""
    check({"const": value}, value)
    check({"enum": [value, {"other": 1}]}, value)
    with pytest.raises(InvalidAnswer):
        check({"const": [value]}, value)
