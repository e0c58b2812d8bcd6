"""Rendering: a plan's value and the data of a run become the value of a call.

What it is not: a reader of templates or of the environment.  Data is only looked up, never
interpreted: a ``{{`` or ``${`` that comes from data stays the characters it is.  Secrets enter
last and apart: `render` leaves a `Sealed` text wherever ``${NAME}`` stands, `unexpanded` gives
the form that is digested and kept, `expanded` the form that leaves through the door.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar, cast
from urllib.parse import quote

import msgspec

from tildawn.errors import BadValue
from tildawn.facts.plan import Env, Expr, Fixed, ListOf, MapOf, Mode, Template, Text, Value
from tildawn.runtime.plan.filters import FILTERS, TEXT_MAX, as_text, is_blank, sort_of
from tildawn.runtime.plan.problem import nearest


Scope = Mapping[str, object]
"""What a template may name: plain data (text, numbers, truths, null, lists, maps) and artifacts."""

_T = TypeVar("_T")

#: Beyond this depth data from outside is refused; bounds the recursion below.
_DEPTH_MAX = 100


class Sealed(msgspec.Struct, frozen=True):
    """A text with secrets still in their envelopes."""

    parts: tuple[Text | Env, ...]


class _Missing:
    """What a look-up found when there is nothing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def render(value: Value, scope: Scope) -> object:
    """The value with its expressions filled in and its ``${NAME}`` sealed.

    Args:
        value: of a compiled plan.
        scope: ``item`` and the outputs of earlier steps by name.

    Returns:
        Text, number, truth, null, list or dict of such, `Sealed` for a text with secrets, or an
        artifact where one expression names it and the mode allows it.

    Raises:
        BadValue: a name is missing, or a value does not fit where it stands; the expression is
            named.
    """
    match value:
        case Fixed():
            return value.value
        case ListOf():
            return [render(item, scope) for item in value.items]
        case MapOf():
            return {entry.name: render(entry.value, scope) for entry in value.entries}
        case Template():
            return _template(value, scope)


def render_text(value: Value, scope: Scope) -> str:
    """The value as a text without secrets, as a key needs it.

    Raises:
        BadValue: see `render`; or it holds ``${NAME}``.
    """
    rendered = render(value, scope)
    if isinstance(rendered, Sealed):
        message = "a secret may not stand here"
        raise BadValue(message)
    return as_text(rendered)


def _template(template: Template, scope: Scope) -> object:
    if len(template.parts) == 1 and isinstance(template.parts[0], Expr):
        return _whole(template.parts[0], template.mode, scope)
    parts: list[Text | Env] = []
    for part in template.parts:
        if isinstance(part, Expr):
            put = _within(template.mode, parts)
            parts.append(Text(_named(part, put, evaluate(part, scope))))
        else:
            parts.append(part)
    if any(isinstance(part, Env) for part in parts):
        return Sealed(tuple(parts))
    text = "".join(part.text for part in parts if isinstance(part, Text))
    if len(text) > TEXT_MAX:
        message = f"a text grows beyond {TEXT_MAX:,} characters"
        raise BadValue(message)
    return text


def _whole(expr: Expr, mode: Mode, scope: Scope) -> object:
    found = evaluate(expr, scope)
    if mode is Mode.VALUE:
        return _named(expr, _json, found)
    if is_artifact(found) and mode in {Mode.FILE, Mode.CONTENT}:
        return found
    put = _WHOLE.get(mode, as_text)
    return _named(expr, put, found)


def _within(mode: Mode, before: list[Text | Env]) -> Callable[[object], str]:
    if mode is Mode.URL:
        queried = any(isinstance(part, Text) and "?" in part.text for part in before)
        return _encoded_query if queried else _encoded_path
    return _one_name if mode in {Mode.PATH, Mode.FILE} else as_text


def _named(expr: Expr, put: Callable[[object], _T], found: object) -> _T:
    try:
        return put(found)
    except BadValue as error:
        message = f"{source_of(expr)}: {error.message}"
        raise BadValue(message, hint=error.hint) from None


def _encoded_query(value: object) -> str:
    return quote(as_text(value), safe="")


def _encoded_path(value: object) -> str:
    text = as_text(value)
    if text in {"", ".", ".."}:
        # An empty or dotted segment names another resource than the author meant: with DELETE,
        # perhaps the whole collection.
        message = f"{text!r} may not stand in the path of a URL"
        raise BadValue(message)
    return quote(text, safe="")


def _url(value: object) -> str:
    text = as_text(value)
    if not re.match(r"https?://[^/\s]", text):
        message = f"{text!r:.80} is no URL"
        raise BadValue(message, hint="it has to begin with http:// or https://")
    return text


def _one_name(value: object) -> str:
    text = as_text(value)
    if text in {"", ".", ".."} or re.search(r"[/\\\0]", text):
        message = f"{text!r:.80} is no single name in a path"
        raise BadValue(message, hint="use the filter slug")
    return text


def _path(value: object) -> str:
    text = as_text(value)
    if not text or text.startswith(("/", "~")) or ".." in re.split(r"[/\\]", text) or "\0" in text:
        message = f"{text!r:.80} is no path below the plan's folder"
        raise BadValue(message)
    return text


_WHOLE = {Mode.URL: _url, Mode.PATH: _path, Mode.FILE: _path}


