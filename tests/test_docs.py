"""What the documentation says is so: errors, commands, links, decisions.

What it is not: a test of prose.  Sphinx checks its own cross-references in `make docs`.
"""

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tildawn import errors
from tildawn.engine import ending
from tildawn.errors import TildawnError
from tildawn.guard.request import CHOICES
from tildawn.projections.run import MOVES
from tildawn.runtime.plan import compile_body, compile_plan
from tildawn.runtime.wiring import REGISTRY


ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]

EXAMPLES = sorted((ROOT / "examples").glob("*/plan.yaml"))

#: Sections of a decision, each beginning its paragraph in bold.
DECISION_PARTS = ("Situation.", "Choice.", "Reasons.", "Price.", "Think again")


def test_every_error_code_has_an_entry() -> None:
    """The code is the anchor: whoever reads it in a log finds the page that explains it."""
    page = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^### `([a-z-]+)`$", page, re.MULTILINE))
    codes = {
        kind.code
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, TildawnError)
    }

    missing, gone = sorted(codes - documented), sorted(documented - codes)
    assert [] == missing, f"docs/reference/errors.md needs a section '### `code`' for {missing}"
    assert [] == gone, f"docs/reference/errors.md describes codes that are gone: {gone}"


def test_the_codes_of_errors_are_distinct() -> None:
    """A code that two errors share is the anchor of neither."""
    codes = [
        kind.code
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, TildawnError)
    ]

    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_relative_links_resolve(page: Path) -> None:
    """A link that leads nowhere costs the reader's trust in the next one."""
    broken = [
        f"{page.relative_to(ROOT)}:{line}: {target}"
        for line, target in links(page)
        if not resolves(page, target)
    ]

    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_make_targets_named_in_prose_exist(page: Path) -> None:
    """A reader types what the page says."""
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        word
        for command in commands(page, "make")
        for word in command.split()[1:]
        if re.fullmatch(r"[a-z]+", word)
    }

    assert set() == named - targets


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_named_in_prose_exist(page: Path) -> None:
    """A map with a street that is gone sends the reader round in circles."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|docs|scripts|\.ci)/[\w./-]+)`", text)
    gone = [name for name in named if not (ROOT / name).exists()]

    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_named_in_prose_exist(page: Path) -> None:
    """A reader types what the page says, options too."""
    missing = [line for line in commands(page, "tildawn") if not is_command(line)]

    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_plans_shown_in_prose_are_accepted(page: Path) -> None:
    """A reader copies the plan before reading the text around it."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```yaml\n(version:.*?)^```$", text, re.MULTILINE | re.DOTALL):
        compile_body(block.encode(), file=page.name, folder=ROOT / "examples/valentine")


@pytest.mark.parametrize("plan", EXAMPLES, ids=lambda plan: plan.parent.name)
def test_plans_shipped_as_examples_are_accepted(plan: Path) -> None:
    """An example that is not run rots."""
    assert compile_plan(plan).plan.items


def test_commands_named_in_the_sources_exist() -> None:
    """The hint of an error is what a sleepy person types next."""
    named = {
        (hit[1], path.relative_to(ROOT).as_posix())
        for path in sorted((ROOT / "src").rglob("*"))
        if path.suffix in {".py", ".html", ".md", ".jinja", ".j2"}
        for hit in re.finditer(r"[`\"'>]tildawn ([a-z][a-z-]+)", path.read_text(encoding="utf-8"))
    }
    missing = [f"{path}: tildawn {word}" for word, path in named if not is_command(f"t {word}")]

    assert not missing, "\n" + "\n".join(sorted(missing))


def test_a_command_that_does_not_exist_is_noticed() -> None:
    """A check that cannot fail proves nothing."""
    assert not is_command("tildawn dance")
    assert not is_command("tildawn verify --with-a-smile")


