"""What is asked of the ledger's proof: verify, receipts, checkpoints, and the key that signs.

What it is not: repair.  Nothing here changes what a ledger says; a changed key is a fact more.
"""

import asyncio

import msgspec

from tildawn.errors import BadValue, Misused, ProofBroken
from tildawn.ledger.chain import leaf_of
from tildawn.ledger.checkpoint import Checkpoint, origin_of, parse_checkpoint
from tildawn.ledger.expectation import Expectation, Outside, Worded, signed_by
from tildawn.ledger.keyring import Keyring, SigningKeyRow, Span
from tildawn.ledger.layout import Layout
from tildawn.ledger.note import Verifier, parse_note
from tildawn.ledger.reader import Reader
from tildawn.ledger.receipt import Receipt, parse_receipt
from tildawn.ledger.rotation import rotate_key
from tildawn.ledger.verdict import State, Verdict
from tildawn.ledger.verified import Verified as Before
from tildawn.ledger.verified import remember_verified, verified_before
from tildawn.ledger.verify import verify
from tildawn.ledger.words import parse_words, words_of
from tildawn.projections.house import HouseRow
from tildawn.runtime.house import House
from tildawn.runtime.mirror import with_mirror
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.units import Seq


_EXIT = {State.PROVEN: 0, State.BROKEN: 4, State.NOT_PROVABLE: 3}


class VerifyInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How thoroughly, and what is known from outside.

    ``fast`` checks the hashes of what came since the last check, ``hashes`` those of everything;
    without either, and with ``full``, everything is checked.  ``against`` is a signed checkpoint
    and ``origin`` says where it is from; ``keys`` may have signed that, or without one, the
    ledger.  ``words`` are twelve words.
    """

    fast: bool = False
    full: bool = False
    hashes: bool = False
    against: str = ""
    origin: str = "the checkpoint"
    keys: tuple[str, ...] = ()
    words: str = ""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a proof; `exit_code` is 0 proven, 4 broken, 3 not provable."""

    state: str
    what: str
    #: The first fact concerned, None where there is none.
    seq: int | None
    facts: int
    chain: str
    root: str
    differences: tuple[str, ...]
    exit_code: int
    #: How many facts the newest signed checkpoint covers.
    sealed: int = 0
    #: Size and root as twelve words; empty where nothing was proven.
    words: str = ""
    #: From which fact on the bodies were hashed again.
    since: int = 0


async def _verify(desk: Desk, given: VerifyInput) -> Verified:
    if desk.folder is None:
        message = "no house was named"
        raise Misused(message)
    if given.fast + given.full + given.hashes > 1:
        message = "a check is --fast, --full or --hashes, not several of them"
        raise Misused(message)
    try:
        outside = _outside(given)
    except ProofBroken as error:
        return _answer(Verdict(state=State.BROKEN, what=f"{given.origin}: {error.message}"), None)
    layout = Layout(desk.folder)
    before = verified_before(layout) if given.fast else None
    found = verify(
        desk.folder, registry=REGISTRY, projections=PROJECTIONS, outside=outside,
        hashes_only=given.hashes or given.fast, since=before,
    )  # fmt: skip
    found = with_mirror(desk.folder, desk.config.settings, found)
    if found.verified is not None and found.state is State.PROVEN:
        remember_verified(layout, found.verified)
    return _answer(found, before)


def _outside(given: VerifyInput) -> Outside:
    keys = tuple(map(Verifier.parse, given.keys))
    expected: list[Expectation] = []
    if given.words:
        expected.append(Worded("the twelve words", parse_words(given.words)))
    if given.against:
        expected.append(signed_by(given.origin, parse_note(given.against), keys))
        keys = ()
    return Outside(expected=tuple(expected), keys=keys)


def _answer(found: Verdict, before: Before | None) -> Verified:
    words = ""
    if found.state is State.PROVEN and found.origin:
        words = _words(Checkpoint(found.origin, found.size, bytes.fromhex(found.root)))
    return Verified(
        state=found.state.value, what=found.what, seq=found.seq, facts=found.size,
        chain=found.chain, root=found.root, differences=found.differences,
        exit_code=found.exit_code, sealed=found.sealed, words=words,
        since=0 if before is None else before.size,
    )  # fmt: skip


