"""Templates: plain data in, no way to anything else, and values keep their type."""

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadValue
from tildawn.facts.plan import Env, Expr, Filter, Fixed, ListOf, MapOf, Mode, Part, Template, Text
from tildawn.runtime.plan import Sealed, expanded, render, render_text, unexpanded
from tildawn.runtime.plan.filters import FILTERS
from tildawn.runtime.plan.rendering import evaluate
from tildawn.runtime.plan.template import parse_template


class Picture:
    """Stands for an artifact: an object with attributes that no template may read."""

    secret = "attribute"

    def __getitem__(self, key: object) -> object:
        """Would give items away if it were asked."""
        return self.secret


PHOTO = Picture()
SCOPE = {
    "item": {
        "sku": "a/b c",
        "price": "18.90",
        "n": "7",
        "Unit Price": "3",
        "empty": "",
        "no": None,
    },
    "copy": {"title": "Größe & more", "bullets": ["one", "two"], "deep": {"x": [1, 2.5, True]}},
    "photo": PHOTO,
}


def _render(text: str, mode: Mode = Mode.VALUE) -> object:
    parsed = parse_template(text)
    assert not parsed.faults, parsed.faults
    return render(Template(tuple(parsed.parts), mode), SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ copy.bullets }}", ["one", "two"]),
        ("{{ copy.deep }}", {"x": [1, 2.5, True]}),
        ("{{ copy.deep.x[1] }}", 2.5),
        ("{{copy['deep']['x'][-1]}}", True),
        ("{{ item['Unit Price'] }}", "3"),
        ("{{ item.no }}", None),
        ("x {{ copy.deep.x[0] }} {{ copy.deep.x[2] }}", "x 1 true"),
        ("{{ item.sku | upper | replace('/', '-') }}", "A-B C"),
        ("{{ copy.bullets | join(', ') }}", "one, two"),
        ("{{ copy.bullets | first | title }}", "One"),
        ("{{ copy.bullets | last | length }}", 3),
        ("{{ copy.deep | json }}", '{"x":[1,2.5,true]}'),
        ("{{ copy.title | slug }}", "groe-more"),
        ("{{ item.price | float | round(1) }}", 18.9),
        ("{{ item.price | float | round }}", 19),
        ("{{ item.n | int }}", 7),
        ("{{ item.empty | default('x') }}", "x"),
        ("{{ item.gone | default(0) }}", 0),
        ("{{ item.sku | split('/') | last | trim | truncate(1) }}", "b"),
        ("{{ '{{ ${X} ' }}", "{{ ${X} "),
    ],
)
def test_an_expression_gives_the_value_with_its_type(text, value):
    """A list handed to an API has to arrive as a list."""
    assert value == _render(text)
    assert type(value) is type(_render(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ item.skuu }}", "{{ item.skuu }}: there is no 'skuu'; did you mean 'sku'?"),
        ("{{ itm }}", "{{ itm }}: there is no 'itm'; did you mean 'item'?"),
        ("{{ copy.bullets[2] }}", "{{ copy.bullets[2] }}: there is no item 2 of 2"),
        ("x{{ copy.bullets }}", "{{ copy.bullets }}: it is a list, not a text"),
        ("x{{ item.no }}", "{{ item.no }}: it is null, not a text"),
        ("x{{ photo }}", "{{ photo }}: it is an artifact, not a text"),
        ("{{ photo }}", "{{ photo }}: it is an artifact, not a JSON value"),
        ("{{ photo.secret }}", "{{ photo.secret }}: an artifact has no 'secret'"),
        ("{{ photo['secret'] }}", "{{ photo.secret }}: an artifact has no 'secret'"),
        ("{{ photo[0] }}", "{{ photo[0] }}: an artifact has no 0"),
        ("{{ item.sku | int }}", "{{ item.sku | int }}: 'a/b c' is no whole number"),
        ("{{ copy.title.upper }}", "{{ copy.title.upper }}: a text has no 'upper'"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_refused_by_name(text, message):
    """An empty string in its place would be published in the shop."""
    with pytest.raises(BadValue) as caught:
        _render(text)

    assert message == caught.value.message


def test_an_artifact_is_handed_on_whole_where_it_may_stand():
    """A picture is uploaded as bytes, and never turned into text."""
    assert PHOTO is _render("{{ photo }}", Mode.FILE)
    assert PHOTO is _render("{{ photo }}", Mode.CONTENT)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://a.example/p/{{ item.sku }}", "https://a.example/p/a%2Fb%20c"),
        (
            "https://a.example/?q={{ copy.title }}",
            "https://a.example/?q=Gr%C3%B6%C3%9Fe%20%26%20more",
        ),
        ("https://a.example/?q={{ item.empty }}", "https://a.example/?q="),
    ],
)
def test_values_within_a_url_are_percent_encoded(text, url):
    """A slash in a sku must not become another resource."""
    assert url == _render(text, Mode.URL)


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_that_would_name_another_resource_is_refused_in_a_url(value):
    """DELETE /products/ is not DELETE /products/sku."""
    parts = (Text("https://a.example/"), Expr("x"))

    with pytest.raises(BadValue):
        render(Template(parts, Mode.URL), {"x": value})


@pytest.mark.parametrize("value", ["", "..", "../x", "a/b", "a\\b", "a\0"])
def test_a_value_within_a_path_is_one_name(value):
    """A row of a CSV file must not choose the folder."""
    with pytest.raises(BadValue):
        render(Template((Text("out/"), Expr("x")), Mode.PATH), {"x": value})


