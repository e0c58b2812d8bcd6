"""What a plan would do: runs, steps, what it reaches for, and what it may cost at worst.

What it is not: a permit or a forecast.  The cost is an upper bound from the prices handed in; a
price that is not known is named and never guessed.
"""

from collections.abc import Callable

import msgspec

from tildawn.facts.plan import Item, MapOf, Plan, Step
from tildawn.runtime.plan.builtin import BUILTIN
from tildawn.runtime.plan.kinds import Reach, Registry
from tildawn.units import MicroUsd


WorstCost = Callable[[str, MapOf, str | None], MicroUsd | None]
"""The most one call may cost, from kind, fields and model; None when the price is not known."""


class ShownStep(msgspec.Struct, frozen=True):
    """One step: how it is made and the most that one run of it costs."""

    name: str
    kind: str
    repeat: str
    route: str | None
    model: str | None
    #: Of the dearest model that may answer; None when a price is not known.
    worst_micro_usd: MicroUsd | None
    #: Other models that may answer, and what may stand in.
    accepts: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    #: Whether somebody waits in front of it.
    interactive: bool = False


class ShownItem(msgspec.Struct, frozen=True):
    """One item: its runs and the most they cost; a budget caps it."""

    id: str
    title: str
    runs: int
    task: str | None
    steps: tuple[ShownStep, ...]
    evidence: tuple[str, ...]
    budget: MicroUsd | None
    budget_total: MicroUsd | None
    #: For all runs; None when a price is not known and no budget caps it.
    worst_micro_usd: MicroUsd | None


class ShownReach(msgspec.Struct, frozen=True, order=True):
    """One thing in the world that is touched, and by which items."""

    verb: str
    target: str
    items: tuple[str, ...]


class Shown(msgspec.Struct, frozen=True):
    """The whole plan as it would run."""

    items: tuple[ShownItem, ...]
    runs: int
    budget: MicroUsd | None
    #: None when some item's is not known and the night has no budget.
    worst_micro_usd: MicroUsd | None
    reaches: tuple[ShownReach, ...]
    required_env: tuple[str, ...]
    #: Whether a provider of models is needed.
    models: bool
    #: ``item.step`` of each step whose price is not known.
    unpriced: tuple[str, ...]


def show(plan: Plan, worst_cost: WorstCost, *, registry: Registry = BUILTIN) -> Shown:
    """What would run.

    Args:
        plan: a checked plan.
        worst_cost: the prices; asked only for steps that ask a model and have no ``max_cost``.
        registry: the kinds the plan was checked with.

    Raises:
        KeyError: the plan uses a kind that is not in the registry.
    """
    items = tuple(_item(item, worst_cost, registry) for item in plan.items)
    worst = _capped(_sum([item.worst_micro_usd for item in items]), plan.night.budget)
    return Shown(
        items=items,
        runs=sum(item.runs for item in items),
        budget=plan.night.budget,
        worst_micro_usd=worst,
        reaches=_reaches(plan, registry),
        required_env=plan.required_env,
        models=any(registry.kinds[step.kind].model for item in plan.items for step in item.steps),
        unpriced=tuple(
            f"{item.id}.{step.name}"
            for item in items
            for step in item.steps
            if step.worst_micro_usd is None
        ),
    )


def _item(item: Item, worst_cost: WorstCost, registry: Registry) -> ShownItem:
    steps = tuple(_step(step, worst_cost, registry) for step in item.steps)
    # What a Python task spends is known only to its budget.
    each = None if item.task is not None else _sum([step.worst_micro_usd for step in steps])
    each = _capped(each, item.budget)
    total = None if each is None else MicroUsd(each * item.runs)
    task = None if item.task is None else f"{item.task.module}:{item.task.function}"
    return ShownItem(
        id=item.id,
        title=item.title,
        runs=item.runs,
        task=task,
        steps=steps,
        evidence=tuple(check.kind for check in item.evidence),
        budget=item.budget,
        budget_total=item.budget_total,
        worst_micro_usd=_capped(total, item.budget_total),
    )


