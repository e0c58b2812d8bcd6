"""Reads settings: runtime override over flag over environment over file over default.

What it is not: the list of settings; that is `tildawn.runtime.setting`.  No secret is a
setting: a setting names the variable that holds one.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import cast

import msgspec

from tildawn.errors import BadSetting
from tildawn.runtime.places import check_anchors
from tildawn.runtime.policies import check
from tildawn.runtime.setting import (
    SETTINGS,
    Kind,
    Setting,
    Settings,
    nearest,
    setting_called,
    shown,
    value_of,
)


__all__ = ["SETTINGS", "Config", "Explained", "Origin", "load", "settings_file"]

PREFIX = "TILDAWN_"


class Origin(StrEnum):
    """Where a value comes from, strongest first."""

    OVERRIDE = "override"
    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A value as it stands in some source; ``where`` names file and line, variable or flag."""

    name: str
    raw: object
    origin: Origin
    where: str


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One setting with its value, and why it has it."""

    name: str
    value: str
    origin: Origin
    where: str
    range: str
    help: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and an explanation of each."""

    settings: Settings
    explained: tuple[Explained, ...]


def load(
    folder: Path,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] | None = None,
    override: Mapping[str, str] | None = None,
) -> Config:
    """The settings that hold in a folder.

    Args:
        folder: where ``tildawn.toml`` or ``pyproject.toml`` is looked for; the house's parent.
        environ: the environment; ``TILDAWN_ENGINE_RESIDENT`` is ``engine.resident``.
        flags: by name, from a command line.
        override: by name, from the program that opens the house.

    Returns:
        Every setting once, named routes included.

    Raises:
        BadSetting: a name is unknown, or a value is not what its setting takes.
    """
    # Weakest first: what comes later replaces what came before.
    written: dict[str, Written] = {}
    for one in [
        *_from_file(folder),
        *_from_environment(environ),
        *_from_names(flags or {}, Origin.FLAG, "--set"),
        *_from_names(override or {}, Origin.OVERRIDE, "the program"),
    ]:
        written[one.name] = one
    values = {name: _checked(one) for name, one in written.items()}
    return Config(settings=_settings(values), explained=tuple(_explained(written, values)))


def settings_file(folder: Path) -> Path | None:
    """The file that holds the settings of a folder, or None.

    Raises:
        Nothing.
    """
    own, project = folder / "tildawn.toml", folder / "pyproject.toml"
    if own.is_file():
        return own
    return project if project.is_file() else None


# -- sources -------------------------------------------------------------------------------