def _json(value: object) -> object:
    if is_artifact(value):
        message = "it is an artifact, not a JSON value"
        raise BadValue(message, hint="hand it over in files, content or argv")
    if isinstance(value, Mapping):
        for item in cast("Mapping[str, object]", value).values():
            _json(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            _json(item)
    return cast("object", value)


def is_artifact(value: object) -> bool:
    """Whether a value is handed on as it is, never opened: anything but plain data.

    Raises:
        Nothing.
    """
    return not isinstance(value, str | int | float | bool | None | list | tuple | Mapping)


def evaluate(expr: Expr, scope: Scope) -> object:
    """The value of one expression.

    Raises:
        BadValue: something on the way is missing, or a filter does not take the value.
    """
    found = _looked_up(expr, scope)
    for step in expr.filters:
        if step.name == "default" and (isinstance(found, _Missing) or is_blank(found)):
            found = step.arguments[0]
            continue
        if isinstance(found, _Missing):
            break
        try:
            found = FILTERS[step.name].apply(found, step.arguments)
        except BadValue as error:
            message = f"{source_of(expr)}: {error.message}"
            raise BadValue(message) from None
    if isinstance(found, _Missing):
        message = f"{source_of(expr)}: {found.reason}"
        raise BadValue(message)
    return _plain(found, expr, 0)


def _looked_up(expr: Expr, scope: Scope) -> object:
    if expr.root not in scope:
        return _Missing(f"there is no {expr.root!r}{_like(expr.root, scope)}")
    found: object = scope[expr.root]
    for step in expr.path:
        found = _step(found, step)
        if isinstance(found, _Missing):
            return found
    return found


def _step(value: object, step: str | int) -> object:
    # Only exact plain containers are opened: no attribute of any object is ever read.
    if isinstance(value, Mapping) and isinstance(step, str):
        held = cast("Mapping[str, object]", value)
        if step in held:
            return held[step]
        return _Missing(f"there is no {step!r}{_like(step, held)}")
    if isinstance(value, list | tuple) and isinstance(step, int):
        items = cast("list[object] | tuple[object, ...]", value)
        if -len(items) <= step < len(items):
            return items[step]
        return _Missing(f"there is no item {step} of {len(items)}")
    return _Missing(f"{sort_of(cast('object', value))} has no {step!r}")


def _like(name: str, known: Mapping[str, object]) -> str:
    close = nearest(name, known)
    return "" if close is None else f"; did you mean {close!r}?"


def _plain(value: object, expr: Expr, depth: int) -> object:
    if depth > _DEPTH_MAX:
        message = f"{source_of(expr)}: nested too deeply"
        raise BadValue(message)
    if isinstance(value, Mapping):
        held = cast("Mapping[str, object]", value)
        return {name: _plain(item, expr, depth + 1) for name, item in held.items()}
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        return [_plain(item, expr, depth + 1) for item in items]
    return value


def unexpanded(rendered: object) -> object:
    """The rendered value with ``${NAME}`` in the place of each secret: for digests and records.

    Different rendered values have different forms: where data happens to hold ``${`` its
    dollar signs are doubled.

    Raises:
        Nothing.
    """
    if isinstance(rendered, Sealed):
        return _sealed_text(rendered)
    if isinstance(rendered, str):
        return _doubled(rendered)
    return _mapped(rendered, unexpanded)


def _sealed_text(sealed: Sealed) -> str:
    texts: list[str] = []
    for index, part in enumerate(sealed.parts):
        if isinstance(part, Env):
            texts.append(f"${{{part.name}}}")
            continue
        before_env = index + 1 < len(sealed.parts) and isinstance(sealed.parts[index + 1], Env)
        text = _doubled(part.text)
        texts.append(re.sub(r"\$+\Z", r"\g<0>\g<0>", text) if before_env else text)
    return "".join(texts)


def _doubled(text: str) -> str:
    return re.sub(r"\$+(?=\{)", r"\g<0>\g<0>", text) if "${" in text else text


def expanded(rendered: object, env: Mapping[str, str]) -> object:
    """The rendered value with its secrets in place: only the door asks for it.

    Raises:
        BadValue: a name is not in ``env``; only the name is said.
    """
    if isinstance(rendered, Sealed):
        return "".join(
            part.text if isinstance(part, Text) else _secret(part, env) for part in rendered.parts
        )
    return _mapped(rendered, lambda value: expanded(value, env))


def _secret(part: Env, env: Mapping[str, str]) -> str:
    if part.name not in env:
        message = f"the variable {part.name} is not set"
        raise BadValue(message, hint=f"export {part.name}=… before the night starts")
    return env[part.name]


def _mapped(value: object, change: Callable[[object], object]) -> object:
    if isinstance(value, dict):
        held = cast("dict[str, object]", value)
        return {name: change(item) for name, item in held.items()}
    if isinstance(value, list):
        return [change(item) for item in cast("list[object]", value)]
    return value


def source_of(expr: Expr) -> str:
    """The expression as a person would write it: ``{{ copy.bullets[0] | upper }}``.

    Raises:
        Nothing.
    """
    text = expr.root
    for step in expr.path:
        simple = isinstance(step, str) and re.fullmatch(r"[A-Za-z]\w*", step)
        text += f".{step}" if simple else f"[{step!r}]"
    for step in expr.filters:
        arguments = f"({', '.join(repr(a) for a in step.arguments)})" if step.arguments else ""
        text += f" | {step.name}{arguments}"
    return f"{{{{ {text} }}}}"
