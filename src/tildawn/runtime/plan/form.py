"""Forms: what is known of a value before it exists, so that a template can be checked early.

What it is not: validation of an answer.  The door does that; a form only knows names and sorts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tildawn.facts.plan import Fixed, ListOf, MapOf, Value


class Sort(StrEnum):
    """The sorts of values, as they are named in messages."""

    TEXT = "text"
    NUMBER = "number"
    BOOL = "truth value"
    LIST = "list"
    RECORD = "record"
    ARTIFACT = "artifact"
    ANY = "value"


@dataclass(frozen=True, slots=True)
class Form:
    """A sort, with the fields of a record or the element of a list."""

    sort: Sort
    fields: "Mapping[str, Form] | None" = None
    of: "Form | None" = None


TEXT = Form(Sort.TEXT)
NUMBER = Form(Sort.NUMBER)
BOOL = Form(Sort.BOOL)
ARTIFACT = Form(Sort.ARTIFACT)
ANY = Form(Sort.ANY)


def record(**fields: Form) -> Form:
    """A record with exactly these fields.

    Raises:
        Nothing.
    """
    return Form(Sort.RECORD, fields=fields)


def list_of(form: Form) -> Form:
    """A list of values of one form.

    Raises:
        Nothing.
    """
    return Form(Sort.LIST, of=form)


def form_of_schema(schema: Value | None) -> Form:
    """The form that a JSON Schema made by `SchemaShape` promises.

    Raises:
        Nothing.
    """
    if not isinstance(schema, MapOf):
        return ANY
    properties, items = schema.get("properties"), schema.get("items")
    if isinstance(properties, MapOf):
        return record(**{e.name: form_of_schema(e.value) for e in properties.entries})
    if items is not None:
        return list_of(form_of_schema(items))
    kind = schema.get("type")
    if isinstance(kind, ListOf) and kind.items:
        kind = kind.items[0]
    name = kind.value if isinstance(kind, Fixed) else None
    return _OF_TYPE.get(str(name), ANY)


_OF_TYPE = {"string": TEXT, "integer": NUMBER, "number": NUMBER, "boolean": BOOL}
