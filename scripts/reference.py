"""Writes the pages of docs/reference that describe tables of the program.

What it is not: prose.  A page is a heading, a sentence, and one section a row; whoever wants
to say more says it in the row's line of help.

Usage: python scripts/reference.py [--check]
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tildawn.faces.catalog import OPERATIONS
from tildawn.facts.fact import FactData
from tildawn.runtime.setting import SETTINGS, shown
from tildawn.runtime.wiring import KINDS, REGISTRY


REFERENCE = Path(__file__).parents[1] / "docs/reference"

SETTINGS_HEAD = """\
# Settings

A setting is taken from the first of these that names it: a change made while the house is open, a flag, the environment, the file `tildawn.toml`, its default.
`tildawn config --explain` shows each with its value and where the value comes from.

In the file, `engine.resident` is the key `resident` of the table `[engine]`; `NAME` stands for a name of your own.
This page is made from the program by `python scripts/reference.py`.
"""


def settings_page() -> Iterator[str]:
    """The lines of docs/reference/settings.md."""
    yield SETTINGS_HEAD
    for setting in SETTINGS:
        yield f"## `{setting.name}`\n"
        yield f"{setting.help}\n"
        yield f"- Allowed: {setting.range}."
        yield f"- Default: `{shown(setting.says.kind, setting.default)}`."
        if setting.variable:
            yield f"- Environment: `{setting.variable}`."
        yield ""


OPERATIONS_HEAD = """\
# Operations

Every window on Tildawn offers these and nothing else: the command line, the local socket, and whatever comes later.
The effect says whether an operation reads the house, writes to it, or needs none; the permission says who may ask for it.
On the command line each has its own options: `tildawn --help`.
This page is made from the program by `python scripts/reference.py`.
"""


def operations_page() -> Iterator[str]:
    """The lines of docs/reference/operations.md."""
    yield OPERATIONS_HEAD
    for operation in OPERATIONS:
        yield f"## `{operation.name}`\n"
        yield f"{operation.help}\n"
        yield f"- Effect: {operation.effect.value}."
        yield f"- Permission: {operation.permission.value}."
        yield f"- Takes: {fields_of(operation.input)}."
        yield f"- Gives: {fields_of(operation.output)}."
        yield ""


def fields_of(struct: type[msgspec.Struct]) -> str:
    """The fields of a value as it travels as JSON."""
    said = [
        f"`{field.encode_name}` ({annotation(field.type)}{default(field)})"
        for field in msgspec.structs.fields(struct)
    ]
    return ", ".join(said) or "nothing"


def annotation(declared: object) -> str:
    """A type as one would write it, without the modules."""
    bare = re.sub(r"\b[A-Za-z_]\w*\.(?=\w)", "", inspect.formatannotation(declared))
    return bare.replace(" | ", " or ").replace("Raw", "any JSON")


def default(field: msgspec.structs.FieldInfo) -> str:
    """What a field is when it is left out."""
    if field.default is not msgspec.NODEFAULT:
        return f", else `{msgspec.json.encode(field.default).decode()}`"
    return "" if field.required else ", else empty"


FACTS_HEAD = """\
# Facts

Every kind of fact that a ledger of this version holds, by the part of Tildawn that writes it.
What stands around each fact, such as its time and its run, is in [the body of a fact](../spec/fact-body.md).

A *payload* is a value of yours: the fact holds only its salted digest, and the value can be erased without touching the fact.
Times are microseconds since 1970-01-01 UTC, money is in millionths of a US dollar.
A field that has its default is left out of the body.
This page is made from the program by `python scripts/reference.py`.
"""


def facts_page() -> Iterator[str]:
    """The lines of docs/reference/facts.md."""
    yield FACTS_HEAD
    for kinds in KINDS:
        yield f"## {_title(kinds[0])}\n"
        for kind in kinds:
            yield from _fact(kind)


def _title(kind: type[FactData]) -> str:
    """What the module of a kind says that its facts are about."""
    said = (sys.modules[kind.__module__].__doc__ or "").splitlines()[0]
    about = re.split(r"[:,.]", said.removeprefix("Facts ").removeprefix("about "))[0]
    return about[:1].upper() + about[1:]


def _fact(kind: type[FactData]) -> Iterator[str]:
    yield f"### `{kind.__name__}`\n"
    yield f"{inspect.cleandoc(kind.__doc__ or '').replace('``', '`')}\n"
    said = comments_of(kind)
    for field in msgspec.structs.fields(kind):
        what = "payload" if field.name in kind.PAYLOADS else annotation(field.type)
        comment = f": {said[field.name]}" if field.name in said else ""
        yield f"- `{field.name}` ({what}{default(field)}){comment}"
    yield ""


def comments_of(kind: type[FactData]) -> dict[str, str]:
    """What the source says above each field, behind ``#:``."""
    said: dict[str, str] = {}
    comment = ""
    for line in inspect.getsource(kind).splitlines():
        if hit := re.match(r"    #: (.*)", line):
            comment = f"{comment} {hit[1]}".strip()
        elif hit := re.match(r"    (\w+): ", line):
            if comment:
                said[hit[1]] = comment.replace("``", "`")
            comment = ""
    return said


def payloads_table() -> Iterator[str]:
    """The lines of docs/reference/payloads.json: the payload fields of each kind, in order."""
    fields = {name: kind.PAYLOADS for name, kind in REGISTRY.kinds().items()}
    yield msgspec.json.format(msgspec.json.encode(fields, order="sorted"), indent=1).decode()


PAGES = {
    "facts.md": facts_page,
    "payloads.json": payloads_table,
    "operations.md": operations_page,
    "settings.md": settings_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or only say which ones are out of date; 1 when one is."""
    stale = 0
    for name, lines in PAGES.items():
        page = REFERENCE / name
        text = "\n".join(lines()).rstrip() + "\n"
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"docs/reference/{name} is out of date; run: python scripts/reference.py")
            stale = 1
        else:
            page.write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
