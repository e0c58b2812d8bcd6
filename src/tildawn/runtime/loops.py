"""The one table of loops that run in the background of a working house.

What it is not: their work; each belongs to the layer that its owner names.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from tildawn.clock import Clock
from tildawn.errors import TildawnError
from tildawn.facts.house import ClockJumped, MachineSlept
from tildawn.guard.call import Door
from tildawn.guard.probe import Prober
from tildawn.guard.recover import doubt_ended, expire_holds, prove_gone
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sweep import sweep
from tildawn.providers.process import kill_group
from tildawn.runtime.anchors import Anchors
from tildawn.runtime.expiry import Expiry
from tildawn.runtime.notary import Seals
from tildawn.runtime.reconcile import Reconciliation
from tildawn.runtime.repair.queue import Rounds, queue_damage
from tildawn.runtime.segment import keep, seal_full
from tildawn.runtime.setting import LedgerSettings
from tildawn.runtime.snapshot import Keeper
from tildawn.runtime.space import Room
from tildawn.runtime.stops import Stops
from tildawn.units import MILLISECOND, SECOND, Micros
from tildawn.watch.review import due_reviews


_log = logging.getLogger(__name__)

SLEPT = Micros(10 * SECOND)
"""A pause of the steady clock between two looks that counts as the machine having slept."""

JUMPED = Micros(2 * SECOND)
"""How far wall time and steady time may drift apart between two looks."""

LOOK = Micros(5 * SECOND)


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One row: who owns it, how often it turns, and what a crash in it leaves.

    ``turn`` is None for loops that the engine turns itself.
    """

    name: str
    owner: str
    period: Micros | None
    leaves: str
    turn: Callable[["Turning"], Awaitable[None]] | None = None


