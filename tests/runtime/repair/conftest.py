"""A house with pictures of every state: whole, gone, altered, and of before they were measured.

What it is not: a house that works; its facts are written here by hand, as the door writes them.
"""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tildawn.engine.outcome import Artifact
from tildawn.facts.call import CallSettled
from tildawn.facts.fact import FactData
from tildawn.facts.picture import Drawn
from tildawn.facts.step import ArtifactKept
from tildawn.ids import Ids
from tildawn.ledger.entry import Answer
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verify import verify
from tildawn.projections.damage import DamageSum, damage_sum
from tildawn.projections.picture import PictureLostRow, PictureRow, PictureRuleRow, RepairRow
from tildawn.providers.sim.drawing import png
from tildawn.runtime.repair.doing import Repaired, apply_repair
from tildawn.runtime.repair.plan import RepairPlan, plan_repair
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock


RUN = "7" * 32


class Attic:
    """A folder with a house in it."""

    def __init__(self, folder: Path) -> None:
        """Found the house."""
        self.folder = folder
        self.clock = ManualClock()
        self.ledger = self.open()

    def open(self) -> Ledger:
        """Take the pen."""
        return Ledger.open(
            self.folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=Ids(self.clock), build="test",
        )  # fmt: skip

    def reopen(self) -> None:
        """Close and open again."""
        self.ledger.close()
        self.ledger = self.open()

    def say(self, data: FactData, path: str, *payloads: Any, blobs: tuple[str, ...] = ()) -> Answer:
        """Append one fact about the run."""
        entry = self.ledger.draft(data, run=RUN, path=path, payloads=payloads, blobs=blobs)
        return self.ledger.append_now([entry])

    def drawn(self, path: str, *, measured: bool = True, content: bytes | None = None) -> Drawn:
        """A call was answered with a picture; one of before has no measures on record."""
        data = png(path, 40, 30) if content is None else content
        blob = self.ledger.blobs.put(data)
        said = Drawn(blob, "image/png", 40, 30, len(data))
        artifact = msgspec.json.encode(Artifact("image", blob, len(data), "image/png"))
        out = self.ledger.payload(artifact)
        settled = CallSettled(
            attempt=1, final=True, effect="applied", out=out.digest,
            picture=said if measured else None,
        )  # fmt: skip
        self.say(settled, path, out, None, blobs=(blob,))
        return said

    def kept(self, path: str, content: bytes, media: str) -> str:
        """A task kept an artifact."""
        blob = self.ledger.blobs.put(content)
        name = self.ledger.payload(b'"frame"')
        data = ArtifactKept(
            args="", blob=blob, size_bytes=len(content), media=media, name=name.digest
        )
        self.say(data, path, name, blobs=(blob,))
        return blob

    def file(self, blob: str) -> Path:
        """Where a blob is."""
        return self.ledger.blobs.path(blob)

    def plan(self, source: Path | None = None) -> RepairPlan:
        """What would be done now."""
        return plan_repair(self.ledger, source=source)

    def apply(self, plan: RepairPlan | str, source: Path | None = None) -> Repaired:
        """Do it."""
        said = plan if isinstance(plan, str) else plan.hash
        return asyncio.run(apply_repair(self.ledger, said, source=source))

    def rows(self) -> dict[str, PictureRow]:
        """The pictures by path."""
        with self.ledger.read() as reader:
            return {row.path: row for row in reader.rows(PictureRow)}

    def lost(self) -> dict[str, str]:
        """Why pictures are lost, by path."""
        with self.ledger.read() as reader:
            return {row.path: row.why for row in reader.rows(PictureLostRow)}

    def sum(self) -> DamageSum:
        """How the pictures stand."""
        with self.ledger.read() as reader:
            return damage_sum(reader)

    def may_lack_measures(self) -> bool:
        """Whether the table is open for rows without measures."""
        with self.ledger.read() as reader:
            rule = reader.get(PictureRuleRow, 0)
        return rule is not None and bool(rule.open)

    def repairs(self) -> list[RepairRow]:
        """Plans that were begun."""
        with self.ledger.read() as reader:
            return reader.rows(RepairRow, order="begun")

    def verdict(self) -> Any:
        """What verify says of the closed house."""
        self.ledger.close()
        return verify(self.folder, registry=REGISTRY, projections=PROJECTIONS)


def furnish(attic: Attic) -> dict[str, Drawn]:
    """Every state that a picture can be in, by name."""
    made = {
        "whole": attic.drawn("whole"),
        "gone": attic.drawn("gone"),
        "altered": attic.drawn("altered"),
        "old": attic.drawn("old", measured=False),
        "old-gone": attic.drawn("old-gone", measured=False),
        "old-words": attic.drawn("old-words", measured=False, content=b"<html>sorry</html>"),
    }
    attic.kept("frame", png("frame", 8, 8), "image/png")
    attic.kept("notes", b"words", "text/plain")
    for name in ("gone", "old-gone"):
        attic.file(made[name].blob).unlink()
    path = attic.file(made["altered"].blob)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert sha256(path.read_bytes()).hexdigest() != made["altered"].blob
    return made


@pytest.fixture
def attic(tmp_path: Path) -> Iterator[Attic]:
    """An empty house."""
    made = Attic(tmp_path / ".tildawn")
    yield made
    made.ledger.close()


@pytest.fixture
def furnished(attic: Attic) -> dict[str, Drawn]:
    """What is in the house, by name."""
    return furnish(attic)
