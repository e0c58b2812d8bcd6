"""A thousand callers at once, and what each of them saw: the history has an order that explains it.

What it is not: about crashes; those are in test_kill.py.
"""

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.testing.clock import ManualClock
from tildawn.testing.notebook import Note, note, open_notebook, verify_notebook
from tildawn.units import Micros


class Call(msgspec.Struct):
    """One append: when it was called and answered on one count of moments, and where it went."""

    task: int
    key: int
    called: int
    answered: int = -1
    seq: int = -1
    refused: bool = False


async def _callers(ledger: Ledger, clock: ManualClock, tasks: int, seed: int) -> list[Call]:
    """Each task appends three times, some of them a key that another one takes too."""
    rng = random.Random(seed)
    calls: list[Call] = []
    moment = 0

    async def caller(task: int, turns: list[int]) -> None:
        nonlocal moment
        for turn, pauses in enumerate(turns):
            for _ in range(pauses):
                await asyncio.sleep(0)
            key = turn if task % 50 == 0 else 10 * (task + 1) + turn
            moment += 1
            call = Call(task=task, key=key, called=moment)
            calls.append(call)
            answer = await ledger.append([note(ledger, key, run="r")])
            if isinstance(answer, Committed):
                call.seq = answer.first
            else:
                call.refused = True
            moment += 1
            assert call.answered == -1, "answered twice"
            call.answered = moment
            # The time of the machine goes anywhere; it decides nothing.
            clock._wall = Micros(rng.choice([0, 1, 10**15, 2**31 * 10**6]))

    turns = [[rng.randrange(5) for _ in range(3)] for _ in range(tasks)]
    await asyncio.gather(*(caller(task, one) for task, one in enumerate(turns)))
    return calls


def _unexplained(calls: list[Call], stored: dict[int, int]) -> str:
    """The auditor: why no order of the appends explains what was seen; empty when one does.

    Positions are that order.  It explains the history when each answer is of a fact that is
    there, each fact was answered once, no append that began after another's answer lies before
    it, and of those that wanted one key exactly one got it.
    """
    done = sorted((call for call in calls if not call.refused), key=lambda call: call.seq)
    if any(call.answered < 0 for call in calls):
        return "somebody was never answered"
    if [(call.seq, call.key) for call in done] != sorted(stored.items()):
        return "answers and facts are not the same"
    latest = 0
    for call in done:
        if call.answered < latest:
            return "an append lies behind one that began after its answer"
        latest = max(latest, call.called)
    won = {call.key for call in done}
    if any(call.key not in won for call in calls):
        return "a key was refused to everybody"
    return ""


def _played(folder: Path, tasks: int, seed: int) -> tuple[list[Call], dict[int, int]]:
    clock = ManualClock()
    with open_notebook(folder, clock=clock) as ledger:
        calls = asyncio.run(_callers(ledger, clock, tasks, seed))
        with ledger.read() as reader:
            stored = {row.seq: row.key for row in reader.rows(Note)}
    return calls, stored


def test_a_thousand_callers_see_one_history_in_the_order_of_their_calls(tmp_path: Path) -> None:
    """Each is answered once, and whoever asks after an answer comes behind it."""
    calls, stored = _played(tmp_path, 1_000, seed=1)

    assert _unexplained(calls, stored) == ""
    assert len(calls) == 3_000
    assert sum(call.refused for call in calls) == 3 * 19
    assert verify_notebook(tmp_path).what == ""


@pytest.mark.chaos
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(2, 32))
def test_a_thousand_callers_whatever_the_seed(tmp_path: Path, seed: int) -> None:
    """The same in other orders."""
    assert _unexplained(*_played(tmp_path, 1_000, seed)) == ""


def test_the_auditor_sees_each_lie(tmp_path: Path) -> None:
    """A checker that cannot fail proves nothing."""
    calls, stored = _played(tmp_path, 20, seed=1)
    assert _unexplained(calls, stored) == ""
    first = min(calls, key=lambda call: call.called)
    last = max((call for call in calls if not call.refused), key=lambda call: call.called)

    gone = {seq: key for seq, key in stored.items() if seq != last.seq}
    assert _unexplained(calls, gone) == "answers and facts are not the same"
    assert _unexplained([*calls, first], stored) == "answers and facts are not the same"
    silent = msgspec.structs.replace(last, answered=-1)
    assert _unexplained([*calls, silent], stored) == "somebody was never answered"
    early = [
        msgspec.structs.replace(
            call, seq={first.seq: last.seq, last.seq: first.seq}.get(call.seq, call.seq)
        )
        for call in calls
    ]  # fmt: skip
    swapped = stored | {first.seq: last.key, last.seq: first.key}
    assert "began after its answer" in _unexplained(early, swapped)
    never = msgspec.structs.replace(last, key=-5, refused=True)
    assert _unexplained([*calls, never], stored) == "a key was refused to everybody"
