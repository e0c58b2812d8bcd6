"""Repair: the plan tells everything, doing it does exactly that, and history stays.

What it is not: the killing of it; that is test_kill.py.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import InvariantViolated, PlanChanged
from tildawn.facts.call import CallSettled
from tildawn.facts.picture import Drawn, PictureNoted, PicturesConstrained, PicturesOpened
from tildawn.providers.sim.drawing import png


def done(plan: Any) -> list[tuple[str, str, str]]:
    """The steps of a plan: what, where, and what was wrong."""
    return [(step.do, step.path, step.was) for step in plan.steps]


def test_the_plan_names_what_is_wrong_and_what_would_be_done_in_the_safe_order(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """Nullable, backfill, constrain: any other order refuses good rows or keeps bad ones."""
    plan = attic.plan()

    assert done(plan) == [
        ("open", "", ""),
        ("note", "frame", "unknown"),
        ("note", "old", "unknown"),
        ("note", "old-gone", "unknown"),
        ("note", "old-words", "unknown"),
        ("measure", "frame", "unknown"),
        ("measure", "old", "unknown"),
        ("condemn", "altered", "altered"),
        ("condemn", "gone", "missing"),
        ("condemn", "old-gone", "missing"),
        ("condemn", "old-words", "unreadable"),
        ("constrain", "", ""),
    ]
    assert plan.hash == attic.plan().hash
    assert attic.sum().pictures == 3  # looking changed nothing


def test_doing_the_plan_leaves_whole_pictures_and_a_table_of_lost_ones(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """What cannot be brought back must not stay among what can be shown."""
    size = attic.ledger.next_seq
    done = attic.apply(attic.plan())

    assert (done.measured, done.condemned, done.restored) == (2, 4, 0)
    rows = attic.rows()
    assert set(rows) == {"whole", "old", "frame"}
    assert (rows["old"].width, rows["old"].height) == (40, 30)
    assert attic.lost() == {
        "gone": "missing", "altered": "altered", "old-gone": "missing", "old-words": "unreadable",
    }  # fmt: skip
    assert not attic.may_lack_measures()
    assert attic.plan().steps == ()
    assert attic.ledger.next_seq > size  # new facts; the old ones are proven below
    attic.file(furnished["gone"].blob).write_bytes(png("gone", 40, 30))
    attic.file(furnished["old-gone"].blob).write_bytes(png("old-gone", 40, 30))
    attic.file(furnished["altered"].blob).write_bytes(png("altered", 40, 30))
    assert attic.verdict().exit_code == 0


def test_a_plan_is_refused_when_things_have_changed(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """The owner agreed to one list; nobody may carry out another."""
    plan = attic.plan()
    attic.file(furnished["whole"].blob).unlink()

    size = attic.ledger.next_seq
    with pytest.raises(PlanChanged) as refused:
        attic.apply(plan)

    assert refused.value.exit_code == 3
    assert attic.ledger.next_seq == size
    with pytest.raises(PlanChanged):
        attic.apply("0" * 64)


def test_new_facts_that_have_nothing_to_do_with_it_change_no_plan(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """A house at work must be repairable while it works."""
    plan = attic.plan()
    attic.drawn("new")

    assert attic.apply(plan).fresh


def test_a_plan_that_was_done_is_not_done_twice(attic: Any, furnished: dict[str, Drawn]) -> None:
    """Whoever types it again after a lost connection gets the same answer."""
    plan = attic.plan()
    first = attic.apply(plan)
    size = attic.ledger.next_seq
    second = attic.apply(plan)

    assert (first.fresh, second.fresh) == (True, False)
    assert (second.measured, second.condemned) == (first.measured, first.condemned)
    assert attic.ledger.next_seq == size


def test_files_come_back_whole_from_a_copy_of_the_house(
    attic: Any, furnished: dict[str, Drawn], tmp_path: Path
) -> None:
    """A lost file is lost for good only when no copy of it is anywhere."""
    copy = tmp_path / "copy"
    for name in ("gone", "altered", "old-gone"):
        blob = furnished[name].blob
        (copy / "blobs" / blob[:2]).mkdir(parents=True)
        (copy / "blobs" / blob[:2] / blob).write_bytes(png(name, 40, 30))
    damaged = attic.file(furnished["altered"].blob).read_bytes()
    plan = attic.plan(copy)
    assert plan.hash != attic.plan().hash

    result = attic.apply(plan, copy)

    assert (result.restored, result.measured, result.condemned) == (3, 5, 1)
    assert attic.lost() == {"old-words": "unreadable"}
    assert attic.file(furnished["altered"].blob).read_bytes() == png("altered", 40, 30)
    aside = list((attic.folder / "blobs" / "damaged").iterdir())
    assert [one.read_bytes() for one in aside] == [damaged]  # evidence is kept
    assert attic.verdict().exit_code == 0


def test_a_condemned_picture_comes_back_when_its_bytes_do(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """A copy may turn up a week later."""
    attic.apply(attic.plan())
    attic.ledger.blobs.put(png("gone", 40, 30))
    plan = attic.plan()

    assert done(plan) == [("measure", "gone", "lost")]
    attic.apply(plan)
    assert "gone" in attic.rows()
    assert "gone" not in attic.lost()


def test_a_copy_that_is_gone_meanwhile_ends_the_repair_where_it_is(
    attic: Any, furnished: dict[str, Drawn], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the plan, or nothing further; the next plan starts from what is."""
    copy = tmp_path / "copy"
    blob = furnished["gone"].blob
    (copy / blob[:2]).mkdir(parents=True)
    (copy / blob[:2] / blob).write_bytes(png("gone", 40, 30))
    plan = attic.plan(copy)

    def full(_: str) -> bool:
        message = "no space left"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr(attic.ledger.blobs, "set_aside", full)
        with pytest.raises(OSError, match="space"):
            attic.apply(plan, copy)
    shutil.rmtree(copy)
    with pytest.raises(PlanChanged, match="copy"):
        attic.apply(plan)

    assert [row.ended for row in attic.repairs()] == [-1]
    attic.apply(attic.plan())
    assert "gone" in attic.lost()
    assert not attic.may_lack_measures()


