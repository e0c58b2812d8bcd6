"""Kinds of steps and of evidence: the registry from which plans are read and their schema made.

What it is not: the doing.  A kind says what its fields are, what it reaches for and what it
gives; who performs it is joined by name elsewhere.  Applications extend the registry by argument.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tildawn.errors import BadValue
from tildawn.facts.plan import Env, Expr, Fixed, MapOf, Part, Repeat, Template, Text, Value
from tildawn.runtime.plan.form import ANY, Form
from tildawn.runtime.plan.problem import Mark
from tildawn.runtime.plan.reading import Reading
from tildawn.runtime.plan.rendering import source_of
from tildawn.runtime.plan.shape import FieldSpec, Held, RecordShape
from tildawn.units import SECOND, Micros


@dataclass(frozen=True, slots=True)
class Reach:
    """One thing in the world that a step or a check touches."""

    #: ``ask``, ``draw``, an HTTP method, ``run``, ``read``, ``write``, ``append``, ``delete``.
    verb: str
    #: A host, a program, a path; ``${NAME}`` and ``{{ … }}`` unfilled.
    target: str


_K = TypeVar("_K")
_LOOK = Micros(30 * SECOND)

Check = Callable[[Mapping[str, Held], Reading, Mark], None]
"""Looks at fields together and notes problems; gets the place of the whole."""


def _nothing(_fields: Mapping[str, Held], _reading: Reading, _mark: Mark) -> None:
    return


def _no_route(_fields: MapOf) -> str | None:
    return None


def _any(_fields: MapOf) -> Form:
    return ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of step."""

    name: str
    help: str
    fields: tuple[FieldSpec, ...]
    #: How the step looks, for messages: ``{ argv: [program, argument] }``.
    example: str
    timeout: Micros
    repeat: Callable[[MapOf], Repeat]
    reach: Callable[[MapOf], tuple[Reach, ...]]
    #: Asks a model, so that it needs a provider and takes ``model`` and ``accepts``.
    model: bool = False
    #: Names of what may stand in for its answer.
    tiers: tuple[str, ...] = ()
    route: Callable[[MapOf], str | None] = _no_route
    output: Callable[[MapOf], Form] = _any
    check: Check = _nothing

    @property
    def shape(self) -> RecordShape:
        """Its fields as a shape."""
        return RecordShape(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKind:
    """One kind of check; it may only look."""

    name: str
    help: str
    fields: tuple[FieldSpec, ...]
    example: str
    reach: Callable[[MapOf], tuple[Reach, ...]]
    #: Long enough for any look at one thing.
    timeout: Micros = _LOOK
    check: Check = _nothing

    @property
    def shape(self) -> RecordShape:
        """Its fields as a shape."""
        return RecordShape(self.fields)


@dataclass(frozen=True, slots=True)
class Registry:
    """What a plan may say, by name."""

    kinds: Mapping[str, Kind] = field(default_factory=dict[str, Kind])
    evidence: Mapping[str, EvidenceKind] = field(default_factory=dict[str, EvidenceKind])
    #: Keys of items and steps that have a shape but nobody who acts on them yet: refused, since
    #: a key that does nothing would be a promise.
    reserved: frozenset[str] = frozenset()

    def extended(
        self, *, kinds: tuple[Kind, ...] = (), evidence: tuple[EvidenceKind, ...] = ()
    ) -> "Registry":
        """A registry with further kinds.

        Raises:
            BadValue: a name is taken.
        """
        new_kinds, new_evidence = dict(self.kinds), dict(self.evidence)
        for kind in kinds:
            _take(new_kinds, kind.name, kind)
        for check in evidence:
            _take(new_evidence, check.name, check)
        return replace(self, kinds=new_kinds, evidence=new_evidence)


def _take(names: dict[str, _K], name: str, value: _K) -> None:
    if name in names:
        message = f"the kind {name!r} is registered already"
        raise BadValue(message)
    names[name] = value


def written(value: Value | None) -> str:
    """A text value as its author wrote it, templates and secrets unfilled; else nothing.

    Raises:
        Nothing.
    """
    match value:
        case Template():
            return "".join(_segment(part) for part in value.parts)
        case Fixed(value=str() as text):
            return text
        case _:
            return ""


def _segment(part: Part) -> str:
    match part:
        case Text():
            return part.text
        case Env():
            return f"${{{part.name}}}"
        case Expr():
            return source_of(part)