@pytest.mark.parametrize("value", ["", "/etc/passwd", "~/x", "a/../../x"])
def test_a_path_that_is_all_data_stays_below_the_plan(value):
    """The same, for a whole path."""
    with pytest.raises(BadValue):
        render(Template((Expr("x"),), Mode.PATH), {"x": value})


def test_secrets_are_sealed_until_the_door_opens_them():
    """Digests and records are made of the form without the secret."""
    value = MapOf()
    parsed = parse_template("Bearer ${TOKEN} for {{ item.n }}")
    value = ListOf((Template(tuple(parsed.parts)), Fixed(1)))

    rendered = render(value, SCOPE)

    assert [Sealed((Text("Bearer "), Env("TOKEN"), Text(" for "), Text("7"))), 1] == rendered
    assert ["Bearer ${TOKEN} for 7", 1] == unexpanded(rendered)
    assert ["Bearer s3cret for 7", 1] == expanded(rendered, {"TOKEN": "s3cret"})


def test_a_missing_variable_is_named_and_no_value_is():
    """The message goes into logs."""
    with pytest.raises(BadValue, match="the variable TOKEN is not set"):
        expanded(Sealed((Env("TOKEN"),)), {"OTHER": "s3cret"})


def test_data_that_looks_like_a_secret_or_a_template_is_only_text():
    """Otherwise a row of a CSV file could read the environment."""
    data = {"item": {"x": "${TOKEN} {{ item.y }}", "y": "leak"}}
    rendered = render(Template((Env("A"), Expr("item", ("x",)))), data)

    assert "0${TOKEN} {{ item.y }}" == expanded(rendered, {"A": "0", "TOKEN": "leak"})
    assert "${TOKEN} {{ item.y }}" == expanded(
        render(Template((Expr("item", ("x",)),)), data), {"TOKEN": "leak"}
    )


def _every_text() -> Iterator[str | Sealed]:
    """Every text of up to five of the signs that could be confused, secrets among them."""
    signs = [Text("$"), Text("{"), Text("X}"), Env("X")]
    for length in range(6):
        for parts in product(signs, repeat=length):
            merged: list[Text | Env] = []
            for part in parts:
                last = merged[-1] if merged else None
                if isinstance(part, Text) and isinstance(last, Text):
                    merged[-1] = Text(last.text + part.text)
                else:
                    merged.append(part)
            if Env("X") in merged:
                yield Sealed(tuple(merged))
            else:
                yield "".join(part.text for part in merged if isinstance(part, Text))


def test_different_texts_have_different_forms_without_their_secrets():
    """The idempotency key is made of this form; two requests must never share one by accident."""
    forms: dict[object, str | Sealed] = {}
    for text in _every_text():
        assert text == forms.setdefault(unexpanded(text), text)


@given(st.text(max_size=60))
def test_any_text_is_parsed_into_segments_or_faults(text):
    """No text of a plan may crash the compiler."""
    parsed = parse_template(text)

    if "{" not in text:
        assert ([Text(text)] if text else []) == parsed.parts


@given(st.text(alphabet=st.characters(exclude_characters="{"), max_size=30))
def test_text_without_braces_is_itself(text):
    """A prompt is sent as it was written."""
    parsed = parse_template(text)

    assert text == "".join(part.text for part in parsed.parts if isinstance(part, Text))


class _Trap:
    """Tells when anything of it is read."""

    def __getattribute__(self, name: str) -> object:
        """Fail on every attribute but the class, which isinstance asks for."""
        if name == "__class__":
            return _Trap
        message = f"a template read {name}"
        raise AssertionError(message)


_STEPS = st.one_of(
    st.sampled_from(["__class__", "__dict__", "keys", "format", "real", "gi_frame", "a"]),
    st.integers(-2, 2),
)
_FILTERS = st.sampled_from(
    [Filter("upper"), Filter("json"), Filter("length"), Filter("first"), Filter("join", ("a",))]
)
_DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.builds(_Trap)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(_DATA, st.lists(_STEPS, max_size=3), st.lists(_FILTERS, max_size=2))
def test_no_expression_reaches_an_attribute_of_any_object(data, steps, filters):
    """`{{ x.__class__.__mro__ }}` is how other template languages were broken."""
    try:
        found = evaluate(Expr("x", tuple(steps), tuple(filters)), {"x": data})
    except BadValue:
        return
    assert _is_from(found)


def _is_from(value: object) -> bool:
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return all(_is_from(item) for item in inner)
    return value is None or type(value) in {str, int, float, bool, _Trap}


@given(st.sampled_from(sorted(FILTERS)), _DATA, st.integers(-3, 10**6), st.text(max_size=3))
def test_every_filter_gives_a_value_or_a_named_refusal(name, data, number, text):
    """A filter that crashes on odd data would fail a run for no reason of its own."""
    rule = FILTERS[name]
    arguments = tuple(number if takes is int else text for takes in rule.takes[: rule.required])
    try:
        rule.apply(data, arguments)
    except BadValue as error:
        assert error.message  # noqa: PT017 - the other branch is as good


def test_a_key_cannot_hold_a_secret():
    """Keys stand in reports."""
    parts: tuple[Part, ...] = (Text("a"), Env("TOKEN"))

    with pytest.raises(BadValue):
        render_text(Template(parts, Mode.TEXT), {})
