"""YAML text as nodes with places: every scalar is text, and what surprises is refused.

What it is not: a typed reading.  Whether ``on`` is a word or a truth is decided by the shape
that reads the node, never here.
"""

import codecs
from dataclasses import dataclass

from tildawn.runtime.plan.problem import Mark, Problems
from tildawn.runtime.plan.syntax import Seen, Token, Unreadable, tokens


#: A plan is written by hand or emitted by an application; above this it is something else.
PLAN_BYTES_MAX = 1_000_000
#: Deep enough for any request body a person writes; bounds the recursion of every reader.
DEPTH_MAX = 32

#: YAML 1.1 breaks lines at these, YAML 1.2 does not; refused raw so that both agree.
_OLD_BREAKS = {"\x85": "\\x85", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text; ``plain`` when it was written without quotes."""

    text: str
    mark: Mark
    plain: bool
    #: The source it was read from, quotes included.
    raw: str

    def place(self, offset: int, token: str) -> Mark:
        """Where the token at that offset of the text stands in the file.

        Exact unless the token itself is written with escapes or folded over two lines; then
        the beginning of the scalar.

        Raises:
            Nothing.
        """
        if self.text in (self.raw, self.raw[1:-1]) and "\n" not in self.raw:
            quote = 0 if self.text == self.raw else 1
            return Mark(self.mark.line, self.mark.column + quote + offset)
        at = -1
        for _ in range(self.text.count(token, 0, offset) + 1):
            at = self.raw.find(token, at + 1)
            if at < 0:
                return self.mark
        before = self.raw[:at]
        newlines = before.count("\n")
        if newlines == 0:
            return Mark(self.mark.line, self.mark.column + at)
        return Mark(self.mark.line + newlines, at - before.rfind("\n"))


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    items: "tuple[Node, ...]"
    mark: Mark


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their nodes, in the order of the file; keys are unique texts."""

    entries: "tuple[tuple[Scalar, Node], ...]"
    mark: Mark


Node = Scalar | Sequence | Mapping


def read_document(body: bytes, problems: Problems) -> Node | None:
    """The one document of a plan file.

    Args:
        body: the bytes of the file: UTF-8 or UTF-16 with a byte-order mark, <= 1 MB.
        problems: takes everything that is wrong with the text as YAML.

    Returns:
        The root node, or None, with a problem noted, when the text cannot be read as one.

    Raises:
        Nothing.
    """
    text = _decoded(body, problems)
    if text is None:
        return None
    try:
        return _Builder(text, problems).document()
    except Unreadable as error:
        problems.add(error.mark, error.found, expected=error.expected)
        return None


def _decoded(body: bytes, problems: Problems) -> str | None:
    if len(body) > PLAN_BYTES_MAX:
        found = f"the plan has {len(body):,} bytes"
        problems.add(Mark(1, 1), found, expected=f"at most {PLAN_BYTES_MAX:,} bytes")
        return None
    wide = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = body.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        column = (
            len(body[body.rfind(b"\n", 0, error.start) + 1 : error.start].decode(errors="replace"))
            + 1
        )
        found = f"byte 0x{body[error.start]:02x} is no UTF-8"
        problems.add(Mark(line, column), found, expected="a file saved as UTF-8")
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for index, character in enumerate(text):
        if character in _OLD_BREAKS:
            line = text.count("\n", 0, index) + 1
            mark = Mark(line, index - text.rfind("\n", 0, index))
            found = f"a raw line separator U+{ord(character):04X}"
            problems.add(mark, found, expected=f'"{_OLD_BREAKS[character]}" within double quotes')
            return None
    return text


class _Builder:
    """Builds nodes from tokens, one at a time, so that a bound stops it early."""

    def __init__(self, text: str, problems: Problems) -> None:
        self._problems = problems
        self._tokens = tokens(text)
        #: An alias leaves a hole in the structure, and judging that would invent mistakes.
        self._whole = True

    def document(self) -> Node | None:
        """The root node of the only document."""
        node: Node | None = None
        documents = 0
        for seen in self._tokens:
            if seen.token is not Token.DOCUMENT:
                node = self._node(seen, 0)
                continue
            documents += 1
            if documents > 1:
                raise Unreadable(seen.mark, "a second document", "one plan a file")
            if seen.directive:
                instead = "the plan without it; it is read as YAML 1.2"
                self._problems.add(seen.mark, "a YAML directive", expected=instead)
        if node is None:
            instead = "a map that begins with version: 1"
            self._problems.add(Mark(1, 1), "the plan is empty", expected=instead)
        return node if self._whole else None

    def _node(self, seen: Seen, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise Unreadable(seen.mark, "nested too deeply", f"at most {DEPTH_MAX} levels")
        self._plainly(seen)
        if seen.token is Token.LIST:
            return self._sequence(seen.mark, depth)
        if seen.token is Token.MAP:
            return self._mapping(seen.mark, depth)
        return Scalar(seen.text, seen.mark, plain=seen.plain, raw=seen.raw)

    def _plainly(self, seen: Seen) -> None:
        if seen.token is Token.ALIAS:
            self._whole = False
            found, instead = f"an alias '*{seen.anchor}'", "the value written out"
        elif seen.anchor is not None:
            found, instead = f"an anchor '&{seen.anchor}'", "the value without a name"
        elif seen.tag is not None:
            found, instead = f"a tag {seen.tag!r}", "the value alone; the schema knows its type"
        else:
            return
        self._problems.add(seen.mark, found, expected=instead)

    def _sequence(self, mark: Mark, depth: int) -> Sequence:
        items: list[Node] = []
        for seen in self._tokens:
            if seen.token is Token.END:
                break
            items.append(self._node(seen, depth + 1))
        return Sequence(tuple(items), mark)

    def _mapping(self, mark: Mark, depth: int) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        for seen in self._tokens:
            if seen.token is Token.END:
                break
            key = self._node(seen, depth + 1)
            value = self._node(next(self._tokens), depth + 1)
            if not isinstance(key, Scalar):
                self._problems.add(key.mark, "a key that is a list or a map", expected="a name")
            elif key.text in entries:
                first = entries[key.text][0].mark.line
                instead = f"it once; the first is in line {first}"
                found = f"the key {key.text!r} a second time"
                self._problems.add(key.mark, found, expected=instead)
            else:
                entries[key.text] = (key, value)
        return Mapping(tuple(entries.values()), mark)
