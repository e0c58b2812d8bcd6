"""The style of the tree as tests: sizes, names, docstrings, words, markers.

What it is not: a linter's list. What ruff, the type checker or import-linter can say is said
in pyproject.toml; here is only what they cannot.
"""

import ast
import importlib
import pkgutil
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import tildawn.facts
import tildawn.projections
from tildawn.facts.fact import FactData
from tildawn.ledger.fold import Projection


ROOT = Path(__file__).parents[1]

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

TOP_FOLDERS = {".ci", "benchmarks", "docs", "examples", "scripts", "src", "tests"}
TOP_FILES = {
    ".gitignore", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile",
    "README.md", "SECURITY.md", "STYLE.md", "pyproject.toml",
}  # fmt: skip
#: What tools and runs leave behind; the same names are in .gitignore.
LEFT_BEHIND = {
    ".git", ".venv", ".venv-bench", "build", "dist", ".tildawn", ".hypothesis", ".pytest_cache", ".ruff_cache",
    ".import_linter_cache", ".mypy_cache", "__pycache__", "_build", ".coverage", ".DS_Store",
}  # fmt: skip

#: Not the name of a thing; say which thing.
EMPTY_NAMES = {
    "base", "common", "core", "data", "helper", "helpers", "info", "lib", "manager", "managers",
    "misc", "shared", "stuff", "tools", "types", "util", "utils",
}  # fmt: skip

#: Word (a pattern, any case) -> what to write instead. One letter of each stands in brackets,
#: so that this file passes its own rules.
BANNED_WORDS = {
    r"black[l]ist": "denylist",
    r"white[l]ist": "allowlist",
    r"sanity[ -]chec[k]": "check",
    r"exactly[ -]onc[e]": "once per key, or once on record: say where",
    r"(?-i:DESIG[N])\b|missio[n] \d|codebases\.m[d]": "the reason itself, or a page of docs/",
    r"obviousl[y]": "nothing: leave the word out",
    r"\w+_(m?secs?|milli[s])\b": "a unit as a type and a suffix: _ms: Ms, _micros: Micros",
}
#: Only these may say the phrase, because they say where.
MAY_SAY_ONCE = {
    "README.md",
    "docs/explanation/promises.md",
    "docs/explanation/what-once-can-mean.md",
}

MARKERS = r"\b(TOD[O]|FIXM[E]|XX[X])\b"

#: Folders of people and of build machines, and where packages come from.
WORKPLACES = (
    r"(?<![\w.~/-])/(home|Users|root|work|workspace|builds)/\w"
    r"|[p]ypi\.org|[p]ythonhosted\.org|registry\.[n]pmjs|proxy\.[g]olang|deb\.[d]ebian"
)

