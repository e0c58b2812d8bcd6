"""Operations as data: JSON in, JSON out, and errors that survive the way.

What it is not: what each operation does; the faces try that.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tildawn import errors
from tildawn.clock import Clock
from tildawn.errors import Busy, HouseUnusable, TildawnError
from tildawn.faces.catalog import BY_NAME, OPERATIONS
from tildawn.runtime.config import load
from tildawn.runtime.house import House
from tildawn.runtime.operation import (
    AnyOperation,
    Desk,
    Effect,
    error_of,
    perform,
    refusal_of,
)
from tildawn.testing.clock import ManualClock


def desk(folder: Path, clock: Clock, house: House | None = None) -> Desk:
    """What an operation may use in a folder without settings."""
    return Desk(load(folder, environ={}), clock, folder=folder / ".tildawn", house=house)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_operation_refuses_what_it_does_not_know(
    operation: AnyOperation, tmp_path: Path
) -> None:
    """A misspelt option that is ignored changes what happens without a word."""
    at = desk(tmp_path, ManualClock())

    with pytest.raises(TildawnError, match="dance"):
        asyncio.run(perform(operation, at, b'{"dance": 1}'))
    with pytest.raises(TildawnError):
        asyncio.run(perform(operation, at, b"[1"))


@pytest.mark.parametrize(
    "name",
    # Whoever is not the holder has left already, so leaving needs no house.
    [one.name for one in OPERATIONS if one.effect is not Effect.NONE and one.name != "leave"],
)
def test_an_operation_on_a_house_says_when_there_is_none(name: str, tmp_path: Path) -> None:
    """Never a trace of Python, whoever asks."""
    bodies = {
        "enqueue": b'{"task":"a:b"}', "answer": b'{"run":"q-1","choice":"x"}',
        "quarantine.lift": b'{"reason":"x"}', "rebuild.apply": b'{"plan":"x"}',
        "budget.set": b'{"amount":"1"}', "route": b'{"route":"r"}',
        "route.force": b'{"route":"r"}', "route.mode": b'{"route":"r"}',
        "route.promote": b'{"route":"r"}', "repair.apply": b'{"plan":"x"}', "emit": b'{"run":"q-1","event":"e"}',
        "permit": b'{"permit":"p"}', "permit.revoke": b'{"permit":"p"}',
        "permit.mint": b'{"operations":["chat"]}', "key-rotate": b'{"reason":"x"}',
        "receipt": b'{"seq":0}', "import": b'{"path":"/dev/null"}',
    }  # fmt: skip
    body = bodies.get(name, b'{"run":"q-1"}' if "run" in fields(name) else b"{}")

    with pytest.raises(HouseUnusable, match="no house"):
        asyncio.run(perform(BY_NAME[name], desk(tmp_path, ManualClock()), body))


def fields(name: str) -> set[str]:
    """The fields that an operation must be given."""
    return {field.name for field in msgspec.structs.fields(BY_NAME[name].input) if field.required}


def test_every_output_is_json_that_its_type_reads_back(tmp_path: Path) -> None:
    """What the socket sends is what the other side decodes."""
    clock = ManualClock()
    at = desk(tmp_path, clock)
    with House.open(tmp_path / ".tildawn", at.config.settings, mode="write", clock=clock) as house:
        at = desk(tmp_path, clock, house)
        for name in ("status", "runs", "logs", "budget", "config", "verify", "report"):
            answer = asyncio.run(perform(BY_NAME[name], at, b"{}"))
            decoded = msgspec.json.decode(answer, type=BY_NAME[name].output)
            assert msgspec.json.encode(decoded) == answer


ERRORS = [
    kind for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, TildawnError)
]  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_keeps_its_kind_and_its_exit_code_between_processes(
    kind: type[TildawnError],
) -> None:
    """A script must not see another exit code because somebody else held the pen."""
    error = kind("what happened", hint="what to do", retry_at=5)
    body = msgspec.json.encode(refusal_of(error))

    back = error_of(msgspec.json.decode(body, type=type(refusal_of(error))))

    assert type(back) is kind
    assert (back.message, back.hint, back.retry_at) == ("what happened", "what to do", 5)
    assert back.exit_code == error.exit_code


def test_an_error_of_another_build_is_still_an_error() -> None:
    """A code that is unknown here must not become a success."""
    refusal = msgspec.structs.replace(refusal_of(Busy("later")), code="from-the-future")

    assert type(error_of(refusal)) is TildawnError
