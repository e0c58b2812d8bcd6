"""Tasks and steps as they are declared: names, types, policies.

What it is not: running them.  Names are explicit and stable, because the ledger keeps them.
"""

import ast
import hashlib
import inspect
import re
import textwrap
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_type_hints, overload

import msgspec

from tildawn.engine.value import UNDECLARED, Codec, encode
from tildawn.errors import BadTask, BadValue, UnknownName
from tildawn.units import SECOND, Micros


P = ParamSpec("P")
R = TypeVar("R")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,99}")
"""Names of tasks, steps, calls, events and artifacts."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and when a failed run is tried again.

    After ``attempts`` failed attempts the run is held for its owner.  The waits double from
    ``first`` to at most ``longest``.

    A night has no use for a fourth: what failed three times needs a person.
    """

    attempts: int = 3
    first: Micros = Micros(2 * SECOND)
    longest: Micros = Micros(600 * SECOND)

    def wait(self, failures: int) -> Micros:
        """How long to wait after so many failed attempts, >= 1."""
        return Micros(min(self.first * 2 ** (failures - 1), self.longest))


class TaskDef(Generic[P, R]):
    """A durable task: what ``@task`` makes of an async function."""

    def __init__(
        self,
        function: Callable[..., Awaitable[R]],
        *,
        name: str,
        retry: Retry,
        queue: str,
        limit_key: Callable[..., str] | None,
    ) -> None:
        """Check the declaration; see `task`."""
        self.function = function
        self.name = check_name(name, "task")
        self.retry = retry
        self.queue = queue
        self.limit_key = limit_key
        self.__name__ = getattr(function, "__name__", name)
        self.__doc__ = function.__doc__
        parameters, returns = declared_types(function, skip=1, what=f"task {name}")
        self.arguments = Arguments(parameters, what=f"task {name}")
        self.result = Codec(returns, where=f"the result of task {name}")
        self.fingerprint = fingerprint(function)

    def __repr__(self) -> str:
        """The task by its name."""
        return f"<task {self.name}>"

    def start(self, context: object, values: "dict[str, Any]") -> Awaitable[R]:
        """Call the function."""
        return self.function(context, **values)


@overload
def task(
    function: Callable[Concatenate[Any, P], Awaitable[R]],
) -> TaskDef[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    queue: str = "default",
    limit_key: Callable[..., str] | None = None,
) -> Callable[[Callable[Concatenate[Any, P], Awaitable[R]]], TaskDef[P, R]]: ...


def task(
    function: Callable[..., Awaitable[Any]] | None = None,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    queue: str = "default",
    limit_key: Callable[..., str] | None = None,
) -> Any:
    """Declare a durable task.

    Args:
        function: ``async def f(ctx: Context, …)``; its arguments and result are recorded as JSON
            of their declared types.
        name: stable name in the ledger; the function's name when absent.
        retry: what follows a failed attempt; three attempts when absent.
        queue: the queue its runs wait in.
        limit_key: from the arguments to a key; runs with one key run one at a time.

    Returns:
        The declared task, or a decorator.

    Raises:
        BadTask: the function is not async, takes no context, or has a type that cannot be
            recorded.
    """

    def declare(body: Callable[..., Awaitable[Any]]) -> TaskDef[..., Any]:
        if not inspect.iscoroutinefunction(body):
            message = f"{body!r} is not an async function"
            raise BadTask(message, hint="declare it with async def")
        return TaskDef(
            body,
            name=name or body.__name__,
            retry=retry or Retry(),
            queue=queue,
            limit_key=limit_key,
        )

    return declare if function is None else declare(function)


class StepDef:
    """Recorded local work: a plain function with a name and types."""

    __slots__ = ("arguments", "function", "is_async", "name", "result")

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        """Take a function defined by ``def`` or ``async def``.

        Raises:
            BadTask: it is a lambda or has a type that cannot be recorded.
        """
        name = name or getattr(function, "__name__", "")
        if name == "<lambda>" or not name:
            message = "a lambda cannot be a step: it has no stable name"
            raise BadTask(message, hint="define a function, or name it: step(f, name='…')")
        self.function = function
        self.name = check_name(name, "step")
        parameters, returns = declared_types(function, skip=0, what=f"step {name}")
        self.arguments = Arguments(parameters, what=f"step {name}")
        self.result = Codec(returns, where=f"the result of step {name}")
        self.is_async = inspect.iscoroutinefunction(function)


@lru_cache(maxsize=1_024)
def step_of(function: Callable[..., Any]) -> StepDef:
    """The step that a function is; reading its types is dear, so the last ones are remembered.

    Raises:
        BadTask: it cannot be a step.
    """
    return StepDef(function)


