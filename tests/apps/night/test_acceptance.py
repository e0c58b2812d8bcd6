"""Acceptance: all of a plan or nothing of it, and what was accepted stays as it was."""

import asyncio

import pytest

from tildawn.apps.night.acceptance import AGAIN_AFTER, Edited
from tildawn.apps.night.copies import Copies
from tildawn.errors import Misused, UnknownName


FINE = """
  - id: fine
    steps:
      - w: { file: { write: out.txt, content: x } }
"""


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_around_acceptance_leaves_a_whole_night_or_none(bedroom, after):
    """Half a plan would be run as if it were all of it."""
    bedroom.plan(bedroom.numbers(3) + FINE, night='{ budget: "$1.00" }')
    assert asyncio.run(bedroom.crashed(1, after=after))
    assert len(bedroom.facts("PlanAccepted")) == int(after)
    assert len(bedroom.facts("BudgetSet")) == int(after)
    assert asyncio.run(bedroom.night()).exit_code == 0
    assert len(bedroom.nights) == 1


def test_what_was_accepted_is_done_whatever_becomes_of_the_files(bedroom):
    """Somebody edits the CSV at midnight; the night was given the one of the evening."""
    bedroom.plan(bedroom.numbers(40) + FINE)
    assert asyncio.run(bedroom.crashed(4, after=True))
    for path in bedroom.folder.glob("*.csv"):
        path.write_text("n\n7000\n")
    end = asyncio.run(bedroom.night(edited=Edited.CONTINUE))
    assert end.exit_code == 0
    assert len(bedroom.nights) == 1
    assert len(bedroom.states("number")) == 40


def test_the_same_plan_again_goes_on_with_its_unfinished_night(bedroom):
    """Whoever types the command again after a crash wants the rest, not all of it again."""
    bedroom.plan(bedroom.numbers(5))
    assert asyncio.run(bedroom.crashed(3, after=True))
    asyncio.run(bedroom.night())
    assert len(bedroom.nights) == 1
    assert bedroom.states() == ["done"] * 5


def test_the_same_plan_on_the_next_evening_is_a_new_night(still):
    """Every evening the same plan is the ordinary case."""
    still.plan(FINE)
    asyncio.run(still.night())
    still.clock.advance(AGAIN_AFTER)
    asyncio.run(still.night())
    assert [row.state for row in still.nights] == ["closed", "closed"]
    assert still.states() == ["done"]


def test_the_same_plan_right_after_its_night_is_begun_anew_only_when_told_so(bedroom):
    """A service manager starts what has ended; the shop would be filled all night long."""
    bedroom.plan(FINE)
    asyncio.run(bedroom.night())
    for edited in (Edited.ASK, Edited.CONTINUE):
        with pytest.raises(Misused, match=r"night 1 .* ended 0 min ago") as raised:
            asyncio.run(bedroom.night(edited=edited))
        assert "--new" in (raised.value.hint or "")
    assert len(bedroom.nights) == 1
    asyncio.run(bedroom.night(edited=Edited.NEW))
    assert len(bedroom.nights) == 2


def test_an_edited_plan_right_after_its_night_is_a_new_night(bedroom):
    """Whoever mends a plan and runs it again means what it says now."""
    bedroom.plan(FINE)
    asyncio.run(bedroom.night())
    bedroom.plan(bedroom.numbers(2))
    asyncio.run(bedroom.night())
    assert len(bedroom.nights) == 2


def test_an_edited_plan_with_an_unfinished_night_asks_what_is_meant(bedroom):
    """Both answers are plausible, and one of them pays twice."""
    bedroom.plan(bedroom.numbers(5))
    assert asyncio.run(bedroom.crashed(3, after=True))
    bedroom.plan(FINE)
    with pytest.raises(Misused, match="edited since") as raised:
        asyncio.run(bedroom.night())
    assert raised.value.exit_code == 2
    assert "--continue" in (raised.value.hint or "")
    assert "--new" in (raised.value.hint or "")
    assert len(bedroom.nights) == 1


def test_a_new_night_gives_the_old_one_up_and_runs_none_of_its_work(still):
    """A run that waits for ever in a night that nobody works on would never end."""
    body = 'await ctx.step(there, "x"); await ctx.sleep("30s"); (Path(__file__).parent / n).write_text(n)'
    still.plan(still.numbers(12, body))

    async def scenario():
        await still.begin()
        task = asyncio.ensure_future(still.run(concurrency=4))
        await still.until(lambda: len(still.facts("StepRecorded")) == 4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await still.crash()
        still.plan(
            FINE.replace("steps", "needs: []\n    steps")
            + still.numbers(1, 'await ctx.sleep("60s")', name="other")
        )
        return await still.night(edited=Edited.NEW)

    end = asyncio.run(scenario())
    assert end.exit_code == 0
    old, new = still.nights
    assert (old.state, old.outcome) == ("closed", "replaced")
    assert new.continues == old.night
    assert [run.state for run in still.runs(night=old.night)] == ["cancelled"] * 12
    assert not list(still.folder.glob("[0-9]"))


def test_a_simulated_night_is_not_gone_on_with_for_real(bedroom):
    """What rests on a simulator must not become a real night by leaving out a flag."""
    bedroom.plan(bedroom.numbers(5))
    assert asyncio.run(bedroom.crashed(3, after=True, simulated=True))
    with pytest.raises(Misused, match="not finished"):
        asyncio.run(bedroom.night())


def test_a_key_that_may_be_done_once_ever_is_not_done_again_in_a_later_night(bedroom):
    """The letter to a customer goes out once, however often the plan is run."""
    bedroom.plan(bedroom.numbers(3, extra="once: ever"))
    asyncio.run(bedroom.night())
    first = {run.run for run in bedroom.runs()}
    bedroom.write("number.csv", "n\n1\n2\n3\n")
    end = asyncio.run(bedroom.night())
    assert end.exit_code == 0
    assert [run.row for run in bedroom.runs()] == [2]
    assert [row.row for row in bedroom.covered("number")] == [0, 1]
    assert {row.by for row in bedroom.covered("number")} < first


def test_a_key_that_failed_may_be_done_by_a_later_night(bedroom):
    """Once ever means done once, not tried once."""
    bedroom.plan(bedroom.numbers(1, 'there("ok") or fail()', extra="once: ever"))
    assert asyncio.run(bedroom.night()).exit_code == 1
    bedroom.write("ok", "")
    assert asyncio.run(bedroom.night(edited=Edited.NEW)).exit_code == 0
    assert bedroom.states() == ["done"]
    assert bedroom.covered("number") == []


def test_any_row_of_a_copy_is_found_in_any_order(bedroom):
    """Runs do not end in the order of their rows, and a file may be longer than what is held."""
    bedroom.plan(bedroom.numbers(5_000))
    assert asyncio.run(bedroom.crashed(1, after=True))
    copies = Copies(bedroom.ledger)
    night = bedroom.last.night
    for index in (0, 3, 1, 2_500, 2_499, 4_999, 1, 3_999, 4_000):
        assert copies.row(night, "number", index).item == {"n": str(index)}
    with pytest.raises(UnknownName, match="no row 5000"):
        copies.row(night, "number", 5_000)
