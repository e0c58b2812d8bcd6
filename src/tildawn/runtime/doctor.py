"""The doctor: looks at everything a night rests on, and says what to do about it.

What it is not: the physician.  It changes nothing but a probe file, which it removes.
"""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import TildawnError
from tildawn.ledger.disk import NETWORK, file_system_of
from tildawn.ledger.layout import Layout
from tildawn.ledger.pen import holder_of
from tildawn.runtime.secret import key_variable
from tildawn.runtime.setting import SIMULATOR, Settings
from tildawn.units import MILLISECOND, SECOND, Micros


SPACE_WARN = 1_000_000_000
"""Bytes that should be free. Source: preflight of a night."""

SYNCS = 5
SYNC_QUICK = Micros(20)
"""A sync that is quicker was answered by memory. Source: measured, 0.16 ms and more on disks."""

SYNC_SLOW = Micros(50 * MILLISECOND)
"""A sync that takes longer makes every step as slow as a call to the network."""

SNAPSHOT_OLD = Micros(48 * 3_600 * SECOND)
"""One is taken every night, so an older one says that the last two could not be."""

CLOCK_FLOOR = Micros(1_767_225_600 * SECOND)
"""2026-01-01: a machine that says an earlier year has lost its clock."""

REACH_WAIT = Micros(3 * SECOND)


class State(StrEnum):
    """The verdict of one check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    NOT_RUN = "not-run"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: what was looked at, what was seen, and what to do; empty when nothing."""

    name: str
    verdict: State
    saw: str
    advice: str = ""


class Patient(msgspec.Struct, frozen=True):
    """What is examined."""

    folder: Path
    settings: Settings
    clock: Clock


async def examine(
    folder: Path, settings: Settings, clock: Clock, *, environ: Mapping[str, str] = os.environ
) -> tuple[Check, ...]:
    """Look at a house and what it stands on.

    Args:
        folder: the house; it need not exist.
        settings: read and checked.
        clock: the machine's.
        environ: where keys are.

    Returns:
        Every check once, in a fixed order; one that could not be made says so.

    Raises:
        Nothing.
    """
    patient = Patient(folder, settings, clock)
    checks = [_careful(name, look, patient) for name, look in _LOOKS.items()]
    checks.append(_mode(environ))
    checks.append(await _provider(settings, clock, environ))
    return tuple(checks)


def _careful(name: str, look: "Callable[[Patient], Check]", patient: Patient) -> Check:
    try:
        return look(patient)
    except (OSError, TildawnError) as error:
        return Check(name=name, verdict=State.NOT_RUN, saw=f"could not be looked at: {error}")


def _ok(name: str, saw: str) -> Check:
    return Check(name=name, verdict=State.OK, saw=saw)


# -- what the disk says ----------------------------------------------------------------------


def _house(patient: Patient) -> Check:
    if (patient.folder / "ledger.db").is_file():
        return _ok("house", str(patient.folder))
    if Layout(patient.folder).founded.exists():
        return Check(name="house", verdict=State.FAIL, saw="its ledger is gone",
                     advice="copy the house away and keep it; begin another in a new folder")  # fmt: skip
    return Check(name="house", verdict=State.WARN, saw=f"there is none in {patient.folder}",
                 advice="tildawn init")  # fmt: skip


def _file_system(patient: Patient) -> Check:
    kind = file_system_of(_existing(patient.folder))
    if not kind:
        return Check(name="file system", verdict=State.NOT_RUN, saw="the system does not tell")
    if kind in NETWORK:
        return Check(name="file system", verdict=State.FAIL, saw=f"{kind}, a network file system",
                     advice="keep the house on a local disk")  # fmt: skip
    return _ok("file system", kind)


def _writable(patient: Patient) -> Check:
    place = _existing(patient.folder)
    if os.access(place, os.W_OK | os.X_OK) and not os.statvfs(place).f_flag & os.ST_RDONLY:
        return _ok("writable", str(place))
    return Check(name="writable", verdict=State.FAIL, saw=f"{place} cannot be written",
                 advice="make it writable, or move the house to another disk")  # fmt: skip


