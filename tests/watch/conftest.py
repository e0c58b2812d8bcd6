"""Houses with nights in them, made of facts through a real ledger.

What it is not: an engine.  Who writes which fact is told by hand here, in a legal order.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tildawn.facts import call, house, night, permit, route, run, step
from tildawn.facts.call import CallDispatched, CallDoubted, CallSettled
from tildawn.facts.fact import FactData, Payload, Registry
from tildawn.facts.house import MachineSlept
from tildawn.facts.night import (
    EffectObserved,
    EvidenceBaselined,
    EvidenceJudged,
    ItemSkipped,
    NightClosed,
    NightOpened,
    NightStopped,
    PlanAccepted,
)
from tildawn.facts.run import (
    RunAccepted,
    RunDone,
    RunFailed,
    RunHeld,
    RunInterrupted,
    RunStarted,
)
from tildawn.ids import Ids
from tildawn.ledger.entry import Committed, Entry
from tildawn.ledger.ledger import Ledger
from tildawn.projections.anchor import ANCHOR
from tildawn.projections.call import CALL
from tildawn.projections.house import HOUSE
from tildawn.projections.mirror import MIRROR
from tildawn.projections.night import NIGHT
from tildawn.projections.permit import PERMIT
from tildawn.projections.quarantine import QUARANTINE
from tildawn.projections.route import ROUTE
from tildawn.projections.run import RUN
from tildawn.projections.step import STEP
from tildawn.projections.storage import STORAGE
from tildawn.projections.story import STORY
from tildawn.projections.traffic import SLO
from tildawn.testing.clock import ManualClock
from tildawn.units import Micros
from tildawn.watch.build import build_report
from tildawn.watch.report import Report


BERLIN = ZoneInfo("Europe/Berlin")
REGISTRY = Registry(
    (*house.KINDS, *run.KINDS, *step.KINDS, *call.KINDS, *route.KINDS, *permit.KINDS, *night.KINDS)
)
PROJECTIONS = (
    RUN, STEP, SLO, ROUTE, CALL, NIGHT, STORY, HOUSE, QUARANTINE, PERMIT, MIRROR, STORAGE,
    ANCHOR,
)  # fmt: skip


def instant(text: str, *, zone: ZoneInfo = BERLIN) -> Micros:
    """An instant such as ``2026-11-11 22:30`` in Berlin."""
    return Micros(int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1_000_000)


def counted() -> Callable[[int], bytes]:
    """Entropy that is the same in every test."""
    state = iter(range(1 << 32))
    return lambda size: (
        (next(state) * 2_654_435_761 % (1 << 64)).to_bytes(8, "big").rjust(size, b"\7")[-size:]
    )


@dataclass
class House:
    """A house, a clock, and short ways to say what happened in a night."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(instant("2026-11-11 22:29:58")))
    name: str = ""
    ids: Ids = field(init=False)
    ledger: Ledger = field(init=False)
    pending: list[Entry] = field(default_factory=list[Entry])

    def __post_init__(self) -> None:
        """Open it."""
        self.ids = Ids(self.clock, counted())
        self.ledger = self._opened()

    def _opened(self) -> Ledger:
        return Ledger.open(
            self.folder, registry=REGISTRY, projections=PROJECTIONS, clock=self.clock,
            ids=self.ids, build="test",
        )  # fmt: skip

    # --- saying -------------------------------------------------------------------------

    def text(self, value: object) -> Payload:
        """A value as a payload."""
        return self.ledger.payload(json.dumps(value, ensure_ascii=False).encode())

    def say(
        self, data: FactData, *, of: str = "", path: str = "", texts: tuple[object, ...] = ()
    ) -> int:
        """Record a fact; texts go into its payload slots, in order."""
        payloads = [self.text(value) if value is not None else None for value in texts]
        names = type(data).PAYLOADS
        digests = {name: p.digest for name, p in zip(names, payloads, strict=False) if p}
        entry = self.ledger.draft(
            type(data)(**{f: getattr(data, f) for f in data.__struct_fields__} | digests),
            run=of, path=path, payloads=payloads,
        )  # fmt: skip
        self.pending.append(entry)
        if len(self.pending) >= 2_000:
            self.flush()
        return self._base() + len(self.pending) - 1

    def _base(self) -> int:
        return int(self.ledger.next_seq)

    def flush(self) -> None:
        """Commit what was said."""
        if self.pending:
            answer = self.ledger.append_now(self.pending)
            assert isinstance(answer, Committed), answer
            self.pending.clear()

    def until(self, clock: str) -> None:
        """Let the night go on until a clock time in Berlin, ``23:10`` or ``02:14:07``."""
        day = "11" if clock > "12" else "12"
        wait = instant(f"2026-11-{day} {clock}") - self.clock.wall()
        self.clock.advance(Micros(wait))

    def crash(self, folder: Path) -> None:
        """The process dies and another takes the pen: the house as a power cut leaves it."""
        self.flush()
        shutil.copytree(self.folder, folder)
        self.ledger.close()
        self.folder = folder

    def back(self) -> None:
        """Take the pen again."""
        self.ledger = self._opened()

    # --- the night ----------------------------------------------------------------------

    def plan(
        self, planned: dict[str, int], *, titles: dict[str, str] | None = None, **fields: object
    ) -> str:
        """Accept a plan and open its night."""
        self.name = self.ids.new()
        items = [{"id": item, "title": (titles or {}).get(item, item.title())} for item in planned]
        said = PlanAccepted(
            night=self.name, plan="", source="", place="p", content="c", planned=planned,
            **{
                "zone": "Europe/Berlin", "opens": instant("2026-11-11 22:30"),
                "closes": instant("2026-11-12 06:30"), "budget_micro_usd": 4_000_000,
            } | fields,  # pyright: ignore[reportArgumentType]  # a test names fields as it likes
        )  # fmt: skip
        self.say(said, texts=({"items": items}, "version: 1", "Shop night", "my plan.yaml"))
        self.say(NightOpened(night=self.name))
        return self.name

    def accept(self, item: str = "", row: int = -1, *, label: str = "", **fields: object) -> str:
        """Accept a run and what its check sees before."""
        name = self.ids.new()
        said = RunAccepted(
            task="plan.item", args="", night=self.name, item=item, row=row,
            budgets=(f"night/{self.name}",) if self.name else (),
            **fields,  # pyright: ignore[reportArgumentType]  # as above
        )  # fmt: skip
        self.say(said, of=name, texts=({}, label or None))
        return name

    def baseline(self, item: str, row: int = -1, *, saw: str = "unmet", of: str = "") -> None:
        """What the check saw before."""
        self.say(
            EvidenceBaselined(night=self.name, item=item, row=row, index=0, saw=saw, kind="http"),
            of=of,
        )

    def judge(self, of: str, item: str, row: int = -1, *, verdict: str = "verified",
              detail: str | None = None, chosen: bool = False) -> int:  # fmt: skip
        """What the check said after."""
        said = EvidenceJudged(
            night=self.name, item=item, row=row, index=0, kind="http", verdict=verdict, judged=of,
            chosen_by_worker=chosen,
        )  # fmt: skip
        return self.say(said, texts=(detail,))

    def start(self, of: str, attempt: int = 1) -> None:
        """An attempt begins."""
        self.say(RunStarted(attempt=attempt), of=of)

    def done(self, of: str) -> None:
        """It ends with a result."""
        self.say(RunDone(out=""), of=of, texts=({"ok": True},))

    def fail(self, of: str, error: str, kind: str = "error") -> None:
        """It ends without one."""
        self.say(
            RunFailed(error="", kind=kind), of=of, texts=({"type": "Error", "message": error},)
        )

    def hold(self, of: str, why: str, *choices: str, detail: str = "") -> None:
        """It waits for its owner."""
        self.say(RunHeld(why=why, choices=choices), of=of, texts=(detail or None,))

    def dispatch(self, of: str, path: str, *, route: str = "sim:chat", attempt: int = 1,
                 reserve: int = 20_000, repeat: str = "safe", **fields: object) -> None:  # fmt: skip
        """An attempt of a call leaves."""
        said = CallDispatched(
            name=fields.pop("name", route), route=route, attempt=attempt, key=path, args="a",  # pyright: ignore[reportArgumentType]  # as above
            repeat=repeat, deadline=0, timeout_ms=1_000, reserve_micro_usd=reserve,
            budgets=(f"night/{self.name}",) if self.name else (),
            **fields,  # pyright: ignore[reportArgumentType]  # as above
        )  # fmt: skip
        self.say(said, of=of, path=path, texts=("POST /products",))

    def settle(self, of: str, path: str, *, attempt: int = 1, spend: int = 12_000, fault: str = "",
               source: str = "computed", effect: str = "applied", final: bool = True) -> None:  # fmt: skip
        """The attempt ends."""
        said = CallSettled(
            attempt=attempt, final=final, effect="none" if fault and effect == "applied" else effect,
            fault=fault, spend_micro_usd=spend, spend_source=source,
        )  # fmt: skip
        self.say(said, of=of, path=path, texts=({}, None))

    # --- looking --------------------------------------------------------------------------

    def report(self, **fields: object) -> Report:
        """The report as of now."""
        self.flush()
        with self.ledger.read() as reader:
            return build_report(
                reader, night=None, now=self.clock.wall(), build="0.1.0", **fields,  # pyright: ignore[reportArgumentType]  # as above
            )  # fmt: skip


