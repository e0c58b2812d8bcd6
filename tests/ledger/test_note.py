"""Signed notes are those of the specification, and a signature that does not hold is refused."""

from base64 import b64decode

import pytest

from tildawn.errors import BadValue, ProofBroken
from tildawn.ledger.note import Note, Signer, Verifier, parse_note, signed, verify_note


#: The example of the specification. Source: golang.org/x/mod/sumdb/note.
KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
EXAMPLE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6"
    "KE6RyyBwJnAM=\n"
)
SEED = bytes(range(32))


def test_the_example_of_the_specification_holds() -> None:
    """Ours read what others wrote."""
    key = Verifier.parse(KEY)
    note = parse_note(EXAMPLE)

    assert verify_note(note, [key]) == (key,)
    assert (key.dump(), note.dump()) == (KEY, EXAMPLE)


def test_the_private_key_of_the_example_signs_the_same() -> None:
    """Ed25519 is deterministic, so others get our bytes."""
    secret = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    signer = Signer("PeterNeumann", b64decode(secret)[1:])

    assert signed(parse_note(EXAMPLE).text, [signer]).dump() == EXAMPLE


def test_a_changed_text_is_refused() -> None:
    """One letter is enough."""
    note = parse_note(EXAMPLE.replace("answer", "Answer"))

    with pytest.raises(ProofBroken, match="PeterNeumann"):
        verify_note(note, [Verifier.parse(KEY)])


def test_signatures_of_strangers_are_passed_over_and_prove_nothing() -> None:
    """A note may carry witnesses that a reader does not know."""
    mine, other = Signer("mine", SEED), Signer("other", bytes(32))
    note = signed("text\n", [other])

    assert verify_note(note, [mine.verifier]) == ()
    both = Note(note.text, (*note.signatures, mine.sign(note.text)))
    assert verify_note(parse_note(both.dump()), [mine.verifier]) == (mine.verifier,)


def test_the_same_key_under_another_name_is_another_key() -> None:
    """Its id covers the name, so a restored ledger cannot sign as the one before."""
    first, second = Signer("a", SEED).verifier, Signer("b", SEED).verifier

    assert first.key_id != second.key_id


def test_a_cosignature_binds_its_time() -> None:
    """A witness says when it saw the checkpoint."""
    witness = Signer("witness", SEED)
    key = Verifier(witness.verifier.name, witness.verifier.public, kind=4)
    note = Note("text\n", (witness.cosign("text\n", 1_700_000_000),))

    assert verify_note(note, [key]) == (key,)
    value = note.signatures[0].value
    moved = Note("text\n", (type(note.signatures[0])(key.name, key.key_id, b"\0" * 8 + value[8:]),))
    with pytest.raises(ProofBroken):
        verify_note(moved, [key])


@pytest.mark.parametrize(
    "bad",
    [
        "", "text\n", "text\n\n", "text\n\n— a\n", "text\n\n— a AAAA\n", "text\n\n- a AAAAAAAA\n",
        "text\n\n— a b AAAAAAAA\n", "text\n\n— a+b AAAAAAAA\n", "text\n\n— a AAAAAAAA",
        "text\r\n\n— a AAAAAAAA\n", "text\n\n" + "— a AAAAAAAA\n" * 101,
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(bad: str) -> None:
    """Never half understood."""
    with pytest.raises(ProofBroken):
        parse_note(bad)


@pytest.mark.parametrize(
    "bad", ["", "a", "a+00000000+", "a+00000000+AAAA", KEY.replace("c7", "c8"), "a b" + KEY[12:]]
)
def test_what_is_no_key_is_refused(bad: str) -> None:
    """Its id has to be that of the key."""
    with pytest.raises(BadValue):
        Verifier.parse(bad)
