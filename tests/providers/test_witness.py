"""The client of a witness against answers that a witness may give, and those that it must not.

The witness of this project is on the other side in tests/faces/witness and tests/runtime.
"""

from collections.abc import Callable
from http import HTTPStatus

import httpx2
import pytest

from tildawn.clock import SystemClock
from tildawn.errors import AnchorFailed, BadValue, ProofBroken
from tildawn.ledger.note import Signer, Verifier
from tildawn.ledger.witness import Submission, lines_of, parse_submission
from tildawn.providers.wire import Wires
from tildawn.providers.witness import WitnessAnchor
from tildawn.testing.log import GrowingLog


pytestmark = pytest.mark.anyio

SIGNER = Signer("witness.example/w1", bytes([3]) * 32)
KEY = Verifier(SIGNER.verifier.name, SIGNER.verifier.public, 0x04)
SIZE = {"content-type": "text/x.tlog.size"}

Said = Callable[[Submission], httpx2.Response]


def anchor(answers: list[Said], *, key: str = KEY.dump()) -> WitnessAnchor:
    def handle(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/w/add-checkpoint"
        return answers.pop(0)(parse_submission(request.content.decode()))

    wires = Wires(clock=SystemClock(), transport=httpx2.MockTransport(handle))
    return WitnessAnchor("out", "http://witness.example/w/", key, wires=wires)


def cosigned(asked: Submission, *, signer: Signer = SIGNER, text: str = "") -> httpx2.Response:
    line = lines_of([signer.cosign(text or asked.note.text, 1_700_000_000)])
    return httpx2.Response(200, text=line)


def conflict(size: str) -> Said:
    return lambda _: httpx2.Response(409, text=size, headers=SIZE)


def status(number: HTTPStatus) -> Said:
    return lambda _: httpx2.Response(number, text="no\n")


async def test_the_evidence_is_the_cosignature() -> None:
    """It holds without us: whoever knows the key of the witness can check it."""
    claim = GrowingLog(9).claim()
    evidence = await anchor([cosigned]).anchor(claim)

    assert (evidence.size, evidence.root) == (9, claim.checkpoint.root)
    assert f"{evidence.text}\n" == lines_of([SIGNER.cosign(claim.note.text, 1_700_000_000)])


async def test_the_size_that_the_witness_says_is_proved_from() -> None:
    """The first submission asks; after it the size is known."""
    log = GrowingLog(9)
    asked: list[Submission] = []

    def proved(one: Submission) -> httpx2.Response:
        asked.append(one)
        return cosigned(one)

    client = anchor([conflict("5\n"), proved, proved])
    await client.anchor(log.claim())
    log.grow(1)
    await client.anchor(log.claim())

    assert [(one.old, one.proof) for one in asked] == [
        (5, log.claim(9).prove(5)), (9, log.claim().prove(9)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([conflict("12\n")], "seen 12 facts of this ledger, and here are 9"),
        ([conflict("5\n"), status(HTTPStatus.UNPROCESSABLE_ENTITY)], "the first 5 facts"),
        ([conflict("9\n"), status(HTTPStatus.CONFLICT)], "the first 9 facts"),
        ([conflict("9\n"), conflict("9\n")], "the first 9 facts"),
    ],
)
async def test_a_witness_that_knows_better_breaks_the_claim(
    answers: list[Said], reason: str
) -> None:
    """Cut, rewritten, or rewritten at the same length, as the old and the new protocol say it."""
    with pytest.raises(ProofBroken, match=reason):
        await anchor(list(answers)).anchor(GrowingLog(9).claim())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(HTTPStatus.NOT_FOUND), "refused with 404"),
        (status(HTTPStatus.FORBIDDEN), "refused with 403"),
        (status(HTTPStatus.INTERNAL_SERVER_ERROR), "refused with 500"),
        (status(HTTPStatus.CONFLICT), "refused with 409"),
        (conflict("-1\n"), "refused with 409"),
        (conflict("9" * 30), "refused with 409"),
        (status(HTTPStatus.UNPROCESSABLE_ENTITY), "refused with 422"),
        (status(HTTPStatus.OK), "without a cosignature"),
        (lambda one: cosigned(one, signer=Signer(KEY.name, bytes(32))), "without a cosignature"),
        (lambda one: cosigned(one, text="another\n"), "without a cosignature"),
        (lambda one: httpx2.Response(200, content=b"\xff"), "without a cosignature"),
        (lambda one: httpx2.Response(200, content=b"x" * 100_000), "gave no answer"),
    ],
    ids=[
        "404", "403", "500", "409", "409-negative", "409-huge", "422", "200-empty", "forged",
        "of another text", "no text", "too long",
    ],
)  # fmt: skip
async def test_what_proves_nothing_is_a_failure(answer: Said, reason: str) -> None:
    """Neither evidence nor an alarm: whoever answers so has shown nothing about the ledger."""
    with pytest.raises(AnchorFailed, match=reason):
        await anchor([answer]).anchor(GrowingLog(9).claim())


async def test_a_witness_that_always_has_another_size_is_given_up() -> None:
    """Somebody else submits the same log all the time, or nobody is a witness there."""
    with pytest.raises(AnchorFailed, match="another size at each of 4 tries"):
        await anchor([conflict(f"{at}\n") for at in (1, 2, 3, 4)]).anchor(GrowingLog(9).claim())


async def test_a_key_that_is_none_of_a_witness_is_refused() -> None:
    """A log's key in its place would make every answer worthless without a word."""
    with pytest.raises(BadValue, match="its type is not 0x04"):
        anchor([], key=SIGNER.verifier.dump())
