"""What a permit allows, and whether one is narrower than another: pure rules.

What it is not: counting; the ledger judges calls, money and revocation in the commit that uses
the permit (`tildawn.guard.authority`).
"""

from collections.abc import Iterable

import msgspec

from tildawn.errors import NotPermitted
from tildawn.facts.permit import GROUPS, OPERATIONS
from tildawn.guard.glob import matches, within
from tildawn.units import Micros


WHY = "permit"
"""Why an append is refused that a permit does not allow; see `Expect.why`."""

DEPTH_MOST = 8
"""Permits in a chain; each use is counted for all of them."""

ADDRESSED = ("http:", "file:", "shell")
"""Operations on something that has an address; the routes of the others say what they are on."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a permit says.  Empty ``routes``, ``resources`` and ``run`` limit nothing.

    ``expires_at`` is an instant of the wall clock, 0 for never; -1 is no limit of calls or of
    money in millionths of a dollar.  ``resources`` is None where they were erased.
    """

    operations: frozenset[str] = frozenset()
    routes: tuple[str, ...] = ()
    resources: tuple[str, ...] | None = ()
    run: str = ""
    attempt: int = 0
    expires_at: int = 0
    max_calls: int = -1
    max_cost: int = -1


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do under a permit.

    ``resource`` is None where it has no address that can be told; see `tildawn.guard.address`.
    """

    operation: str
    route: str = ""
    resource: str | None = ""
    run: str = ""
    attempt: int = 0


def spelled(words: Iterable[str]) -> tuple[str, ...]:
    """Operations one by one, groups of them spelled out, each once and in order of their names.

    Raises:
        NotPermitted: a word is none; nothing is allowed by a word that nobody knows.
    """
    found: set[str] = set()
    for word in words:
        several = GROUPS.get(word, (word,))
        if not OPERATIONS.issuperset(several):
            message = f"no permit can allow {word!r}"
            hint = f"one of {', '.join((*GROUPS, *sorted(OPERATIONS)))}"
            raise NotPermitted(message, hint=hint, reason="unknown", operation=word)
        found.update(several)
    return tuple(sorted(found))


def allows(grant: Grant, wanted: Wanted, now: Micros) -> str:
    """Why a permit does not allow something, or nothing where it does.

    Args:
        grant: what the permit says.
        wanted: what is to be done.
        now: instant of the wall clock.

    Returns:
        operation, route, erased, resource, run, attempt or expired; empty where it is allowed.

    Raises:
        Nothing.
    """
    return sorted_out(grant, wanted) or bound(grant, wanted, now)


def sorted_out(grant: Grant, wanted: Wanted) -> str:
    """The part of `allows` that never changes: operation, route and address.

    Raises:
        Nothing.
    """
    if wanted.operation not in grant.operations or wanted.operation not in OPERATIONS:
        return "operation"
    if grant.routes and not _any(grant.routes, wanted.route):
        return "route"
    if not wanted.operation.startswith(ADDRESSED):
        return ""
    if grant.resources is None:
        return "erased"
    if grant.resources and (wanted.resource is None or not _any(grant.resources, wanted.resource)):
        return "resource"
    return ""


def bound(grant: Grant, wanted: Wanted, now: Micros) -> str:
    """The part of `allows` that depends on who asks, and when.

    Raises:
        Nothing.
    """
    if grant.run and grant.run != wanted.run:
        return "run"
    if grant.attempt and grant.attempt != wanted.attempt:
        return "attempt"
    return "expired" if grant.expires_at and now >= grant.expires_at else ""


def narrower(child: Grant, parent: Grant) -> str:
    """In what a child is wider than its parent, or nothing where it surely is not.

    Whatever is allowed by a child that passes is allowed by its parent.  Where that cannot be
    proven, as for globs that lie within each other in ways that nobody sees, the child is wider.

    Returns:
        operations, routes, resources, run, attempt, expires, calls or cost; or empty.

    Raises:
        Nothing.
    """
    wider = (
        ("operations", not child.operations <= parent.operations),
        ("routes", not _inside(child.routes, parent.routes)),
        ("resources", not _inside(child.resources, parent.resources)),
        ("run", bool(parent.run) and child.run != parent.run),
        ("attempt", bool(parent.attempt) and child.attempt != parent.attempt),
        ("expires", _later(child.expires_at, parent.expires_at)),
        ("calls", _more(child.max_calls, parent.max_calls)),
        ("cost", _more(child.max_cost, parent.max_cost)),
    )
    return next((what for what, is_wider in wider if is_wider), "")


def _any(globs: Iterable[str], text: str) -> bool:
    return any(matches(glob, text) for glob in globs)


def _inside(child: tuple[str, ...] | None, parent: tuple[str, ...] | None) -> bool:
    if parent is None or child is None:
        return False
    if not parent:
        return True
    return bool(child) and all(any(within(one, other) for other in parent) for one in child)


def _later(child: int, parent: int) -> bool:
    return bool(parent) and (not child or child > parent)


def _more(child: int, parent: int) -> bool:
    return parent >= 0 and (child < 0 or child > parent)
