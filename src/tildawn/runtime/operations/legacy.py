"""What is asked about old logs: to seal one in the ledger, and which ones are sealed.

What it is not: an import of their entries as facts.  What was never checked stays what it was.
"""

import asyncio
from hashlib import sha256
from pathlib import Path

import msgspec

from tildawn.errors import Misused
from tildawn.facts.legacy import LegacySealed
from tildawn.ledger.entry import Committed
from tildawn.ledger.legacy import Account, lines_of, read_legacy
from tildawn.ledger.secret import secret_in
from tildawn.projections.legacy import sealed
from tildawn.runtime.operation import Desk, Effect, Operation, Permission


LEGACY_BYTES_MAX = 256_000_000
"""Longest log that is sealed at once: it is read as a whole."""


class ImportInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which file, by its whole path."""

    path: str


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and where it is sealed; ``seq`` is None while it is not.

    ``fresh`` is false where the same bytes had been sealed before.
    """

    path: str
    digest: str
    size_bytes: int
    seq: int | None
    fresh: bool
    account: Account


async def _plan(desk: Desk, given: ImportInput) -> Imported:
    content = await asyncio.to_thread(_content, Path(given.path))
    account = await asyncio.to_thread(read_legacy, content)
    return _imported(given.path, content, None, account)


async def _import(desk: Desk, given: ImportInput) -> Imported:
    ledger, path = desk.house.ledger, Path(given.path)
    content = await asyncio.to_thread(_content, path)
    account = await asyncio.to_thread(read_legacy, content)
    await asyncio.to_thread(_refuse_secrets, desk, content)
    # A crash between the blob and its fact leaves a file that the next sweep removes.
    digest = await asyncio.to_thread(ledger.blobs.put, content)
    counts = account.counts
    name = ledger.payload(msgspec.json.encode(path.name))
    said = ledger.payload(msgspec.json.encode(account))
    fact = LegacySealed(
        digest=digest, size_bytes=len(content), encoding=account.encoding, lines=account.lines,
        chained=account.chained, unchained=counts["unchained"], broken=counts["broken"],
        altered=counts["altered"], unreadable=counts["unreadable"], repeated=counts["repeated"],
        name=name.digest, account=said.digest,
    )  # fmt: skip
    entry = ledger.draft(fact, actor="owner", payloads=(name, said), blobs=(digest,))
    answer = await ledger.append([entry])
    if isinstance(answer, Committed):
        return _imported(given.path, content, answer.first, account)
    with ledger.read() as reader:
        before = next(row for row in sealed(reader) if row.digest == digest)
    known = _imported(given.path, content, before.seq, account)
    return msgspec.structs.replace(known, fresh=False)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            message = f"{path} is no file"
            raise Misused(message)
        if (size := path.stat().st_size) > LEGACY_BYTES_MAX:
            message = f"{path} has {size} bytes; {LEGACY_BYTES_MAX} are taken at once"
            raise Misused(message, hint="split it at the ends of lines, and import each part")
        content = path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise Misused(message) from error
    if not content:
        message = f"{path} is empty"
        raise Misused(message)
    return content


def _refuse_secrets(desk: Desk, content: bytes) -> None:
    """Old logs hold passwords now and then; the line is named, and what stands there is not."""
    for number, line in lines_of(content):
        if what := desk.house.ledger.secrets.found(line):
            place = f"line {number}"
            raise secret_in(place, what)


def _imported(path: str, content: bytes, seq: int | None, account: Account) -> Imported:
    return Imported(
        path=path, digest=sha256(content).hexdigest(), size_bytes=len(content), seq=seq,
        fresh=True, account=account,
    )  # fmt: skip


IMPORT_PLAN = Operation(
    name="import.plan", input=ImportInput, output=Imported, effect=Effect.NONE,
    permission=Permission.LOOK, run=_plan,
    help="Say what an old log of JSON lines has inside and outside its chain; seal nothing.",
)  # fmt: skip
IMPORT = Operation(
    name="import", input=ImportInput, output=Imported, effect=Effect.WRITE,
    permission=Permission.OWN, run=_import,
    help="Seal an old log of JSON lines as one fact, and say what was outside its chain.",
)  # fmt: skip
