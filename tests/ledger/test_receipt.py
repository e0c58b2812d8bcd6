"""A receipt proves one fact to somebody without the house, and a forged one proves nothing."""

from base64 import b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import ProofBroken
from tildawn.ledger.chain import leaf_of, node
from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.note import Note, Signer
from tildawn.ledger.proof import prove_inclusion, range_root
from tildawn.ledger.receipt import Receipt, parse_receipt


ORIGIN = "tildawn/a"
SIGNER = Signer(ORIGIN, bytes(32))
BODIES = [b'{"n":%d}' % number for number in range(21)]
LEAVES = [leaf_of(body) for body in BODIES]
INDEX = 5


def _subtree(begin: int, end: int) -> bytes:
    return range_root(_perfect, begin, end)


def _perfect(level: int, at: int) -> bytes:
    if level == 0:
        return LEAVES[at]
    return node(_perfect(level - 1, 2 * at), _perfect(level - 1, 2 * at + 1))


def _made(signer: Signer = SIGNER, origin: str = ORIGIN) -> Receipt:
    size = len(LEAVES)
    note = Checkpoint(origin, size, _subtree(0, size)).sign([signer])
    return Receipt(index=INDEX, path=prove_inclusion(_subtree, INDEX, size), note=note)


def _check(receipt: Receipt, leaf: bytes = LEAVES[INDEX]) -> None:
    receipt.check(leaf, ORIGIN, [SIGNER.verifier])


def test_a_receipt_is_that_of_the_specification() -> None:
    """Tools that know tlog-proof read ours."""
    receipt = _made()
    lines = receipt.dump().split("\n")

    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 5"]
    assert lines[2:7] == [b64encode(one).decode() for one in receipt.path]
    assert lines[7:9] == ["", ORIGIN]
    assert parse_receipt(receipt.dump()) == receipt
    extra = msgspec.structs.replace(receipt, extra=b"some words")
    assert extra.dump().split("\n")[1] == "extra c29tZSB3b3Jkcw=="
    assert parse_receipt(extra.dump()) == extra
    _check(receipt)
    _check(extra)


def test_each_forged_part_is_found() -> None:
    """Index, path, fact, size, root, origin, key and signature are all bound together."""
    good, size = _made(), len(LEAVES)
    change = msgspec.structs.replace
    other = Signer(ORIGIN, b"\1" * 32)
    longer = Checkpoint(ORIGIN, size + 1, good.checkpoint.root)
    rooted = Checkpoint(ORIGIN, size, bytes(32))
    forged = {
        "not shown to be in the tree": [
            change(good, index=INDEX - 1),
            change(good, path=(bytes(32), *good.path[1:])),
            change(good, path=good.path[::-1]),
            change(good, path=good.path[:-1]),
            change(good, note=rooted.sign([SIGNER])),
        ],
        "too long": [change(good, path=(*good.path, bytes(32)))],
        "has no leaf": [change(good, index=size)],
        "not one of this text": [
            change(good, note=Note(longer.text, good.note.signatures)),
            change(good, note=Note(rooted.text, good.note.signatures)),
        ],
        "of another log": [_made(Signer("tildawn/b", bytes(32)), "tildawn/b")],
        "signed this checkpoint": [_made(other)],
    }

    for said, receipts in forged.items():
        for receipt in receipts:
            with pytest.raises(ProofBroken, match=said):
                _check(parse_receipt(receipt.dump()))
    with pytest.raises(ProofBroken, match="not shown"):
        _check(good, LEAVES[INDEX + 1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("@v1", "@v2"), "does not begin with"),
        (("index 5", "index 05"), "has no index"),
        (("index 5", "index -5"), "has no index"),
        (("index 5\n", ""), "has no index"),
        (("index 5\n", "index 5\n!\n"), "no base64"),
        (("index 5\n", "index 5\nAAAA\n"), "not those of a proof"),
        (("index 5\n", "extra\nindex 5\n"), "has no index"),
        (("index 5\n", "extra A\nindex 5\n"), "no base64"),
        (("\n\n", "\n"), "no base64"),
        (("— ", "- "), "no signature line"),
    ],
)
def test_what_is_no_receipt_is_refused(change: tuple[str, str], said: str) -> None:
    """A text that is read in two ways can be used in two ways."""
    text = _made().dump().replace(*change, 1)

    with pytest.raises(ProofBroken, match=said):
        parse_receipt(text)


def test_a_receipt_without_its_signature_is_refused() -> None:
    """What is stripped is broken, not merely unknown."""
    text = _made().dump()

    with pytest.raises(ProofBroken, match="signatures, not 0"):
        parse_receipt(text[: text.index("— ")])


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=1))
def test_no_single_changed_byte_proves_another_fact(at: int, byte: bytes) -> None:
    """Whatever byte is changed: it is refused, or it is the same proof written otherwise."""
    raw = _made().dump().encode()
    at %= len(raw)
    forged = raw[:at] + byte + raw[at + 1 :]

    try:
        receipt = parse_receipt(forged.decode())
        _check(receipt)
    except (ProofBroken, UnicodeDecodeError):
        return
    assert (receipt.index, receipt.checkpoint) == (INDEX, _made().checkpoint)
