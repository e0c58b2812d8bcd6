"""The parent of a worker, tried with real processes: it restarts, reports, and lets nobody stay."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tildawn.apps.night.supervise import Event, Orders, Pace, Supervisor
from tildawn.clock import SystemClock
from tildawn.testing.clock import ManualClock
from tildawn.units import SECOND, Micros


class Parent:
    """A supervisor with workers that say what they do."""

    def __init__(self, folder: Path, clock) -> None:
        self.folder = folder
        self.clock = clock
        self.lines: list[str] = []
        self.events: list[Event] = []
        self.said = asyncio.Event()

    def make(
        self, worker: str, *, report: str = "", report_at: int = 0, pace: Pace | None = None
    ) -> Supervisor:
        orders = Orders(
            worker=(sys.executable, "-u", "-c", worker, str(self.folder)), again=("--again",),
            report=(sys.executable, "-c", report, str(self.folder)) if report else (),
            report_at=Micros(report_at), log=self.folder / "logs" / "parent.log",
        )  # fmt: skip
        self.supervisor = Supervisor(
            orders, self.clock, pace=pace, relay=self._line, tell=self._tell
        )
        return self.supervisor

    def _line(self, _where: str, line: bytes) -> None:
        self.lines.append(line.decode().strip())
        self.said.set()

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.said.set()

    async def until(self, done) -> None:
        """Wait until what was said makes something so."""
        while not done():
            self.said.clear()
            await self.said.wait()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
def parent(tmp_path):
    return Parent(tmp_path, SystemClock())


@pytest.fixture
def still(tmp_path):
    return Parent(tmp_path, ManualClock())


WAITS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("ready")
signal.pause()
"""
REPORT = "import sys; open(sys.argv[1] + '/report.html', 'w').write('the report')"
ONCE = Pace(first=Micros(1), longest=Micros(1))


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 75])
def test_an_exit_code_that_a_worker_chose_is_the_answer(parent, code):
    """A night that failed must not be worked again and again until it succeeds."""
    assert asyncio.run(parent.make(f"raise SystemExit({code})").run()) == code
    assert parent.kinds() == ["started", "ended"]


@pytest.mark.parametrize("death", ["os.kill(os.getpid(), 9)", "os._exit(70)", "os.abort()"])
def test_a_worker_that_dies_is_started_again_and_knows_it(parent, death):
    """Nobody is awake to type the command a second time."""
    worker = f"""
import os, sys
if "--again" not in sys.argv:
    {death}
print("back")
"""
    assert asyncio.run(parent.make(worker, pace=ONCE).run()) == 0
    assert parent.lines == ["back"]
    assert parent.kinds() == ["started", "died", "started", "ended"]


