"""The canonical form of bodies: what we write is what anybody else would write.

What it is not: the meaning of any fact.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import LedgerBroken
from tildawn.facts.fact import INTEGER_MAX, Fact, FactData, canonical
from tildawn.ledger.layout import Layout
from tildawn.ledger.sqlite.content import Content
from tildawn.testing.notebook import PROJECTIONS, REGISTRY
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
def test_a_body_in_another_form_is_broken(tmp_path: Any, body: bytes) -> None:
    """Two bodies that mean the same must not both be possible: one could replace the other."""
    content = Content(Layout(tmp_path), REGISTRY, PROJECTIONS)

    with pytest.raises(LedgerBroken, match="canonical"):
        content._check_form(7, body)