TEXT_SUFFIXES = {
    "", ".cfg", ".css", ".csv", ".html", ".j2", ".jinja", ".js", ".json", ".md", ".py", ".sh",
    ".sql", ".svg", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip


class Source(NamedTuple):
    """A file: its path from the root with forward slashes, and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """The parsed module."""
        return ast.parse(self.text, filename=self.path)


class Complaint(NamedTuple):
    """What is wrong where, and what to do instead."""

    path: str
    line: int
    what: str
    instead: str

    def __str__(self) -> str:
        """One line that an editor can jump to."""
        return f"{self.path}:{self.line}: {self.what}; instead: {self.instead}"


Rule = Callable[[Source], Iterator[Complaint]]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


# --- rules ------------------------------------------------------------------------------


def module_is_short(source: Source) -> Iterator[Complaint]:
    """A module has at most 500 lines (STYLE, Modules)."""
    lines = source.text.count("\n")
    if lines > MODULE_LINES_MAX:
        yield Complaint(
            source.path, lines, f"{lines} lines", f"split it; at most {MODULE_LINES_MAX}"
        )


def functions_are_short(source: Source) -> Iterator[Complaint]:
    """A function has at most 70 lines, its docstring included (STYLE, Functions)."""
    for node in ast.walk(source.tree):
        if isinstance(node, FUNCTIONS):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield Complaint(
                    source.path,
                    node.lineno,
                    f"{node.name}() has {lines} lines",
                    f"decide above, compute below; at most {FUNCTION_LINES_MAX}",
                )


def module_says_what_it_is(source: Source) -> Iterator[Complaint]:
    """The docstring says what a module is, then what it is not (STYLE, Modules)."""
    text = ast.get_docstring(source.tree)
    if not text:
        yield Complaint(source.path, 1, "no module docstring", "say what it is in one sentence")
    elif not source.path.endswith("__init__.py"):
        paragraphs = text.split("\n\n")
        if len(paragraphs) < 2 or not paragraphs[1].startswith("What it is not:"):
            yield Complaint(
                source.path,
                1,
                "the second paragraph of the docstring does not begin 'What it is not:'",
                "say in it what a reader would look for here in vain",
            )


def module_has_a_name(source: Source) -> Iterator[Complaint]:
    """Modules are nouns that say which thing (STYLE, Names)."""
    parts = [part.removesuffix(".py").strip("_") for part in source.path.split("/")]
    for part in parts:
        if part in EMPTY_NAMES:
            yield Complaint(
                source.path, 1, f"the name {part!r} says nothing", "the noun of what it holds"
            )


def public_functions_say_what_they_raise(source: Source) -> Iterator[Complaint]:
    """A public function has a docstring with Raises, "Nothing." if so (STYLE, Docstrings)."""
    for node in source.tree.body:
        if not isinstance(node, FUNCTIONS) or node.name.startswith("_"):
            continue
        if is_command(node) or is_overload(node):
            continue
        text = ast.get_docstring(node) or ""
        if not re.search(r"^Raises:$", text, re.MULTILINE):
            yield Complaint(
                source.path,
                node.lineno,
                f"{node.name}() does not say what it raises",
                "a section 'Raises:' in its docstring, with 'Nothing.' if so",
            )


def public_things_have_docstrings(source: Source) -> Iterator[Complaint]:
    """Public classes and their public methods have a docstring (STYLE, Docstrings)."""
    for node in source.tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        methods = [
            item
            for item in node.body
            if isinstance(item, FUNCTIONS)
            and not item.name.startswith("_")
            and not is_overload(item)
        ]
        for item in [node, *methods]:
            if not ast.get_docstring(item):
                yield Complaint(
                    source.path, item.lineno, f"{item.name} has no docstring", "one sentence"
                )


def words_are_ours(source: Source) -> Iterator[Complaint]:
    """Each banned word has a better one (docs/explanation/words.md)."""
    for word, instead in BANNED_WORDS.items():
        if "exactly" in word and source.path in MAY_SAY_ONCE:
            continue
        for line, found in lines_with(word, source, re.IGNORECASE):
            yield Complaint(source.path, line, f"the word {found!r}", instead)


def no_unfinished_business(source: Source) -> Iterator[Complaint]:
    """A known gap is a HOLE with its reason, never a note to oneself (STYLE, Comments)."""
    for line, found in lines_with(MARKERS, source):
        yield Complaint(source.path, line, f"the marker {found}", "do it, or '# HOLE: ' and why")


def no_workplace(source: Source) -> Iterator[Complaint]:
    """The tree knows neither a person's machine nor where packages came from."""
    for line, found in lines_with(WORKPLACES, source):
        yield Complaint(
            source.path, line, f"{found!r} belongs to one machine", "a relative path, or nothing"
        )


def silenced_checks_have_reasons(source: Source) -> Iterator[Complaint]:
    """A switched-off check names its code; each code says why, once a file (STYLE, Types)."""
    marker = re.compile(r"#\s*(noqa|type: ignore|pyright: ignore)(?P<rest>.*)$")
    codes = re.compile(r"(?:\[[\w, -]+\]|: ?[A-Z]+\d+(?:,? ?[A-Z]+\d+)*)")
    explained: set[str] = set()
    for number, line in enumerate(source.text.splitlines(), start=1):
        match = marker.search(line)
        if not match:
            continue
        code = codes.match(match["rest"])
        if code and re.match(r"\W+\w.{3,}", match["rest"][code.end() :]):
            explained.add(code.group())
        elif not code or code.group() not in explained:
            yield Complaint(
                source.path,
                number,
                f"'# {match[1]}' without a code, or its first one here without a reason",
                f"'# {match[1]}: CODE  why' (for the type checker: '[code]  why')",
            )


def sentences_name_tests(source: Source) -> Iterator[Complaint]:
    """A test's name is a sentence of the specification, its docstring the reason (STYLE, Tests)."""
    for node in ast.walk(source.tree):
        if not isinstance(node, FUNCTIONS) or not node.name.startswith("test_"):
            continue
        if len(node.name.split("_")) < 4:
            yield Complaint(
                source.path, node.lineno, f"{node.name} is no sentence", "test_a_fact_is_never_lost"
            )
        if not ast.get_docstring(node):
            yield Complaint(
                source.path,
                node.lineno,
                f"{node.name} has no docstring",
                "one sentence: why this must hold",
            )


# --- what the rules look at ---------------------------------------------------------------


def lines_with(pattern: str, source: Source, flags: int = 0) -> Iterator[tuple[int, str]]:
    """Each hit of a pattern as line number, from 1, and the text found."""
    for hit in re.finditer(pattern, source.text, flags):
        yield source.text.count("\n", 0, hit.start()) + 1, hit.group()


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The dotted names of a function's decorators."""
    for item in node.decorator_list:
        yield ast.unparse(item.func if isinstance(item, ast.Call) else item)


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the docstring is what `--help` shows: a user must not read of exceptions."""
    return any(name.endswith((".command", ".group")) for name in decorators(node))


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether another signature of the same function carries the docstring, or a setter's getter."""
    return any(name.endswith(("overload", ".setter", "override")) for name in decorators(node))


def files(*tops: str) -> list[Path]:
    """Every text file of ours below some top entries, sorted."""
    found: list[Path] = []
    for top in tops:
        start = ROOT / top
        below = start.rglob("*") if start.is_dir() else [start]
        found += [
            path
            for path in below
            if path.is_file()
            and path.suffix in TEXT_SUFFIXES
            and not LEFT_BEHIND.intersection(path.relative_to(ROOT).parts)
        ]
    return sorted(found)


def sources(*tops: str, suffix: str = "") -> list[Source]:
    """The same, read; files that are not UTF-8 on purpose (fixtures) are left out."""
    result: list[Source] = []
    for path in files(*tops):
        if path.name.endswith(suffix):
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                assert {"tests", "vectors"} & {*path.relative_to(ROOT).parts}, (
                    f"{path} is not UTF-8"
                )
                continue
            result.append(Source(path.relative_to(ROOT).as_posix(), text))
    return result


def judged(rule: Rule, source: Source) -> Iterator[Complaint]:
    """What a rule says; a module that does not parse is a complaint, too."""
    try:
        yield from rule(source)
    except SyntaxError as error:
        yield Complaint(source.path, error.lineno or 1, error.msg, "Python")


PACKAGE = ["src/tildawn"]
CODE = ["src", "tests", "benchmarks", "scripts"]
EVERYTHING = sorted(TOP_FOLDERS | TOP_FILES)

#: Rule, where it holds, which files, and a source that breaks it.
RULES: list[tuple[Rule, list[str], str, Source]] = [
    (module_is_short, CODE, ".py", Source("a.py", "x = 1\n" * 501)),
    (functions_are_short, CODE, ".py", Source("a.py", "def f():\n" + "    x = 1\n" * 70)),
    (module_says_what_it_is, PACKAGE, ".py", Source("a.py", '"""A thing.\n\nMore of it.\n"""\n')),
    (module_has_a_name, PACKAGE, ".py", Source("src/tildawn/utils.py", "")),
    (
        public_functions_say_what_they_raise,
        PACKAGE,
        ".py",
        Source("a.py", 'def f():\n    """Do."""\n'),
    ),
    (public_things_have_docstrings, PACKAGE, ".py", Source("a.py", "class A:\n    x = 1\n")),
    (words_are_ours, EVERYTHING, "", Source("a.md", "a white" + "list of hosts")),
    (no_unfinished_business, EVERYTHING, "", Source("a.py", "# TO" + "DO: later")),
    (no_workplace, EVERYTHING, "", Source("a.md", "see /ho" + "me/ann/notes")),
    (silenced_checks_have_reasons, CODE, ".py", Source("a.py", "x = y  # no" + "qa\n")),
    (sentences_name_tests, ["tests"], ".py", Source("a.py", "def test_it():\n    pass\n")),
]


# --- the tests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "tops", "suffix"), [pytest.param(*row[:3], id=row[0].__name__) for row in RULES]
)
def test_the_tree_keeps_the_rule(rule: Rule, tops: list[str], suffix: str) -> None:
    """A rule that is not a test is a wish."""
    complaints = [str(c) for source in sources(*tops, suffix=suffix) for c in judged(rule, source)]

    if complaints:
        pytest.fail("\n" + "\n".join(complaints), pytrace=False)


