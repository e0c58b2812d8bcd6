"""The text of a checkpoint is that of C2SP tlog-checkpoint, and no other passes for one."""

import pytest

from tildawn.errors import ProofBroken
from tildawn.ledger.checkpoint import Checkpoint, check_checkpoint, origin_of, parse_checkpoint
from tildawn.ledger.note import Signer


ROOT = bytes(range(32))
TEXT = "tildawn/a\n20852163\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
SIGNER = Signer("tildawn/a", bytes(32))


def test_the_text_has_origin_size_and_root() -> None:
    """Other people's tools read exactly this."""
    checkpoint = Checkpoint(origin_of("a"), 20_852_163, ROOT)

    assert checkpoint.text == TEXT
    assert parse_checkpoint(TEXT) == checkpoint


def test_lines_of_other_logs_are_passed_over() -> None:
    """The specification allows them; we write none."""
    assert parse_checkpoint(f"{TEXT}extension\n").size == 20_852_163


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "tildawn/a\n1\n", TEXT[:-1], TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", "-1"), TEXT.replace("20852163", "+1"),
        TEXT.replace("Hh8=", "Hh9="), TEXT.replace("AAEC", "AAE"), TEXT.replace("tildawn/a", ""),
        f"{TEXT}\nextension\n",
    ],
)  # fmt: skip
def test_another_text_is_no_checkpoint(text: str) -> None:
    """A size or a root has one way of being written, so a text is not changed unseen."""
    with pytest.raises(ProofBroken, match="no checkpoint"):
        parse_checkpoint(text)


def test_a_checkpoint_holds_for_its_log_and_its_key_alone() -> None:
    """Of another log, by another key, or altered: each is said apart."""
    checkpoint = Checkpoint("tildawn/a", 7, ROOT)
    note, keys = checkpoint.sign([SIGNER]), [SIGNER.verifier]
    foreign = Signer("tildawn/a", bytes([1]) * 32)

    assert check_checkpoint(note, "tildawn/a", keys) == checkpoint
    with pytest.raises(ProofBroken, match="of another log"):
        check_checkpoint(note, "tildawn/b", keys)
    with pytest.raises(ProofBroken, match="no key of tildawn/a signed"):
        check_checkpoint(note, "tildawn/a", [foreign.verifier])
    altered = Checkpoint("tildawn/a", 8, ROOT).text
    with pytest.raises(ProofBroken, match="not one of this text"):
        check_checkpoint(type(note)(altered, note.signatures), "tildawn/a", keys)