def _step(step: Step, worst_cost: WorstCost, registry: Registry) -> ShownStep:
    kind = registry.kinds[step.kind]
    worst: MicroUsd | None = step.max_cost
    if worst is None:
        models = (step.model, *step.accepts) if kind.model else ()
        costs = [worst_cost(step.kind, step.fields, model) for model in models]
        known = [cost for cost in costs if cost is not None]
        worst = max(known, default=MicroUsd(0)) if len(known) == len(costs) else None
    tiers = step.tiers or (kind.tiers if step.interactive else ())
    return ShownStep(
        step.name, step.kind, step.repeat.value, step.route, step.model, worst,
        step.accepts, tiers, step.interactive,
    )  # fmt: skip


def _sum(costs: list[MicroUsd | None]) -> MicroUsd | None:
    known = [cost for cost in costs if cost is not None]
    return MicroUsd(sum(known)) if len(known) == len(costs) else None


def _capped(cost: MicroUsd | None, cap: MicroUsd | None) -> MicroUsd | None:
    if cost is None or cap is None:
        return cap if cost is None else cost
    return min(cost, cap)


def _reaches(plan: Plan, registry: Registry) -> tuple[ShownReach, ...]:
    by: dict[Reach, list[str]] = {}
    for item in plan.items:
        for reach in _item_reaches(item, registry):
            names = by.setdefault(reach, [])
            if item.id not in names:
                names.append(item.id)
    return tuple(ShownReach(r.verb, r.target, tuple(names)) for r, names in by.items())


def _item_reaches(item: Item, registry: Registry) -> list[Reach]:
    reaches = [reach for s in item.steps for reach in registry.kinds[s.kind].reach(s.fields)]
    for check in item.evidence:
        reaches += registry.evidence[check.kind].reach(check.fields)
    if item.task is not None:
        reaches.append(Reach("import", item.task.module))
    return reaches


def show_text(shown: Shown) -> str:
    """The same for a person, in lines of plain text.

    Raises:
        Nothing.
    """
    lines: list[str] = []
    for item in shown.items:
        lines.append(f"{item.id}: {item.title}, {_count(item.runs)}, at most {_money(item)}")
        if item.task is not None:
            lines.append(f"    task {item.task}")
        lines += [f"    {_step_line(step)}" for step in item.steps]
        if item.evidence:
            lines.append(f"    then checked by {', '.join(item.evidence)}")
    lines += ["", f"{_count(shown.runs)} in all, at most {_usd(shown.worst_micro_usd)}"]
    if shown.budget is not None:
        lines.append(f"budget of the night {_usd(shown.budget)}")
    if shown.unpriced:
        lines.append(f"price not known: {', '.join(shown.unpriced)}")
    lines.append("reaches for:")
    lines += [f"    {r.verb} {r.target} ({', '.join(r.items)})" for r in shown.reaches]
    if shown.required_env:
        lines.append(f"variables: {', '.join(shown.required_env)}")
    lines.append(f"provider of models: {'needed' if shown.models else 'not needed'}")
    return "\n".join(lines)


def _step_line(step: ShownStep) -> str:
    details = [step.kind, f"repeat {step.repeat}"]
    details += [f"route {step.route}"] if step.route is not None else []
    details += [f"model {step.model}"] if step.model is not None else []
    details += [f"or {' or '.join(step.accepts)}"] if step.accepts else []
    details += [f"else what is {' or '.join(step.tiers)}"] if step.tiers else []
    details += ["somebody waits"] if step.interactive else []
    if step.worst_micro_usd != 0:
        details.append(f"at most {_usd(step.worst_micro_usd)}")
    return f"{step.name}: {', '.join(details)}"


def _money(item: ShownItem) -> str:
    return _usd(item.worst_micro_usd)


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"


def _usd(amount: MicroUsd | None) -> str:
    if amount is None:
        return "an unknown amount"
    text = f"{amount // 1_000_000:,}.{amount % 1_000_000:06d}"
    whole, _, cents = text.partition(".")
    return f"${whole}.{cents[:2]}{cents[2:].rstrip('0')}"
