"""Finds raw clients, hidden inputs and unrecorded order in task code, without running it.

What it is not: a proof.  It follows calls to functions of the same file; what it cannot see, the
audit hook of `tildawn.guard.bypass` and the loop of the engine refuse at run time.
"""

import ast
from collections.abc import Iterator

import msgspec


_CALL = "go through the door: ctx.call with an http, shell or model step, or a @call function"
_STEP = "do local work in ctx.step, so that its result is on record"
_RACE = "use ctx.race, asyncio.gather, asyncio.TaskGroup or asyncio.timeout"
_NOW = "use ctx.now(), the time that is on record"
_SLEEP = "use ctx.sleep, which survives a restart"
_RANDOM = "use ctx.random() or ctx.uuid(), which a replay repeats"
_SORTED = "iterate over sorted(…): the order of a set differs from run to run"
_GLOBAL = "pass it as an argument or return it: a replay runs in another process"

MODULES = {
    "aiohttp": _CALL, "anthropic": _CALL, "boto3": _CALL, "ftplib": _CALL, "grpc": _CALL,
    "http.client": _CALL, "httpx": _CALL, "httpx2": _CALL, "openai": _CALL, "requests": _CALL,
    "smtplib": _CALL, "socket": _CALL, "subprocess": _CALL, "urllib.request": _CALL,
    "urllib3": _CALL, "websockets": _CALL, "sqlite3": _STEP, "concurrent.futures": _STEP,
    "multiprocessing": _STEP, "threading": _STEP, "random": _RANDOM, "secrets": _RANDOM,
}  # fmt: skip
"""Modules of which task code may use nothing, and what to do instead."""

NAMES = {
    "asyncio.wait": _RACE, "asyncio.wait_for": _RACE, "asyncio.shield": _RACE,
    "asyncio.as_completed": _RACE, "asyncio.to_thread": _STEP,
    "asyncio.run_coroutine_threadsafe": _STEP, "asyncio.open_connection": _CALL,
    "asyncio.open_unix_connection": _CALL, "asyncio.start_server": _CALL,
    "asyncio.create_subprocess_exec": _CALL, "asyncio.create_subprocess_shell": _CALL,
    "time.time": _NOW, "time.time_ns": _NOW, "time.monotonic": _NOW, "time.monotonic_ns": _NOW,
    "time.perf_counter": _NOW, "time.localtime": _NOW, "time.gmtime": _NOW, "time.sleep": _SLEEP,
    "datetime.datetime.now": _NOW, "datetime.datetime.utcnow": _NOW,
    "datetime.datetime.today": _NOW, "datetime.date.today": _NOW, "uuid.uuid1": _RANDOM,
    "uuid.uuid4": _RANDOM, "uuid.uuid7": _RANDOM, "os.urandom": _RANDOM, "os.getrandom": _RANDOM,
    "os.system": _CALL, "os.popen": _CALL, "os.fork": _CALL, "os.posix_spawn": _CALL,
    "os.execv": _CALL, "os.execve": _CALL, "os.execvp": _CALL, "os.spawnv": _CALL,
    "os.spawnl": _CALL, "pty.spawn": _CALL,
}  # fmt: skip
"""Single names that task code may not use."""

_ORDERED = frozenset({"sorted", "len", "min", "max", "sum", "any", "all", "set", "frozenset"})
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


class Finding(msgspec.Struct, frozen=True, order=True):
    """One place that a replay could not repeat, or that goes around the door."""

    line: int
    col: int
    message: str
    fix: str
    filename: str = ""

    def __str__(self) -> str:
        """One line that an editor can jump to."""
        return f"{self.filename}:{self.line}:{self.col}: {self.message}; {self.fix}"


def lint_source(source: str, filename: str = "<task>") -> list[Finding]:
    """Look at the tasks of a file, and at the functions of that file which they call.

    Args:
        source: the text of a module.
        filename: for the findings.

    Returns:
        What was found, by line; empty for a file without tasks.

    Raises:
        SyntaxError: the text is no Python.
    """
    tree = ast.parse(source, filename)
    names = _Names(tree)
    functions = {node.name: node for node in tree.body if isinstance(node, _FUNCTION)}
    found: set[Finding] = set()
    for function in _reached(names, functions):
        for line, col, message, fix in _Body(names, function).complaints():
            found.add(Finding(line, col, message, fix, filename))
    return sorted(found)