@pytest.fixture(scope="session")
def new_house() -> Callable[[Path], House]:
    """Makes a house in a folder, for tests that need many."""
    return House


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[House]:
    """An empty house."""
    made = House(tmp_path / "house")
    yield made
    made.ledger.close()


PRODUCTS = (
    "Stoneware mug, ash glaze", "Stoneware mug, sea glaze", "Espresso cup, raw rim",
    "Pasta bowl, speckled", "Serving plate, oval", "Butter dish with lid", "Salt pig, cork lid",
    "Teapot, side handle", "Pour-over cone", "Honey jar, beech dipper", "Bud vase, tall",
    "Bud vase, squat", "Candle holder, double", "Linen napkins, set of four",
    "Linen apron, indigo", "Tea towel, striped", "Oven mitt, quilted", "Beech spoon, long",
    "Beech spatula", "Olive wood board, small", "Olive wood board, large", "Soap dish, slotted",
    "Incense tray", "Plant saucer, 14 cm",
)  # fmt: skip


def clock_at(minute: int) -> str:
    """Minutes after midnight as a clock time; 1,380 is 23:00 and 1,500 is 01:00."""
    return f"{minute % 1440 // 60:02}:{minute % 60:02}"


FIRST = 22 * 60 + 32
"""The first listing begins at 22:32."""


