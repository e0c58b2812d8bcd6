"""The filters of templates: a fixed list of pure functions on plain data.

What it is not: open.  A plan cannot name a Python function, and no filter reads anything but
its value and the literal arguments written beside it.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import cast
from urllib.parse import quote

from tildawn.errors import BadValue
from tildawn.facts.plan import Plain
from tildawn.runtime.plan.form import ANY, NUMBER, TEXT, Form, list_of


#: A rendered text above this is a mistake of the plan; the bound of a run's own values.
TEXT_MAX = 10_000_000

Arguments = tuple[Plain, ...]


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One filter: what it takes, what it gives, and the function itself."""

    name: str
    apply: Callable[[object, Arguments], object]
    gives: Form
    #: The types of the arguments; those beyond ``required`` may be left out.
    takes: tuple[type | tuple[type, ...], ...] = ()
    required: int = 0


def is_list(value: object) -> bool:
    """Whether templates see the value as a list.

    Raises:
        Nothing.
    """
    return isinstance(value, list | tuple)


def as_items(value: object) -> list[object]:
    """The elements of a list.

    Raises:
        BadValue: it is no list.
    """
    if not isinstance(value, list | tuple):
        raise _not_a(value, "list")
    return list(cast("list[object] | tuple[object, ...]", value))


def as_text(value: object) -> str:
    """A scalar as it stands in a text: numbers in their shortest form, ``true`` and ``false``.

    Raises:
        BadValue: it is null, a list, a map or an artifact.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise _not_a(value, "text")


def sort_of(value: object) -> str:
    """How messages call a value.

    Raises:
        Nothing.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    for types, name in _SORTS:
        if isinstance(value, types):
            return name
    return "an artifact"


_SORTS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "a text"),
    ((int, float), "a number"),
    ((list, tuple), "a list"),
    (dict, "a map"),
)


def _not_a(value: object, wanted: str) -> BadValue:
    return BadValue(f"it is {sort_of(value)}, not a {wanted}")


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise _not_a(value, "text")
    return value


def _join(value: object, arguments: Arguments) -> str:
    separator = str(arguments[0]) if arguments else ""
    return _bounded(separator.join(as_text(item) for item in as_items(value)))


def _bounded(text: str) -> str:
    if len(text) > TEXT_MAX:
        message = f"it grows beyond {TEXT_MAX:,} characters"
        raise BadValue(message)
    return text


def _slug(value: object, _: Arguments) -> str:
    plain = unicodedata.normalize("NFKD", _string(value)).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if not slug:
        message = "nothing of it is left in a slug"
        raise BadValue(message)
    return slug


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _not_a(value, "number")
    return value


def _round(value: object, arguments: Arguments) -> int | float:
    number = _number(value)
    places = int(str(arguments[0])) if arguments else 0
    if isinstance(number, int):
        return number
    # Half up on the digits a person sees: 2.675 becomes 2.68, which binary rounding denies.
    try:
        rounded = Decimal(repr(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    except InvalidOperation:
        message = f"{number} cannot be rounded to {places} places"
        raise BadValue(message) from None
    return float(rounded) if places else int(rounded)


def _length(value: object, _: Arguments) -> int:
    if isinstance(value, str | list | tuple | dict):
        return len(cast("str | list[object] | dict[str, object]", value))
    raise _not_a(value, "text, a list or a map")


def _json(value: object, _: Arguments) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        raise _not_a(value, "JSON value") from None
    return _bounded(text)


def _at(index: int) -> Callable[[object, Arguments], object]:
    def pick(value: object, _: Arguments) -> object:
        items: str | list[object] = value if isinstance(value, str) else as_items(value)
        if not items:
            message = "it is empty"
            raise BadValue(message)
        return items[index]

    return pick


def _replace(value: object, arguments: Arguments) -> str:
    old, new = str(arguments[0]), str(arguments[1])
    if not old:
        message = "replace looks for an empty text"
        raise BadValue(message)
    text = _string(value)
    if len(text) + text.count(old) * (len(new) - len(old)) > TEXT_MAX:
        message = f"it grows beyond {TEXT_MAX:,} characters"
        raise BadValue(message)
    return text.replace(old, new)


def _int(value: object, _: Arguments) -> int:
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,15}\s*", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    message = f"{value!r:.60} is no whole number"
    raise BadValue(message)


def _float(value: object, _: Arguments) -> float:
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,300}(\.[0-9]{1,300})?\s*", value):
        return float(value)
    if isinstance(value, str):
        message = f"{value!r:.60} is no number"
        raise BadValue(message)
    return float(_number(value))


def _texts(change: Callable[[str], str]) -> Callable[[object, Arguments], object]:
    return lambda value, _: change(_string(value))


def _split(value: object, arguments: Arguments) -> list[str]:
    separator = str(arguments[0])
    if not separator:
        message = "split needs a separator"
        raise BadValue(message)
    return _string(value).split(separator)


def _truncate(value: object, arguments: Arguments) -> str:
    return _string(value)[: max(int(str(arguments[0])), 0)]


def is_blank(value: object) -> bool:
    """Whether ``default`` takes the place of the value: null and the empty text.

    Raises:
        Nothing.
    """
    return value is None or value == ""


def _default(value: object, arguments: Arguments) -> object:
    return arguments[0] if is_blank(value) else value


_SCALAR = (str, int, float, bool, type(None))

FILTERS: dict[str, FilterRule] = {
    rule.name: rule
    for rule in (
        FilterRule("upper", _texts(str.upper), TEXT),
        FilterRule("lower", _texts(str.lower), TEXT),
        FilterRule("title", _texts(str.title), TEXT),
        FilterRule("capitalize", _texts(str.capitalize), TEXT),
        FilterRule("trim", _texts(str.strip), TEXT),
        FilterRule("slug", _slug, TEXT),
        FilterRule("urlencode", _texts(lambda text: quote(text, safe="")), TEXT),
        FilterRule("truncate", _truncate, TEXT, (int,), 1),
        FilterRule("replace", _replace, TEXT, (str, str), 2),
        FilterRule("split", _split, list_of(TEXT), (str,), 1),
        FilterRule("join", _join, TEXT, (str,)),
        FilterRule("first", _at(0), ANY),
        FilterRule("last", _at(-1), ANY),
        FilterRule("length", _length, NUMBER),
        FilterRule("round", _round, NUMBER, (int,)),
        FilterRule("int", _int, NUMBER),
        FilterRule("float", _float, NUMBER),
        FilterRule("json", _json, TEXT),
        FilterRule("default", _default, ANY, (_SCALAR,), 1),
    )
}
