"""Places inside a run: which branch asks, and for the how-manieth time.

What it is not: identity across runs.  A path reads ``/1/2:fetch#3``: the third ``fetch`` of
the second branch of the first branch.  Branches are numbered when they are created, in
argument order for ``gather``, so timing cannot change a name.
"""

from contextvars import ContextVar


class Scope:
    """One branch of a run."""

    __slots__ = ("_branches", "_counts", "now", "path")

    def __init__(self, path: str, now: int) -> None:
        """Begin a branch at ``path`` that has consumed facts up to instant ``now`` (µs)."""
        self.path = path
        self.now = now
        self._branches = 0
        self._counts: dict[str, int] = {}

    def branch(self) -> "Scope":
        """A new branch of this one, numbered from 1."""
        self._branches += 1
        return Scope(f"{self.path}/{self._branches}", self.now)

    def next(self, name: str) -> str:
        """The path of the next thing of that name asked for here."""
        count = self._counts.get(name, 0) + 1
        self._counts[name] = count
        return f"{self.path}:{name}#{count}"

    def keyed(self, name: str, key: str) -> str:
        """The path of a thing with a key of its own, whatever order it is asked in."""
        return f"{self.path}:{name}@{key}"


SCOPE: ContextVar[Scope] = ContextVar("tildawn_scope")
"""The branch that the current code of a run belongs to."""