def good_night(shop: House, other: Path) -> None:
    """26 runs: 24 verified, one unknown after a crash, one held; one call healed."""
    titles = {"listings": "List the Valentine products", "prices": "Price research"}
    shop.plan({"listings": 24, "sitemap": 1, "prices": 1}, titles=titles)
    runs = [shop.accept("listings", row, label=label) for row, label in enumerate(PRODUCTS)]
    for row in range(24):
        shop.baseline("listings", row)
    sitemap, prices = shop.accept("sitemap"), shop.accept("prices")
    shop.baseline("sitemap")
    shop.baseline("prices")
    shop.until("22:31")
    shop.start(prices)
    for row, listing in enumerate(runs):
        shop.until(clock_at(FIRST + 15 * row))
        _listing(shop, listing, row)
        if row == 14:
            shop.until("02:14:07")
            shop.dispatch(
                listing, "photo", route="shop:photo", name="shop.photo", repeat="never", reserve=0
            )
            shop.crash(other)
            shop.clock.advance(Micros(4_000_000))
            shop.back()
            _recover(shop, listing, prices)
            continue
        shop.dispatch(
            listing, "draft", route="shop:create", name="shop.create", repeat="keyed", reserve=0
        )
        shop.until(clock_at(FIRST + 15 * row + 10))
        shop.settle(listing, "draft", spend=0, source="none")
        shop.done(listing)
        shop.judge(listing, "listings", row)
        if row == 17:
            shop.hold(prices, "approval", "yes", "no", detail="Keep three deep price cuts?")
    _sitemap(shop, sitemap)
    shop.say(NightClosed(night=shop.name, outcome="done"))
    shop.until("06:30:02")


def _listing(shop: House, of: str, row: int) -> None:
    shop.start(of)
    shop.dispatch(of, "copy", route="sim:chat")
    shop.settle(of, "copy", spend=11_300)
    shop.dispatch(of, "photo-made", route="sim:image:1024", reserve=50_000)
    if row == 10:
        shop.settle(
            of, "photo-made", fault="timeout", final=False, spend=0, source="none", effect="none"
        )
        shop.dispatch(of, "photo-made", route="sim:image:1024", attempt=2, reserve=50_000)
        shop.settle(of, "photo-made", attempt=2, spend=42_000, source="reported")
    else:
        shop.settle(of, "photo-made", spend=42_000, source="reported")


