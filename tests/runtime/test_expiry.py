"""Subjects of plans, and expiry by age: who is erased after a night, and what goes unasked.

What it is not: erasing by name; that is in test_erasure.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import PayloadErased
from tildawn.facts.house import ClockJumped
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.founding import found_house
from tildawn.runtime.setting import LedgerSettings, Settings
from tildawn.runtime.snapshot import Keeper
from tildawn.runtime.working import working
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


DAY = 86_400 * SECOND
ADA, BOB = "ada.lovelace@example.org", "bob.babbage@example.org"
WHO = {ADA: b"lovelace", BOB: b"babbage"}


LETTERS = """
  - id: letters
    for_each: orders.csv
    key: "{{ item.number }} {{ item.customer }}"
    subject: "{{ item.customer }}"
    steps:
      - letter:
          file: { write: "{{ item.number }}.txt", content: "Dear {{ item.customer }}" }
    evidence:
      - file: { path: "{{ item.number }}.txt", contains: "{{ item.customer }}" }
"""


def orders(home: Any, *who: str) -> None:
    """The orders of these customers, beside the house."""
    rows = "".join(f"A-{at},{one}\n" for at, one in enumerate(who))
    (home.folder.parent / "orders.csv").write_text("number,customer\n" + rows)


def everywhere(home: Any) -> list[str]:
    """Files of the house and of its mirror that hold her."""
    copy = home.folder.parent / "copy"
    found = [str(p) for p in copy.rglob("*") if p.is_file() and WHO[ADA] in p.read_bytes()]
    return home.holding(ADA) + found


def test_a_plan_names_whom_its_rows_are_about_and_one_of_them_is_erased(mirrored: Any) -> None:
    """Nobody knows the numbers of the runs of a night; everybody knows a customer."""
    home = mirrored
    orders(home, ADA, BOB)
    home.night(LETTERS)
    home.report()
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    (home.folder / "stacks.txt").write_text(f"greeting {ADA}")
    runs = home.runs_of_rows()
    logging.getLogger("tildawn").warning("run %s greets %s", runs[0].run, ADA)
    before = home.text(runs[1].run, "RunDone"), home.text(runs[1].run, "RunAccepted")
    assert {"logs", "reports", "snapshots", "copy"} <= {
        part for path in everywhere(home) for part in Path(path).parts
    }

    said = home.erase(ADA)

    assert [] == everywhere(home)
    assert (1, (1,)) == (said.nights, said.plans)
    assert before == (home.text(runs[1].run, "RunDone"), home.text(runs[1].run, "RunAccepted"))
    assert home.verdict().startswith("proven")
    home.report()
    assert [] == everywhere(home)
    # The last of them takes the plan along.
    assert () == home.erase(BOB).plans
    assert [] == home.holding(BOB)
    assert home.verdict().startswith("proven")
    home.report()


def test_a_row_that_became_no_run_is_erased_with_the_copy_of_the_rows(home: Any) -> None:
    """What another night has done already stands in the rows of this one all the same."""
    work = LETTERS.replace("    steps:", "    once: ever\n    steps:")
    orders(home, ADA)
    home.night(work)
    home.reopen()
    orders(home, ADA, BOB)
    home.night(work)

    said = home.erase(ADA)

    assert (2, True) == (said.nights, said.done)
    assert [] == home.holding(ADA)
    assert home.verdict().startswith("proven")


def test_what_ended_long_ago_expires_and_the_rest_stays(mirrored: Any) -> None:
    """Nobody has to ask for what the house has no reason to keep."""
    home = mirrored
    orders(home, ADA, ADA)
    home.night(LETTERS)
    home.report()
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    assert 0 == home.expire(89)
    home.reopen()
    [young] = home.work((home.greet, BOB))
    home.reopen()
    [open_] = home.work((home.waits, BOB), rest=frozenset({"running", "waiting"}))

    assert home.expire(3) >= 4

    assert [] == everywhere(home)
    assert home.text(young, "RunDone")
    assert home.text(open_, "RunAccepted")
    assert home.verdict().startswith("proven")
    assert {("expired", "")} == {(row.why, row.subject) for row in home.erasures()}
    with pytest.raises(PayloadErased):
        home.text(home.runs_of_rows()[0].run, "RunDone")
    assert home.expire(91) >= 1
    assert home.text(open_, "RunAccepted"), "it has not ended"
    home.report()


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Ledger, "append_now"),
        (Ledger, "scrub"),
        (Blobs, "remove"),
        (Keeper, "take"),
        (Keeper, "drop"),
    ],
)
def test_the_next_turn_completes_an_expiry_that_a_crash_left(
    home: Any, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """Nobody would repeat a command that nobody gave."""
    home.work((home.greet, ADA))
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, name, crash)
        with pytest.raises(KeyboardInterrupt):
            home.expire(92)
    home.close()
    again = type(home)(home.folder)
    try:
        again.clock.advance(Micros(92 * DAY))
        again.expire(0)
        assert [] == again.holding(ADA)
        assert again.verdict().startswith("proven")
    finally:
        again.close()


def test_a_house_that_works_lets_payloads_expire_by_itself(tmp_path: Path, homes: Any) -> None:
    """A setting that no loop reads keeps everything for ever."""
    folder = tmp_path / ".tildawn"
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    home = homes(folder, Settings(ledger=LedgerSettings(keep_payloads=Micros(2 * DAY))))
    try:
        home.work((home.greet, ADA))
        home.reopen()

        async def scene() -> None:
            async with working(home.house, env={}):
                while not home.erasures() or (folder / "erasing").exists():
                    await home.ledger.append([home.ledger.draft(ClockJumped(by_ms=0))])
                    home.clock.advance(Micros(DAY // 4))

        asyncio.run(scene())
        assert [] == home.holding(ADA)
    finally:
        home.close()