@pytest.mark.parametrize(
    ("rule", "bad"), [pytest.param(row[0], row[3], id=row[0].__name__) for row in RULES]
)
def test_the_rule_notices_a_planted_breach(rule: Rule, bad: Source) -> None:
    """A check that cannot fail proves nothing."""
    assert list(rule(bad))


def test_every_top_entry_has_its_place() -> None:
    """A reader meets no folder that ARCHITECTURE.md does not explain."""
    if not (ROOT / ".git").exists():
        pytest.skip("only a clone knows which files are the project's")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    entries = {line.split("/")[0] for line in listed.stdout.splitlines()}
    unknown = entries - TOP_FOLDERS - TOP_FILES

    assert set() == unknown, f"{sorted(unknown)}: place it in ARCHITECTURE.md and in TOP_* here"


def test_every_layer_is_drawn_in_the_architecture_page() -> None:
    """The page tells the folders in the order in which the contract stacks them."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "src/tildawn").glob("*/__init__.py")}
    missing = {name for name in folders if f"{name}/" not in page}

    assert set() == missing, f"ARCHITECTURE.md does not name {sorted(missing)}"


def test_every_fact_is_folded_or_says_why_not() -> None:
    """A fact that changes no table is either forgotten or kept for the record: say which."""
    kinds = {
        kind
        for module in modules_below(tildawn.facts)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, FactData) and kind is not FactData
    }
    folded = {
        kind
        for module in modules_below(tildawn.projections)
        for value in vars(module).values()
        if isinstance(value, Projection)
        for kind in value.folds
    }
    silent = sorted(
        f"{kind.__module__}.{kind.__name__}"
        for kind in kinds - folded
        if "Not projected:" not in (kind.__doc__ or "")
    )

    if silent:
        wanted = "neither a fold in tildawn.projections nor a docstring with 'Not projected: why'"
        pytest.fail(f"{wanted}:\n" + "\n".join(silent), pytrace=False)


def modules_below(package: ModuleType) -> Iterator[ModuleType]:
    """Every module of a package, imported."""
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        yield importlib.import_module(found.name)
