"""Permits as pure rules: globs, addresses, what one allows, when one is narrower than another.

What it is not: the door that asks them; that is tests/guard/test_permit.py.
"""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tildawn.errors import BadValue, NotPermitted
from tildawn.facts.permit import ASKED, CALLS, GROUPS, OPERATIONS
from tildawn.guard.address import file_address, url_address
from tildawn.guard.glob import check_glob, matches, within
from tildawn.guard.mint import checked
from tildawn.guard.permit import Grant, Wanted, allows, narrower, spelled
from tildawn.units import SECOND, Micros


NOW = Micros(1_000 * SECOND)
WORDS = frozenset({"http:GET", "http:POST", "chat", "file:read"})
GRANT = Grant(operations=WORDS)
POST = Wanted(operation="http:POST", route="shop:create", resource="https://api.shop/orders/1")


# -- globs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("shop:*", "shop:create", True),
        ("shop:*", "shop:create/now", False),
        ("shop:**", "shop:create/now", True),
        ("https://api.shop/*", "https://api.shop/orders", True),
        ("https://api.shop/*", "https://api.shop/orders/1", False),
        ("https://api.shop/**", "https://api.shop/orders/1", True),
        ("https://api.shop/**", "https://api.shop.example/orders", False),
        ("https://*.shop/**", "https://a.shop/x", True),
        ("https://*.shop/**", "https://evil.example/a.shop/x", False),
        ("out/*.txt", "out/a.txt", True),
        ("out/*.txt", "out/.txt", True),
        ("out/*.txt", "out/deep/a.txt", False),
        ("out/**/a.txt", "out/b/c/a.txt", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
        ("**", "", True),
        ("*", "", True),
        ("a", "", False),
        ("*a*b*", "xxaxxbxx", True),
        ("*a*b*", "xxbxxaxx", False),
        ("**", "a\nb", False),
    ],
)
def test_a_glob_matches_what_a_person_reads_in_it(glob, text, expected) -> None:
    """A pattern that matches more than it shows allows what nobody meant."""
    assert matches(glob, text) is expected


@pytest.mark.parametrize(
    ("child", "parent", "expected"),
    [
        ("shop:create", "shop:*", True),
        ("shop:*", "shop:*", True),
        ("shop:*", "shop:**", True),
        ("shop:**", "shop:*", False),
        ("shop:*", "shop:create", False),
        ("*", "**", True),
        ("**", "*", False),
        ("a/*/c", "a/**", True),
        ("a/**", "a/*/c", False),
        ("a/*", "a/*b", False),
        ("a/*b", "a/*", True),
        ("a/b*", "a/*", True),
        ("**/x", "**", True),
        ("shop*", "shop:*", False),
    ],
)
def test_a_glob_lies_within_another_only_where_that_is_sure(child, parent, expected) -> None:
    """What cannot be proven narrower counts as wider."""
    assert within(child, parent) is expected


_LETTERS = st.text("ab/*", min_size=1, max_size=7)
_TEXTS = st.text("ab/", max_size=7)


def _as_regex(glob: str) -> str:
    parts = re.split(r"(\*+)", glob)
    return "".join(
        re.escape(part) if "*" not in part else "[^/]*" if part == "*" else ".*" for part in parts
    )


@given(glob=_LETTERS, text=_TEXTS)
@settings(max_examples=400, deadline=None)
def test_globs_match_as_their_regular_expressions_do(glob, text) -> None:
    """Another way of reading the same pattern is the judge."""
    assert matches(glob, text) == bool(re.fullmatch(_as_regex(glob), text))


@given(child=_LETTERS, parent=_LETTERS, text=_TEXTS)
@settings(max_examples=600, deadline=None)
def test_what_a_glob_within_another_matches_the_other_matches(child, parent, text) -> None:
    """Attenuation rests on this alone."""
    if within(child, parent) and matches(child, text):
        assert matches(parent, text)


def test_a_long_text_of_near_hits_is_matched_in_linear_time() -> None:
    """An address comes from outside and must not be able to stop the house."""
    glob, text = "**a" * 60 + "b", "a" * 100_000
    assert not matches(glob, text)


@pytest.mark.parametrize("glob", ["", "a\nb", "a\x01", "x" * 201])
def test_a_pattern_that_nobody_can_read_is_refused(glob) -> None:
    """Signs that cannot be seen would hide what is allowed."""
    with pytest.raises(BadValue):
        check_glob(glob)


