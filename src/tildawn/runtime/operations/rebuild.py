"""What is asked of the tables of a house: which differ from the facts, and to make them anew.

What it is not: a change of history, nor a repair of pictures; that is `tildawn repair`.
"""

import msgspec

from tildawn.ledger.reconcile import plan_hash
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing


class Differs(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a row: what it is and what the facts make of it; ``column`` empty for a row.

    ``text`` says it where no column does.
    """

    key: tuple[str, ...]
    column: str = ""
    is_: str = msgspec.field(default="", name="is")
    should: str = ""
    text: str = ""


class TableDiffers(msgspec.Struct, frozen=True, kw_only=True):
    """A table that differs: in how many rows, and the first of them."""

    table: str
    rows: int
    differences: tuple[Differs, ...]


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What would be made anew; ``plan`` is the hash that `rebuild.apply` takes, empty for nothing.

    ``facts`` were folded for it.
    """

    plan: str
    facts: int
    tables: tuple[TableDiffers, ...]


class ApplyInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hash of a plan."""

    plan: str


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """The tables that were made anew, from so many facts."""

    facts: int
    tables: tuple[str, ...]


async def _plan(desk: Desk, _: Nothing) -> Planned:
    found = await desk.house.books.plan()
    tables = tuple(
        TableDiffers(
            table=drift.table,
            rows=drift.rows,
            differences=tuple(
                Differs(
                    key=tuple(map(str, one.key)), column=cell.column, is_=cell.is_,
                    should=cell.should,
                )
                for one in drift.differences
                for cell in one.cells
            )
            + tuple(
                Differs(key=tuple(map(str, one.key)), text=one.text)
                for one in drift.differences
                if not one.cells
            ),
        )
        for drift in found.drifts
    )  # fmt: skip
    return Planned(plan=plan_hash(found.drifts), facts=found.size, tables=tables)


async def _apply(desk: Desk, given: ApplyInput) -> Rebuilt:
    house = desk.house
    done = await house.books.whole(given.plan)
    house.stops.look()
    if not house.working:
        await house.books.leave()
    return Rebuilt(facts=done.size, tables=done.mended)


REBUILD_PLAN = Operation(
    name="rebuild.plan", input=Nothing, output=Planned, effect=Effect.READ,
    permission=Permission.LOOK, run=_plan,
    help="Fold every fact once more, and say which rows of which tables differ.",
)  # fmt: skip
REBUILD_APPLY = Operation(
    name="rebuild.apply", input=ApplyInput, output=Rebuilt, effect=Effect.WRITE,
    permission=Permission.OWN, run=_apply,
    help="Make anew, from the facts, the tables that a plan names.",
)  # fmt: skip