def _space(patient: Patient) -> Check:
    from tildawn.runtime.space import (  # noqa: PLC0415 - loads SQLite
        INODES_LOW,
        LOW_BYTES,
        space_of,
    )

    space, needed = space_of(patient.folder), _needed(patient)
    saw = f"{space.free_bytes / 1e9:.1f} GB free"
    if needed:
        saw += f"; a night like the last one leaves {needed / 1e6:.0f} MB"
    if space.low:
        return Check(name="space", verdict=State.FAIL, saw=saw, advice="free at least 100 MB")
    if space.inodes is not None and space.inodes < INODES_LOW:
        return Check(name="space", verdict=State.WARN, saw=f"{saw}; {space.inodes} names for files",
                     advice="remove small files that nobody needs")  # fmt: skip
    if space.free_bytes < max(SPACE_WARN, LOW_BYTES + 2 * needed):
        wanted = max(SPACE_WARN, LOW_BYTES + 2 * needed) / 1e9
        return Check(name="space", verdict=State.WARN, saw=saw,
                     advice=f"free {wanted:.1f} GB before a night")  # fmt: skip
    return _ok("space", saw)


def _needed(patient: Patient) -> int:
    """What a night like the last one would leave, 0 where there was none."""
    if not Layout(patient.folder).database.is_file():
        return 0
    from tildawn.projections.night import night_called  # noqa: PLC0415 - loads SQLite
    from tildawn.runtime.house import House  # noqa: PLC0415
    from tildawn.runtime.space import forecast  # noqa: PLC0415

    opened = House.open(patient.folder, patient.settings, mode="read", clock=patient.clock)
    with opened as house, house.ledger.read() as reader:
        night = night_called(reader)
        return 0 if night is None else forecast(reader, patient.folder, runs=night.planned)


def _ballast(patient: Patient) -> Check:
    size = Layout(patient.folder).ballast
    wanted = patient.settings.ledger.ballast_mb
    if size.is_file():
        return _ok("ballast", f"{size.stat().st_size // 1_000_000} MB are set aside")
    if not wanted:
        return Check(name="ballast", verdict=State.WARN, saw="none is wanted",
                     advice="set ledger.ballast_mb, so that a full disk ends in order")  # fmt: skip
    return Check(name="ballast", verdict=State.NOT_RUN, saw=f"{wanted} MB are set aside at work")


