"""Preflight: what would keep a night from working is said before it begins, with the fix.

What it is not: a promise.  What is there now may be gone at three o'clock; the engine deals with
that.  And it changes nothing: the one thing asked of the outside is the free list of models.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tildawn.apps.night.acceptance import task_at
from tildawn.apps.night.expansion import task_input
from tildawn.apps.night.pricing import MayAsk
from tildawn.clock import Clock
from tildawn.errors import BadTask, BadValue, Misused
from tildawn.facts.plan import Fixed, Item, Lane, ListOf, Role, Step
from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.port import Provider
from tildawn.runtime.outside.world import Models
from tildawn.runtime.plan import BUILTIN, Compiled, compile_rows
from tildawn.runtime.space import space_of
from tildawn.units import SECOND, Micros


PATIENCE = Micros(10 * SECOND)
"""For the list of models; a provider that needs longer for it is not fit for a night."""

OWN_WORDS = frozenset(
    {"applied", "not-applied", "give-up", "resume", "restart", "cancel", "abandon", "fail"}
)
"""Answers that mean something to the engine, so that no question of a plan may offer them."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that keeps a night from working; ``fixes`` are what to type or do, best first."""

    code: str
    message: str
    fixes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The message, and each fix on a line of its own."""
        return "\n".join([self.message, *(f"  - {fix}" for fix in self.fixes)])


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the night is to work."""

    #: The house, whose disk has to have room.
    house: Path
    env: Mapping[str, str]
    clock: Clock
    provider: Provider | None = None
    models: Models = Models()
    #: Whether a step may ask that model although nobody watches the bill; None asks nobody.
    priced: MayAsk | None = None
    #: The variable that holds the provider's key.
    key_variable: str = ""
    at_window: bool = False


async def preflight(compiled: Compiled, around: Surroundings) -> tuple[Finding, ...]:
    """Look for everything that would keep a plan from working here and now.

    Args:
        compiled: a checked plan.
        around: where it is to work.

    Returns:
        What was found; nothing when the night may begin.

    Raises:
        Nothing.
    """
    found = [
        *_reserved(compiled),
        *_questions(compiled),
        *_variables(compiled, around.env),
        *_programs(compiled),
        *_tasks(compiled),
        *_hours(compiled, around),
        *_space(around.house),
        *_prices(compiled, around),
    ]
    if asks_models(compiled):
        found += await _models(compiled, around)
    return tuple(found)


def refuse(findings: tuple[Finding, ...]) -> None:
    """Raise what was found, if anything.

    Raises:
        Misused: with the field ``findings``; its exit code is 2.
    """
    if findings:
        message = "\n".join(str(one) for one in findings)
        hint = findings[0].fixes[0] if findings[0].fixes else None
        raise Misused(message, hint=hint, findings=findings)


def asks_models(compiled: Compiled) -> bool:
    """Whether a plan needs a provider of models.

    Raises:
        Nothing.
    """
    return any(BUILTIN.kinds[step.kind].model for _, step in _steps(compiled))


def _steps(compiled: Compiled) -> Iterator[tuple[Item, Step]]:
    for item in compiled.plan.items:
        for step in item.steps:
            yield item, step


# -- the plan -----------------------------------------------------------------------------------


def _reserved(compiled: Compiled) -> Iterator[Finding]:
    """Keys that a plan made elsewhere may hold and that nothing acts on yet."""
    for item in compiled.plan.items:
        used = {
            "when": item.when is not None, "must": item.must, "trial": item.trial,
            "lane": item.lane is not Lane.OWNER,
            "approve": any(step.approve for step in item.steps),
        }  # fmt: skip
        for name in sorted(name for name, there in used.items() if there):
            yield Finding(
                code="not-supported",
                message=f"{item.id}: {name} is reserved, and this version does not act on it yet",
                fixes=(f"take {name} out of the plan",),
            )


def _questions(compiled: Compiled) -> Iterator[Finding]:
    for item in compiled.plan.items:
        for check in item.evidence:
            given = check.fields.get("choices")
            items = given.items if isinstance(given, ListOf) else ()
            for one in items:
                if isinstance(one, Fixed) and one.value in OWN_WORDS:
                    yield Finding(
                        code="bad-choice",
                        message=f"{item.id}: the answer {one.value!r} has a meaning of its own",
                        fixes=("offer another word in choices",),
                    )


def _variables(compiled: Compiled, env: Mapping[str, str]) -> Iterator[Finding]:
    said: set[str] = set()
    for use in compiled.secrets:
        if not env.get(use.name) and use.name not in said:
            said.add(use.name)
            where = f"{compiled.file}:{use.mark.line}:{use.mark.column}"
            yield Finding(
                code="missing-variable",
                message=f"{where}: the variable {use.name} is not set",
                fixes=(f"export {use.name}=…",),
            )


def _programs(compiled: Compiled) -> Iterator[Finding]:
    said: set[str] = set()
    for item, step in _steps(compiled):
        argv = step.fields.get("argv")
        first = argv.items[0] if isinstance(argv, ListOf) and argv.items else None
        name = first.value if isinstance(first, Fixed) else None
        if step.kind == "shell" and isinstance(name, str) and name not in said:
            said.add(name)
            if not _found(name, compiled.folder):
                yield Finding(
                    code="missing-program",
                    message=f"{item.id}.{step.name}: there is no program {name!r}",
                    fixes=(f"install {name}, or write its whole path",),
                )


