"""Writes the pages of docs/reference that describe tables of the program.

What it is not: prose.  A page is a heading, a sentence, and one section a row; whoever wants
to say more says it in the row's line of help.

Usage: python scripts/reference.py [--check]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tildawn.runtime.setting import SETTINGS, shown


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


PAGES = {"settings.md": settings_page}


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
