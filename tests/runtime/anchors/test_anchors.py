"""Anchors at work, each kind in four outcomes: done, refused, failed but applied, hung.

And what they are for: a ledger that was put back to an older copy is consistent in itself, and
only another place can tell.
"""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import BadSetting, LedgerBroken, UnknownName
from tildawn.facts.house import ClockJumped
from tildawn.ledger import anchor_file
from tildawn.ledger.verify import verify
from tildawn.runtime.anchors import FIRST_WAIT, LIMIT, Anchors, Standing, claim_of
from tildawn.runtime.config import load
from tildawn.runtime.places import Place
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import SECOND, Micros, Seq


pytestmark = pytest.mark.anyio

HOUR = Micros(3_600 * SECOND)
KINDS = ["file", "git", "witness"]

New = Callable[[], Any]
"""Founds a house; see conftest."""

Make = Callable[..., AbstractAsyncContextManager[Any]]
"""Makes another place of a kind, named x."""


def anchors_of(house: Any, *others: Any) -> Anchors:
    return Anchors(house.ledger, [one.place for one in others], house.clock)


async def one(asked: asyncio.Future[tuple[Standing, ...]]) -> Standing:
    [stands] = await asked
    return stands


@pytest.mark.parametrize("kind", KINDS)
async def test_a_checkpoint_is_kept_and_the_evidence_is_on_record(
    kind: str, house: New, other: Make
) -> None:
    """Done: what the place gave for it stands in the ledger, and nothing is owed."""
    home = house()
    async with other(kind, home) as place:
        anchors = anchors_of(home, place)
        home.grow()
        [stands] = await anchors.now()

        row = home.row()
        assert (stands.state, row.state, row.kind) == ("anchored", "anchored", kind)
        claim = claim_of(home.ledger)
        assert claim is not None
        assert row.size == stands.size == claim.checkpoint.size
        with home.ledger.read() as reader:
            assert stands.text in reader.payload(Seq(row.seq), 0).decode()
        assert "unanchored" not in home.debt()
        assert [one.state for one in await anchors.check()] == ["anchored"]
        # At rest it stays so: facts about anchors owe nothing.
        await anchors.turn()
        home.ledger.checkpoint()
        home.clock.advance(HOUR)
        await settle(anchors)
        assert home.said() == ["Anchored"]
        assert place.count() == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_place_that_refuses_is_told_once_and_tried_again(
    kind: str, house: New, other: Make
) -> None:
    """Refused: one fact for each change, a debt that anybody can see, and no gap in the end."""
    home = house()
    async with other(kind, home) as place:
        anchors = anchors_of(home, place)
        home.grow()
        place.refuse()
        for _ in range(3):
            await settle(anchors)
            home.clock.advance(Micros(20 * FIRST_WAIT))
        assert home.said() == ["AnchorFailed"]
        assert home.debt().startswith("unanchored for 30 min: ")

        place.mend()
        await settle(anchors)
        assert home.said() == ["AnchorFailed", "Anchored"]
        assert "unanchored" not in home.debt()
        await anchors.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_was_lost_is_found_the_next_time(
    kind: str, house: New, other: Make
) -> None:
    """Failed but applied: the place has it, we do not know, and asking again is harmless."""
    home = house()
    async with other(kind, home) as place:
        anchors = anchors_of(home, place)
        home.grow()
        place.lose()
        asked = asyncio.ensure_future(anchors.now())
        if kind != "file":
            await place.reached()
            await home.clock.sleepers()  # the limit runs
            home.clock.advance(LIMIT)
        assert (await one(asked)).state == "failed"
        place.mend()

        assert (await one(asyncio.ensure_future(anchors.now()))).state == "anchored"
        assert home.said() == ["AnchorFailed", "Anchored"]
        assert place.count() == 1
        await anchors.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_place_that_hangs_holds_nothing_up(
    kind: str, house: New, other: Make, tmp_path: Path
) -> None:
    """Hung: the others are anchored, work is recorded, and the try ends by itself."""
    home = house()
    async with other(kind, home) as place:
        (tmp_path / "good").mkdir()
        good = anchor_file.FileAnchor("good", tmp_path / "good", house=home.folder)
        anchors = Anchors(home.ledger, [place.place], home.clock)
        home.grow()
        place.hang()
        asked = asyncio.ensure_future(anchors.now())
        await place.reached()
        await home.clock.sleepers()  # the limit runs
        await anchors.turn()  # waits for nothing
        home.ledger.append_now([home.ledger.draft(ClockJumped(by_ms=2))])
        if kind != "file":
            aside = Anchors(home.ledger, [Place(good, HOUR)], home.clock)
            assert (await one(asyncio.ensure_future(aside.now()))).state == "anchored"
        home.clock.advance(LIMIT)
        stands = await one(asked)
        assert (stands.state, "no answer within 60 s" in stands.text) == ("failed", True)

        place.mend()
        await anchors.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grown", [0, 40])
