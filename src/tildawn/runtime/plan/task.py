"""Tasks named in a plan: looked for without running anything, and imported when they are needed.

What it is not: a check that the function is a durable task; who asks for it judges that.
"""

import ast
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from tildawn.errors import BadTask
from tildawn.facts.plan import TaskRef
from tildawn.guard.lint import lint_source
from tildawn.runtime.plan.problem import nearest, one_of


Tell = Callable[[str, str | None, str | None], None]
"""Takes what was found, what was expected, and the nearest name."""


def find_task(folder: Path, ref: TaskRef, tell: Tell) -> None:
    """Look whether module and function are there, without running any of their code.

    Args:
        folder: the plan's folder, looked at first.
        ref: the task.
        tell: is called with what is wrong, if anything.

    Raises:
        Nothing.
    """
    # A file may be younger than what Python remembers of its folder.
    importlib.invalidate_caches()
    spec = _spec(folder, ref.module)
    if spec is None:
        modules = sorted(path.stem for path in folder.glob("*.py"))
        expected = f"{ref.module.replace('.', '/')}.py in the plan's folder, or an installed module"
        tell(f"there is no module {ref.module!r}", expected, nearest(ref.module, modules))
        return
    origin = spec.origin
    if origin is None or not origin.endswith(".py"):
        return
    try:
        source = Path(origin).read_bytes()
        tree = ast.parse(source, filename=origin)
    except (SyntaxError, ValueError, OSError) as error:
        tell(f"the module {ref.module!r} cannot be read: {error}", "Python", None)
        return
    names = _names(tree)
    if names is not None and ref.function not in names:
        found = f"there is no {ref.function!r} in the module {ref.module!r}"
        tell(found, one_of(sorted(names)), nearest(ref.function, sorted(names)))
        return
    for one in lint_source(source.decode("utf-8", "replace"), Path(origin).name)[:FINDINGS_MAX]:
        tell(f"{one.filename}:{one.line}:{one.col}: {one.message}", one.fix, None)


FINDINGS_MAX = 5
"""Most findings of one module that are told: the first ones usually explain the others."""


def _spec(folder: Path, module: str) -> ModuleSpec | None:
    """The specification of a module, found as importing finds it but without importing."""
    where: list[str] | None = [str(folder), *sys.path]
    name, spec = "", None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, where)
        if spec is None:
            return None
        found = spec.submodule_search_locations
        where = list(found) if found is not None else []
    return spec


def _names(tree: ast.Module) -> set[str] | None:
    """The names a module defines at its top; None when only running it would tell."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
            case ast.Expr():
                continue
            case _:
                return None
    return None if "*" in names else names


def resolve_task(folder: Path | str, ref: TaskRef) -> object:
    """Import what a plan names, with the plan's folder in front of Python's path.

    The folder stays in front, for modules that the task imports only when it runs.

    Args:
        folder: the plan's folder, absolute.
        ref: the task.

    Returns:
        The object of that name in the module.

    Raises:
        BadTask: the module or the name is not there, the module raises while it is imported,
            or another module of that name was loaded before.
    """
    front = str(folder)
    if front not in sys.path[:1]:
        sys.path.insert(0, front)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(ref.module)
    # The outermost frame of a stranger's code: it may raise anything.
    except Exception as error:
        message = f"the module {ref.module!r} cannot be imported: {type(error).__name__}: {error}"
        raise BadTask(message) from error
    expected = _spec(Path(front), ref.module)
    loaded = getattr(module, "__file__", None)
    if expected is not None and expected.origin not in {loaded, "frozen"}:
        message = f"another module {ref.module!r} is loaded already, from {loaded}"
        raise BadTask(message, hint="give the module beside the plan another name")
    if not hasattr(module, ref.function):
        message = f"there is no {ref.function!r} in the module {ref.module!r}"
        raise BadTask(message)
    return getattr(module, ref.function)
