"""The guard of the path that reads pictures: bad rows are passed over, counted and queued.

What it is not: the repair of them.
"""

import asyncio
import os
from random import Random
from typing import Any

import pytest

from tildawn.facts.picture import Drawn
from tildawn.guard.call import Door
from tildawn.projections import damage
from tildawn.projections.damage import Looked, pictures_of, readable
from tildawn.runtime.loops import Turning, look_at_pictures
from tildawn.runtime.repair import queue
from tildawn.runtime.repair.queue import queue_damage, report_damage


RUN = "7" * 32


def shown(attic: Any, looked: Looked | None = None) -> Any:
    """What a reader of pictures gets."""
    with attic.ledger.read() as reader:
        rows = pictures_of(reader, RUN)
    return readable(looked or Looked(attic.ledger.blobs), rows)


def test_only_what_can_be_shown_is_shown_and_the_rest_is_counted_with_its_reason(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """A black frame is worse than one picture fewer."""
    got = shown(attic)

    assert [row.path for row in got.rows] == ["whole"]
    assert [(one.row.path, one.why) for one in got.bad] == [
        ("altered", "altered"), ("gone", "missing"),
    ]  # fmt: skip
    assert got.unmeasured == 0


def test_a_picture_whose_measures_on_record_are_wrong_is_not_shown(attic: Any) -> None:
    """The frame is made for what the record says."""
    content = b"GIF87a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
    attic.drawn("other", content=content)

    [bad] = shown(attic).bad

    assert bad.why == "unreadable"
    assert "1x1 pixels, not 40x30" in bad.detail


def test_what_was_found_is_queued_once_and_passed_over_from_then_on(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """Every reader would otherwise meet the same bad file again."""
    bad = shown(attic).bad

    assert asyncio.run(queue_damage(attic.ledger, bad)) == 2
    assert asyncio.run(queue_damage(attic.ledger, bad)) == 0
    assert attic.sum().damaged == 2
    assert shown(attic).bad == ()
    steps = {(step.do, step.path, step.was) for step in attic.plan().steps}
    assert ("condemn", "gone", "missing") in steps


def test_a_picture_is_read_once_while_its_file_stays_as_it_is(
    attic: Any, furnished: dict[str, Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stock is asked within milliseconds; a change of the file is seen all the same."""
    reads: list[bytes] = []

    def read(content: bytes) -> Any:
        reads.append(content)
        return original(content)

    original = damage.read_picture
    monkeypatch.setattr(damage, "read_picture", read)
    looked = Looked(attic.ledger.blobs)
    for _ in range(3):
        shown(attic, looked)
    assert len(reads) == 1

    path = attic.file(furnished["whole"].blob)
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, (1, 1))

    assert shown(attic, looked).rows == ()


def test_a_damaged_file_is_made_whole_by_the_same_picture_drawn_again(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """Its name was there and its size was right, so it was once taken as kept."""
    attic.drawn("altered")

    assert [row.path for row in shown(attic).rows] == ["altered", "whole"]
    assert len(list((attic.folder / "blobs" / "damaged").iterdir())) == 1


def test_a_reader_that_cannot_show_a_blob_reports_every_picture_of_it(
    attic: Any, furnished: dict[str, Drawn]
) -> None:
    """The stock meets a file and not a row; what is whole or of another size is no damage."""
    attic.drawn("again", content=b"GIF87a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;")

    assert report_damage(attic.ledger, furnished["gone"].blob) == 1
    assert report_damage(attic.ledger, furnished["gone"].blob) == 0
    assert report_damage(attic.ledger, furnished["whole"].blob) == 0
    assert attic.rows()["gone"].damage == "missing"


def test_the_house_goes_round_its_pictures_by_itself(
    attic: Any, furnished: dict[str, Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody looks at rots unseen; each turn takes some, and after the last begins anew."""
    monkeypatch.setattr(queue, "ROUND", 2)
    rounds = queue.Rounds(attic.ledger)

    seen = [sorted(bad.row.path for bad in rounds.look()) for _ in range(4)]

    assert seen == [["altered", "gone"], [], ["altered", "gone"], []]


def test_the_loop_puts_on_record_what_it_finds(attic: Any, furnished: dict[str, Drawn]) -> None:
    """A worker that runs for weeks finds it before its owner does."""

    async def turn() -> None:
        door = Door(attic.ledger, attic.clock, Random(0))
        await look_at_pictures(Turning(attic.ledger, door, attic.clock))

    asyncio.run(turn())

    assert attic.sum().damaged == 2
