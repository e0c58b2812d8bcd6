"""A house that works nights: real ledger, engine, door and files, a shop on loopback, a clock.

What it is not: a fake.  Only the clock is played, in the tests that say so.
"""

import asyncio
import json
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tildawn.apps.night.desk import prepare
from tildawn.apps.night.news import News
from tildawn.apps.night.night import NightEnd, NightOptions, run_night
from tildawn.clock import Clock, SystemClock
from tildawn.engine.engine import Engine
from tildawn.engine.owner import Owner
from tildawn.engine.queue import Limits
from tildawn.facts.fact import Fact
from tildawn.facts.house import ClockJumped
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.projections.night import CoveredRow, EvidenceRow, ItemRow, NightRow
from tildawn.projections.run import RunRow
from tildawn.runtime.context import Context
from tildawn.runtime.setting import ProviderSettings, Settings
from tildawn.runtime.surroundings import Surroundings, surroundings_of
from tildawn.runtime.task import HouseTasks
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.units import MILLISECOND, Micros, Seq


WORK = "night = ? AND parent = '' AND evidence_for = ''"


_PREAMBLE = """
from pathlib import Path
from tildawn import Context, task
from tildawn.errors import CallFailed, Misused

def fail():
    raise Misused("no")

def stumble():
    raise ValueError("not yet")

def puzzle():
    raise CallFailed("nobody knows", kind="unknown", retryable=False)

def there(name):
    return (Path(__file__).parent / name).exists()
"""


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Shop:
    """What the web shop has, and what it was asked."""

    products: dict[str, dict[str, object]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: What it answers to a POST, by sku: a status; 201 where nothing is said.
    says: dict[str, int] = field(default_factory=dict)
    url: str = ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, shop: Shop) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shop = shop
        shop.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
        """Stay quiet."""

    @property
    def shop(self) -> Shop:
        return cast("_Server", self.server).shop

    def do_GET(self) -> None:
        self.shop.requests.append(("GET", self.path))
        found = self.shop.products.get(self.path.rpartition("/")[2])
        self._answer(200 if found is not None else 404, found or {"error": "no such product"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        sku = body["sku"]
        self.shop.requests.append(("POST", sku))
        status = self.shop.says.get(sku, 201)
        if status == 201:
            self.shop.products[sku] = {**body, "state": "draft"}
        place = f"/products/{sku}?secret=x" if status == 201 else ""
        self._answer(status, self.shop.products.get(sku, {"error": "not taken"}), place)

    def _answer(self, status: int, value: object, place: str = "") -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if place:
            self.send_header("location", place)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop with an HTTP server of its own."""
    made = Shop()
    server = _Server(made)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


class Bedroom:
    """One house with one plan folder, and a process that can crash and come back."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Found the house."""
        self.house = folder / "house"
        self.folder = folder / "plan"
        self.folder.mkdir()
        self.clock = clock
        self.ids = Ids(clock)
        self.env: dict[str, str] = {}
        self.news: list[News] = []
        self.provider = ProviderSettings()
        self.leave = asyncio.Event()
        self.ledger = self._open()
        self.engine: Engine = cast("Engine", None)
        self.around: Surroundings = cast("Surroundings", None)

    def _open(self) -> Ledger:
        return Ledger.open(
            self.house, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=self.ids, build="test",
        )  # fmt: skip

    # -- the plan ----------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        """A file beside the plan."""
        path = self.folder / name
        path.write_text(text)
        return path

    def plan(self, work: str, *, night: str = "{}") -> Path:
        """A plan of these items."""
        return self.write("plan.yaml", f"version: 1\nnight: {night}\nwork:\n{work}")

    def products(self, count: int) -> Path:
        """A CSV file of products."""
        rows = "".join(f"VAL-{n:03},Thing {n}\n" for n in range(count))
        return self.write("products.csv", "sku,title\n" + rows)

    def module(self, text: str) -> str:
        """A Python module beside the plan, under a name that no other test has."""
        name = f"work_{self.ids.random(6).hex()}"
        self.write(f"{name}.py", _PREAMBLE + textwrap.dedent(text))
        return name

    def numbers(
        self, count: int, body: str = "pass", *, name: str = "number", extra: str = ""
    ) -> str:
        """An item with so many rows, each a run of a Python task of its own.

        Args:
            count: rows ``0`` to ``count - 1``.
            body: one line of the task, which knows ``ctx`` and the text ``n``; ``fail()`` fails
                for good, ``stumble()`` asks for another attempt, ``puzzle()`` is a fault that
                nobody foresaw, ``there(name)`` looks for a file beside the plan.
            name: of the item.
            extra: further keys of the item.
        """
        self.write(f"{name}.csv", "n\n" + "".join(f"{n}\n" for n in range(count)))
        module = self.module(f"""
            @task(name="{name}-{self.ids.random(4).hex()}")
            async def work(ctx: Context, n: str) -> str:
                {body}
                return n
        """)
        return f"""
  - id: {name}
    for_each: {name}.csv
    key: "{{{{ item.n }}}}"
    task: "{module}:work"
    input: {{ n: "{{{{ item.n }}}}" }}
    {extra}
"""

    # -- the process -------------------------------------------------------------------------

    async def begin(self) -> None:
        """What a worker does before a night."""
        settings = Settings(provider=self.provider)
        self.around = surroundings_of(
            self.ledger, settings, clock=self.clock, folder=self.folder, env=self.env
        )
        calls = self.around.calls
        self.engine = Engine(
            self.ledger, tasks=HouseTasks(self.ledger, self.folder), clock=self.clock, limits=Limits(),
            context=lambda asking: Context(asking, lambda *_, **__: None, calls),
        )  # fmt: skip
        prepare(self.engine)
        await self.engine.start()

    @property
    def owner(self) -> Owner:
        """Operations on runs."""
        return Owner(self.engine, self.ids)

    async def end(self) -> None:
        """Leave in order; the house stays open for looking."""
        await self.engine.stop()
        await self.around.close()

    async def crash(self) -> None:
        """Lose everything in memory, and take the pen again as after a kill."""
        self.engine.abandon()
        await self.around.close()
        self.ledger.close()
        self.ledger = self._open()

    async def night(self, **options: Any) -> NightEnd:
        """A whole process: begin, run the plan, end."""
        await self.begin()
        try:
            return await self.played(self.run(**options))
        finally:
            await self.end()

    async def run(self, plan: str = "plan.yaml", **options: Any) -> NightEnd:
        """The night itself."""
        return await run_night(
            self.engine, self.ids, plan=self.folder / plan,
            options=NightOptions(**options), leave=self.leave, announce=self.news.append,
        )  # fmt: skip

    async def played(self, work: Any) -> Any:
        """Await something; with a clock that is played, let its time pass while it waits."""
        task = asyncio.ensure_future(work)
        if not isinstance(self.clock, ManualClock):
            return await task
        while not task.done():
            await self.settle()
            if not task.done():
                self.clock.advance(Micros(500 * MILLISECOND))
        return task.result()

    async def settle(self, turns: int = 4) -> None:
        """Let everything happen that needs neither time nor the world."""
        for _ in range(turns):
            await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])
            for _ in range(8):
                await asyncio.sleep(0)

    async def until(self, done: Callable[[], bool], *, turns: int = 2_000) -> None:
        """Settle until something is so."""
        for _ in range(turns):
            if done():
                return
            await self.settle(1)
        message = "it never came to pass"
        raise AssertionError(message)

    async def crashed(self, number: int, *, after: bool, **options: Any) -> bool:
        """Run the night into a crash at its n-th append, before or after that is on the disk.

        Returns:
            Whether it came to that; False when the night ended before.
        """
        await self.begin()
        ledger: Any = self.ledger
        counted, real = [0], ledger.append

        async def append(*args: Any, **kwargs: Any) -> Any:
            counted[0] += 1
            if counted[0] == number and not after:
                raise Crash
            answer = await real(*args, **kwargs)
            if counted[0] == number:
                raise Crash
            return answer

        ledger.append = append
        try:
            await self.run(**options)
        except Crash:
            await self.crash()
            return True
        del ledger.append
        await self.end()
        return False

    # -- looking -----------------------------------------------------------------------------

    def rows(self, kind: Any, where: str = "", params: tuple[Any, ...] = (), **more: Any) -> Any:
        """Rows of a projection."""
        with self.ledger.read() as reader:
            return reader.rows(kind, where, params, **more)

    @property
    def nights(self) -> list[NightRow]:
        """All nights in order."""
        return self.rows(NightRow, order="number")

    @property
    def last(self) -> NightRow:
        """The latest night."""
        return self.nights[-1]

    def runs(self, item: str = "", night: str = "") -> list[RunRow]:
        """The planned runs of a night, in the order of their acceptance."""
        name = night or (self.last.night if self.nights else "")
        rows = self.rows(RunRow, WORK, (name,), order="accepted")
        return [row for row in rows if not item or row.item == item]

    def states(self, item: str = "") -> list[str]:
        """Their states."""
        return [row.state for row in self.runs(item)]

    def item(self, name: str) -> ItemRow:
        """An item of the latest night."""
        [row] = self.rows(ItemRow, "night = ? AND item = ?", (self.last.night, name))
        return row

    def checks(self, item: str) -> list[EvidenceRow]:
        """What the checks of an item said, by row."""
        about = f"{self.last.night}/{item}/"
        found = self.rows(EvidenceRow, "substr(subject, 1, ?) = ?", (len(about), about))
        return sorted(found, key=lambda row: (int(row.subject.rpartition("/")[2]), row.ordinal))

    def verdicts(self, item: str) -> list[str]:
        """The verdicts of an item's checks, by row."""
        return [row.verdict for row in self.checks(item)]

    def covered(self, item: str) -> list[CoveredRow]:
        """Rows whose work is that of another run."""
        return self.rows(CoveredRow, "night = ? AND item = ?", (self.last.night, item))

    def facts(self, *kinds: str) -> list[Fact]:
        """All facts of some kinds, in ledger order."""
        with self.ledger.read() as reader:
            found = [f for _, f in reader.facts(limit=1_000_000) if isinstance(f, Fact)]
        return [fact for fact in found if not kinds or fact.kind in kinds]

    def said(self, kind: str) -> list[str]:
        """The first payload of every fact of a kind, as text."""
        with self.ledger.read() as reader:
            found = [seq for seq, f in reader.facts(limit=1_000_000) if f.kind == kind]
            return [reader.payload(Seq(seq), 0).decode() for seq in found]

    def args(self, run: RunRow) -> dict[str, Any]:
        """The arguments of a run."""
        with self.ledger.read() as reader:
            return msgspec.json.decode(reader.payload(Seq(run.args_at), 0))


@pytest.fixture
def bedroom(tmp_path: Path) -> Iterator[Bedroom]:
    """A house with the machine's clock."""
    made = Bedroom(tmp_path, SystemClock())
    yield made
    made.ledger.close()


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Bedroom]:
    """A house whose time passes only while it waits."""
    made = Bedroom(tmp_path, ManualClock())
    yield made
    made.ledger.close()
