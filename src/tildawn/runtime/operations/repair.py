"""What is asked of repair: what is wrong and would be done, and to do exactly that.

What it is not: a change of history.  A repair is new facts.
"""

import asyncio
from pathlib import Path

import msgspec

from tildawn.errors import Misused
from tildawn.projections.damage import damage_sum
from tildawn.projections.story import name_of
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.repair.doing import Repaired, apply_repair
from tildawn.runtime.repair.plan import Step, plan_repair, unfinished


class PlanInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``source`` is a folder with whole copies of files, such as a copy of the house."""

    source: str = ""


class StepLine(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the plan, and what its run is called."""

    step: Step
    name: str


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done; ``plan`` is the hash that `repair.apply` takes, empty for nothing.

    ``unfinished`` are plans that were begun and not ended; their hash goes on with them.
    """

    plan: str
    steps: tuple[StepLine, ...]
    unfinished: tuple[str, ...]
    pictures: int
    damaged: int
    unmeasured: int
    lost: int


class ApplyInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hash of a plan, and the source it was made with."""

    plan: str
    source: str = ""


async def _plan(desk: Desk, given: PlanInput) -> Planned:
    ledger = desk.house.ledger
    plan = await asyncio.to_thread(plan_repair, ledger, source=_source(given.source))
    with ledger.read() as reader:
        lines = tuple(
            StepLine(step=step, name=name_of(reader, step.run) if step.run else "")
            for step in plan.steps
        )
        sums = damage_sum(reader)
        left = unfinished(reader)
    return Planned(
        plan=plan.hash if plan.steps else "", steps=lines, unfinished=left,
        pictures=sums.pictures, damaged=sums.damaged, unmeasured=sums.unmeasured, lost=sums.lost,
    )  # fmt: skip


async def _apply(desk: Desk, given: ApplyInput) -> Repaired:
    return await apply_repair(desk.house.ledger, given.plan, source=_source(given.source))


def _source(said: str) -> Path | None:
    if not said:
        return None
    folder = Path(said)
    if not folder.is_dir():
        message = f"{said} is no folder"
        raise Misused(message, hint="name a copy of the house, or of its folder of blobs")
    return folder


REPAIR_PLAN = Operation(
    name="repair.plan", input=PlanInput, output=Planned, effect=Effect.READ,
    permission=Permission.LOOK, run=_plan,
    help="Say what is wrong with the pictures that the house keeps, and what would be done.",
)  # fmt: skip
REPAIR_APPLY = Operation(
    name="repair.apply", input=ApplyInput, output=Repaired, effect=Effect.WRITE,
    permission=Permission.OWN, run=_apply,
    help="Do what a plan of repair says, or go on with one that was begun.",
)  # fmt: skip