class Turning:
    """What the loops turn on."""

    def __init__(
        self,
        ledger: Ledger,
        door: Door,
        clock: Clock,
        *,
        prober: Prober | None = None,
        stops: Stops | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """Take the open house's parts, and look at the clocks for the first time."""
        self.keeper = keeper
        #: How long bodies stay; whoever opens the house says.
        self.kept = LedgerSettings()
        #: What is set aside of the disk; nothing where nobody says how much.
        self.room: Room | None = None
        #: Set where there are any.
        self.anchors: Anchors | None = None
        self.ledger = ledger
        self.door = door
        self.prober = prober
        self.stops = stops
        #: Ends what is kept for a time only; nothing where a night is played.
        self.expiry: Expiry | None = None
        #: The second set of books; a night that is played has none.
        self.books: Reconciliation | None = None
        self.rounds = Rounds(ledger)
        self.seals = Seals(ledger, clock)
        self.clock = clock
        self.wall, self.mono = clock.wall(), clock.mono()


async def clear_up(on: Turning) -> None:
    """End children that calls left behind; doubt calls that nobody will come back for.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    inside = on.door.inside()

    async def kill(pid: int, started: str) -> bool:
        return await kill_group(pid, started, clock=on.clock)

    stubborn = await prove_gone(on.ledger, kill, spare=inside)
    for child in stubborn:
        _log.warning("process %d of run %s will not end", child.pid, child.run)
    await doubt_ended(on.ledger, spare=inside)
    await expire_holds(on.ledger, on.clock.wall())


async def ask_again(on: Turning) -> None:
    """Ask the other sides of routes that are out of service whether they are back.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    if on.prober is not None:
        await on.prober.turn()


async def review(on: Turning) -> None:
    """Take the looks at routes whose settings were promoted an hour and a day ago.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    with on.ledger.read() as reader:
        looks = due_reviews(reader, on.clock.wall())
    if looks:
        await on.ledger.append([on.ledger.draft(look) for look in looks])


async def copy_to_mirror(on: Turning) -> None:
    """Copy what the mirror lacks, or try whether a lost one is back.

    Raises:
        TildawnError: the house cannot be read.
    """
    if on.ledger.mirror is not None:
        await asyncio.to_thread(on.ledger.mirror.turn)


async def watch_clock(on: Turning) -> None:
    """Put on record that the machine slept or that somebody set its clock.

    Raises:
        TildawnError: the house cannot be written.
    """
    wall, mono = on.clock.wall(), on.clock.mono()
    passed, apart = mono - on.mono, (wall - on.wall) - (mono - on.mono)
    on.wall, on.mono = wall, mono
    if passed - LOOK > SLEPT:
        slept = MachineSlept(slept_ms=(passed - LOOK) // MILLISECOND)
        await on.ledger.append([on.ledger.draft(slept)])
    if abs(apart) > JUMPED:
        await on.ledger.append([on.ledger.draft(ClockJumped(by_ms=apart // MILLISECOND))])


async def look_for_stops(on: Turning) -> None:
    """Look whether new work may begin; the engine goes by what was found.

    Raises:
        TildawnError: the house cannot be read.
    """
    if on.stops is not None:
        on.stops.look()


async def sign(on: Turning) -> None:
    """Sign how far the ledger has come, when it is time.

    Raises:
        LedgerBroken: the ledger does not continue what was signed before.
        TildawnError: the house cannot be read or written.
    """
    await on.seals.turn()


async def compare_books(on: Turning) -> None:
    """Fold the last facts once more, or at night all of them, and compare with the tables.

    Raises:
        TildawnError: the facts contradict themselves, or the house cannot be read or written.
        OSError: the disk refuses.
    """
    if on.books is not None:
        compared = await on.books.turn()
        if compared is not None and compared.drifts and on.stops is not None:
            on.stops.look()


async def sweep_blobs(on: Turning) -> None:
    """Remove blobs that no fact names and whose day of grace is over.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    await asyncio.to_thread(sweep, on.ledger)


async def seal(on: Turning) -> None:
    """Write every segment of the ledger that is full into the archive.

    Raises:
        TildawnError: the house cannot be read or written.
        OSError: the disk of the archive refuses.
    """
    count = await asyncio.to_thread(seal_full, on.ledger)
    if count:
        _log.info("%d segments of the ledger were sealed", count)


async def watch_space(on: Turning) -> None:
    """Set space aside, and put on record that it was needed.

    Raises:
        TildawnError: the house cannot be read or written.
        OSError: the disk refuses.
    """
    if on.room is not None:
        await asyncio.to_thread(on.room.keep, on.ledger)


async def look_at_pictures(on: Turning) -> None:
    """Read some pictures that the house keeps, and queue for repair those that are damaged.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    bad = await asyncio.to_thread(on.rounds.look)
    count = await queue_damage(on.ledger, bad)
    if count:
        _log.warning("%d pictures cannot be shown; tildawn repair --plan", count)


async def keep_archive(on: Turning) -> None:
    """Let old bodies leave the database, and drop what is older still, as the settings say.

    Raises:
        TildawnError: a segment is not what was sealed, or the house cannot be written.
        OSError: the disk of the archive refuses.
    """
    hot, kept = on.kept.keep_hot, on.kept.keep_archive
    now = on.clock.wall()
    moved, dropped = await asyncio.to_thread(keep, on.ledger, now, hot=hot, kept=kept)
    if moved or dropped:
        _log.info("bodies of %d segments left the database, %d were dropped", moved, dropped)


async def expire_payloads(on: Turning) -> None:
    """Erase what runs and nights were given, said and made, once that is older than may be kept.

    Raises:
        TildawnError: the house cannot be read or written, or a reader holds its log back.
        OSError: the disk refuses.
    """
    if on.expiry is not None:
        gone = await asyncio.to_thread(on.expiry.turn, on.ledger, on.clock.wall())
        if gone:
            _log.info("what %d runs held has expired", gone)


async def take_snapshot(on: Turning) -> None:
    """Take the snapshot of a night once it is due, and drop those whose time is over.

    Raises:
        OSError: the disk refuses.
        TildawnError: no snapshot could be taken.
    """
    if on.keeper is not None and await asyncio.to_thread(on.keeper.turn, on.ledger):
        _log.info("a snapshot was taken and verified")


async def anchor(on: Turning) -> None:
    """Have other places keep the newest checkpoint, each when it is due; waits for none.

    Raises:
        TildawnError: the house cannot be read or written.
    """
    if on.anchors is not None:
        await on.anchors.turn()


LOOPS: tuple[Loop, ...] = (
    Loop(
        name="dispatch",
        owner="engine",
        period=None,
        leaves="a run that is queued, or one that began and is put back",
    ),
    Loop(name="timers", owner="engine", period=None, leaves="due times, which are on record"),
    Loop(
        name="recovery",
        owner="guard",
        period=Micros(30 * SECOND),
        leaves="a child or a call in doubt, which the next turn finds",
        turn=clear_up,
    ),
    Loop(
        name="probe",
        owner="guard",
        period=SECOND,
        leaves="a paid probe in doubt, which recovery finds",
        turn=ask_again,
    ),
    Loop(
        name="review",
        owner="watch",
        period=Micros(60 * SECOND),
        leaves="a look that was not taken, which the next turn takes",
        turn=review,
    ),
    Loop(
        name="mirror",
        owner="ledger",
        period=SECOND,
        leaves="facts that the mirror lacks, which the next turn copies",
        turn=copy_to_mirror,
    ),
    Loop(
        name="clock",
        owner="runtime",
        period=LOOK,
        leaves="a sleep that is not on record",
        turn=watch_clock,
    ),
    Loop(
        name="stops",
        owner="runtime",
        period=LOOK,
        leaves="nothing: what stops work is on record or on the disk",
        turn=look_for_stops,
    ),
    Loop(
        name="checkpoint",
        owner="ledger",
        period=SECOND,
        leaves="facts that no checkpoint covers yet, and a second place that is behind",
        turn=sign,
    ),
    Loop(
        name="reconcile",
        owner="ledger",
        period=LOOK,
        leaves="the point of the last comparison; half a shadow is removed by the next turn",
        turn=compare_books,
    ),
    Loop(
        name="sweep",
        owner="ledger",
        period=Micros(6 * 3_600 * SECOND),
        leaves="blobs that nothing names, which the next turn finds",
        turn=sweep_blobs,
    ),
    Loop(
        name="seal",
        owner="ledger",
        period=Micros(60 * SECOND),
        leaves="files of a segment that no fact names, which the next turn writes again",
        turn=seal,
    ),
    Loop(
        name="space",
        owner="runtime",
        period=Micros(10 * SECOND),
        leaves="a full disk that is not on record, which the next turn finds",
        turn=watch_space,
    ),
    Loop(
        name="pictures",
        owner="runtime",
        period=Micros(3_600 * SECOND),
        leaves="damage that is not on record, which the next reader finds",
        turn=look_at_pictures,
    ),
    Loop(
        name="archive",
        owner="ledger",
        period=Micros(3_600 * SECOND),
        leaves="bodies in both places, or entries that were to go, which the next turn finds",
        turn=keep_archive,
    ),
    Loop(
        name="expiry",
        owner="runtime",
        period=Micros(3_600 * SECOND),
        leaves="payloads, files or snapshots that were to go, which the next turn finds",
        turn=expire_payloads,
    ),
    Loop(
        name="snapshot",
        owner="ledger",
        period=Micros(300 * SECOND),
        leaves="no snapshot or a whole one, and files that the next one removes",
        turn=take_snapshot,
    ),
    Loop(
        name="anchor",
        owner="runtime",
        period=LOOK,
        leaves="a checkpoint that a place has and no fact says, which the next try finds",
        turn=anchor,
    ),
)
"""Schedules and notices join this table with their parts."""


async def turn_for_ever(loop: Loop, on: Turning) -> None:
    """Turn one loop until it is cancelled; a turn that fails is told and does not end it.

    Raises:
        Nothing; a cancellation goes through.
    """
    assert loop.turn is not None, "the engine turns its own"
    assert loop.period is not None, "every loop of ours has one"
    while True:
        await on.clock.sleep(loop.period)
        try:
            await loop.turn(on)
        except (TildawnError, OSError):
            _log.exception("a turn of %s failed", loop.name)