def test_the_waits_between_starts_double_to_a_limit_and_begin_anew_after_calm(still):
    """A worker that dies at once must not be started a thousand times a minute."""
    worker = "import os; os._exit(70)"

    async def scenario():
        pace = Pace(broke=99)
        task = asyncio.ensure_future(still.make(worker, pace=pace).run())
        waits = []
        for number in range(1, 9):
            await still.until(lambda number=number: still.kinds().count("died") == number)
            wait = still.events[-1].wait
            waits.append(wait // SECOND)
            await still.clock.sleepers()
            still.clock.advance(Micros(wait - 1))
            await asyncio.sleep(0)
            assert still.kinds().count("started") == number
            still.clock.advance(Micros(1))
        still.supervisor.leave()
        await task
        return waits

    assert asyncio.run(scenario()) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_worker_that_lived_long_enough_is_started_again_at_once(still):
    """A crash at five o'clock has nothing to do with one at midnight."""
    worker = "import sys; print('ready'); sys.stdin.close(); import signal; signal.pause()"

    async def scenario():
        task = asyncio.ensure_future(still.make(worker).run())
        for number in range(1, 4):
            await still.until(lambda number=number: len(still.lines) == number)
            still.clock.advance(Micros(301 * SECOND))
            os.kill([e.pid for e in still.events if e.kind == "started"][-1], signal.SIGKILL)
            await still.until(lambda number=number: still.kinds().count("died") == number)
            await still.clock.sleepers()
            still.clock.advance(Micros(1 * SECOND))
        await still.until(lambda: len(still.lines) == 4)
        still.supervisor.leave()
        await task
        return [event.wait for event in still.events if event.kind == "died"]

    assert asyncio.run(scenario()) == [SECOND] * 3


def test_told_to_leave_it_tells_the_worker_and_waits_for_it(parent):
    """The worker parks its night; killing it would leave calls in doubt."""

    async def scenario():
        task = asyncio.ensure_future(parent.make(WAITS).run())
        await parent.until(lambda: parent.lines == ["ready"])
        parent.supervisor.leave()
        return await task

    assert asyncio.run(scenario()) == 75
    assert parent.kinds() == ["started", "leaving", "ended"]


def test_a_worker_that_will_not_leave_is_killed_with_all_it_started(still):
    """Within ten seconds everything is gone, whatever hangs."""
    worker = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    signal.pause()
print("ready", child)
signal.pause()
"""

    async def scenario():
        task = asyncio.ensure_future(still.make(worker, report=REPORT).run())
        await still.until(lambda: bool(still.lines))
        still.supervisor.leave()
        await still.until(lambda: "leaving" in still.kinds())
        await still.clock.sleepers()
        still.clock.advance(Micros(9 * SECOND))
        return await task

    assert asyncio.run(scenario()) == 75
    child = int(still.lines[0].split()[1])
    assert _gone(child)
    assert "killed" in still.kinds()
    assert (still.folder / "report.html").exists()


def _gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return state.stdout.strip()[:1] in {b"", b"Z"}


def test_told_to_leave_between_two_starts_it_writes_the_report_and_goes(still):
    """The worker is dead, so nobody else will write it."""

    async def scenario():
        task = asyncio.ensure_future(still.make("import os; os._exit(70)", report=REPORT).run())
        await still.until(lambda: "died" in still.kinds())
        still.supervisor.leave()
        return await task

    assert asyncio.run(scenario()) == 75
    assert (still.folder / "report.html").read_text() == "the report"


def test_the_report_is_there_at_its_hour_even_if_the_worker_hangs(still):
    """The owner wakes at seven; what the worker is doing then is one line of the report."""

    async def scenario():
        at = still.clock.wall() + 3600 * SECOND
        task = asyncio.ensure_future(still.make(WAITS, report=REPORT, report_at=at).run())
        await still.until(lambda: still.lines == ["ready"])
        for _ in range(60):
            await still.clock.sleepers()
            assert not (still.folder / "report.html").exists()
            still.clock.advance(Micros(60 * SECOND))
        await still.until(lambda: "reported" in still.kinds())
        still.supervisor.leave()
        return await task

    assert asyncio.run(scenario()) == 75
    assert still.kinds() == ["started", "reported", "leaving", "ended"]


def test_a_report_that_hangs_is_ended_and_the_work_goes_on(still):
    """Ninety seconds are enough for any report."""

    async def scenario():
        hang = "import signal; signal.pause()"
        at = still.clock.wall() + SECOND
        task = asyncio.ensure_future(still.make(WAITS, report=hang, report_at=at).run())
        await still.until(lambda: still.lines == ["ready"])
        await still.clock.sleepers()
        still.clock.advance(Micros(SECOND))
        await still.clock.sleepers()
        still.clock.advance(Micros(90 * SECOND))
        await still.until(lambda: "unreported" in still.kinds())
        still.supervisor.leave()
        return await task

    assert asyncio.run(scenario()) == 75


def test_a_closed_terminal_ends_nothing_and_the_log_has_every_line(parent):
    """The laptop's terminal is closed, the night goes on."""

    async def scenario():
        task = asyncio.ensure_future(parent.make(WAITS + "\nprint('on')").run())
        await parent.until(lambda: parent.lines == ["ready"])
        parent.supervisor.listen()
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        code = await task
        assert parent.supervisor._relay is None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
        return code

    assert asyncio.run(scenario()) == 75
    log = (parent.folder / "logs" / "parent.log").read_text()
    assert "ready\n" in log
    assert '"kind":"leaving"' in log


def test_a_terminal_that_cannot_be_written_to_is_given_up(parent):
    """Not every terminal says good-bye with a signal."""

    def broken(_where, _line):
        raise BrokenPipeError

    async def scenario():
        supervisor = parent.make("print('one'); print('two')")
        supervisor._relay = broken
        return await supervisor.run()

    assert asyncio.run(scenario()) == 0
    assert "one\ntwo\n" in (parent.folder / "logs" / "parent.log").read_text()


def test_a_worker_that_cannot_be_started_is_an_error_of_ours(parent):
    """Starting it again would not help."""
    orders = Orders(worker=("/no/such/program",), log=parent.folder / "log")
    with pytest.raises(FileNotFoundError):
        asyncio.run(Supervisor(orders, SystemClock()).run())


def test_the_parent_knows_nothing_of_houses():
    """It takes no pen because it cannot: what is wrong with a house must not end its keeper."""
    import tildawn.apps.night.supervise as module  # noqa: PLC0415 - looked at as text

    text = Path(module.__file__).read_text()
    assert "tildawn.ledger" not in text
    assert "tildawn.runtime" not in text


BREAKS = """
import sys
with open(sys.argv[1] + "/starts", "a") as log:
    log.write(" ".join(sys.argv[2:]) + "\\n")
print("Traceback", file=sys.stderr)
print("ValueError: no such thing", file=sys.stderr)
sys.exit(70)
"""


def test_a_worker_that_breaks_at_every_start_is_given_up_with_what_it_said_last(parent):
    """Started again for ever, it fills the log all night and tells nobody."""
    code = asyncio.run(parent.make(BREAKS, report=REPORT, pace=ONCE).run())

    assert 1 == code
    last = next(event for event in parent.events if event.kind == "given-up")
    assert (5, 70, "ValueError: no such thing") == (last.times, last.code, last.said)
    assert 5 == parent.kinds().count("started")
    assert (parent.folder / "report.html").exists(), "there is a report at its hour"


def test_a_worker_is_told_that_the_one_before_broke(parent):
    """It looks whether the file is damaged before it breaks over it again."""
    orders = msgspec.structs.replace(parent.make(BREAKS, pace=ONCE)._orders, broke=("--broke",))
    asyncio.run(Supervisor(orders, parent.clock, pace=ONCE, tell=parent._tell).run())

    starts = (parent.folder / "starts").read_text().splitlines()
    assert ["", *["--again --broke"] * 4] == starts


def test_a_worker_that_is_killed_again_and_again_is_given_up_later(parent):
    """A run that kills its process has to be found first, and it is."""
    killed = "import os, signal; print('news', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    code = asyncio.run(parent.make(killed, pace=ONCE).run())

    assert 1 == code
    assert 10 == parent.kinds().count("started")


def test_deaths_that_lie_far_apart_are_never_too_many(still):
    """A machine short of memory kills now and then; the night goes on for all that."""

    async def story() -> None:
        pace = Pace(first=Micros(200 * SECOND), longest=Micros(200 * SECOND))
        supervisor = still.make("import sys; sys.exit(70)", pace=pace)
        running = asyncio.ensure_future(supervisor.run())
        for number in range(1, 13):
            await still.until(lambda number=number: still.kinds().count("died") >= number)
            await still.clock.sleepers()
            still.clock.advance(Micros(200 * SECOND))
        await still.until(lambda: still.kinds().count("died") >= 13)
        supervisor.leave()

        assert 75 == await running

    asyncio.run(story())


def test_a_worker_that_finds_the_disk_full_is_started_until_there_is_room(parent):
    """Whoever frees some space in the morning finds a night that goes on."""
    worker = (
        "import sys; path = sys.argv[1] + '/starts'; open(path, 'a').write('x')\n"
        "sys.exit(0 if len(open(path).read()) > 30 else 74)"
    )

    assert 0 == asyncio.run(parent.make(worker, pace=ONCE).run())


def test_a_log_that_cannot_be_written_does_not_end_the_night(parent):
    """The disk was full, and the parent that should have waited for room was the first to die."""
    supervisor = parent.make("print('news'); print('more')", pace=ONCE)
    (parent.folder / "logs" / "parent.log").mkdir(parents=True)

    assert 0 == asyncio.run(supervisor.run())
    assert ["news", "more"] == parent.lines
    assert 1 == parent.kinds().count("unlogged"), "told once"


def test_a_damaged_ledger_is_the_answer_and_a_report_is_tried(parent):
    """Whoever gets up finds what could be read, and why there is no more."""
    code = asyncio.run(parent.make("import sys; sys.exit(4)", report=REPORT).run())

    assert 4 == code
    assert "reported" in parent.kinds()
    assert 1 == parent.kinds().count("started")
