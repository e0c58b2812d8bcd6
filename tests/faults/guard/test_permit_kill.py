"""Two hundred callers and kill -9: a permit is never used more often than it says.

What it is not: the money of budgets; that is test_money_kill.py.  The judge counts facts and the
provider's own book, and none of our sums.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tildawn.clock import SystemClock
from tildawn.ledger.verdict import State
from tildawn.projections.permit import PermitUseRow
from tildawn.units import Seq


HERE = Path(__file__)
USER = HERE.with_name("permit_user.py")
KIT = HERE.parents[2] / "guard" / "conftest.py"
LIMITS = {"top": 900, "left": 600, "right": 600}
"""The same numbers as in permit_user.py."""
COST = 12_000
PARENT = {"left": ("left", "top"), "right": ("right", "top")}


def live(folder: Path, seed: int, *, lines: int, bug: str = "") -> bool:
    """One process, killed after so many attempts; whether it came to its end before that."""
    command = [sys.executable, str(USER), str(KIT), str(folder / "house"), str(seed)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PERMIT_BUG": bug}
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        for _ in range(lines):
            if not child.stdout.readline():
                return child.wait() == 0
        os.kill(child.pid, signal.SIGKILL)
        child.stdout.read()
        assert child.wait() == -signal.SIGKILL
    return False


def judge(folder: Path) -> tuple[Counter[str], list[str]]:
    """How often each permit was used, and what is wrong with that."""
    kit = kit_of()
    house, wrong = kit.House(folder / "house", SystemClock()), list[str]()
    uses: Counter[str] = Counter()
    money: dict[tuple[str, int], tuple[str, int]] = {}
    sent: set[str] = set()
    try:
        with house.ledger.read() as reader:
            for seq, fact in reader.facts(Seq(-1), 10_000_000):
                data, place = fact.data, (fact.path, getattr(fact.data, "attempt", 0))
                if fact.kind == "CallDispatched":
                    uses.update(PARENT[data.permit])
                    sent.add(f"{data.key} {data.attempt}")
                    money[place] = (data.permit, data.reserve_micro_usd)
                    over = [one for one in LIMITS if uses[one] > LIMITS[one]]
                    wrong += [f"{one} used {uses[one]} times at {seq}" for one in over]
                elif fact.kind == "CallSettled" and data.spend_source != "held":
                    money[place] = (money[place][0], data.spend_micro_usd)
                total = sum(amount for _, amount in money.values()) if wrong == [] else 0
                if total > COST:
                    wrong.append(f"{total} committed at {seq}")
            rows = {row.permit: row for row in reader.rows(PermitUseRow)}
        wrong += [f"{one} says {rows[one].calls}, facts {uses[one]}"
                  for one in LIMITS if rows[one].calls != uses[one]]  # fmt: skip
        book = (folder / "book").read_text().splitlines()
        wrong += [f"the provider was asked {line}, of which nothing is on record"
                  for line in book if line not in sent]  # fmt: skip
        if house.verdict().state != State.PROVEN:
            wrong.append(f"the house does not hold together: {house.verdict()}")
    finally:
        house.ledger.close()
    return uses, wrong


def kit_of() -> Any:
    """The conftest of the guard's tests, for a house with its tables."""
    spec = importlib.util.spec_from_file_location("guard_conftest", KIT)
    assert spec is not None
    assert spec.loader is not None
    kit = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = kit
    spec.loader.exec_module(kit)
    return kit


@pytest.mark.timeout(240)
def test_no_kill_makes_two_hundred_callers_use_a_permit_more_often(tmp_path: Path) -> None:
    """What was used before a death is used, and what it says holds for all lives together."""
    rng, seed = Random(11), 0
    while not live(tmp_path, seed, lines=rng.randint(60, 260)):
        _, wrong = judge(tmp_path)
        assert wrong == []
        seed += 1
    uses, wrong = judge(tmp_path)
    assert wrong == []
    assert seed >= 2, "it was never killed"
    assert uses["top"] > 500, "it was hardly used"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bug", ["look-first", "leaf-only"])
def test_the_judge_sees_a_permit_that_is_used_too_often(tmp_path: Path, bug: str) -> None:
    """A judge that cannot say no proves nothing: looked at before the commit, parents forgotten."""
    live(tmp_path, 0, lines=1_500, bug=bug)
    assert judge(tmp_path)[1]
