"""The public surface of the package: few names, sorted, light to import.

What it is not: a test of what the names do.
"""

import json
import subprocess
import sys

import pytest

import tildawn


NAMES_MAX = 15

#: Loaded by the first thing that needs them, never by ``import tildawn``.
HEAVY = [
    "apsw", "asyncio", "click", "cryptography", "httpx2", "importlib.metadata", "jinja2",
    "msgspec", "prometheus_client", "rich", "ruamel.yaml", "starlette", "structlog", "uvicorn",
]  # fmt: skip


def test_the_public_names_are_few_and_sorted() -> None:
    """A surface that fits on a page can be kept for years."""
    names = [name for name in tildawn.__all__ if not name.startswith("__")]

    assert sorted(names) == names
    assert len(names) <= NAMES_MAX


@pytest.mark.parametrize("name", tildawn.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    """A lazy name whose home has moved breaks for the user alone, unless it breaks here."""
    assert getattr(tildawn, name) is not None


def test_an_unknown_name_is_refused_as_python_does() -> None:
    """Tools ask modules for names they may not have, and expect AttributeError."""
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = tildawn.nothing_of_the_kind  # pyright: ignore[reportAttributeAccessIssue] the point


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`tildawn --help` answers in a tenth of a second, and `import tildawn` is part of it."""
    loaded = modules_after("import tildawn")

    assert [] == sorted(loaded.intersection(HEAVY))


def test_the_probe_sees_a_heavy_import() -> None:
    """A check that cannot fail proves nothing."""
    assert {"click", "rich"} <= modules_after("import tildawn, click, rich")


def modules_after(code: str) -> set[str]:
    """The names of the modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=30
    )
    return set(json.loads(done.stdout))
