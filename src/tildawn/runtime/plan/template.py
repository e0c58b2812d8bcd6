"""Templates: text with ``{{ expression }}`` and ``${NAME}``, parsed into typed segments.

What it is not: a programming language.  An expression is a name, then fields and items of plain
data, then filters from a fixed list; no calls, no arithmetic, no Python.  A text is split here,
once; nothing that is substituted later is ever read as a template or as ``${NAME}`` again.
"""

import re
from dataclasses import dataclass, field

from tildawn.facts.plan import Env, Expr, Filter, Part, Plain, Text
from tildawn.runtime.plan.filters import FILTERS, FilterRule
from tildawn.runtime.plan.problem import nearest, one_of


#: A path longer than this is no look-up a person wrote.
_PATH_MAX = 32
#: More segments than this are a program's work, and the time to place them all grows with them.
_PIECES_MAX = 1_000
_OPEN = re.compile(r"\{\{|\{%|\{#|\$\{")
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LEX = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
      | (?P<sign>[.\[\]|(),])
      | (?P<end>\}\})
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "'": "'", '"': '"', "\\": "\\"}
_WORDS: dict[str, Plain] = {"true": True, "false": False, "null": None, "none": None}


@dataclass(frozen=True, slots=True)
class Spot:
    """A token of a text and the offset at which it begins."""

    offset: int
    token: str


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression with the places of its pieces."""

    expr: Expr
    root: Spot
    path: tuple[Spot, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a template, and where."""

    spot: Spot
    found: str
    expected: str | None = None
    nearest: str | None = None


@dataclass(slots=True)
class Parsed:
    """The segments of a text, its expressions and names with their places, and its faults."""

    parts: list[Part] = field(default_factory=list[Part])
    placed: list[Placed] = field(default_factory=list[Placed])
    names: list[tuple[Env, Spot]] = field(default_factory=list[tuple[Env, Spot]])
    faults: list[Fault] = field(default_factory=list[Fault])