# -- addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://API.shop/orders?x=1#y", "https://api.shop/orders"),
        ("https://api.shop:443/a", "https://api.shop/a"),
        ("http://api.shop:8080/a", "http://api.shop:8080/a"),
        ("http://127.0.0.1:99", "http://127.0.0.1:99/"),
        ("http://[::1]:99/a", "http://[::1]:99/a"),
        ("HTTPS://api.shop", "https://api.shop/"),
        ("https://me@api.shop/", None),
        ("https://api.shop@evil.example/", None),
        ("https://evil.example\\@api.shop/", None),
        ("https://api.shop/a/../b", None),
        ("https://api.shop/a/%2e%2E/b", None),
        ("https://api.shop/a/./b", None),
        ("https://api.shop/a%5cb", None),
        ("https://api.shop/a/..%2fb", None),
        ("https://${HOST}/a", None),
        ("${URL}", None),
        ("file:///etc/passwd", None),
        ("https://api.shop:port/", None),
        ("https:///a", None),
        ("https://api.shöp/", None),
        ("https://api.shop/ a", None),
    ],
)
def test_a_url_has_one_address_or_none(url, address) -> None:
    """Two readers of one URL must not see two places; where they could, it has no address."""
    assert url_address(url) == address


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("out/a.txt", "out/a.txt"),
        ("./out//a.txt", "out/a.txt"),
        ("out/../secret", None),
        ("/etc/passwd", None),
        ("", None),
        ("a\\b", None),
    ],
)
def test_a_path_has_one_address_or_none(path, address) -> None:
    """A path that leaves its folder is no place that a pattern could name."""
    assert file_address(path) == address


# -- rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "wanted", "why"),
    [
        ({}, {}, ""),
        ({}, {"operation": "shell"}, "operation"),
        ({"operations": frozenset({"rm -rf"})}, {"operation": "rm -rf"}, "operation"),
        ({"operations": frozenset()}, {}, "operation"),
        ({"routes": ("shop:*",)}, {}, ""),
        ({"routes": ("mail:*", "shop:create")}, {}, ""),
        ({"routes": ("mail:*",)}, {}, "route"),
        ({"resources": ("https://api.shop/**",)}, {}, ""),
        ({"resources": ("https://api.shop/*",)}, {}, "resource"),
        ({"resources": ("**",)}, {"resource": None}, "resource"),
        ({"resources": ("**",)}, {"operation": "chat", "resource": ""}, ""),
        ({"resources": None}, {}, "erased"),
        ({"resources": None}, {"operation": "chat"}, ""),
        ({"run": "r"}, {"run": "r"}, ""),
        ({"run": "r"}, {"run": "s"}, "run"),
        ({"run": "r", "attempt": 2}, {"run": "r", "attempt": 2}, ""),
        ({"run": "r", "attempt": 2}, {"run": "r", "attempt": 1}, "attempt"),
        ({"expires_at": NOW + 1}, {}, ""),
        ({"expires_at": NOW}, {}, "expired"),
    ],
)
def test_a_permit_allows_what_it_says_and_nothing_else(changes, wanted, why) -> None:
    """Each dimension is asked on its own, and the first that says no is named."""
    grant = msgspec.structs.replace(GRANT, **changes)
    assert allows(grant, msgspec.structs.replace(POST, **wanted), NOW) == why


