"""The published schema of the JSON report."""

import json
from pathlib import Path

import msgspec
import pytest

from tildawn.watch.report import Report, render_json, report_schema


PUBLISHED = Path(__file__).parents[2] / "docs/reference/report.schema.json"


KINDS = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip


def misfits(value: object, schema, root, where: str = "$"):
    """Where a value does not fit a schema of the few words that ours uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        tries = [list(misfits(value, one, root, where)) for one in schema["anyOf"]]
        return min(tries, key=len)
    if "enum" in schema:
        fits = value in schema["enum"]
        return [] if fits else [f"{where}: {value!r} is none of {schema['enum']}"]
    if type(value) is not KINDS[schema["type"]]:
        return [f"{where}: {value!r} is no {schema['type']}"]
    return list(inside(value, schema, root, where))


def inside(value: object, schema, root, where: str):
    """Where the parts of an object or an array do not fit."""
    if isinstance(value, dict):
        yield from (
            f"{where}.{name} is missing" for name in schema["required"] if name not in value
        )
        yield from (
            f"{where}.{name} is unknown" for name in value.keys() - schema["properties"].keys()
        )
        for name in value.keys() & schema["properties"].keys():
            yield from misfits(value[name], schema["properties"][name], root, f"{where}.{name}")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from misfits(part, schema["items"], root, f"{where}[{place}]")


def test_the_published_schema_is_the_one_of_the_code():
    """Programs are written against the page, not against the code.

    ``scripts`` has nothing for it: dump `report_schema` with an indent of two.
    """
    assert json.loads(PUBLISHED.read_text("utf-8")) == report_schema()


@pytest.mark.parametrize("night", ["good", "bad", "shop"])
def test_every_report_fits_the_schema(request, night):
    """What the schema says is what comes."""
    schema = report_schema()
    value = json.loads(render_json(request.getfixturevalue(night).report()))

    assert list(misfits(value, schema, schema)) == []


def test_the_schema_refuses_what_is_no_report(good):
    """A schema that fits everything says nothing."""
    schema = report_schema()
    value = json.loads(render_json(good.report()))
    value["runs"][0]["verdict"] = "great"
    del value["planned"]

    assert len(list(misfits(value, schema, schema))) == 2
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(value), type=Report)