def _words(checkpoint: Checkpoint) -> str:
    try:
        return " ".join(words_of(checkpoint))
    except BadValue:
        return ""  # so long a ledger has none


class ReceiptInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which fact."""

    seq: int


class Receipted(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, unless no checkpoint covers the fact yet; ``body`` is the fact itself."""

    covered: bool
    receipt: str
    #: How many facts the checkpoint covers.
    size: int
    kind: str
    body: str


async def _receipt(desk: Desk, given: ReceiptInput) -> Receipted:
    with desk.house.ledger.read() as reader:
        fact, body = reader.fact(Seq(given.seq))
        note = reader.checkpoint()
        size = 0 if note is None else parse_checkpoint(note.text).size
        receipt = ""
        if note is not None and given.seq < size:
            path = reader.inclusion(given.seq, size)
            receipt = Receipt(index=given.seq, path=path, note=note).dump()
    return Receipted(
        covered=bool(receipt), receipt=receipt, size=size, kind=fact.kind, body=body.decode()
    )


class ReceiptCheckInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt; the body of its fact and who may sign, where the house is not at hand."""

    receipt: str
    fact: str = ""
    keys: tuple[str, ...] = ()


class ReceiptChecked(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt is worth; `exit_code` is 0 proven, 4 broken, 3 not provable."""

    state: str
    what: str
    index: int
    size: int
    origin: str
    exit_code: int


async def _check_receipt(desk: Desk, given: ReceiptCheckInput) -> ReceiptChecked:
    keys = tuple(map(Verifier.parse, given.keys))
    try:
        receipt = parse_receipt(given.receipt)
        checkpoint = receipt.checkpoint
    except ProofBroken as error:
        return _checked(State.BROKEN, error.message)
    fact = given.fact.removesuffix("\n").encode()
    leaf = leaf_of(fact) if fact else None
    folder = desk.folder
    try:
        if folder is not None and Layout(folder).database.exists():
            with (
                House.open(folder, desk.config.settings, mode="read", clock=desk.clock) as house,
                house.ledger.read() as reader,
            ):
                leaf = _compared(reader, receipt, leaf, keys)
                keys = keys or _keys_at(reader, checkpoint)
        if not keys:
            return _checked(State.NOT_PROVABLE, "there is no key to check it by: --key", receipt)
        if leaf is None:
            return _checked(State.NOT_PROVABLE, "the fact is not at hand: --fact FILE", receipt)
        receipt.check(leaf, keys[0].name, keys)
    except ProofBroken as error:
        return _checked(State.BROKEN, error.message, receipt)
    return _checked(State.PROVEN, "", receipt)


def _compared(
    reader: Reader, receipt: Receipt, leaf: bytes | None, keys: tuple[Verifier, ...]
) -> bytes | None:
    """The leaf that the receipt speaks of, once the house that is here was asked."""
    checkpoint = receipt.checkpoint
    span = _ring(reader).at(checkpoint.size)
    ours = span is not None and span.origin == checkpoint.origin
    if not ours and keys:
        return leaf  # of another house, whose key was given
    tree = reader.tree()
    if not ours:
        origin = origin_of(_ring(reader).name)
        message = f"this is a receipt of another log: {checkpoint.origin}, not {origin}"
        raise ProofBroken(message)
    if checkpoint.size > tree.size:
        message = f"its checkpoint covers {checkpoint.size} facts, and the ledger has {tree.size}"
        raise ProofBroken(message)
    if tree.root(checkpoint.size) != checkpoint.root:
        message = f"its checkpoint of {checkpoint.size} facts has another root than the ledger"
        raise ProofBroken(message)
    if receipt.index >= checkpoint.size:
        message = f"its checkpoint of {checkpoint.size} facts does not cover fact {receipt.index}"
        raise ProofBroken(message)
    found = tree.leaf(receipt.index)
    if leaf is not None and leaf != found:
        message = f"the fact is not fact {receipt.index} of this ledger"
        raise ProofBroken(message)
    return found


