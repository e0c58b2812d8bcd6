"""Reading YAML: text stays text, places are right, and nothing but a problem comes of nonsense."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadPlan
from tildawn.facts.plan import plan_bytes, plan_from
from tildawn.runtime.plan import problems_of
from tildawn.runtime.plan.compile import compile_body
from tildawn.runtime.plan.document import Mapping, Scalar, Sequence, read_document
from tildawn.runtime.plan.problem import Mark, Problems


if TYPE_CHECKING:
    from tildawn.runtime.plan.document import Node


def _read(body: bytes) -> "tuple[Node | None, list[str]]":
    problems = Problems("p")
    node = read_document(body, problems)
    return node, [str(problem) for problem in problems.found]


def _judged(body: bytes) -> bool:
    """Whether the compiler gave a plan, or problems with places."""
    try:
        plan = compile_body(body, file="p", folder=Path("/nowhere")).plan
    except BadPlan as error:
        problems = problems_of(error)
        return bool(problems) and all(p.mark.line > 0 and p.mark.column > 0 for p in problems)
    return plan_from(plan_bytes(plan)) == plan


def _plain(node: "Node | None") -> object:
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return [_plain(item) for item in node.items]
        case Mapping():
            return {key.text: _plain(value) for key, value in node.entries}
        case None:
            return None


def test_every_scalar_is_read_as_text():
    """A sku of 010 or a column named `on` must never become something else."""
    node, said = _read(b"{ a: on, b: 1e3, c: 010, yes: no, d: null, e: 12:30, f: '5', g: ~ }")

    assert not said
    assert {
        "a": "on",
        "b": "1e3",
        "c": "010",
        "yes": "no",
        "d": "null",
        "e": "12:30",
        "f": "5",
        "g": "~",
    } == _plain(node)


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbfa: 1\n", "a: 1\n".encode("utf-16"), b"a: 1\r\n", b"a: 1\r"]
)
def test_marks_of_bytes_and_line_ends_of_other_systems_change_nothing(body):
    """Editors add them without asking."""
    assert ({"a": "1"}, []) == (_plain(_read(body)[0]), _read(body)[1])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"a: \xff\n", "p:1:4: byte 0xff is no UTF-8; expected a file saved as UTF-8"),
        (b"a: 1\nb: \xc3\xa4\xff", "p:2:5: byte 0xff is no UTF-8; expected a file saved as UTF-8"),
        (b"a: \x01", "p:1:4: the character U+0001 may not stand in YAML; expected an escape"),
        ("a: x\u2028y".encode(), "p:1:5: a raw line separator U+2028; expected"),
        (b'a:\n  - "\\U99999999"', "p:2:3: not YAML: "),
        (b"%YAML 1.1\n---\na: 1", "p:2:1: a YAML directive; expected the plan without it"),
        (b"[" * 50, "p:1:34: nested too deeply; expected at most 32 levels"),
        (b"a" * 1_000_001, "p:1:1: the plan has 1,000,001 bytes; expected at most 1,000,000 bytes"),
        (b"? [a]\n: b", "p:1:3: a key that is a list or a map; expected a name"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_where_it_stands(body, said):
    """Whatever two readers could understand differently is not understood at all."""
    assert _read(body)[1][0].startswith(said)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60), st.binary(max_size=40))
def test_arbitrary_input_gives_a_plan_or_a_bad_plan_and_nothing_else(text, raw):
    """A plan may come from anywhere; no text may crash the compiler."""
    for body in (text.encode(), raw):
        assert _judged(body)


_WORDS = st.sampled_from(
    [
        *("version", "1", "night", "work", "id", "steps", "chat", "prompt", "http", "url", "argv"),
        *("shell", "file", "read", "schema", "needs", "evidence", "task", "input", "key", "zone"),
        *(
            "for_each",
            "window",
            "stop",
            "timeout",
            "a",
            "{{ a.b }}",
            "${X}",
            "{{",
            "}}",
            "|",
            "str",
        ),
        *(
            "- ",
            ": ",
            "\n",
            "\n  ",
            "\n    ",
            "{ ",
            " }",
            "[",
            "]",
            ", ",
            "'",
            '"',
            "&x ",
            "*x",
            "!t ",
        ),
    ]
)
_NEST = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), _WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=25,
)


@given(st.lists(_WORDS, max_size=60).map("".join))
def test_pieces_of_plans_in_any_order_give_a_plan_or_a_bad_plan(text):
    """Half a plan is what an editor saves in the middle of a line."""
    assert _judged(text.encode())


@given(_NEST, _NEST, _NEST)
def test_any_structure_at_the_places_of_a_plan_gives_a_plan_or_a_bad_plan(night, entry, steps):
    """Every shape is met by every sort of node."""
    work = [entry, {"id": "a", "steps": steps, "evidence": entry, "needs": night, "input": steps}]
    body = json.dumps({"version": 1, "night": night, "work": work}).encode()
    assert _judged(body)


@given(
    before=st.text(alphabet="ab é\n", max_size=12),
    style=st.sampled_from(["plain", "single", "double", "block"]),
)
def test_places_point_at_the_token(before, style):
    """An editor jumps to the place; it has to be the right one."""
    text = f"{before.strip() or 'x'} {{{{ item.wrong }}}} y"
    if style == "plain":
        text = text.replace("\n", " ")
        body = f"k:\n  - {text}\n"
    elif style == "single":
        body = "k:\n  - '" + text.replace("\n", "\n\n    ") + "'\n"
    elif style == "double":
        body = '"k":\n  - "' + text.replace("\n", "\\n") + '"\n'
    else:
        body = "k:\n  - |\n" + "".join(f"      {line}\n" for line in text.split("\n"))
    node, said = _read(body.encode())
    assert not said
    assert isinstance(node, Mapping)
    (_, value) = node.entries[0]
    assert isinstance(value, Sequence)
    scalar = value.items[0]
    assert isinstance(scalar, Scalar)

    mark = scalar.place(scalar.text.index("wrong"), "wrong")

    assert body.split("\n")[mark.line - 1][mark.column - 1 :].startswith("wrong")


def test_pairs_of_escapes_are_one_character_and_half_a_pair_is_refused():
    """Programs that write JSON escape every character beyond U+FFFF in two halves."""
    node, said = _read(b'{ a: "\\ud83d\\ude00" }')

    assert ({"a": "\N{GRINNING FACE}"}, []) == (_plain(node), said)
    assert _read(b'{ a: "\\ud83d" }')[1][0].startswith("p:1:6: half of a surrogate pair")


def test_a_token_that_is_written_with_escapes_is_placed_at_its_text():
    """There is no exact place for it; the beginning of the text is the honest one."""
    node, _ = _read(b'k: "{{ \\x61bc }}"')
    assert isinstance(node, Mapping)
    scalar = node.entries[0][1]
    assert isinstance(scalar, Scalar)

    assert Mark(1, 4) == scalar.place(3, "abc")