class Arguments:
    """The arguments of a function as one JSON object, by name."""

    def __init__(self, parameters: "dict[str, inspect.Parameter] | None", *, what: str) -> None:
        """Make codecs for the parameters; None for a function whose signature is hidden."""
        self._what = what
        self._signature: inspect.Signature | None = None
        #: Names of the parameters where each may be given by position, else None.
        self._plain: tuple[str, ...] | None = None
        self._least = 0
        self._codecs: dict[str, Codec] = {}
        if parameters is None:
            return
        self._signature = inspect.Signature(list(parameters.values()))
        if all(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters.values()):
            self._plain = tuple(parameters)
            self._least = sum(one.default is one.empty for one in parameters.values())
        for name, parameter in parameters.items():
            declared = parameter.annotation
            annotation = UNDECLARED if declared is inspect.Parameter.empty else declared
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                annotation = UNDECLARED
            self._codecs[name] = Codec(annotation, where=f"argument {name} of {what}")

    def encode(self, args: tuple[object, ...], kwargs: "dict[str, Any]") -> bytes:
        """The arguments as a JSON object.

        Raises:
            BadValue: they do not fit the signature or have no JSON form.
        """
        if self._signature is None:
            return encode([args, kwargs], where=f"an argument of {self._what}")
        if not kwargs and self._plain is not None and self._least <= len(args) <= len(self._plain):
            # What `bind` would give, at a tenth of its cost; steps are asked for in great number.
            named = dict(zip(self._plain, args, strict=False))
            return encode(named, where=f"an argument of {self._what}")
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            message = f"{self._what}: {error}"
            raise BadValue(message) from None
        return encode(bound.arguments, where=f"an argument of {self._what}")

    def decode(self, text: bytes) -> "dict[str, Any]":
        """Arguments by name, each of its declared type.

        Raises:
            BadValue: the JSON does not fit the declaration.
        """
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        found: dict[str, Any] = {}
        for name, value in raw.items():
            if name not in self._codecs:
                message = f"{self._what} has no argument {name}"
                raise BadValue(message)
            found[name] = self._codecs[name].decode(value)
        return found


class Tasks:
    """The tasks that an engine knows, by name."""

    def __init__(self, tasks: Iterable[TaskDef[..., Any]] = ()) -> None:
        """Collect tasks; see `add`."""
        self._tasks: dict[str, TaskDef[..., Any]] = {}
        for declared in tasks:
            self.add(declared)

    def add(self, declared: TaskDef[..., Any]) -> None:
        """Make a task known.

        Raises:
            BadTask: another task has its name.
        """
        if self._tasks.setdefault(declared.name, declared) is not declared:
            message = f"two tasks are called {declared.name}"
            raise BadTask(message, hint="give one of them another name=")

    def get(self, name: str) -> TaskDef[..., Any] | None:
        """The task of that name, or None."""
        return self._tasks.get(name)

    def named(self, name: str) -> TaskDef[..., Any]:
        """The task of that name.

        Raises:
            UnknownName: no task has it.
        """
        declared = self._tasks.get(name)
        if declared is None:
            message = f"no task is called {name}"
            raise UnknownName(
                message, hint=f"known are: {', '.join(sorted(self._tasks)) or 'none'}"
            )
        return declared


def check_name(name: str, what: str) -> str:
    """The name, if it may stand in the ledger.

    Raises:
        BadTask: it is empty, longer than 100 characters, or has other characters than letters,
            digits, ``_``, ``.`` and ``-``.
    """
    if not NAME.fullmatch(name):
        message = f"{name!r} is no name for a {what}"
        raise BadTask(message, hint="use letters, digits, _ . - and begin with a letter or _")
    return name


def fingerprint(function: Callable[..., Any]) -> str:
    """A digest of a function's code without comments and layout; it explains, never decides.

    Returns:
        16 hexadecimal digits, or an empty text where the source is not to be had.

    Raises:
        Nothing.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ""
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def declared_types(
    function: Callable[..., Any], *, skip: int, what: str
) -> "tuple[dict[str, inspect.Parameter] | None, object]":
    """The parameters of a function behind the first ``skip``, and its return type.

    Returns:
        Parameters by name, None for a builtin that hides them; and the declared return type,
        `UNDECLARED` where there is none.

    Raises:
        BadTask: a type cannot be read, or there are fewer parameters than ``skip``.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None, UNDECLARED  # a builtin
    try:
        hints = get_type_hints(function)
    except (NameError, TypeError) as error:
        message = f"the types of {what} cannot be read: {error}"
        raise BadTask(message) from None
    parameters = list(signature.parameters.values())
    if len(parameters) < skip:
        message = f"{what} takes no context"
        raise BadTask(message, hint="its first parameter is ctx: Context")
    kept = {
        parameter.name: parameter.replace(
            annotation=hints.get(parameter.name, inspect.Parameter.empty)
        )
        for parameter in parameters[skip:]
    }
    returns = hints.get("return", UNDECLARED)
    if returns is type(None):
        returns = None
    return kept, cast("object", returns)
