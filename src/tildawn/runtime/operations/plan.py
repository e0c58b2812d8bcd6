"""Plans before they are accepted: check, show, schema.

What it is not: the acceptance; a night does that.
"""

from pathlib import Path

import msgspec

from tildawn.facts.plan import MapOf
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.plan import Shown, plan_schema, read_plan, show
from tildawn.units import MicroUsd


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


# HOLE: the prices of models are not asked yet; such steps are listed as unpriced, and the
# budget of the plan bounds what they cost.
def _unpriced(_kind: str, _fields: MapOf, _model: str | None) -> MicroUsd | None:
    return None


async def _check(_: Desk, given: PlanInput) -> PlanChecked:
    plan = read_plan(Path(given.file))
    shown = show(plan, _unpriced)
    return PlanChecked(file=given.file, items=len(plan.items), runs=shown.runs)


async def _show(_: Desk, given: PlanInput) -> Shown:
    return show(read_plan(Path(given.file)), _unpriced)


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
