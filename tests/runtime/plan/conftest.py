"""A plan in a folder of its own, and what the compiler says about it."""

from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest

from tildawn.errors import BadPlan
from tildawn.facts.plan import Plan
from tildawn.runtime.plan import problems_of, read_plan


PRODUCTS = "sku,title\nA-1,Candle\nB-2,Mug\n"

Write = Callable[..., Path]
Said = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``products.csv``, so that messages name short paths."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "products.csv").write_text(PRODUCTS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def compiled(folder: Path) -> Callable[[str], Plan]:
    """Compiles a plan given as text."""

    def compile_text(text: str) -> Plan:
        (folder / "plan.yaml").write_bytes(text.encode())
        return read_plan("plan.yaml")

    return compile_text


@pytest.fixture
def said(folder: Path) -> Said:
    """What is said about a plan given as text: each problem a line; nothing when it is good."""

    def check(text: str) -> list[str]:
        (folder / "plan.yaml").write_bytes(text.encode())
        try:
            read_plan("plan.yaml")
        except BadPlan as error:
            return [str(problem) for problem in problems_of(error)]
        return []

    return check


@pytest.fixture
def steps() -> Callable[[str], str]:
    """A plan with one item over ``products.csv`` whose steps begin in line 7, column 7."""

    def plan(body: str) -> str:
        head = (
            'version: 1\nwork:\n  - id: a\n    for_each: products.csv\n    key: "{{ item.sku }}"\n'
        )
        return f"{head}    steps:\n{indent(body, '      ')}\n"

    return plan
