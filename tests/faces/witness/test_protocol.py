"""The witness on a real socket, outcome by outcome, as C2SP tlog-witness has them."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tildawn.ledger.checkpoint import Checkpoint
from tildawn.ledger.note import Signer, Verifier, parse_note, verify_note
from tildawn.ledger.witness import SUBMISSION_BYTES_MAX, Submission
from tildawn.testing.log import GrowingLog


pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]

VECTORS = Path(__file__).parent / "vectors"
"""Made by the note and tlog packages of golang.org/x/mod v0.42.0; make.go.txt made them."""

DIGEST = sha256(b"tildawn/a").hexdigest()


def submission(log: GrowingLog, old: int, size: int | None = None) -> str:
    claim = log.claim(size)
    return Submission(old, claim.prove(old), claim.note).dump()


async def test_a_log_that_grows_is_cosigned(serve: Serve) -> None:
    """Each answer is a signature of the witness on that very checkpoint, with its time."""
    log = GrowingLog(70)
    async with serve() as witness:
        for old, size in ((0, 1), (1, 5), (5, 8), (8, 8), (8, 70)):
            got = await witness.post(submission(log, old, size))

            assert got.status == 200, got.body
            text = log.checkpoint(size).text
            answered = parse_note(f"{text}\n{got.body.decode()}")
            assert verify_note(answered, [Verifier.parse(witness.key)])


async def test_a_stale_old_size_is_told_the_size(serve: Serve) -> None:
    """Whoever does not know what the witness has learns it so."""
    log = GrowingLog(9)
    async with serve() as witness:
        await witness.post(submission(log, 0, 7))
        got = await witness.post(submission(log, 0))
        ahead = await witness.post(submission(log, 8))

    assert (got.status, got.body, got.header("content-type")) == (
        409, b"7\n", "text/x.tlog.size",
    )  # fmt: skip
    assert ahead.status == 409


async def test_a_smaller_tree_is_refused_with_the_size(serve: Serve) -> None:
    """A ledger that was cut, or put back to an older copy, under its old name."""
    log = GrowingLog(9)
    async with serve() as witness:
        await witness.post(submission(log, 0))
        got = await witness.post(submission(log, 5, 7))
        above = await witness.post(submission(log, 0, 7).replace("old 0", "old 9"))

    assert (got.status, got.body) == (409, b"9\n")
    assert above.status == 400


async def test_a_tree_that_did_not_grow_from_it_is_refused(serve: Serve) -> None:
    """Fork at the same size, fork with a proof of its own, a proof that is missing or too long."""
    log, fork = GrowingLog(9), GrowingLog(20, forked_at=4)
    async with serve() as witness:
        await witness.post(submission(log, 0))
        for body in (
            submission(fork, 9, 9),
            submission(fork, 9),
            Submission(9, (), GrowingLog(20).claim().note).dump(),
            Submission(9, (*GrowingLog(20).claim().prove(9), bytes(32)), log.claim().note).dump(),
        ):
            assert (await witness.post(body)).status == 422
        newest = await witness.get(f"{DIGEST}/checkpoint")

    assert newest.body.decode().startswith(log.checkpoint().text)


async def test_nothing_is_proved_from_an_empty_tree(serve: Serve) -> None:
    """The specification: from zero the proof is empty, and an empty tree has one root."""
    log = GrowingLog(9)
    wrong = Checkpoint("tildawn/a", 0, bytes(32)).sign([log.signer])
    async with serve() as witness:
        proved = await witness.post(Submission(0, (bytes(32),), log.claim().note).dump())
        empty = await witness.post(Submission(0, (), wrong).dump())

    assert (proved.status, empty.status) == (422, 422)


async def test_a_restored_ledger_comes_under_its_new_name(serve: Serve) -> None:
    """A restore is a shorter ledger: under the old name a fork, under a new one a log of its own."""
    before, after = GrowingLog(9), GrowingLog(6, origin="tildawn/b")
    async with serve(before.signer.verifier) as witness:
        await witness.post(submission(before, 0))
        assert (await witness.post(submission(before, 0, 6))).body == b"9\n"
        assert (await witness.post(submission(after, 0))).status == 404
    async with serve(before.signer.verifier, after.signer.verifier) as witness:
        assert (await witness.post(submission(after, 0))).status == 200
        assert (await witness.post(submission(before, 0, 6))).body == b"9\n"


async def test_an_unknown_log_is_not_found(serve: Serve) -> None:
    """A witness serves whom it was told to; also a restored house, until its owner says so."""
    async with serve() as witness:
        got = await witness.post(submission(GrowingLog(5, origin="tildawn/b"), 0))

    assert got.status == 404


async def test_a_signature_of_nobody_known_is_forbidden(serve: Serve) -> None:
    """Without one of the log, with one of another key, or with one that does not hold."""
    log = GrowingLog(5)
    stranger = Signer("tildawn/a", bytes([9]) * 32)
    forged = log.claim().note.dump().replace("tildawn/a\n5\n", "tildawn/a\n6\n", 1)
    async with serve() as witness:
        foreign = await witness.post(Submission(0, (), log.checkpoint().sign([stranger])).dump())
        broken = await witness.post(f"old 0\n\n{forged}")
        newest = await witness.get(f"{DIGEST}/checkpoint")

    assert (foreign.status, broken.status, newest.status) == (403, 403, 404)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"old 0", b"old 00\n\n", b"old -1\n\n", b"new 0\n\n", b"old 0\nAAAA\n\n", b"\xff",
        b"old 0\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\n",
    ],
)  # fmt: skip
async def test_what_is_no_submission_is_a_bad_request(serve: Serve, body: bytes) -> None:
    """Anybody may send anything."""
    note = GrowingLog(5).claim().note.dump().encode()
    async with serve() as witness:
        assert (await witness.post(body)).status == 400
        if body.endswith(b"\n\n"):
            assert (await witness.post(body + note)).status == 400


async def test_a_body_that_is_too_long_is_not_read(serve: Serve) -> None:
    """Nobody fills the memory of a witness."""
    async with serve() as witness:
        got = await witness.post(b"x" * (SUBMISSION_BYTES_MAX + 1))

    assert got.status == 413


async def test_of_many_forks_at_once_one_is_cosigned(serve: Serve) -> None:
    """The look at what is kept and the writing are one; a second writer finds the first one's."""
    forks = [GrowingLog(6 + at, forked_at=at) for at in range(8)]
    async with serve() as witness:
        got = await asyncio.gather(*(witness.post(submission(fork, 0)) for fork in forks))

    assert sorted(one.status for one in got) == [200] + [409] * 7
    assert len({one.body for one in got if one.status == 409}) == 1


