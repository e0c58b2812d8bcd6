# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# ruamel.yaml says it is typed and leaves most attributes without a type; this module is the
# border at which they get one.
"""The syntax of YAML as a stream of typed tokens with places.

What it is not: a reading of the tokens (``document`` builds nodes of them).  Only the event
parser of ruamel.yaml is used, neither its resolvers nor its constructors; see
docs/decisions/0004-yaml-reader.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from tildawn.runtime.plan.problem import Mark


class Token(Enum):
    """What may come next."""

    DOCUMENT = auto()
    SCALAR = auto()
    ALIAS = auto()
    LIST = auto()
    MAP = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Seen:
    """One token; the last fields are filled only where the token can have them."""

    token: Token
    mark: Mark
    text: str = ""
    #: The source of a scalar, quotes included.
    raw: str = ""
    plain: bool = False
    anchor: str | None = None
    tag: str | None = None
    directive: bool = False


class Unreadable(Exception):
    """The text is no YAML from a place on."""

    def __init__(self, mark: Mark, found: str, expected: str | None = None) -> None:
        """Take the place, what stands there, and what could."""
        super().__init__(found)
        self.mark = mark
        self.found = found
        self.expected = expected


_TOKENS: tuple[tuple[type[Event], Token], ...] = (
    (ScalarEvent, Token.SCALAR),
    (MappingStartEvent, Token.MAP),
    (SequenceStartEvent, Token.LIST),
    (MappingEndEvent, Token.END),
    (SequenceEndEvent, Token.END),
    (AliasEvent, Token.ALIAS),
    (DocumentStartEvent, Token.DOCUMENT),
)


def tokens(text: str) -> Iterator[Seen]:
    """The tokens of a text, read only as far as they are asked for.

    Args:
        text: with line feeds as its only line ends.

    Raises:
        Unreadable: the text is no YAML from there on.
    """
    last = Mark(1, 1)
    parsed: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    try:
        for event in parsed:
            last = _mark(event.start_mark)
            token = next((found for kind, found in _TOKENS if isinstance(event, kind)), None)
            if token is not None:
                yield _seen(event, token, text)
    except ReaderError as error:
        raise _bad_character(error, text) from None
    except MarkedYAMLError as error:
        reason = " ".join(str(part) for part in (error.context, error.problem) if part)
        mark = _mark(error.problem_mark or error.context_mark)
        raise Unreadable(mark, f"not YAML: {reason or 'unreadable'}") from None
    except (ValueError, OverflowError) as error:
        # The parser lets these through, for escapes beyond U+10FFFF; they follow this place.
        raise Unreadable(last, f"not YAML: {error}") from None


def _seen(event: Event, token: Token, text: str) -> Seen:
    mark = _mark(event.start_mark)
    if isinstance(event, DocumentStartEvent):
        return Seen(token, mark, directive=event.version is not None or bool(event.tags))
    if not isinstance(event, NodeEvent):
        return Seen(token, mark)
    anchor = None if event.anchor is None else str(event.anchor)
    # An alias has none; the parser keeps the others' as an attribute of each class.
    tag: object = getattr(event, "tag", None)
    named = None if tag is None else str(tag)
    if not isinstance(event, ScalarEvent):
        return Seen(token, mark, anchor=anchor, tag=named)
    raw = text[event.start_mark.index : event.end_mark.index]
    plain = event.style is None
    value = _whole(str(event.value), mark)
    return Seen(token, mark, value, raw, plain, anchor=anchor, tag=named)


def _whole(value: str, mark: Mark) -> str:
    """The text with escaped surrogate pairs joined, as JSON writes characters beyond U+FFFF."""
    if not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Unreadable(
            mark, "half of a surrogate pair", "both halves, or one \\U escape"
        ) from None


def _bad_character(error: ReaderError, text: str) -> Unreadable:
    at = int(error.position)
    mark = Mark(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
    found = f"the character U+{ord(text[at]):04X} may not stand in YAML"
    return Unreadable(mark, found, "an escape within double quotes")


def _mark(mark: object) -> Mark:
    line, column = getattr(mark, "line", 0), getattr(mark, "column", 0)
    return Mark(int(line) + 1, int(column) + 1)