class _Names:
    """What the names of a module stand for, by its imports."""

    def __init__(self, tree: ast.AST) -> None:
        self._means: dict[str, str] = {}
        for node in ast.walk(tree):
            self.learn(node)

    def learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self._means[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                self._means[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def full(self, node: ast.expr) -> str | None:
        """The dotted name that an expression stands for, or None."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._means:
            return None
        return ".".join([self._means[node.id], *reversed(parts)])


def _reached(names: _Names, functions: dict[str, "_Def"]) -> list["_Def"]:
    """The tasks, and what they call in this file; functions behind the door are left out."""
    queue = [node for node in functions.values() if _marked(names, node, "task")]
    reached: dict[str, _Def] = {}
    while queue:
        node = queue.pop()
        if node.name in reached:
            continue
        reached[node.name] = node
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                called = functions.get(call.func.id)
                if called is not None and not _marked(names, called, "call"):
                    queue.append(called)
    return list(reached.values())


_Def = ast.FunctionDef | ast.AsyncFunctionDef


def _marked(names: _Names, node: _Def, mark: str) -> bool:
    for item in node.decorator_list:
        decorator = item.func if isinstance(item, ast.Call) else item
        full = names.full(decorator) or ast.unparse(decorator)
        if full == mark or (full.startswith("tildawn.") and full.endswith(f".{mark}")):
            return True
    return False


_Complaint = tuple[int, int, str, str]


class _Body:
    """The inside of one function."""

    def __init__(self, names: _Names, function: _Def) -> None:
        self._names = names
        self._function = function
        self._sets = _set_names(function)

    def complaints(self) -> Iterator[_Complaint]:
        for statement in self._function.body:
            yield from self._walk(statement)

    def _walk(self, node: ast.AST) -> Iterator[_Complaint]:
        yield from self._judged(node)
        if isinstance(node, ast.Attribute) and self._forbidden(node) is not None:
            return  # the whole dotted name was judged; its parts would say it again
        for child in ast.iter_child_nodes(node):
            yield from self._walk(child)

    def _judged(self, node: ast.AST) -> Iterator[_Complaint]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from self._import(node)
        elif isinstance(node, ast.Attribute | ast.Name):
            found = self._forbidden(node)
            if found is not None and isinstance(node.ctx, ast.Load):
                name, fix = found
                yield _at(node, f"task code uses {name}", fix)
        elif isinstance(node, ast.Global):
            yield _at(node, f"task code sets the global {', '.join(node.names)}", _GLOBAL)
        else:
            yield from self._order(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[_Complaint]:
        modules = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        for module in modules:
            fix = _of_module(module)
            if fix is not None:
                yield _at(node, f"task code imports {module}", fix)

    def _forbidden(self, node: ast.Attribute | ast.Name) -> tuple[str, str] | None:
        full = self._names.full(node)
        if full is None:
            return None
        if full in NAMES:
            return full, NAMES[full]
        fix = _of_module(full)
        return None if fix is None else (full, fix)

    def _order(self, node: ast.AST) -> Iterator[_Complaint]:
        """Whatever takes the members of a set one by one."""
        looped: list[ast.expr] = []
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            looped.append(node.iter)
        elif isinstance(node, ast.Starred):
            looped.append(node.value)
        elif isinstance(node, ast.Call) and not self._orders(node.func):
            looped += node.args[:1] if self._collects(node.func) else []
        for expression in looped:
            if self._is_set(expression):
                yield _at(expression, "the order of a set decides here", _SORTED)

    def _orders(self, function: ast.expr) -> bool:
        return isinstance(function, ast.Name) and function.id in _ORDERED

    def _collects(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute):
            return function.attr in {"join", "extend"}
        return isinstance(function, ast.Name) and function.id in {
            "list", "tuple", "iter", "enumerate", "zip", "map", "filter", "next",
        }  # fmt: skip

    def _is_set(self, node: ast.expr) -> bool:
        return _makes_set(node) or (isinstance(node, ast.Name) and node.id in self._sets)


def _at(node: ast.stmt | ast.expr, message: str, fix: str) -> _Complaint:
    return node.lineno, node.col_offset + 1, message, fix


def _of_module(full: str) -> str | None:
    parts = full.split(".")
    for size in range(len(parts), 0, -1):
        fix = MODULES.get(".".join(parts[:size]))
        if fix is not None:
            return fix
    return None


def _makes_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub):
        return _makes_set(node.left) or _makes_set(node.right)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    return node.func.id in {"set", "frozenset"}


def _set_names(function: _Def) -> frozenset[str]:
    """Local names that are only ever given sets."""
    given: dict[str, list[bool]] = {}
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign):
            targets, value = [node.target], node.value
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                given.setdefault(target.id, []).append(_makes_set(value))
    return frozenset(name for name, sets in given.items() if all(sets))
