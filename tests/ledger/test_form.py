"""The canonical form of bodies: what we write is what anybody else would write.

What it is not: the meaning of any fact.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import LedgerBroken
from tildawn.facts.fact import INTEGER_MAX, Fact, FactData, canonical
from tildawn.ledger.form import Form
from tildawn.units import Micros


class Anything(FactData, frozen=True):
    """A kind with every type of field that a body may hold."""

    number: int = 0
    text: str = ""
    truth: bool = False
    many: tuple[str, ...] = ()
    named: dict[str, int] = {}  # noqa: RUF012 - msgspec copies it


INTEGERS = st.integers(-INTEGER_MAX, INTEGER_MAX)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ASCII = st.text(st.characters(max_codepoint=127), max_size=8)
DATA = st.builds(
    Anything,
    number=INTEGERS, text=TEXTS, truth=st.booleans(),
    many=st.lists(TEXTS, max_size=3).map(tuple), named=st.dictionaries(ASCII, INTEGERS, max_size=4),
)  # fmt: skip


@given(DATA, INTEGERS, TEXTS)
def test_the_standard_library_writes_the_same_bytes(data: Anything, at: int, run: str) -> None:
    """In this profile any encoder with sorted keys agrees, so anybody can check our hashes."""
    fact = Fact(at=Micros(at), data=data, kind="Anything", v=1, run=run)
    body = canonical(fact)

    again = json.dumps(
        json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    assert again == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"at":1,"data":{},"kind":"Noted","v":1} ',
        b'{"at": 1,"data":{},"kind":"Noted","v":1}',
        b'{"data":{},"at":1,"kind":"Noted","v":1}',
        b'{"at":1,"data":{},"kind":"Noted","kind":"Noted","v":1}',
        b'{"at":1,"data":{"key":1.5},"kind":"Noted","v":1}',
        b'{"at":1,"data":{"key":1e3},"kind":"Noted","v":1}',
        b'{"at":1,"data":{"key":9007199254740992},"kind":"Noted","v":1}',
        b'{"at":1,"data":{"k\xc3\xa4y":1},"kind":"Noted","v":1}',
        b'{"at":1,"data":{"text":"\\u0041"},"kind":"Noted","v":1}',
        b'{"at":1,"data":{"text":"\\/"},"kind":"Noted","v":1}',
        b'{"at":1,"data":{},"kind":"Noted"}',
        b"[]", b"", b"null", b'{"at":1,"data":{},"kind":"Noted","v":1', b"\xff\xfe",
    ],
)  # fmt: skip
def test_a_body_in_another_form_is_broken(body: bytes) -> None:
    """Two bodies that mean the same must not both be possible: one could replace the other."""
    with pytest.raises(LedgerBroken, match="canonical"):
        Form().check(7, body)


#: The examples of RFC 8785 that have a place in the profile: as they may be written, and the one
#: way in which they are (sections 3.2.2.2, 3.2.2.3 and 3.2.3, appendix B).
CANONICAL = {
    '{"text":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/"}':
        '{"text":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    '{ "literals" : [ null , true , false ] }': '{"literals":[null,true,false]}',
    '{"1":{"f":{"f":"hi","F":5},"\\n":56},"10":{},"":"empty","a":{},"111":[{"e":"yes","E":"no"}],"A":{}}':
        '{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}',
    '{"unnormalized":"A\\u030a"}': '{"unnormalized":"A\u030a"}',
    '{"most":9007199254740991,"least":-9007199254740991,"none":-0}':
        '{"least":-9007199254740991,"most":9007199254740991,"none":0}',
}  # fmt: skip

#: And those that have none: what RFC 8785 makes of them is canonical there, and refused here.
OUTSIDE = (
    '{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}',
    '{"most":9007199254740992}',
    '{"least":-9007199254740992}',
    '{"large":295147905179352830000}',
    '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","דּ":"Hebrew Letter Dalet With Dagesh"}',
)


def _body(data: str) -> bytes:
    return f'{{"at":1,"data":{data},"kind":"Noted","v":1}}'.encode()


@pytest.mark.parametrize("written", CANONICAL)
def test_the_examples_of_rfc_8785_have_one_form(written: str, stand_alone: Any) -> None:
    """Ours is theirs: the same bytes from anything that means the same, and no others pass."""
    canonical_ = CANONICAL[written]
    assert msgspec.json.encode(msgspec.json.decode(written), order="sorted").decode() == canonical_

    Form().check(7, _body(canonical_))
    stand_alone.module.read_body(_body(canonical_))
    with pytest.raises(LedgerBroken, match="canonical"):
        Form().check(7, _body(written))
    with pytest.raises(ValueError, match="another form"):
        stand_alone.module.read_body(_body(written))


@pytest.mark.parametrize("data", OUTSIDE)
def test_the_examples_of_rfc_8785_beyond_the_profile_are_refused(
    data: str, stand_alone: Any
) -> None:
    """No float and no key of other letters: two encoders could disagree about them."""
    with pytest.raises(LedgerBroken, match="canonical"):
        Form().check(7, _body(data))
    with pytest.raises(ValueError, match="another form"):
        stand_alone.module.read_body(_body(data))