def test_pages_made_from_tables_are_up_to_date() -> None:
    """What is declared once as data is described on a page that cannot drift from it."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/reference.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


def test_every_operation_is_documented() -> None:
    """Whoever may ask for something finds what it does and what it needs."""
    needs("tildawn.faces.catalog")
    declared = {entry.name for entry in importlib.import_module("tildawn.faces.catalog").OPERATIONS}
    page = (ROOT / "docs/reference/operations.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^## `([\w.-]+)`$", page, re.MULTILINE))

    assert declared == described


def test_every_kind_of_fact_is_documented() -> None:
    """Whoever reads a ledger in ten years finds what its entries say."""
    page = (ROOT / "docs/reference/facts.md").read_text(encoding="utf-8")
    described = re.findall(r"^### `(\w+)`$", page, re.MULTILINE)

    assert sorted(REGISTRY.kinds()) == sorted(described)


def test_the_legal_moves_of_a_run_are_those_of_the_table() -> None:
    """Whoever wonders why a run may not go on looks there."""
    page = (ROOT / "docs/reference/run-states.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+` ?)+)\|$", page, re.MULTILINE)
    said = {(was, becomes) for was, others in rows for becomes in re.findall(r"`(\w+)`", others)}

    assert said == MOVES


def test_every_reason_and_answer_of_a_held_run_is_explained() -> None:
    """Somebody who is asked in the morning finds what the words mean."""
    page = (ROOT / "docs/reference/run-states.md").read_text(encoding="utf-8")
    offered = {
        choice
        for name, choices in vars(ending).items()
        if name.endswith("_CHOICES")
        for choice in choices
    } | set(CHOICES)
    explained = set(
        re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| `.*$", page, re.MULTILINE)))
    )

    assert set() == offered - explained


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_modules_shown_in_prose_can_be_imported(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name that moved breaks for the reader alone, unless it breaks here."""
    text = page.read_text(encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ):
        if "from tildawn import" not in block:
            continue
        name = f"shown_{re.sub('[^a-z]', '_', page.stem)}_{number}"
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
        importlib.invalidate_caches()
        importlib.import_module(name)


def test_the_test_shown_in_prose_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is shown as the way to test a task is itself a test, so it is run."""
    text = (ROOT / "docs/how-to/test-your-task.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "shown_test.py").write_text(shown[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    module = importlib.import_module("shown_test")

    module.test_what_was_written_before_a_crash_is_not_written_again(tmp_path / "project")


def test_decisions_are_numbered_without_gaps_and_complete() -> None:
    """A decision without its price is an advertisement."""
    pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    lacking = [
        f"{page.name}: no paragraph '**{part}'"
        for page in pages
        for part in DECISION_PARTS
        if f"\n**{part}" not in page.read_text(encoding="utf-8")
    ]

    assert list(range(1, len(pages) + 1)) == numbers
    assert not lacking


def test_the_changelog_keeps_a_place_for_what_is_coming() -> None:
    """Whoever changes behaviour needs to know where to say so."""
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# --- asking the program ---------------------------------------------------------------------


def needs(module: str) -> None:
    """Skip, by name, while a part of the tree is not built yet."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{module} is not built yet")


def is_command(line: str) -> bool:
    """Whether the program knows the words and options of a command line."""
    needs("tildawn.faces.cli.main")
    words = line.split()[1:]
    verbs: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        verbs.append(word)
    options = {word.split("=")[0] for word in words if word.startswith("--")} - {"--help"}
    said = help_of(tuple(verbs))
    return said is not None and all(option in said for option in options)


@cache
def help_of(verbs: tuple[str, ...]) -> str | None:
    """What `--help` says of a command, or None when there is no such command."""
    done = subprocess.run(
        [sys.executable, "-c", "from tildawn.faces.cli.main import main; main()", *verbs, "--help"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout if done.returncode == 0 else None


# --- reading pages ------------------------------------------------------------------------


def prose(page: Path) -> str:
    """The page with its code blocks blanked, so that line numbers stay."""
    text = page.read_text(encoding="utf-8")
    return re.sub(
        r"^```.*?^```$",
        lambda block: "\n" * block.group().count("\n"),
        text,
        flags=re.MULTILINE | re.DOTALL,
    )


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Each relative link of a page: line number and target."""
    text = prose(page)
    for hit in re.finditer(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        yield text.count("\n", 0, hit.start()) + 1, hit[1]


def resolves(page: Path, target: str) -> bool:
    """Whether a relative link leads to a file, and to a heading of it if it names one."""
    name, _, anchor = target.partition("#")
    file = page if not name else page.parent / name
    if not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in set(anchors(file))


def anchors(page: Path) -> Iterator[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    for title in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def commands(page: Path, program: str) -> Iterator[str]:
    """What a page tells the reader to type, from shell blocks and from code in a line."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:sh|bash|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.split()[:1] == [program]:
                yield line.split("#")[0]
    yield from re.findall(rf"(?<!`)`({program} [^`]+)`", prose(page))