def _keys_at(reader: Reader, checkpoint: Checkpoint) -> tuple[Verifier, ...]:
    span = _ring(reader).at(checkpoint.size)
    return () if span is None else (span.verifier,)


def _checked(state: State, what: str, receipt: Receipt | None = None) -> ReceiptChecked:
    said = None if receipt is None else receipt.checkpoint
    return ReceiptChecked(
        state=state.value, what=what, index=-1 if receipt is None else receipt.index,
        size=0 if said is None else said.size, origin="" if said is None else said.origin,
        exit_code=_EXIT[state],
    )  # fmt: skip


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The newest checkpoint."""

    size: int
    note: str


async def _seal(desk: Desk, _: Nothing) -> Sealed:
    note = await asyncio.to_thread(desk.house.ledger.checkpoint)
    return Sealed(size=parse_checkpoint(note.text).size, note=note.dump())


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One key, as other tools read it, and the smallest ledger that it signs for."""

    key: str
    begin: int
    at: int


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a ledger, oldest first; the last one signs now."""

    keys: tuple[KeyLine, ...]


async def _keys(desk: Desk, _: Nothing) -> Keys:
    with desk.house.ledger.read() as reader:
        return _listed(reader)


class RotateInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why; it is kept with the fact."""

    reason: str


async def _rotate(desk: Desk, given: RotateInput) -> Keys:
    if not given.reason.strip():
        message = "a key is changed for a reason"
        raise Misused(message, hint='tildawn key rotate --reason "…"')
    house = desk.house
    await asyncio.to_thread(rotate_key, house.ledger, given.reason, ids=house.ids)
    with house.ledger.read() as reader:
        return _listed(reader)


def _listed(reader: Reader) -> Keys:
    rows = reader.rows(SigningKeyRow)
    return Keys(
        keys=tuple(
            KeyLine(key=_span(row).verifier.dump(), begin=row.begin, at=row.at) for row in rows
        )
    )


def _span(row: SigningKeyRow) -> Span:
    return Span(row.begin, row.name, row.public)


def _ring(reader: Reader) -> Keyring:
    ring = Keyring(map(_span, reader.rows(SigningKeyRow)))
    house = reader.get(HouseRow, 0)
    ring.name = ring.name or ("" if house is None else house.name)
    return ring


VERIFY = Operation(
    name="verify", input=VerifyInput, output=Verified, effect=Effect.NONE,
    permission=Permission.LOOK, run=_verify,
    help="Prove the ledger from its first byte, or say where it is broken.",
)  # fmt: skip
RECEIPT = Operation(
    name="receipt", input=ReceiptInput, output=Receipted, effect=Effect.READ,
    permission=Permission.LOOK, run=_receipt,
    help="Give the proof that one fact is in the ledger, for somebody without the house.",
)  # fmt: skip
RECEIPT_CHECK = Operation(
    name="receipt-check", input=ReceiptCheckInput, output=ReceiptChecked, effect=Effect.NONE,
    permission=Permission.LOOK, run=_check_receipt,
    help="Check a receipt, with the house or with its key alone.",
)  # fmt: skip
CHECKPOINT = Operation(
    name="checkpoint", input=Nothing, output=Sealed, effect=Effect.WRITE,
    permission=Permission.OWN, run=_seal,
    help="Sign how long the ledger is now and what its root is.",
)  # fmt: skip
KEYS = Operation(
    name="keys", input=Nothing, output=Keys, effect=Effect.READ, permission=Permission.LOOK,
    run=_keys,
    help="Show the keys that sign the ledger, and from which size on each does.",
)  # fmt: skip
KEY_ROTATE = Operation(
    name="key-rotate", input=RotateInput, output=Keys, effect=Effect.WRITE,
    permission=Permission.OWN, run=_rotate,
    help="Let a new key sign from now on; both keys say so on record.",
)  # fmt: skip