def _found(name: str, folder: str) -> bool:
    if "/" in name:
        return os.access(Path(folder, name), os.X_OK)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return shutil.which(name, path=path) is not None


def _tasks(compiled: Compiled) -> Iterator[Finding]:
    """Tasks are imported, and what each row gives them is tried."""
    for item in compiled.plan.items:
        if item.task is None:
            continue
        name = f"{item.task.module}:{item.task.function}"
        try:
            task = task_at(compiled.folder, item.task)
            for chunk in compile_rows(compiled.plan, _rows_of(compiled, item.id), item.id):
                for row in chunk:
                    task.arguments.decode(task_input(item, row))
        except (BadTask, BadValue, msgspec.DecodeError) as error:
            fix = getattr(error, "hint", None) or f"correct input: of {item.id}"
            yield Finding(code="bad-task", message=f"{item.id}: {name}: {error}", fixes=(fix,))


def _rows_of(compiled: Compiled, item: str) -> bytes | None:
    return next(
        (
            copy.body for copy in compiled.copies
            if copy.source.role is Role.ROWS and copy.source.item == item
        ), None,
    )  # fmt: skip


def _hours(compiled: Compiled, around: Surroundings) -> Iterator[Finding]:
    if around.at_window and compiled.plan.night.window is None:
        yield Finding(
            code="no-window",
            message=f"{compiled.file}: --at window, and the plan names no window",
            fixes=(
                'night: { window: "23:00-06:30", zone: "Europe/Berlin" }',
                "begin now, without --at window",
            ),
        )


def _space(house: Path) -> Iterator[Finding]:
    space = space_of(house)
    if space.low:
        yield Finding(
            code="no-space",
            message=f"{house} has {space.free_bytes // 1_000_000} MB free; a night needs 100 MB",
            fixes=("make room on that disk",),
        )


def _prices(compiled: Compiled, around: Surroundings) -> Iterator[Finding]:
    """Models whose calls the door would refuse, the accepted ones like the one that is asked."""
    defaults = {"chat": around.models.chat, "image": around.models.image}
    if around.priced is None:
        return
    for item, step in _steps(compiled):
        asked = (step.model or defaults.get(step.kind, ""), *step.accepts)
        for model in asked if BUILTIN.kinds[step.kind].model else ():
            if model and not around.priced(step, model):
                yield Finding(
                    code="unknown-price",
                    message=f"{item.id}.{step.name}: nobody knows the price of {model}",
                    fixes=("max_cost: … at the step", "the price of that model in prices.toml"),
                )


# -- the provider -------------------------------------------------------------------------------


async def _models(compiled: Compiled, around: Surroundings) -> list[Finding]:
    if around.provider is None:
        return [_no_provider(compiled)]
    unnamed = _unnamed(compiled, around)
    if unnamed:
        return unnamed
    listing = asyncio.ensure_future(around.provider.models(idempotency_key="preflight"))
    alarm = asyncio.ensure_future(around.clock.sleep(PATIENCE))
    try:
        await asyncio.wait({listing, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not listing.done():
            return [_unreachable(around, f"no answer within {PATIENCE // SECOND} s")]
        listing.result()
    except Fault as fault:
        return [_faulty(around, fault)]
    finally:
        for waiting in (listing, alarm):
            waiting.cancel()
        await asyncio.gather(listing, alarm, return_exceptions=True)
    return []


def _no_provider(compiled: Compiled) -> Finding:
    names = [f"{item.id}.{step.name}" for item, step in _steps(compiled)
             if BUILTIN.kinds[step.kind].model]  # fmt: skip
    more = f" and {len(names) - 1} more steps ask" if len(names) > 1 else " asks"
    return Finding(
        code="no-provider",
        message=f"{names[0]}{more} a model, and there is no provider of models",
        fixes=(
            'a key: export OPENAI_API_KEY=… and provider.name = "openai" in tildawn.toml',
            'a local model: provider.name = "ollama", or a provider.base_url of your own',
            f"no model at all: tildawn night {compiled.file} --simulate",
        ),
    )  # fmt: skip


def _unnamed(compiled: Compiled, around: Surroundings) -> list[Finding]:
    defaults = {"chat": around.models.chat, "image": around.models.image}
    return [
        Finding(
            code="no-model",
            message=f"{item.id}.{step.name} names no model, and the settings name none either",
            fixes=(f'provider.{step.kind}_model = "…" in tildawn.toml', "model: … at the step"),
        )
        for item, step in _steps(compiled)
        if step.kind in defaults and not (step.model or defaults[step.kind])
    ][:1]  # fmt: skip


def _faulty(around: Surroundings, fault: Fault) -> Finding:
    name = around.provider.name if around.provider is not None else ""
    variable = around.key_variable or "its key"
    if fault.kind is not FaultKind.AUTH:
        return _unreachable(around, fault.detail)
    missing = bool(around.key_variable) and not around.env.get(around.key_variable)
    what = "has no key" if missing else "does not take the key"
    return Finding(
        code="missing-key" if missing else "wrong-key",
        message=f"the provider {name} {what}: {fault.detail}",
        fixes=(f"export {variable}=…", "a provider without a key, such as ollama", "--simulate"),
    )


def _unreachable(around: Surroundings, why: str) -> Finding:
    name = around.provider.name if around.provider is not None else ""
    return Finding(
        code="unreachable-provider",
        message=f"the provider {name} cannot be reached: {why}",
        fixes=(
            "look at provider.base_url (tildawn config --explain) and at the network",
            "another provider",
            "--simulate",
        ),
    )