async def test_a_ledger_put_back_to_an_older_copy_is_found(
    kind: str, grown: int, house: New, other: Make, tmp_path: Path
) -> None:
    """Cut, or cut and written on beyond its old length; the alarm is on record and stays."""
    home = house()
    async with other(kind, home) as place:
        home.grow()
        home.keep_copy(tmp_path / "copy")
        home.grow(30)
        first = anchors_of(home, place)
        assert (await one(asyncio.ensure_future(first.now()))).state == "anchored"
        kept = place.count()

        home.put_back(tmp_path / "copy")
        home.clock.advance(SECOND)  # what is written on is not what was there
        home.open("read" if not grown else "write")
        if grown:
            home.grow(grown)
        # The attack: everything that lies here fits together.
        proven = verify(home.folder, registry=REGISTRY, projections=PROJECTIONS)
        assert proven.exit_code == 0, proven.what

        anchors = anchors_of(home, place)
        stands = await one(asyncio.ensure_future(anchors.check()))
        assert (stands.state, stands.exit_code) == ("broken", 4)
        assert ("it was cut" if not grown else "are not those") in stands.text
        if grown:
            await settle(anchors)
            home.clock.advance(HOUR)
            await settle(anchors)
            assert home.said() == ["AnchorFailed"]
            assert home.row().state == "broken"
            assert home.debt().startswith("BROKEN: ")
        assert place.count() == kept
        home.ledger.close()


async def test_without_an_anchor_the_older_copy_is_not_found(house: New, tmp_path: Path) -> None:
    """What cannot be found without one is asserted too: here is what an anchor is for."""
    home = house()
    home.grow()
    home.keep_copy(tmp_path / "copy")
    home.grow(30)
    home.put_back(tmp_path / "copy")

    assert verify(home.folder, registry=REGISTRY, projections=PROJECTIONS).exit_code == 0
    home.open()
    assert await anchors_of(home).check() == ()
    home.ledger.close()


async def test_a_place_that_lost_what_it_took_is_missing(house: New, other: Make) -> None:
    """A folder that was emptied proves nothing, and that is not fine."""
    home = house()
    async with other("file", home) as place:
        anchors = anchors_of(home, place)
        home.grow()
        await anchors.now()
        folder = place.folder / "tildawn"
        await asyncio.to_thread(shutil.rmtree, folder)

        [stands] = await anchors.check()
        assert (stands.state, stands.exit_code) == ("missing", 3)
        assert "it has nothing of" in stands.text


async def test_a_ledger_that_contradicts_its_checkpoint_is_not_anchored(
    house: New, other: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another place must not be made to vouch for what we would not sign."""
    home = house()
    home.grow()
    monkeypatch.setattr("tildawn.ledger.sqlite.tree.Tree.root", lambda _, size: bytes(32))

    with pytest.raises(LedgerBroken, match="not what its checkpoint of"):
        claim_of(home.ledger)


async def test_what_the_settings_no_longer_name_is_owed_nothing(house: New, other: Make) -> None:
    """Else the report would complain for ever about a disk that was given away."""
    home = house()
    async with other("file", home) as place:
        home.grow()
        await anchors_of(home, place).now()
    await settle(anchors_of(home))

    assert home.said() == ["Anchored", "AnchorRemoved"]
    with pytest.raises(UnknownName, match="no anchor is called x"):
        await anchors_of(home).now(["x"])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('path = "/x"', "kind is missing"),
        ('kind = "file"', "path is missing"),
        ('kind = "git"', "path is missing"),
        ('kind = "witness"\nurl = "http://x"', "key is missing"),
        ('kind = "file"\npath = "/x"\nurl = "http://x"', "url says nothing to a file"),
        ('kind = "paper"', "cannot be 'paper'"),
        ('kind = "file"\npath = "/x"\nevery = "1s"', "every cannot be '1s'"),
    ],
)
def test_settings_that_cannot_anchor_are_refused(said: str, reason: str, tmp_path: Path) -> None:
    """At the start, not in the night."""
    (tmp_path / "tildawn.toml").write_text(f'[anchor."x"]\n{said}\n')

    with pytest.raises(BadSetting, match=reason):
        load(tmp_path, environ={})


async def settle(anchors: Anchors) -> None:
    """One turn, and whatever it began."""
    await anchors.turn()
    tasks = [one.task for one in anchors._keeping.values() if one.task is not None]
    await asyncio.gather(*tasks)
