"""What is wrong with a plan, said the way compilers do: file, line, column, and what to write.

What it is not: an exception for each mistake.  Problems are collected, so that one check names
all of them; `BadPlan` carries the whole list.
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import cast

import msgspec

from tildawn.errors import BadPlan


#: Beyond this many the rest is only counted: nobody reads more at once.
PROBLEMS_MAX = 100
#: As many names as one line of a terminal bears.
_SHOWN_MAX = 12


class Mark(msgspec.Struct, frozen=True):
    """A place in a file; line and column count from 1, in characters."""

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """One mistake and where it is."""

    file: str
    mark: Mark
    found: str
    expected: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        """``plan.yaml:12:7: unknown key 'prompts' in chat; did you mean 'prompt'?``."""
        text = f"{self.file}:{self.mark.line}:{self.mark.column}: {self.found}"
        if self.nearest is not None:
            return f"{text}; did you mean {self.nearest!r}?"
        return text if self.expected is None else f"{text}; expected {self.expected}"


class Problems:
    """The problems of one check, over all its files."""

    def __init__(self, file: str) -> None:
        """Begin with no problem; ``file`` is the name shown for the plan itself."""
        self.file = file
        self.found: list[Problem] = []
        self._beyond = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.found)

    @property
    def count(self) -> int:
        """How many there are, those beyond the listed ones included."""
        return len(self.found) + self._beyond

    def add(
        self,
        mark: Mark,
        found: str,
        *,
        expected: str | None = None,
        nearest: str | None = None,
        file: str | None = None,
    ) -> None:
        """Note one problem at a place of the plan, or of another ``file``.

        Raises:
            Nothing.
        """
        if len(self.found) >= PROBLEMS_MAX:
            self._beyond += 1
            return
        self.found.append(Problem(file or self.file, mark, found, expected, nearest))

    def unknown(self, mark: Mark, what: str, given: str, known: Collection[str]) -> None:
        """Note that a name is not one of those known: ``unknown key 'a' in chat``.

        Args:
            mark: where the name stands.
            what: a sentence with ``{}`` for the name.
            given: the name.
            known: the names there are.

        Raises:
            Nothing.
        """
        if len(self.found) >= PROBLEMS_MAX:
            self._beyond += 1
            return
        self.add(
            mark,
            what.format(repr(given)),
            expected=one_of(known),
            nearest=nearest(given, known),
        )

    def refuse(self) -> None:
        """Raise what was found, if anything.

        Raises:
            BadPlan: with ``problems``, a tuple of `Problem` in the order of the file.
        """
        if not self.found:
            return
        listed = tuple(sorted(self.found, key=self._place))
        lines = [str(problem) for problem in listed]
        if self._beyond:
            lines.append(f"and {self._beyond} more")
        raise BadPlan("\n".join(lines), problems=listed, file=self.file)

    def _place(self, problem: Problem) -> tuple[bool, str, int, int]:
        mark = problem.mark
        return problem.file != self.file, problem.file, mark.line, mark.column


def problems_of(error: BadPlan) -> tuple[Problem, ...]:
    """The problems a refused plan was refused for; empty when it was not the compiler's.

    Raises:
        Nothing.
    """
    carried = error.fields.get("problems")
    if not isinstance(carried, tuple):
        return ()
    listed = cast("tuple[object, ...]", carried)
    return tuple(problem for problem in listed if isinstance(problem, Problem))


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known name most like the given one, or None when none is like it.

    Raises:
        Nothing.
    """
    names = {name.casefold(): name for name in known}
    close = get_close_matches(given.casefold()[:200], names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def one_of(known: Collection[str]) -> str:
    """A sentence listing what may stand here.

    Raises:
        Nothing.
    """
    names = list(known)
    if not names:
        return "nothing here"
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names[:_SHOWN_MAX])
    return f"one of {shown}" if len(names) <= _SHOWN_MAX else f"one of {shown}, …"
