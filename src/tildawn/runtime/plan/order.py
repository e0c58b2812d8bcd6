"""The order of items: each after those it needs, otherwise as written.

What it is not: scheduling; several items may run at the same time.
"""

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush


Needs = Mapping[str, Sequence[str]]
"""For each name, in the order of the file, the names it needs; unknown ones are passed over."""


#: Enough to mend; the next check shows what is left.
_CIRCLES_MAX = 20


def in_order(needs: Needs) -> list[str] | None:
    """The names with every needed one first, otherwise in the order given.

    Returns:
        All names, or None when some need each other.

    Raises:
        Nothing.

    Source:
        Kahn, "Topological sorting of large networks" (1962), with a heap to keep the order.
    """
    names = list(needs)
    index = {name: at for at, name in enumerate(names)}
    open_needs = {name: {want for want in needs[name] if want in index} for name in names}
    wanted_by: dict[str, list[str]] = {name: [] for name in names}
    for name, wants in open_needs.items():
        for want in wants:
            wanted_by[want].append(name)
    ready = [index[name] for name in names if not open_needs[name]]
    heapify(ready)
    done: list[str] = []
    while ready:
        name = names[heappop(ready)]
        done.append(name)
        for after in wanted_by[name]:
            open_needs[after].discard(name)
            if not open_needs[after]:
                heappush(ready, index[after])
    return done if len(done) == len(names) else None


def cycles(needs: Needs) -> list[list[str]]:
    """Circles in the needs by their members in order; at least one when there is no order.

    Returns:
        Lists such as ``[a, b]`` for a needs b needs a; a name that needs itself is ``[a]``.

    Raises:
        Nothing.
    """
    found: list[list[str]] = []
    left: set[str] = set()
    for start in needs:
        if start not in left and len(found) < _CIRCLES_MAX:
            _walk(start, needs, left, found)
    return found


def _walk(start: str, needs: Needs, left: set[str], found: list[list[str]]) -> None:
    """Depth first without recursion; ``left`` holds the names that are dealt with."""
    trail = {start: 0}
    waiting: list[Iterator[str]] = [iter(needs[start])]
    while waiting and len(found) < _CIRCLES_MAX:
        want = next(waiting[-1], None)
        if want is None:
            waiting.pop()
            left.add(trail.popitem()[0])
        elif want in trail:
            found.append(list(trail)[trail[want] :])
        elif want in needs and want not in left:
            trail[want] = len(trail)
            waiting.append(iter(needs[want]))