def _recover(shop: House, listing: str, prices: str) -> None:
    for one in (listing, prices):
        shop.say(RunInterrupted(unclean=True), of=one)
    shop.say(NightOpened(night=shop.name))
    shop.say(CallDoubted(attempt=1, why="crash"), of=listing, path="photo")
    shop.start(prices, 2)
    shop.start(listing, 2)
    shop.hold(
        listing, "call-in-doubt", "applied", "not-applied",
        detail="POST /drafts/8815/photos was sent at 02:14:07, no answer came.",
    )  # fmt: skip


def _sitemap(shop: House, of: str) -> None:
    shop.until("04:33")
    shop.start(of)
    shop.until("04:36:48")
    shop.done(of)
    seen = {"kind": "file", "target": "sitemap.xml", "before": "ab" * 32, "after": "cd" * 32,
            "note": "+24 lines"}  # fmt: skip
    shop.say(
        EffectObserved(night=shop.name, item="sitemap", what="", kind="file"), of=of, texts=(seen,)
    )
    shop.judge(of, "sitemap")


BAD = [
    "v",
    "v",
    "c",
    "v",
    "v",
    "n",
    "v",
    "v",
    "f",
    "f",
    "h",
    "v",
    "r",
    "v",
    "C",
    "v",
    "d",
    "H",
    "f",
    "h2",
    "f",
    "f",
]
"""What becomes of each listing of the bad night; two never begin."""


def bad_night(shop: House, other: Path) -> None:
    """9 of 26 verified; a crash, a refuted one, an unknown one, and a stop after 5 failures."""
    shop.plan({"listings": 24, "sitemap": 1, "prices": 1}, stop_total=5)
    runs = [shop.accept("listings", row, label=label) for row, label in enumerate(PRODUCTS)]
    for row in range(24):
        if row != 2:
            shop.baseline("listings", row, saw="met" if row == 5 else "unmet")
    shop.accept("sitemap")
    shop.accept("prices")
    for row, (of, fate) in enumerate(zip(runs, BAD, strict=False)):
        shop.until(clock_at(FIRST + 14 * row))
        shop.start(of)
        shop.dispatch(of, "copy", reserve=100_000)
        shop.settle(of, "copy", spend=91_300)
        shop.until(clock_at(FIRST + 14 * row + 11))
        if fate == "d":
            _lose(shop, of, other)
        else:
            _fate(shop, of, row, fate)
    shop.say(NightStopped(night=shop.name, rule="total", count=5))
    shop.say(
        ItemSkipped(night=shop.name, item="sitemap", why="it needs every listing to have ended")
    )
    shop.until("06:30:02")


JUDGED = {"v": ("verified", None), "n": ("no-change", None), "c": ("", None),
          "r": ("refuted", "7 of 24 prices are missing."),
          "C": ("not-run", "No browser on this machine.")}  # fmt: skip
HELD = {"h": ("approval", ("yes", "no"), "Use the plain photo for this one?"),
        "h2": ("replay-mismatch", ("fork", "restart", "abandon"), "step 5 differs"),
        "H": ("budget-spent", ("retry", "give-up"), "The call would cost 0.31 USD.")}  # fmt: skip


def _fate(shop: House, of: str, row: int, fate: str) -> None:
    if fate in JUDGED:
        verdict, detail = JUDGED[fate]
        shop.done(of)
        if verdict:
            shop.judge(of, "listings", row, verdict=verdict, detail=detail)
    elif fate in HELD:
        why, choices, detail = HELD[fate]
        shop.hold(of, why, *choices, detail=detail)
    else:
        shop.fail(of, "No photo before its deadline." if row < 12 else "No category 214.")


def _lose(shop: House, of: str, other: Path) -> None:
    shop.dispatch(
        of, "draft", route="shop:create", name="shop.create", repeat="never", reserve=120_000
    )
    shop.crash(other)
    shop.clock.advance(Micros(3_000_000))
    shop.back()
    shop.say(RunInterrupted(unclean=True, sole=True), of=of)
    shop.say(CallDoubted(attempt=1, why="crash"), of=of, path="draft")
    shop.hold(of, "call-in-doubt", "applied", "not-applied", "give-up", detail="No answer came.")
    shop.clock.advance(Micros(60_000_000))
    shop.say(MachineSlept(slept_ms=40_000))


@pytest.fixture
def good(shop: House, tmp_path: Path) -> House:
    """The house after a good night."""
    good_night(shop, tmp_path / "after")
    return shop


@pytest.fixture
def bad(shop: House, tmp_path: Path) -> House:
    """The house after a bad night."""
    bad_night(shop, tmp_path / "after")
    return shop