def _sync(patient: Patient) -> Check:
    """How long the disk takes to promise something; the median of five."""
    place = _existing(patient.folder)
    probe = place / f".tildawn-probe-{os.getpid()}"
    took: list[int] = []
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for number in range(SYNCS):
            os.pwrite(handle, b"x" * 4_096, number * 4_096)
            began = patient.clock.mono()
            os.fsync(handle)
            took.append(patient.clock.mono() - began)
    finally:
        os.close(handle)
        probe.unlink()
    median = sorted(took)[SYNCS // 2]
    saw = f"{median / 1_000:.2f} ms, median of {SYNCS}"
    if median < SYNC_QUICK:
        return Check(name="sync", verdict=State.WARN, saw=f"{saw}: no disk is that quick",
                     advice="what is said to be synced may be lost with the power; a mirror on"
                     " another disk helps")  # fmt: skip
    if median > SYNC_SLOW:
        return Check(name="sync", verdict=State.WARN, saw=saw,
                     advice="every recorded step waits this long; a faster disk helps")  # fmt: skip
    return _ok("sync", saw)


def _sqlite(patient: Patient) -> Check:
    from tildawn.ledger.sqlite.examination import sqlite_state  # noqa: PLC0415 - loads SQLite

    version, wrong = sqlite_state(patient.folder / "ledger.db")
    if wrong:
        return Check(name="sqlite", verdict=State.FAIL, saw=f"{version}: {wrong}",
                     advice="pip install --upgrade apsw, or restore a snapshot")  # fmt: skip
    return _ok("sqlite", version)


def _keys(patient: Patient) -> Check:
    loose = [
        path
        for path in (patient.folder, Layout(patient.folder).key)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if loose:
        return Check(name="keys", verdict=State.WARN,
                     saw=f"{loose[0]} can be read by others", advice=f"chmod go= {loose[0]}",
                     )  # fmt: skip
    signing = Layout(patient.folder).signing_key
    if signing.exists() and stat.S_IMODE(signing.stat().st_mode) & 0o077:
        return Check(name="keys", verdict=State.FAIL,
                     saw=f"{signing} can be used by others, so the house is not opened to write",
                     advice=f"chmod 600 {signing}")  # fmt: skip
    if not Layout(patient.folder).key.exists():
        return Check(name="keys", verdict=State.NOT_RUN, saw="there is no key yet")
    return _ok("keys", "only you can read them")


def _snapshot(patient: Patient) -> Check:
    from tildawn.ledger.snapshot import newest_snapshot  # noqa: PLC0415 - loads SQLite

    layout = Layout(patient.folder)
    if not layout.database.is_file():
        return Check(name="snapshot", verdict=State.NOT_RUN, saw="there is no house yet")
    newest = newest_snapshot(layout)
    if newest is None:
        return Check(name="snapshot", verdict=State.NOT_RUN, saw="none was taken yet",
                     advice="tildawn snapshot, or work for a day: one is taken every night",
                     )  # fmt: skip
    age = patient.clock.wall() - newest.manifest.taken_at
    saw = f"{newest.name}, {newest.manifest.size} facts, {age // (3_600 * SECOND)} h old"
    if age > SNAPSHOT_OLD:
        return Check(name="snapshot", verdict=State.WARN, saw=saw, advice="tildawn snapshot")
    return _ok("snapshot", saw)


def _mirror(patient: Patient) -> Check:
    from tildawn.ledger.likeness import standing  # noqa: PLC0415
    from tildawn.ledger.mirror import LAG_FACTS_MAX  # noqa: PLC0415
    from tildawn.runtime.mirror import wish_of  # noqa: PLC0415

    layout, wish = Layout(patient.folder), wish_of(patient.folder, patient.settings)
    if wish is None:
        return Check(name="mirror", verdict=State.NOT_RUN, saw="none is wished for")
    if not layout.database.is_file():
        return Check(name="mirror", verdict=State.NOT_RUN, saw="there is no ledger to compare with",
                     advice="tildawn mirror recover, when there was one")  # fmt: skip
    found = standing(layout, wish)
    if not found.reached:
        return Check(name="mirror", verdict=State.FAIL, saw=f"{wish.folder}: {found.why}",
                     advice="bring its folder back; it is filled up by itself")  # fmt: skip
    saw = f"{found.facts} facts, {max(found.behind, 0)} behind"
    if wish.folder.stat().st_dev == patient.folder.stat().st_dev:
        return Check(name="mirror", verdict=State.WARN, saw=f"{saw}, on the disk of the house",
                     advice="name a folder on another disk in ledger.mirror_folder")  # fmt: skip
    if found.behind > (LAG_FACTS_MAX if wish.mode == "async" else 0):
        return Check(name="mirror", verdict=State.WARN, saw=saw, advice="tildawn up fills it up")
    return _ok("mirror", saw)


# -- what the machine says -------------------------------------------------------------------


def _clock(patient: Patient) -> Check:
    now = patient.clock.wall()
    if now < CLOCK_FLOOR:
        return Check(name="clock", verdict=State.FAIL, saw="the machine says a year before 2026",
                     advice="set the clock")  # fmt: skip
    newest = _newest(patient)
    if now < newest:
        late = (newest - now) / SECOND
        return Check(name="clock", verdict=State.WARN,
                     saw=f"the machine is {late:.0f} s behind the newest entry of the ledger",
                     advice="set the clock; times in reports will go back otherwise")  # fmt: skip
    return _ok("clock", f"{now // 1_000_000} s since 1970, and steady")


def _newest(patient: Patient) -> Micros:
    """When the newest entry was made, by the clock of then; 0 without a house."""
    if not Layout(patient.folder).database.is_file():
        return Micros(0)
    from tildawn.runtime.house import House  # noqa: PLC0415 - loads the engine
    from tildawn.units import Seq  # noqa: PLC0415

    opened = House.open(patient.folder, patient.settings, mode="read", clock=patient.clock)
    with opened as house, house.ledger.read() as reader:
        size = reader.head().size
        return Micros(reader.fact(Seq(size - 1))[0].at) if size else Micros(0)


def _pen(patient: Patient) -> Check:
    layout = Layout(patient.folder)
    holder = holder_of(layout.pen)
    if holder is None:
        return _ok("pen", "nobody has taken it")
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return _ok("pen", f"free; process {holder.pid} had it last")
    except PermissionError:
        pass  # it is there, and somebody else's
    return _ok("pen", f"process {holder.pid} took it last, build {holder.build}")


def _work(patient: Patient) -> Check:
    """Whether new work may begin."""
    if not Layout(patient.folder).database.is_file():
        return Check(name="work", verdict=State.NOT_RUN, saw="there is no house yet")
    from tildawn.runtime.house import House  # noqa: PLC0415 - loads the engine
    from tildawn.runtime.stops import stops_of  # noqa: PLC0415

    opened = House.open(patient.folder, patient.settings, mode="read", clock=patient.clock)
    with opened as house, house.ledger.read() as reader:
        found = stops_of(reader, patient.folder)
    if not found:
        return _ok("work", "may begin")
    return Check(name="work", verdict=State.FAIL,
                 saw="; ".join(f"{stop.says} [{stop.name}]" for stop in found),
                 advice="; ".join(stop.next for stop in found))  # fmt: skip


def _mode(environ: Mapping[str, str]) -> Check:
    """Whether the variable that switches the guard says something that it can say."""
    from tildawn.guard.mode import MODE_VARIABLE, parse  # noqa: PLC0415 - loads the guard

    said = environ.get(MODE_VARIABLE)
    if said is None:
        return _ok("guard", "every route by its own mode")
    try:
        return _ok("guard", f"{MODE_VARIABLE}={parse(said)}")
    except TildawnError as error:
        return Check(name="guard", verdict=State.FAIL, saw=str(error),
                     advice=f"unset {MODE_VARIABLE}")  # fmt: skip


def _anchors(patient: Patient) -> Check:
    """Whether other places know how long the ledger is."""
    if not patient.settings.anchor:
        return Check(name="anchors", verdict=State.NOT_RUN, saw="none is set",
                     advice="anchor the ledger elsewhere: docs/how-to/anchor-a-ledger.md")  # fmt: skip
    if not Layout(patient.folder).database.is_file():
        return Check(name="anchors", verdict=State.NOT_RUN, saw="there is no house yet")
    from tildawn.runtime.debts import anchor_lines  # noqa: PLC0415
    from tildawn.runtime.house import House  # noqa: PLC0415 - loads the engine

    opened = House.open(patient.folder, patient.settings, mode="read", clock=patient.clock)
    with opened as house, house.ledger.read() as reader:
        lines = anchor_lines(reader, house.settings.anchor, patient.clock.wall())
    saw = "; ".join(f"{line.debt.anchor} {line.says}" for line in lines)
    if any(line.debt.state == "broken" for line in lines):
        return Check(name="anchors", verdict=State.FAIL, saw=saw, advice="tildawn anchor verify")
    if any(line.debt.late or line.debt.state == "failed" for line in lines):
        return Check(name="anchors", verdict=State.WARN, saw=saw, advice="tildawn anchor now")
    return _ok("anchors", saw)


async def _provider(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> Check:
    if not settings.provider.name:
        return Check(name="provider", verdict=State.NOT_RUN, saw="none is set",
                     advice="set provider.name when a plan asks a model")  # fmt: skip
    asked: Awaitable[Check] = _asked(settings, clock, environ)
    timer = asyncio.ensure_future(clock.sleep(REACH_WAIT))
    answer = asyncio.ensure_future(asked)
    done, _ = await asyncio.wait({timer, answer}, return_when=asyncio.FIRST_COMPLETED)
    for task in (timer, answer):
        task.cancel()
    if answer in done:
        return answer.result()
    return Check(name="provider", verdict=State.FAIL,
                 saw=f"{settings.provider.name} gave no answer in 3 s",
                 advice="look at provider.base_url and at your network")  # fmt: skip


async def _asked(settings: Settings, clock: Clock, environ: Mapping[str, str]) -> Check:
    from tildawn.providers.dialect import dialect  # noqa: PLC0415 - loads the HTTP client
    from tildawn.providers.fault import Fault  # noqa: PLC0415
    from tildawn.runtime.surroundings import provider_of  # noqa: PLC0415

    wanted = settings.provider
    variable = key_variable(wanted)
    if wanted.name != SIMULATOR and dialect(wanted.name).key_needed and not environ.get(variable):
        return Check(name="provider", verdict=State.FAIL, saw=f"{wanted.name}: no key",
                     advice=f"export {variable}=…")  # fmt: skip
    client = provider_of(wanted, clock=clock, env=environ)
    assert client is not None, "a provider is set"
    try:
        names = await client.models(idempotency_key="doctor")
    except Fault as error:
        return Check(name="provider", verdict=State.FAIL, saw=f"{wanted.name}: {error}",
                     advice="look at the key and at provider.base_url")  # fmt: skip
    finally:
        await client.aclose()
    return _ok("provider", f"{wanted.name} answers, {len(names)} models")


def _existing(folder: Path) -> Path:
    for place in (folder, *folder.absolute().parents):
        if place.is_dir():
            return place
    return Path("/")


_LOOKS: Mapping[str, Callable[[Patient], Check]] = {
    "house": _house,
    "file system": _file_system,
    "writable": _writable,
    "space": _space,
    "ballast": _ballast,
    "sync": _sync,
    "sqlite": _sqlite,
    "keys": _keys,
    "mirror": _mirror,
    "snapshot": _snapshot,
    "clock": _clock,
    "pen": _pen,
    "work": _work,
    "anchors": _anchors,
}
