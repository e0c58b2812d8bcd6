"""Reads what somebody published about a ledger: a file, a folder, or an address.

What it is not: a judgement; nothing of it is verified here.
"""

import asyncio
from pathlib import Path

from tildawn.clock import Clock
from tildawn.errors import NotProvable
from tildawn.ledger.note import NOTE_BYTES_MAX
from tildawn.units import SECOND, Micros


REACH_WAIT = Micros(10 * SECOND)
"""How long an address may take to answer."""

NAME = "checkpoint"
"""What the newest checkpoint is called in a folder. Source: C2SP tlog-tiles."""


async def published(where: str, clock: Clock) -> bytes:
    """The content of a place; of a folder, or an address that ends so, its ``checkpoint``.

    Args:
        where: a path, or an address that begins with ``http://`` or ``https://``.
        clock: for the limit of ten seconds.

    Returns:
        At most a million bytes.

    Raises:
        NotProvable: there is nothing, it cannot be reached, or it is too long.
    """
    if where.startswith(("http://", "https://")):
        return await _fetched(where + NAME if where.endswith("/") else where, clock)
    return _read(Path(where))


def _read(path: Path) -> bytes:
    path = path / NAME if path.is_dir() else path
    try:
        with path.open("rb") as stream:
            content = stream.read(NOTE_BYTES_MAX + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise NotProvable(message, hint="is this the right place?") from error
    if len(content) > NOTE_BYTES_MAX:
        message = f"{path} is longer than any checkpoint"
        raise NotProvable(message)
    return content


async def _fetched(url: str, clock: Clock) -> bytes:
    from tildawn.providers.fault import Fault  # noqa: PLC0415 - loads the HTTP client
    from tildawn.providers.wire import Outgoing, Wires  # noqa: PLC0415

    wires = Wires(clock=clock)
    asked = asyncio.ensure_future(
        wires.exchange(Outgoing(method="GET", url=url), limit=NOTE_BYTES_MAX)
    )
    timer = asyncio.ensure_future(clock.sleep(REACH_WAIT))
    try:
        await asyncio.wait({asked, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            message = f"{url} gave no answer in 10 s"
            raise NotProvable(message, hint="is it served, and is this machine online?")
        return asked.result().body
    except Fault as fault:
        message = f"{url} cannot be read: {fault}"
        raise NotProvable(message, hint="is it served, and is this machine online?") from fault
    finally:
        for one in (asked, timer):
            one.cancel()
        await asyncio.gather(asked, timer, return_exceptions=True)
        await wires.aclose()