async def test_a_witness_remembers_across_a_restart(serve: Serve) -> None:
    """It is on the disk before the answer."""
    log = GrowingLog(9)
    async with serve() as witness:
        await witness.post(submission(log, 0))
    async with serve() as witness:
        assert (await witness.post(submission(log, 0, 5))).body == b"9\n"


async def test_the_newest_checkpoint_can_be_read(serve: Serve) -> None:
    """By whoever knows the log's name: with both signatures, and no others."""
    log = GrowingLog(9)
    note = log.checkpoint().sign([log.signer, Signer("stranger", bytes([9]) * 32)])
    async with serve() as witness:
        missing = await witness.get(f"{DIGEST}/checkpoint")
        await witness.post(Submission(0, (), note).dump())
        got = await witness.get(f"{DIGEST}/checkpoint")
        elsewhere = await witness.get(f"{'0' * 64}/checkpoint")

    assert (missing.status, got.status, elsewhere.status) == (404, 200, 404)
    keys = [log.signer.verifier, Verifier.parse(witness.key)]
    found = parse_note(got.body.decode())
    assert set(verify_note(found, keys)) == set(keys)
    assert len(found.signatures) == 2


async def test_a_witness_whose_memory_was_altered_cosigns_no_more(
    serve: Serve, tmp_path: Path
) -> None:
    """Put back to an older size by hand it would sign a fork: so it must recognise its own."""
    log = GrowingLog(9)
    async with serve() as witness:
        await witness.post(submission(log, 0))
        kept = tmp_path / "witness" / f"{DIGEST}.checkpoint"
        kept.write_text(log.claim(5).note.dump())
        log.grow(1)
        got = await witness.post(submission(log, 5))
        shown = await witness.get(f"{DIGEST}/checkpoint")

    assert (got.status, shown.status) == (500, 500)


async def test_checkpoints_of_other_implementations_are_taken(serve: Serve) -> None:
    """Keys, notes and proofs of Go's packages, each signed by a stranger as well."""
    key = Verifier.parse((VECTORS / "log.vkey").read_text())
    async with serve(key) as witness:
        for size in (5, 8, 13, 70):
            body = (VECTORS / f"{size}.submission").read_text()
            got = await witness.post(body)
            assert got.status == 200, got.body
            again = await witness.post(body)
            assert (again.status, again.body) == (409, f"{size}\n".encode())


async def test_whoever_connects_and_says_nothing_is_hung_up_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few dozen silent connections would keep everybody out."""
    monkeypatch.setattr("tildawn.faces.witness.server.IDLE_SECONDS", 0.01)
    async with serve() as witness:
        host, _, port = witness.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /add-che")
        await writer.drain()

        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
