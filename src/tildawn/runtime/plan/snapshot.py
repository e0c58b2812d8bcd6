"""Acceptance: a checked plan with the digests of all it was made from, and the bytes to keep.

What it is not: the keeping.  The caller puts the copies into the house and the digests into one
fact; from then on runs come from the copies alone (``rows``), and the files may change.
"""

from dataclasses import dataclass
from pathlib import Path

from tildawn.facts.plan import Accepted
from tildawn.runtime.plan.builtin import BUILTIN
from tildawn.runtime.plan.compile import Compiled, Copy, compile_plan
from tildawn.runtime.plan.kinds import Registry


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is accepted, and the copies it rests on; each file was read only one time."""

    accepted: Accepted
    copies: tuple[Copy, ...]


def take_snapshot(path: Path | str, *, registry: Registry = BUILTIN) -> Snapshot:
    """Check a plan file and hold on to everything that was read for it.

    Args:
        path: the plan file.
        registry: the kinds it may use.

    Raises:
        BadPlan: with every problem.
    """
    return snapshot_of(compile_plan(path, registry=registry))


def snapshot_of(compiled: Compiled) -> Snapshot:
    """The snapshot of a plan that is compiled already.

    Raises:
        Nothing.
    """
    sources = tuple(copy.source for copy in compiled.copies)
    accepted = Accepted(plan=compiled.plan, sources=sources, folder=compiled.folder)
    return Snapshot(accepted, compiled.copies)
