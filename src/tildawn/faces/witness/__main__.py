"""``python -m tildawn.faces.witness FOLDER HOST PORT VKEY…``: a witness as a process.

What it is not: for people; ``tildawn witness serve`` becomes it.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tildawn.clock import SystemClock
from tildawn.errors import BadValue
from tildawn.faces.witness.application import application
from tildawn.faces.witness.server import listening
from tildawn.ledger.note import Verifier
from tildawn.ledger.witness import Witness, read_witness


def main(words: Sequence[str]) -> int:
    """Serve until a signal.

    Args:
        words: folder, host, port, and the keys of the logs.

    Returns:
        The exit code.

    Raises:
        Nothing.
    """
    folder, host, port, *keys = words
    try:
        logs = [Verifier.parse(key) for key in keys]
        signer = read_witness(Path(folder))
        witness = Witness(Path(folder), signer, logs, wall=SystemClock().wall)
        asyncio.run(_serve(witness, host, int(port)))
    except BadValue as error:
        _say(f"tildawn: {error.message} [{error.code}]\nNext: {error.hint or 'look at it'}")
        return error.exit_code
    except OSError as error:
        _say(f"tildawn: {host} port {port} cannot be opened: {error.strerror}\nNext: --port 0")
        return BadValue.exit_code
    return 0


async def _serve(witness: Witness, host: str, port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, ended.set)
    async with listening(host, port, application(witness)) as url:
        sys.stdout.write(f"witness {url} {witness.verifier.dump()}\n")
        sys.stdout.flush()
        await ended.wait()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
