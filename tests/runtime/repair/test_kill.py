"""A repair that is killed at any step is gone on with by the same hash, to the same end.

What it is not: a test of the disk; that a commit is whole or not there at all is tested with the
ledger.
"""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tildawn.ledger.blobs import Blobs
from tildawn.ledger.ledger import Ledger
from tildawn.providers.sim.drawing import png
from tildawn.runtime.repair import doing


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def dies_at(point: int) -> Generator[list[str]]:
    """Die at the n-th point: before and after every commit and every change of a file."""
    passed: list[str] = []

    def pass_by(name: str) -> None:
        passed.append(name)
        if len(passed) - 1 == point:
            raise Killed

    def around(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any) -> Any:
            pass_by(f"before {name}")
            got = original(self, *args)
            pass_by(f"after {name}")
            return got

        return call

    async def append(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        pass_by("before a commit")
        got = await appended(self, *args, **kwargs)
        pass_by("after a commit")
        return got

    appended = Ledger.append
    with (
        patch.object(Ledger, "append", append),
        patch.object(Blobs, "put", around("a put", Blobs.put)),
        patch.object(Blobs, "set_aside", around("a move", Blobs.set_aside)),
        patch.object(doing, "CHUNK", 1),
    ):
        yield passed


def copy_of(furnished: Any, folder: Path) -> Path:
    """A copy of the house that has two of the files."""
    for name in ("gone", "altered"):
        blob = furnished[name].blob
        (folder / blob[:2]).mkdir(parents=True)
        (folder / blob[:2] / blob).write_bytes(png(name, 40, 30))
    return folder


def state(attic: Any) -> tuple[object, ...]:
    """What a repair comes to."""
    rows = {path: (row.width, row.height, row.damage) for path, row in attic.rows().items()}
    [repair] = attic.repairs()
    ended = (repair.measured, repair.restored, repair.condemned, repair.ended >= 0)
    aside = sorted(one.name for one in (attic.folder / "blobs" / "damaged").iterdir())
    return rows, attic.lost(), attic.may_lack_measures(), ended, aside, attic.plan().steps


@pytest.mark.slow
def test_a_kill_at_any_step_is_gone_on_with_to_the_same_end(
    attic: Any, furnished: Any, tmp_path: Path
) -> None:
    """Slow because every point is a house of its own: the night may end in the middle of it."""
    copy = copy_of(furnished, tmp_path / "copy")
    plan = attic.plan(copy)
    attic.ledger.close()
    spare = tmp_path / "spare"
    shutil.copytree(attic.folder, spare)

    def again() -> None:
        attic.ledger.close()
        shutil.rmtree(attic.folder)
        shutil.copytree(spare, attic.folder)
        attic.ledger = attic.open()

    again()
    with dies_at(-1) as points:
        attic.apply(plan, copy)
    wanted = state(attic)
    assert len(points) > 30
    for point in range(len(points)):
        again()
        with dies_at(point) as passed, pytest.raises(Killed):
            attic.apply(plan, copy)
        attic.reopen()
        attic.apply(plan, copy if passed == ["before a commit"] else None)
        assert state(attic) == wanted, points[point]
