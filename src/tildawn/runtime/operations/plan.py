"""Plans before they are accepted: check, show, schema.

What it is not: the acceptance; a night does that.
"""

from pathlib import Path

import msgspec

from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.pricing import worst_costs
from tildawn.runtime.plan import Shown, plan_schema, read_plan, show


class PlanInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan file on the house's disk."""

    file: str


class PlanChecked(msgspec.Struct, frozen=True, kw_only=True):
    """The plan can be accepted: so many items, so many runs."""

    file: str
    items: int
    runs: int


class PlanSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON Schema of plans."""

    json_schema: msgspec.Raw


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No input."""


async def _check(_: Desk, given: PlanInput) -> PlanChecked:
    plan = read_plan(Path(given.file))
    runs = sum(item.runs for item in plan.items)
    return PlanChecked(file=given.file, items=len(plan.items), runs=runs)


async def _show(desk: Desk, given: PlanInput) -> Shown:
    plan = read_plan(Path(given.file))
    folder = Path(given.file).parent if desk.folder is None else desk.folder.parent
    return show(plan, worst_costs(desk.config.settings, folder))


async def _schema(_: Desk, __: Nothing) -> PlanSchema:
    return PlanSchema(json_schema=msgspec.Raw(plan_schema().encode()))


CHECK = Operation(
    name="plan.check", input=PlanInput, output=PlanChecked, effect=Effect.NONE,
    permission=Permission.LOOK, run=_check,
    help="Check a plan: every mistake with file, line, column and the nearest match.",
)  # fmt: skip
SHOW_PLAN = Operation(
    name="plan.show", input=PlanInput, output=Shown, effect=Effect.NONE,
    permission=Permission.LOOK, run=_show,
    help="Show what a plan would run, what it can cost at most, and what it reaches.",
)  # fmt: skip
SCHEMA = Operation(
    name="plan.schema", input=Nothing, output=PlanSchema, effect=Effect.NONE,
    permission=Permission.LOOK, run=_schema,
    help="Print the JSON Schema of plans.",
)  # fmt: skip
