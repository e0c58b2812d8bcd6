"""Commands of proof: verify, receipt, key.

What it is not: repair.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click

from tildawn.clock import SystemClock
from tildawn.errors import HouseUnusable, NotProvable
from tildawn.faces.cli.ask import ask, config_of, house_there
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import columns, instant, tell
from tildawn.facts.fact import INTEGER_MAX
from tildawn.runtime.operations import proof
from tildawn.runtime.operations.house import Nothing
from tildawn.runtime.published import published
from tildawn.watch.words import Times


@click.command(help=proof.VERIFY.help)
@click.option("--fast", is_flag=True, help="Hashes of what came since the last check.")
@click.option("--full", is_flag=True, help="Everything, tables too; the default.")
@click.option("--hashes", is_flag=True, help="Hashes and signatures of everything, no tables.")
@click.option(
    "--against",
    metavar="FILE|FOLDER|URL",
    help="Also compare with a checkpoint kept elsewhere; of a folder, its checkpoint.",
)
@click.option("--words", help="Also compare with twelve words.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Believe only this key.")
@click.option("--receipt", metavar="FILE", help="Check a receipt instead.")
@click.option("--fact", metavar="FILE", help="With --receipt: the fact it is for.")
@options
def verify(fast: bool, full: bool, hashes: bool, keys: tuple[str, ...], **named: str | None) -> int:
    for option, value in named.items():
        if value is not None and not value.strip():
            # As from a variable that nobody set: what was not compared must not look as if it was.
            message = f"--{option} is empty; name what to compare with, or leave it out"
            raise click.UsageError(message)
    given = {option: value or "" for option, value in named.items()}
    against, receipt = given["against"], given["receipt"]
    if given["fact"] and not receipt:
        message = "--fact belongs to --receipt"
        raise click.UsageError(message)
    if receipt:
        if against or given["words"] or fast or full or hashes:
            message = "--receipt checks a receipt, and nothing else"
            raise click.UsageError(message)
        return _check_receipt(receipt, given["fact"], keys)
    found = ask(
        proof.VERIFY,
        proof.VerifyInput(
            fast=fast, full=full, hashes=hashes, keys=keys, words=given["words"],
            against=_text(against) if against else "", origin=against or "the checkpoint",
        ),
    )  # fmt: skip
    tell(found, _verified)
    return found.exit_code


def _text(where: str) -> str:
    content = asyncio.run(published(where, SystemClock()))
    # What is no UTF-8 is no note either, and is refused as one.
    return content.decode(errors="replace")


def _verified(found: proof.Verified) -> Iterator[str]:
    if found.exit_code == 0:
        begin = f", from fact {found.since} on" if found.since else ""
        yield f"Proven: {found.facts} facts{begin}. Signed up to {found.sealed} of them."
        yield f"Root {found.root}"
        if found.words:
            yield f"Keep these twelve words: {found.words}"
        return
    where = "" if found.seq is None else f" at fact {found.seq}"
    yield f"{'Broken' if found.state == 'broken' else 'Not provable'}{where}: {found.what}"
    yield from (f"  {line}" for line in found.differences)
    yield f"{found.facts} facts before that are good."
    if found.state == "broken":
        yield "Nothing was changed. Next: copy the house away and keep it; begin another in a new folder"


def _check_receipt(receipt: str, fact: str, keys: tuple[str, ...]) -> int:
    given = proof.ReceiptCheckInput(
        receipt=_text(receipt), fact=_text(fact) if fact else "", keys=keys
    )
    found = ask(proof.RECEIPT_CHECK, given)
    tell(found, _receipt_checked)
    return found.exit_code


def _receipt_checked(found: proof.ReceiptChecked) -> Iterator[str]:
    if found.exit_code == 0:
        yield f"Proven: fact {found.index} is among the first {found.size} of {found.origin}."
    else:
        yield f"{'Broken' if found.state == 'broken' else 'Not provable'}: {found.what}"


@click.command(help=proof.RECEIPT.help)
@click.argument("seq", type=click.IntRange(min=0, max=INTEGER_MAX))
@click.option("--out", metavar="FILE", help="Write it there instead of on standard output.")
@click.option("--with-fact", metavar="FILE", help="Also write the fact itself there.")
@options
def receipt(seq: int, out: str | None, with_fact: str | None) -> None:
    if out and with_fact and Path(out).resolve() == Path(with_fact).resolve():
        message = "--out and --with-fact name the same file; one would take the place of the other"
        raise click.UsageError(message)
    given = proof.ReceiptInput(seq=seq)
    made = ask(proof.RECEIPT, given)
    if not made.covered:
        # No checkpoint covers it yet; whoever holds the pen signs one.
        ask(proof.CHECKPOINT, Nothing())
        made = ask(proof.RECEIPT, given)
    if not made.covered:
        message = f"no checkpoint covers fact {seq}"
        raise NotProvable(message, hint="tildawn verify")
    if with_fact:
        _write(Path(with_fact), made.body)
    if out:
        _write(Path(out), made.receipt)
    tell(made, lambda one: _receipted(one, seq, out))


def _receipted(made: proof.Receipted, seq: int, out: str | None) -> Iterator[str]:
    if out:
        yield f"Wrote {out}: fact {seq}, {made.kind}, is among the first {made.size}."
        yield f"Next: tildawn verify --receipt {out}"
    else:
        yield made.receipt.removesuffix("\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise HouseUnusable(message, hint="choose a place you may write to") from error


@click.group(help="Show the key that signs the ledger, or let a new one sign.")
@options
def key() -> None:
    pass


@key.command(help=proof.KEYS.help)
@options
def show() -> None:
    tell(ask(proof.KEYS, Nothing()), _keys)


@key.command(help=proof.KEY_ROTATE.help)
@click.option("--reason", required=True, help="Why; it is kept with the fact.")
@options
def rotate(reason: str) -> None:
    tell(ask(proof.KEY_ROTATE, proof.RotateInput(reason=reason)), _keys)


def _keys(found: proof.Keys) -> Iterator[str]:
    if not found.keys:
        yield "No key signs this ledger yet. Next: tildawn up"
        return
    times = Times(config_of(house_there()).settings.house.zone)
    rows = [("signs from", f"since ({times.zone})", "key")]
    rows += [(f"{one.begin} facts", instant(one.at, times), one.key) for one in found.keys]
    yield from columns(rows)
