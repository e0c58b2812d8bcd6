"""``tildawn witness``: remembers how far the ledgers of other machines had grown, and cosigns it.

What it is not: the server, which is `tildawn.faces.witness`, or in need of a house.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from tildawn.clock import SystemClock
from tildawn.errors import BadSetting, BadValue
from tildawn.faces.cli.asked import options
from tildawn.faces.cli.words import tell
from tildawn.ids import Ids
from tildawn.ledger.note import Verifier
from tildawn.ledger.witness import make_witness, read_witness


PORT = 8485

SEED_BYTES = 32


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A witness: its folder, and the key under which its cosignatures hold."""

    folder: str
    key: str


@click.group(help="Witness the ledgers of other machines.")
@options
def witness() -> None:
    pass


@witness.command(help="Make the key of a witness, in a folder of its own.")
@click.option("--folder", metavar="FOLDER", required=True, help="Made where it is missing.")
@click.option("--name", metavar="NAME", required=True, help="Of the key, such as nas.example/w1.")
@options
def init(folder: str, name: str) -> None:
    seed = Ids(SystemClock()).random(SEED_BYTES)
    try:
        key = make_witness(Path(folder), name, seed)
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror}"
        raise BadSetting(message, hint="choose a folder you may write to") from error
    tell(Made(folder=folder, key=key.dump()), _made)


def _made(made: Made) -> Iterator[str]:
    yield f"Made the key of a witness in {made.folder}"
    yield f"Its public part: {made.key}"
    yield f"Next: tildawn witness serve --folder {made.folder} --log KEY-OF-A-LEDGER"


@witness.command(help="Serve it until you stop it; one --log for the key of each ledger.")
@click.option("--folder", metavar="FOLDER", required=True, help="As of witness init.")
@click.option("--log", "logs", metavar="KEY", multiple=True, required=True, help="NAME+ID+BASE64.")
@click.option("--bind", default="127.0.0.1", help="An address that other machines reach.")
@click.option("--port", default=PORT, help="0 takes a free one.")
@options
def serve(folder: str, logs: tuple[str, ...], bind: str, port: int) -> None:
    read_witness(Path(folder))
    for log in logs:
        if Verifier.parse(log).kind != 1:
            message = f"{log} is the key of a witness, not of a ledger"
            raise BadValue(message, hint="tildawn anchor list shows the key of a ledger")
    click.echo(
        "A witness that you run yourself shows what a second machine saw; it proves nothing to"
        " those who do not trust you.",
        err=True,
    )
    sys.stdout.flush()
    sys.stderr.flush()
    # It becomes the server: a signal reaches it, and no parent is left to forget it.
    module = "tildawn.faces.witness"
    os.execv(  # noqa: S606 - our own interpreter, and words that were checked
        sys.executable, [sys.executable, "-m", module, folder, bind, str(port), *logs]
    )