class _Bad(Exception):
    """An expression cannot be read on; never seen outside this module."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.found)
        self.fault = fault


def parse_template(text: str) -> Parsed:
    """Split a text into what is written and what is to be filled in.

    Args:
        text: any text.

    Returns:
        Its segments; a text without templates is one `Text`, or none when it is empty.

    Raises:
        Nothing.
    """
    parsed = Parsed()
    at = 0
    while (found := _OPEN.search(text, at)) is not None:
        if len(parsed.parts) + len(parsed.faults) >= _PIECES_MAX:
            spot = Spot(found.start(), found.group())
            parsed.faults.append(
                Fault(spot, "too many templates in one text", f"at most {_PIECES_MAX}")
            )
            return parsed
        _literal(parsed, text[at : found.start()])
        at = _piece(parsed, text, found)
    _literal(parsed, text[at:])
    return parsed


def _piece(parsed: Parsed, text: str, found: re.Match[str]) -> int:
    start, sign = found.start(), found.group()
    if sign == "{{":
        return _expression(parsed, text, start)
    if sign == "${":
        return _env(parsed, text, start)
    fault = Fault(
        Spot(start, sign),
        f"{sign!r} is no part of a template",
        f"{{{{ '{sign}' }}}} for the two characters",
    )
    parsed.faults.append(fault)
    return found.end()


def _env(parsed: Parsed, text: str, start: int) -> int:
    match = _ENV.match(text, start)
    if match is None:
        expected = "${NAME} alone, or {{ '${' }} for the two characters"
        parsed.faults.append(Fault(Spot(start, "${"), "'${' without a name and '}'", expected))
        return start + 2
    env = Env(match.group(1))
    parsed.parts.append(env)
    parsed.names.append((env, Spot(start, match.group())))
    return match.end()


def _expression(parsed: Parsed, text: str, start: int) -> int:
    reader = _Reader(text, start)
    try:
        read = reader.expression()
    except _Bad as bad:
        parsed.faults.append(bad.fault)
        close = text.find("}}", start)
        return len(text) if close < 0 else close + 2
    if isinstance(read, str):
        _literal(parsed, read)
    else:
        parsed.parts.append(read.expr)
        parsed.placed.append(read)
    return reader.at


def _literal(parsed: Parsed, text: str) -> None:
    if not text:
        return
    if parsed.parts and isinstance(parsed.parts[-1], Text):
        parsed.parts[-1] = Text(parsed.parts[-1].text + text)
    else:
        parsed.parts.append(Text(text))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    offset: int

    @property
    def spot(self) -> Spot:
        return Spot(self.offset, self.text)


class _Reader:
    """Reads one expression, from behind ``{{`` to behind ``}}``."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._start = start
        self.at = start + 2

    def expression(self) -> Placed | str:
        """The expression; a text when it is one quoted text."""
        token = self._next()
        if token.kind == "text":
            self._expect("end", "}} after a quoted text")
            return _unquoted(token.text)
        if token.kind != "name":
            raise self._unexpected(token, "a name such as item.sku")
        _public(token.text, token.spot)
        path, spots, token_after = self._path()
        filters = self._filters(token_after)
        expr = Expr(token.text, tuple(path), tuple(filters))
        return Placed(expr, token.spot, tuple(spots))

    def _path(self) -> tuple[list[str | int], list[Spot], _Token]:
        path: list[str | int] = []
        spots: list[Spot] = []
        while (token := self._next()).text in {".", "["} and token.kind == "sign":
            step, spot = self._field() if token.text == "." else self._item()
            if len(path) >= _PATH_MAX:
                raise _Bad(Fault(spot, "a look-up too deep", f"at most {_PATH_MAX} levels"))
            path.append(step)
            spots.append(spot)
        return path, spots, token

    def _field(self) -> tuple[str, Spot]:
        token = self._expect("name", "the name of a field after '.'")
        _public(token.text, token.spot)
        return token.text, token.spot

    def _item(self) -> tuple[str | int, Spot]:
        token = self._next()
        if token.kind == "text":
            key: str | int = _unquoted(token.text)
            _public(str(key).removeprefix("_"), token.spot)
        elif (
            token.kind == "number" and "." not in token.text and len(token.text) < len("-10000000")
        ):
            key = int(token.text)
        else:
            raise self._unexpected(token, "a quoted name or a whole number within [ ]")
        close = self._next()
        if close.text != "]":
            raise self._unexpected(close, "]")
        return key, token.spot

    def _filters(self, token: _Token) -> list[Filter]:
        filters: list[Filter] = []
        while token.text == "|" and token.kind == "sign":
            name = self._expect("name", "the name of a filter after '|'")
            rule = FILTERS.get(name.text)
            if rule is None:
                found = f"unknown filter {name.text!r}"
                close = nearest(name.text, FILTERS)
                raise _Bad(Fault(name.spot, found, one_of(FILTERS), close))
            arguments, token = self._arguments()
            _fitting(rule, arguments, name.spot)
            filters.append(Filter(name.text, arguments))
        if token.kind != "end":
            raise self._unexpected(token, "'.', '[', '|' or '}}'")
        return filters

    def _arguments(self) -> tuple[tuple[Plain, ...], _Token]:
        token = self._next()
        if token.text != "(" or token.kind != "sign":
            return (), token
        arguments: list[Plain] = []
        token = self._next()
        while token.text != ")" or token.kind != "sign":
            arguments.append(self._argument(token))
            token = self._next()
            if token.text == "," and token.kind == "sign":
                token = self._next()
            elif token.text != ")":
                raise self._unexpected(token, "',' or ')'")
        return tuple(arguments), self._next()

    def _argument(self, token: _Token) -> Plain:
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind == "number" and len(token.text) <= len("-") + 15:
            return float(token.text) if "." in token.text else int(token.text)
        if token.kind == "name" and token.text.lower() in _WORDS:
            return _WORDS[token.text.lower()]
        raise self._unexpected(token, "a quoted text, a number, true, false or null")

    def _next(self) -> _Token:
        match = _LEX.match(self._text, self.at)
        if match is None:
            raise self._unreadable()
        self.at = match.end()
        kind = match.lastgroup or ""
        return _Token(kind, match.group(kind), match.start(kind))

    def _expect(self, kind: str, expected: str) -> _Token:
        token = self._next()
        if token.kind != kind:
            raise self._unexpected(token, expected)
        return token

    def _unexpected(self, token: _Token, expected: str) -> _Bad:
        if token.text == "(":
            found = "a call"
            return _Bad(Fault(token.spot, found, "look-ups and filters only"))
        return _Bad(Fault(token.spot, f"{token.text!r} in an expression", expected))

    def _unreadable(self) -> _Bad:
        rest = self._text[self.at :]
        here = self.at + len(rest) - len(rest.lstrip())
        if here >= len(self._text) or "}}" not in self._text[here:]:
            return _Bad(
                Fault(Spot(self._start, "{{"), "'{{' is never closed", "'}}' behind the expression")
            )
        sign = self._text[here]
        return _Bad(
            Fault(Spot(here, sign), f"{sign!r} in an expression", "look-ups and filters only")
        )


def _public(name: str, spot: Spot) -> None:
    if name.startswith("_"):
        raise _Bad(Fault(spot, f"{name!r} reaches into Python", "a name that begins with a letter"))


def _unquoted(quoted: str) -> str:
    return re.sub(
        r"\\(.)", lambda m: _ESCAPES.get(m[1], "\\" + m[1]), quoted[1:-1], flags=re.DOTALL
    )


def _fitting(rule: FilterRule, arguments: tuple[Plain, ...], spot: Spot) -> None:
    most = len(rule.takes)
    if not rule.required <= len(arguments) <= most:
        wanted = str(most) if rule.required == most else f"{rule.required} to {most}"
        found = f"the filter {rule.name!r} with {len(arguments)} arguments"
        raise _Bad(Fault(spot, found, wanted))
    for argument, types in zip(arguments, rule.takes, strict=False):
        if not isinstance(argument, types) or (isinstance(argument, bool) and types is int):
            found = f"the argument {argument!r} of the filter {rule.name!r}"
            wanted = "a quoted text" if types is str else "a whole number"
            raise _Bad(Fault(spot, found, wanted))