# -- the schema ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0}, {"height": 0}, {"width": 16_385}, {"height": -1}, {"size_bytes": 0},
        {"blob": "x" * 64}, {"blob": "a" * 63}, {"blob": "A" * 64}, {"media": "text/html"},
        {"media": "image/"},
    ],
    ids=str,
)  # fmt: skip
def test_the_table_refuses_a_picture_without_sane_measures(attic: Any, wrong: Any) -> None:
    """Code is forgotten or gone round; a constraint of the schema is not."""
    said: dict[str, Any] = {
        "blob": "a" * 64,
        "media": "image/png",
        "width": 4,
        "height": 4,
        "size_bytes": 70,
    }
    fact = CallSettled(attempt=1, final=True, effect="applied", picture=Drawn(**said | wrong))
    size = attic.ledger.next_seq

    with pytest.raises(InvariantViolated):
        attic.say(fact, "p")

    assert attic.ledger.next_seq == size
    attic.say(CallSettled(attempt=1, final=True, effect="applied", picture=Drawn(**said)), "p")
    assert set(attic.rows()) == {"p"}


def test_a_row_without_measures_is_refused_unless_a_repair_has_opened_the_table(
    attic: Any,
) -> None:
    """A house of today is closed from its first day."""
    noted = PictureNoted(attempt=1, blob="a" * 64, media="image/png")
    with pytest.raises(InvariantViolated, match="measures"):
        attic.say(noted, "p")

    attic.say(PicturesOpened(plan="x"), "")
    attic.say(noted, "p")

    assert attic.rows()["p"].width is None


def test_the_table_cannot_be_closed_while_a_measure_is_missing(attic: Any) -> None:
    """Constrained too early, the next rebuild would refuse the house."""
    attic.say(PicturesOpened(plan="x"), "")
    attic.say(PictureNoted(attempt=1, blob="a" * 64, media="image/png"), "p")

    with pytest.raises(InvariantViolated, match="lack"):
        attic.say(PicturesConstrained(plan="x"), "")

    assert attic.may_lack_measures()
