"""Task code that reaches around the door is refused while it runs, and found before it runs.

What it is not: a sandbox; it stops mistakes.
"""

import asyncio
import inspect
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tildawn.engine.engine import Threads
from tildawn.engine.task import Tasks, task
from tildawn.guard import bypass
from tildawn.guard.lint import lint_source
from tildawn.runtime.context import Context
from tildawn.runtime.setting import Settings
from tildawn.runtime.wiring import engine_of


@task(name="connecting")
async def connecting(ctx: Context) -> str:
    """A planted bypass: a socket of its own."""
    with socket.socket() as raw:
        raw.connect(("127.0.0.1", 9))
    return "out"


@task(name="starting")
async def starting(ctx: Context) -> str:
    """A planted bypass: a process of its own."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:  # noqa: ASYNC220  the mistake
        child.wait()
    return "out"


@pytest.mark.parametrize("planted", [connecting, starting])
def test_task_code_that_reaches_outside_fails_as_bypassed(workshop: Any, planted: Any) -> None:
    """An effect that passed no door would be in no record, no budget and no report."""
    bypass.install()
    workshop.threads = Threads(activation=bypass.task_code)

    async def story() -> None:
        await workshop.crash()
        name = await workshop.enqueue(planted)
        row = await workshop.ended(name, "failed")

        assert "bypassed" == row.why
        assert "ctx.call" in json.loads(workshop.why(name))["hint"]
        assert 1 == row.attempt

    asyncio.run(story())


def test_steps_may_compute_and_the_engine_may_reach_outside(workshop: Any) -> None:
    """The shield is around task code alone, so that the door itself can pass."""
    bypass.install()
    workshop.threads = Threads(activation=bypass.task_code)

    def child() -> int:
        return subprocess.run([sys.executable, "-c", "pass"], check=True).returncode

    @task(name="stepping")
    async def stepping(ctx: Context) -> int:
        return await ctx.step(child)

    async def story() -> None:
        await workshop.crash()
        name = await workshop.enqueue(stepping)
        await workshop.ended(name)
        assert b"0" == workshop.result(name)

    asyncio.run(story())


def test_every_engine_of_a_house_has_the_shield(workshop: Any, tmp_path: Path) -> None:
    """A shield that the product forgets to put on protects only its tests."""
    engine = engine_of(
        workshop.ledger, tasks=Tasks(), clock=workshop.clock, settings=Settings().engine,
        context=lambda _asking: None, folder=tmp_path,
    )  # fmt: skip
    assert bypass.task_code is engine._frame.activation
    assert engine._watchdog is not None


def test_the_lint_finds_both_before_they_run() -> None:
    """A mistake that is found at midnight costs the night."""
    source = inspect.getsource(sys.modules[__name__])
    found = [source.splitlines()[one.line - 1] for one in lint_source(source)]
    assert any("raw.connect" in line or "socket.socket" in line for line in found), found
    assert any("subprocess.Popen" in line for line in found), found