@pytest.mark.parametrize(
    ("parent", "child", "wider"),
    [
        ({}, {}, ""),
        ({}, {"operations": frozenset({"chat"})}, ""),
        ({}, {"operations": WORDS | {"shell"}}, "operations"),
        ({"routes": ("shop:*",)}, {"routes": ("shop:create",)}, ""),
        ({"routes": ("shop:*",)}, {"routes": ("shop:create", "mail:*")}, "routes"),
        ({"routes": ("shop:*",)}, {"routes": ()}, "routes"),
        ({"resources": ("out/**",)}, {"resources": ("out/a/*",)}, ""),
        ({"resources": ("out/**",)}, {"resources": ("**",)}, "resources"),
        ({"resources": None}, {"resources": ("a",)}, "resources"),
        ({"run": "r"}, {"run": "r", "attempt": 1}, ""),
        ({"run": "r"}, {"run": ""}, "run"),
        ({"run": "r", "attempt": 1}, {"run": "r", "attempt": 2}, "attempt"),
        ({"run": "r", "attempt": 1}, {"run": "r"}, "attempt"),
        ({"expires_at": NOW}, {"expires_at": NOW}, ""),
        ({"expires_at": NOW}, {"expires_at": NOW + 1}, "expires"),
        ({"expires_at": NOW}, {"expires_at": 0}, "expires"),
        ({"max_calls": 5}, {"max_calls": 5}, ""),
        ({"max_calls": 5}, {"max_calls": 6}, "calls"),
        ({"max_calls": 0}, {"max_calls": -1}, "calls"),
        ({"max_cost": 5}, {"max_cost": -1}, "cost"),
        ({}, {"max_calls": 1, "max_cost": 1, "expires_at": 1, "run": "r"}, ""),
    ],
)
def test_a_child_is_narrower_in_every_dimension_or_is_refused(parent, child, wider) -> None:
    """One dimension that is wider is enough."""
    made = msgspec.structs.replace(GRANT, **child)
    assert narrower(made, msgspec.structs.replace(GRANT, **parent)) == wider


_GLOBS = st.lists(st.sampled_from(["a", "a/*", "a/**", "*", "**", "a/b", "b*"]), max_size=2).map(
    tuple
)
_GRANTS = st.builds(
    Grant,
    operations=st.frozensets(st.sampled_from(sorted(WORDS)), max_size=3),
    routes=_GLOBS,
    resources=st.none() | _GLOBS,
    run=st.sampled_from(["", "r", "s"]),
    attempt=st.integers(0, 2),
    expires_at=st.sampled_from([0, 1, 5, 9]),
    max_calls=st.integers(-1, 3),
    max_cost=st.integers(-1, 3),
)


@st.composite
def lines(draw, length: int) -> list[Grant]:
    """Grants, each like the one before it but for a few fields."""
    found = [draw(_GRANTS)]
    while len(found) < length:
        other = draw(_GRANTS)
        fields = draw(st.sets(st.sampled_from(Grant.__struct_fields__), max_size=3))
        found.append(
            msgspec.structs.replace(found[-1], **{name: getattr(other, name) for name in fields})
        )
    return found


_WANTED = st.builds(
    Wanted,
    operation=st.sampled_from([*sorted(WORDS), "shell"]),
    route=st.sampled_from(["a", "a/b", "b", "a/b/c"]),
    resource=st.none() | st.sampled_from(["a", "a/b", "b", "a/b/c"]),
    run=st.sampled_from(["r", "s"]),
    attempt=st.integers(1, 2),
)


@given(line=lines(2), wanted=_WANTED, now=st.integers(0, 10))
@settings(max_examples=500, deadline=None)
def test_a_child_never_allows_what_its_parent_refuses(line, wanted, now) -> None:
    """That is what being a child means."""
    parent, child = line
    if not narrower(child, parent) and not allows(child, wanted, Micros(now)):
        assert not allows(parent, wanted, Micros(now))


@given(line=lines(3), wanted=_WANTED, now=st.integers(0, 10))
@settings(max_examples=500, deadline=None)
def test_attenuation_is_transitive(line, wanted, now) -> None:
    """A grandchild allows no more than the first of its line."""
    three, two, one = line
    if not narrower(one, two) and not narrower(two, three):
        assert narrower(one, three) == ""
        if not allows(one, wanted, Micros(now)):
            assert not allows(three, wanted, Micros(now))


def test_words_are_spelled_out_and_unknown_ones_refused() -> None:
    """A permit for something that nobody knows yet would allow whatever that will be."""
    assert spelled(["read", "chat"]) == ("chat", "file:read", "http:GET", "http:HEAD")
    for group in GROUPS.values():
        assert OPERATIONS.issuperset(group)
    assert not set(CALLS) & set(ASKED)
    with pytest.raises(NotPermitted, match="teleport"):
        spelled(["chat", "teleport"])


def test_a_grant_that_can_be_no_permit_is_refused() -> None:
    """What cannot be read, counted or limited is not minted."""
    for wrong in ({"routes": ("",)}, {"routes": ("a",) * 51}, {"max_calls": -2}):
        with pytest.raises(BadValue):
            checked(msgspec.structs.replace(GRANT, **wrong))
