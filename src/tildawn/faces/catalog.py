"""The table of operations: every face offers these, and nothing else.

What it is not: their code, nor a face.
"""

from tildawn.runtime.operation import AnyOperation
from tildawn.runtime.operations import (
    budget,
    erasure,
    house,
    legacy,
    letter,
    listing,
    permit,
    plan,
    quarantine,
    rebuild,
    repair,
    report,
    route,
    run,
    showing,
    snapshot,
)


OPERATIONS: tuple[AnyOperation, ...] = (
    run.ENQUEUE,
    listing.RUNS,
    showing.SHOW,
    house.STATUS,
    house.LOGS,
    run.CANCEL,
    run.PAUSE,
    run.RESUME,
    run.RETRY,
    run.EMIT,
    run.ANSWER,
    letter.DEAD,
    letter.ACKNOWLEDGE,
    budget.BUDGET,
    budget.LIMIT,
    permit.PERMITS,
    permit.PERMIT,
    permit.MINT,
    permit.REVOKE,
    route.ROUTES,
    route.ROUTE,
    route.FORCE,
    route.MODE,
    route.PROMOTE,
    route.SLO,
    route.EVENTS,
    report.REPORT,
    house.VERIFY,
    erasure.ERASE,
    snapshot.SNAPSHOT,
    snapshot.SNAPSHOTS,
    repair.REPAIR_PLAN,
    repair.REPAIR_APPLY,
    rebuild.REBUILD_PLAN,
    rebuild.REBUILD_APPLY,
    quarantine.QUARANTINE,
    quarantine.LIFT,
    legacy.IMPORT_PLAN,
    legacy.IMPORT,
    house.DOCTOR,
    house.CONFIG,
    house.LEAVE,
    plan.CHECK,
    plan.SHOW_PLAN,
    plan.SCHEMA,
)
"""In the order in which documentation shows them."""

BY_NAME = {operation.name: operation for operation in OPERATIONS}