def _from_file(folder: Path) -> Iterator[Written]:
    path = settings_file(folder)
    if path is None:
        return
    try:
        text = path.read_text(encoding="utf-8")
        document: dict[str, object] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise BadSetting(message, hint="make it readable, as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        if path.name == "pyproject.toml" and "tool.tildawn" not in path.read_text("utf-8"):
            return  # somebody else's file, and none of our business
        message = f"{path}: {error}"
        raise BadSetting(message, hint="correct the TOML") from error
    table = document
    prefix: tuple[str, ...] = ()
    if path.name == "pyproject.toml":
        prefix = ("tool", "tildawn")
        for key in prefix:
            inner = table.get(key, {})
            if not isinstance(inner, dict):
                return
            table = cast("dict[str, object]", inner)
    yield from _sections(table, _Places(path, text, prefix))


def _sections(table: "dict[str, object]", places: "_Places") -> Iterator[Written]:
    sections = {row.name.partition(".")[0] for row in SETTINGS}
    for section, content in table.items():
        if section not in sections:
            raise places.unknown((section,), sorted(sections))
        if not isinstance(content, dict):
            raise places.error((section,), f"{section} is a table: [{section}]")
        fields = cast("dict[str, object]", content)
        if any(row.name.startswith(f"{section}.NAME.") for row in SETTINGS):
            for chosen, inner in fields.items():
                if not isinstance(inner, dict):
                    example = f'{section} has tables: [{section}."{chosen}"]'
                    raise places.error((section, chosen), example)
                yield from _fields((section, chosen), cast("dict[str, object]", inner), places)
        else:
            yield from _fields((section,), fields, places)


def _fields(
    path: tuple[str, ...], fields: "dict[str, object]", places: "_Places"
) -> Iterator[Written]:
    for field, raw in fields.items():
        name = ".".join((*path, field))
        if setting_called(name) is None:
            raise places.unknown((*path, field), [])
        yield Written(name=name, raw=raw, origin=Origin.FILE, where=places.where((*path, field)))


def _from_environment(environ: Mapping[str, str]) -> Iterator[Written]:
    variables = {row.variable: row for row in SETTINGS if row.variable}
    sections = {row.name.partition(".")[0].upper() for row in SETTINGS}
    for variable, raw in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        row = variables.get(variable)
        if row is not None:
            yield Written(name=row.name, raw=raw, origin=Origin.ENVIRONMENT, where=variable)
        elif variable.removeprefix(PREFIX).partition("_")[0] in sections:
            near = nearest(variable.removeprefix(PREFIX).lower().replace("_", ".", 1))
            known = setting_called(near) if near else None
            what = f"{variable} in the environment"
            raise _unknown(what, known.variable if known else None)


def _from_names(values: Mapping[str, str], origin: Origin, where: str) -> Iterator[Written]:
    for name, raw in values.items():
        if setting_called(name) is None:
            what = f"{name} of {where}"
            raise _unknown(what, nearest(name))
        yield Written(name=name, raw=raw, origin=origin, where=where)


class _Places:
    """Where in the text of a file a setting stands; the parser of TOML does not tell."""

    def __init__(self, path: Path, text: str, prefix: tuple[str, ...]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._prefix = prefix

    def where(self, keys: tuple[str, ...]) -> str:
        line = self._line((*self._prefix, *keys))
        return f"{self._path}:{line}" if line else str(self._path)

    def error(self, keys: tuple[str, ...], what: str) -> BadSetting:
        return BadSetting(f"{self.where(keys)}: {what}", hint="tildawn config --explain")

    def unknown(self, keys: tuple[str, ...], known: list[str]) -> BadSetting:
        name = ".".join(keys)
        near = nearest(name)
        if known and near is not None:
            near = near.partition(".")[0]
        return _unknown(f"{self.where(keys)}: {name}", near)

    def _line(self, keys: tuple[str, ...]) -> int:
        """The line, from 1, where the longest dotted path below a header stands, or 0."""
        header: tuple[str, ...] = ()
        best = 0
        for number, line in enumerate(self._lines, start=1):
            found = re.match(r"\s*\[\s*(.+?)\s*\]\s*(?:#.*)?$", line)
            if found:
                header = _parts(found[1])
                if header == keys:
                    return number
                continue
            key = re.match(r"\s*([^=#]+?)\s*=", line)
            if not key:
                continue
            path = (*header, *_parts(key[1]))
            if path == keys:
                return number
            if path == keys[: len(path)]:
                best = number  # an inline table that holds it
        return best


def _parts(dotted: str) -> tuple[str, ...]:
    found = re.findall(r"\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+)", dotted)
    return tuple(next(part for part in one if part) for one in found if any(one))


def _unknown(what: str, near: str | None) -> BadSetting:
    message = f"{what} is no setting" + (f"; did you mean {near}?" if near else "")
    return BadSetting(message, hint="tildawn config --explain lists them all", nearest=near)


# -- values --------------------------------------------------------------------------------


def _row(name: str) -> Setting:
    row = setting_called(name)
    assert row is not None, f"{name} was looked up before"
    return row


def _checked(one: Written) -> object:
    return value_of(_row(one.name), one.raw, where=one.where)


def _settings(values: Mapping[str, object]) -> Settings:
    built: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        section, _, rest = name.partition(".")
        chosen, _, field = rest.rpartition(".")
        inner = built.setdefault(section, {})
        if chosen:
            cast("dict[str, object]", inner.setdefault(chosen, {}))[field] = value
        else:
            inner[field] = value
    settings = msgspec.convert(built, Settings)
    check(settings.route)
    check_anchors(settings.anchor)
    return settings


def _explained(written: Mapping[str, Written], values: Mapping[str, object]) -> Iterator[Explained]:
    for row in SETTINGS:
        own = [name for name in written if _row(name) is row]
        for name in own:
            one = written[name]
            yield _explanation(row, name, values[name], one.origin, one.where)
        if not own:
            yield _explanation(row, row.name, row.default, Origin.DEFAULT, "")


def _explanation(row: Setting, name: str, value: object, origin: Origin, where: str) -> Explained:
    kind: Kind = row.says.kind
    return Explained(
        name=name, value=shown(kind, value), origin=origin, where=where, range=row.range,
        help=row.help,
    )  # fmt: skip
