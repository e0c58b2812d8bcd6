"""A key takes over from another: on record with the word of both, whatever breaks in between."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tildawn.clock import SystemClock
from tildawn.errors import HouseUnusable, LedgerBroken
from tildawn.facts.house import HouseRestored
from tildawn.facts.signing import SigningKeyMade, SigningKeyRotated
from tildawn.ids import Ids
from tildawn.ledger.checkpoint import check_checkpoint, parse_checkpoint
from tildawn.ledger.keyring import Keyring, SigningKeyRow
from tildawn.ledger.layout import Layout
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.note import Signer, Verifier
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.signing import read_seed
from tildawn.testing.notebook import SIGNED, note
from tildawn.units import Seq


Open = Callable[..., Ledger]
IDS = Ids(SystemClock())


@pytest.fixture
def signed(house: Open) -> Open:
    """Opens the house as one that signs."""
    return lambda **options: house(**({"projections": SIGNED} | options))


def _ring(ledger: Ledger) -> Keyring:
    """The keys, learned from the facts alone."""
    ring = Keyring()
    with ledger.read() as reader:
        for seq, fact in reader.facts(limit=-1):
            if not isinstance(fact.data, msgspec.Raw):
                ring.take(seq, fact.data)
    return ring


def test_the_new_key_signs_and_the_old_one_is_gone(signed: Open, folder: Path) -> None:
    """Which key holds for which size follows from the facts, and the row says the same."""
    ledger = signed()
    before = ledger.checkpoint()

    old, new = rotate_key(ledger, "a laptop was lost", ids=IDS)

    after = ledger.newest_checkpoint()
    assert after is not None
    ring = _ring(ledger)
    sizes = [parse_checkpoint(one.text).size for one in (before, after)]
    spans = [ring.at(size) for size in sizes]
    assert [span.verifier for span in spans if span is not None] == [old, new]
    check_checkpoint(before, old.name, [old])
    check_checkpoint(after, new.name, [new])
    with ledger.read() as reader:
        rows = reader.rows(SigningKeyRow)
    assert [(row.begin, row.public) for row in rows] == [
        (span.begin, span.public) for span in ring.spans
    ]
    files = sorted(path.name for path in (folder / "keys").iterdir())
    assert files == ["house.key", "signing.key"]
    assert new.public.hex() != old.public.hex()
    ledger.close()
    signed()


CHILD = """
import os, sys
from pathlib import Path
from tildawn.clock import SystemClock
from tildawn.ids import Ids
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.signing import read_seed
from tildawn.testing.notebook import SIGNED, open_notebook

def reached(step):
    if step == sys.argv[2]:
        os._exit(9)

ledger = open_notebook(Path(sys.argv[1]), projections=SIGNED)
rotate_key(ledger, "", ids=Ids(SystemClock()), reached=reached)
"""


@pytest.mark.parametrize(
    ("step", "keys"), [("sealed", 1), ("made", 1), ("recorded", 2), ("moved", 2)]
)
def test_a_crash_at_each_step_leaves_a_house_that_signs(
    step: str, keys: int, signed: Open, folder: Path
) -> None:
    """The fact decides which key is meant; the files follow it at the next start."""
    signed().close()
    child = subprocess.run([sys.executable, "-c", CHILD, str(folder), step], check=False)
    assert child.returncode == 9

    ledger = signed()
    ledger.append_now([note(ledger, 1)])
    made = ledger.checkpoint()

    ring = _ring(ledger)
    assert len(ring.spans) == keys
    assert ring.newest is not None
    check_checkpoint(made, ring.newest.origin, [ring.newest.verifier])
    files = sorted(path.name for path in (folder / "keys").iterdir())
    assert files == ["house.key", "signing.key"]


def test_a_change_without_the_word_of_both_is_refused(signed: Open) -> None:
    """Whoever has neither key, or only one of them, cannot hand over."""
    ledger = signed()
    rotate_key(ledger, "", ids=IDS)
    with ledger.read() as reader:
        facts = [(seq, fact.data) for seq, fact in reader.facts(limit=-1)]
    seq, said = next((s, d) for s, d in facts if isinstance(d, SigningKeyRotated))
    other = Verifier("x", bytes(32)).public.hex()

    for change in (
        {"by_old": said.by_new}, {"by_new": said.by_old}, {"by_new": ""}, {"by_old": "!"},
        {"new": other}, {"old": other}, {"size": said.size + 1}, {"size": seq + 1},
        {"root": "00" * 32}, {"new": said.new.upper()}, {"new": "00"},
    ):  # fmt: skip
        ring = Keyring()
        for at, data in facts:
            if isinstance(data, SigningKeyRotated):
                with pytest.raises(LedgerBroken, match="without the word of both"):
                    ring.take(at, msgspec.structs.replace(said, **change))
            elif not isinstance(data, msgspec.Raw):
                ring.take(at, data)
    with pytest.raises(LedgerBroken, match="there was one before"):
        ring.take(99, SigningKeyMade(public=other))


def test_a_restored_house_signs_under_its_new_name(signed: Open, folder: Path) -> None:
    """Its log is another one from there on; checkpoints of before keep their origin."""
    ledger = signed()
    before = ledger.checkpoint()
    public = Signer("key", read_seed(Layout(folder).signing_key)).verifier.public.hex()
    said = HouseRestored(
        name="anew", from_name=ledger.name, from_size=9, from_root="", epoch=1, source="ledger",
        public=public,
    )  # fmt: skip
    ledger.append_now([ledger.draft(said)])

    ring = _ring(ledger)
    old = ring.at(parse_checkpoint(before.text).size)
    new = ring.at(ledger.next_seq)
    assert old is not None
    assert new is not None
    assert (old.origin, new.origin) == (f"tildawn/{ledger.name}", "tildawn/anew")
    assert (old.public, new.begin) == (new.public, ledger.next_seq)
    with ledger.read() as reader:
        rows = reader.rows(SigningKeyRow)
    assert [(row.begin, row.name) for row in rows] == [
        (span.begin, span.name) for span in ring.spans
    ]


def test_only_the_holder_of_the_pen_rotates(signed: Open) -> None:
    """Two that change the key at once would leave a key that nobody has."""
    signed().close()
    ledger = signed(mode="read")
    with pytest.raises(HouseUnusable, match="holds the pen"):
        rotate_key(ledger, "", ids=IDS)


def test_the_reason_is_a_payload(signed: Open) -> None:
    """A person's words can be erased; the change of the key cannot."""
    ledger = signed()
    rotate_key(ledger, "the disk was sold", ids=IDS)
    with ledger.read() as reader:
        seq = next(s for s, f in reader.facts(limit=-1) if isinstance(f.data, SigningKeyRotated))
        assert reader.payload(Seq(seq), 0) == b'"the disk was sold"'
