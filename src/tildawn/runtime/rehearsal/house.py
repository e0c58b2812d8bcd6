"""A real house for played nights: its appends are waited for, and its chance is a seed.

What it is not: a fake.  Ledger, engine, door and loops are those of every house; only the
threads between them cannot change the order of things any more.
"""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tildawn.clock import Clock
from tildawn.ids import Ids
from tildawn.ledger.entry import Entry
from tildawn.ledger.fold import Expect
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.request import Done, Request
from tildawn.runtime.house import House
from tildawn.runtime.setting import Settings
from tildawn.runtime.version import BUILD
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY, owner_of


class PlayedLedger(Ledger):
    """A ledger whose event loop stands still while the writer commits.

    The order of commits and of all that follows is then the order of the calls, whatever the
    threads of this machine do.  Nothing is synced: the house is thrown away after the night.
    """

    def submit(
        self,
        entries: Sequence[Entry],
        *,
        expect: Sequence[Expect] = (),
        done: Done | None = None,
        relaxed: bool = False,
    ) -> None:
        """See `Ledger.submit`."""
        answered = threading.Event()
        request = Request(entries, expect=expect, done=lambda _: answered.set(), relaxed=True)
        self._pen(entries).submit(request)
        answered.wait()
        assert request.outcome is not None
        if done is not None:
            asyncio.get_running_loop().call_soon(done, request.outcome)


def open_played(folder: Path, settings: Settings, *, clock: Clock, rng: Random) -> House:
    """Open a house for a played night, founding it where there is none.

    Args:
        folder: the house itself, such as ``.tildawn``.
        settings: read and checked.
        clock: virtual.
        rng: for names, in place of the machine's chance.

    Raises:
        HouseUnusable: the disk, the key or SQLite will not do.
    """
    ids = Ids(clock, rng.randbytes)
    ledger = PlayedLedger.open(
        folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=ids, build=BUILD
    )
    house = House(folder, settings, ledger=ledger, clock=clock)
    house.ids, house.owner = ids, owner_of(house.engine, ids)
    return house
