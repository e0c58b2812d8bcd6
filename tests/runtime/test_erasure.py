"""Erasing a person: nothing of them is in any file of the house, and the ledger still verifies.

What it is not: copies that others hold; the command and the threat model name those.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tildawn.apps.night.desk import prepare
from tildawn.apps.night.night import NightOptions, run_night
from tildawn.apps.night.reporting import write_report
from tildawn.engine.owner import Options
from tildawn.engine.task import task
from tildawn.errors import Busy, Misused, PayloadErased, UnknownName
from tildawn.facts.house import ClockJumped
from tildawn.ledger.blobs import Blobs
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verify import verify
from tildawn.projections.erasure import ErasureRow
from tildawn.projections.run import ENDED, RunRow
from tildawn.runtime import erasure
from tildawn.runtime.config import Config
from tildawn.runtime.context import Context
from tildawn.runtime.expiry import Expiry
from tildawn.runtime.founding import found_house
from tildawn.runtime.house import House
from tildawn.runtime.logbook import end_log, keep_log
from tildawn.runtime.operation import Desk
from tildawn.runtime.operations.erasure import ERASE, EraseInput
from tildawn.runtime.setting import LedgerSettings, Settings
from tildawn.runtime.snapshot import Keeper
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.runtime.working import working
from tildawn.testing.clock import ManualClock
from tildawn.units import MILLISECOND, SECOND, Micros, Seq


DAY = 86_400 * SECOND
ADA, BOB = "ada.lovelace@example.org", "bob.babbage@example.org"
WHO = {ADA: b"lovelace", BOB: b"babbage"}


def shouted(who: str) -> str:
    return f"HELLO {who}"


@task
async def child(ctx: Context, who: str) -> str:
    return f"child of {who}"


@task
async def greet(ctx: Context, who: str) -> str:
    ctx.log(f"greeting {who}")
    said = await ctx.step(shouted, who)
    told = await ctx.child(child, who)
    await ctx.artifact("letter.txt", f"Dear {who}".encode())
    return (said + told) * 3_000


@task
async def fails(ctx: Context, who: str) -> str:
    message = f"no such person: {who}"
    raise Misused(message)


@task
async def waits(ctx: Context, who: str) -> str:
    return await ctx.event("go")


class Home:
    """A house with runs for two people."""

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.settings = settings or Settings()
        self._open()
        self.log = keep_log(folder, Settings().log, self.house.ledger.secrets)

    @property
    def ledger(self) -> Ledger:
        return self.house.ledger

    def close(self) -> None:
        self.house.close()
        end_log(self.log)
        logging.getLogger().setLevel(logging.WARNING)

    def reopen(self) -> None:
        """What the next process does."""
        self.house.close()
        self._open()

    def _open(self) -> None:
        self.house = House.open(self.folder, self.settings, mode="write", clock=self.clock)
        for one in (greet, child, fails, waits):
            self.house.tasks.add(one)

    def work(self, *jobs: tuple[Any, str], rest: frozenset[str] = ENDED) -> list[str]:
        """Accept runs and work until they have ended."""

        async def scene() -> list[str]:
            async with working(self.house, env={}):
                owner = self.house.owner
                runs: list[str] = [
                    (await owner.enqueue(what, who, options=Options(
                        subject=who, label=f"for {who}", key=f"{what.name} {who}"))).run
                    for what, who in jobs
                ]  # fmt: skip
                while any(self.state(run) not in rest for run in runs):
                    await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])
            return runs

        return asyncio.run(scene())

    def night(self, items: str) -> None:
        """Play a night whose plan is beside the house."""
        plan = self.folder.parent / "plan.yaml"
        plan.write_text(f"version: 1\nwork:\n{items}")

        async def scene() -> None:
            async with working(self.house, env={}, prepare=(prepare,)):
                night = asyncio.ensure_future(
                    run_night(
                        self.house.engine, self.house.ids, plan=plan, options=NightOptions(),
                        leave=asyncio.Event(), announce=lambda _: None,
                    )
                )  # fmt: skip
                while not night.done():
                    await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])
                    self.clock.advance(Micros(100 * MILLISECOND))
                await night

        asyncio.run(scene())

    def report(self) -> None:
        """Write the report of the latest night into the house."""
        write_report(self.ledger, self.folder, night="", clock=self.clock, alive=False)

    def runs_of_rows(self) -> dict[int, RunRow]:
        """The runs of a night's rows, without looks."""
        with self.ledger.read() as reader:
            rows = reader.rows(RunRow, "night <> '' AND evidence_for = '' AND parent = ''")
        return {row.row: row for row in rows}

    def expire(self, days: int, keep: int = 90) -> int:
        """Let days pass, and take a turn of what expires."""
        self.clock.advance(Micros(days * DAY))
        keeper = Keeper(self.folder, Settings(), self.clock)
        expiry = Expiry(self.folder, keeper, Micros(keep * DAY))
        return expiry.turn(self.ledger, self.clock.wall())

    def until_ended(self, run: str) -> None:
        """Work until a run has ended."""

        async def scene() -> None:
            async with working(self.house, env={}):
                while self.state(run) not in ENDED:
                    await self.ledger.append([self.ledger.draft(ClockJumped(by_ms=0))])

        asyncio.run(scene())

    def state(self, run: str) -> str:
        with self.ledger.read() as reader:
            row = reader.get(RunRow, run)
        assert row is not None
        return row.state

    def erase(self, who: str = "", **said: Any) -> Any:
        desk = Desk(
            Config(settings=Settings(), explained=()), self.clock, folder=self.folder,
            house=self.house,
        )  # fmt: skip

        async def scene() -> Any:
            return await ERASE.run(desk, EraseInput(subject=who, **said))

        return asyncio.run(scene())

    def holding(self, who: str) -> list[str]:
        """The files below the house that hold somebody."""
        return [
            str(path)
            for path in self.folder.rglob("*")
            if path.is_file() and WHO[who] in path.read_bytes()
        ]

    def verdict(self) -> str:
        found = verify(self.folder, registry=REGISTRY, projections=PROJECTIONS)
        return f"{found.state.value} {found.what}"

    def text(self, run: str, kind: str) -> bytes:
        with self.ledger.read() as reader:
            [seq] = [seq for seq, fact in reader.history(run) if fact.kind == kind]
            return reader.payload(seq, 0)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A founded house."""
    folder = tmp_path / ".tildawn"
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    made = Home(folder)
    yield made
    made.close()


def test_nothing_of_an_erased_person_is_in_any_file_and_the_ledger_verifies(home: Home) -> None:
    """Whoever asks to be forgotten is, in every place that we write to."""
    hers, _, his = home.work((greet, ADA), (fails, ADA), (greet, BOB))
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    (home.folder / "stacks.txt").write_text(f"greeting {ADA}")
    (home.folder / "reports").mkdir()
    (home.folder / "reports" / "runs.md").write_text(f"for {ADA}")
    assert home.holding(ADA)
    before = home.text(his, "RunDone")
    planned = home.erase(ADA, plan=True)
    assert not planned.done
    assert home.text(hers, "RunDone")

    said = home.erase(ADA, reason="asked")

    assert (3, True) == (said.runs, said.done)
    assert said.payloads == planned.payloads > 8
    assert [] == home.holding(ADA)
    assert home.verdict().startswith("proven")
    assert before == home.text(his, "RunDone")
    assert home.holding(BOB) != []
    with pytest.raises(PayloadErased):
        home.text(hers, "RunDone")
    assert any("snapshot" in one for one in said.beside)
    assert "backups" in " ".join(said.beyond)


def test_a_mirror_forgets_an_erased_person_too(tmp_path: Path) -> None:
    """A second copy that remembers is no erasure."""
    copy = tmp_path / "copy"
    copy.mkdir()
    kept = LedgerSettings(mirror="sync-degrade", mirror_folder=str(copy))
    settings = Settings(ledger=kept)
    folder = tmp_path / ".tildawn"
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    home = Home(folder, settings)
    try:
        home.work((greet, ADA), (greet, BOB))
        home.erase(ADA)
        assert [] == home.holding(ADA)
    finally:
        home.close()
    texts = [path.read_bytes() for path in copy.rglob("*") if path.is_file()]
    assert not [1 for text in texts if WHO[ADA] in text]
    assert [1 for text in texts if WHO[BOB] in text]


LETTERS = """
  - id: letters
    for_each: orders.csv
    key: "{{ item.number }} {{ item.customer }}"
    subject: "{{ item.customer }}"
    steps:
      - letter:
          file: { write: "{{ item.number }}.txt", content: "Dear {{ item.customer }}" }
    evidence:
      - file: { path: "{{ item.number }}.txt", contains: "{{ item.customer }}" }
"""


def orders(home: Home, *who: str) -> None:
    """The orders of these customers, beside the house."""
    rows = "".join(f"A-{at},{one}\n" for at, one in enumerate(who))
    (home.folder.parent / "orders.csv").write_text("number,customer\n" + rows)


@pytest.fixture
def mirrored(tmp_path: Path) -> Iterator[Home]:
    """A house whose copy is within its folder's sight."""
    folder = tmp_path / "house" / ".tildawn"
    (folder.parent / "copy").mkdir(parents=True)
    ledger = LedgerSettings(mirror="sync-degrade", mirror_folder=str(folder.parent / "copy"))
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    made = Home(folder, Settings(ledger=ledger))
    yield made
    made.close()


def everywhere(home: Home) -> list[str]:
    """Files of the house and of its mirror that hold her."""
    copy = home.folder.parent / "copy"
    found = [str(p) for p in copy.rglob("*") if p.is_file() and WHO[ADA] in p.read_bytes()]
    return home.holding(ADA) + found


def test_a_plan_names_whom_its_rows_are_about_and_one_of_them_is_erased(mirrored: Home) -> None:
    """Nobody knows the numbers of the runs of a night; everybody knows a customer."""
    home = mirrored
    orders(home, ADA, BOB)
    home.night(LETTERS)
    home.report()
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    (home.folder / "stacks.txt").write_text(f"greeting {ADA}")
    runs = home.runs_of_rows()
    logging.getLogger("tildawn").warning("run %s greets %s", runs[0].run, ADA)
    before = home.text(runs[1].run, "RunDone"), home.text(runs[1].run, "RunAccepted")
    assert {"logs", "reports", "snapshots", "copy"} <= {
        part for path in everywhere(home) for part in Path(path).parts
    }

    said = home.erase(ADA)

    assert [] == everywhere(home)
    assert (1, (1,)) == (said.nights, said.plans)
    assert before == (home.text(runs[1].run, "RunDone"), home.text(runs[1].run, "RunAccepted"))
    assert home.verdict().startswith("proven")
    home.report()
    assert [] == everywhere(home)
    # The last of them takes the plan along.
    assert () == home.erase(BOB).plans
    assert [] == home.holding(BOB)
    assert home.verdict().startswith("proven")
    home.report()


def test_a_row_that_became_no_run_is_erased_with_the_copy_of_the_rows(home: Home) -> None:
    """What another night has done already stands in the rows of this one all the same."""
    work = LETTERS.replace("    steps:", "    once: ever\n    steps:")
    orders(home, ADA)
    home.night(work)
    home.reopen()
    orders(home, ADA, BOB)
    home.night(work)

    said = home.erase(ADA)

    assert (2, True) == (said.nights, said.done)
    assert [] == home.holding(ADA)
    assert home.verdict().startswith("proven")


def test_what_ended_long_ago_expires_and_the_rest_stays(mirrored: Home) -> None:
    """Nobody has to ask for what the house has no reason to keep."""
    home = mirrored
    orders(home, ADA, ADA)
    home.night(LETTERS)
    home.report()
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    assert 0 == home.expire(89)
    home.reopen()
    [young] = home.work((greet, BOB))
    home.reopen()
    [open_] = home.work((waits, BOB), rest=frozenset({"running", "waiting"}))

    assert home.expire(3) >= 4

    assert [] == everywhere(home)
    assert home.text(young, "RunDone")
    assert home.text(open_, "RunAccepted")
    assert home.verdict().startswith("proven")
    with home.ledger.read() as reader:
        rows = reader.rows(ErasureRow)
    assert {("expired", "")} == {(row.why, row.subject) for row in rows}
    with pytest.raises(PayloadErased):
        home.text(home.runs_of_rows()[0].run, "RunDone")
    assert home.expire(91) >= 1
    assert home.text(open_, "RunAccepted"), "it has not ended"
    home.report()


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Ledger, "append_now"),
        (Ledger, "scrub"),
        (Blobs, "remove"),
        (Keeper, "take"),
        (Keeper, "drop"),
    ],
)
def test_the_next_turn_completes_an_expiry_that_a_crash_left(
    home: Home, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    """Nobody would repeat a command that nobody gave."""
    home.work((greet, ADA))
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, name, crash)
        with pytest.raises(KeyboardInterrupt):
            home.expire(92)
    home.close()
    again = Home(home.folder)
    try:
        again.clock.advance(Micros(92 * DAY))
        again.expire(0)
        assert [] == again.holding(ADA)
        assert again.verdict().startswith("proven")
    finally:
        again.close()


def test_a_house_that_works_lets_payloads_expire_by_itself(tmp_path: Path) -> None:
    """A setting that no loop reads keeps everything for ever."""
    folder = tmp_path / ".tildawn"
    found_house(folder, Settings(), clock=ManualClock(), example=False)
    home = Home(folder, Settings(ledger=LedgerSettings(keep_payloads=Micros(2 * DAY))))
    try:
        home.work((greet, ADA))
        home.reopen()

        async def scene() -> None:
            async with working(home.house, env={}):
                while home.holding(ADA):
                    await home.ledger.append([home.ledger.draft(ClockJumped(by_ms=0))])
                    home.clock.advance(Micros(DAY // 4))

        asyncio.run(scene())
    finally:
        home.close()


def test_a_single_run_is_erased_with_its_children_and_no_other(home: Home) -> None:
    """What leaked in one run is no reason to lose the rest of a person's work."""
    one, other = home.work((greet, ADA), (fails, ADA))

    assert 2 == home.erase(run=one, reason="leaked").runs

    assert home.text(other, "RunFailed")
    with pytest.raises(PayloadErased):
        home.text(one, "RunAccepted")


def test_what_a_parent_was_told_by_an_erased_child_goes_too(home: Home) -> None:
    """The result of a child is written down twice."""
    [parent] = home.work((greet, ADA))
    with home.ledger.read() as reader:
        [below] = reader.rows(RunRow, "parent = ?", (parent,))

    home.erase(run=below.run)

    with pytest.raises(PayloadErased):
        home.text(parent, "ChildEnded")
    assert home.text(parent, "StepRecorded")
    assert home.verdict().startswith("proven")


def test_a_run_in_flight_is_refused_unless_it_may_be_cancelled(home: Home) -> None:
    """Work that goes on would write down again what was erased."""
    [run] = home.work((waits, ADA), rest=frozenset({"running", "waiting"}))
    with pytest.raises(Misused, match="not ended") as caught:
        home.erase(ADA)
    assert "--cancel" in (caught.value.hint or "")
    assert home.text(run, "RunAccepted")

    with pytest.raises(Busy, match="asked to stop"):
        home.erase(ADA, cancel=True)
    home.close()
    again = Home(home.folder)
    try:
        again.until_ended(run)
        assert again.erase(ADA, cancel=True).done
        assert [] == again.holding(ADA)
    finally:
        again.close()


def test_an_unknown_person_and_a_reason_in_words_are_refused(home: Home) -> None:
    """A reason stays for ever, so it must not name anybody."""
    with pytest.raises(UnknownName):
        home.erase(ADA)
    with pytest.raises(Misused, match="a word"):
        home.erase(ADA, reason=f"{ADA} asked us")


STEPS: dict[str, tuple[Any, str]] = {
    "before the facts": (Ledger, "append_now"),
    "before the log is cut": (Ledger, "scrub"),
    "before a blob goes": (Blobs, "remove"),
    "before log lines go": (erasure, "_clean_logs"),
    "before reports go": (erasure, "_remove"),
    "before a new snapshot": (Keeper, "take"),
    "before old snapshots go": (Keeper, "drop"),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_same_command_completes_what_a_crash_left(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A power cut in the middle must not leave half of a person behind for ever."""
    home.work((greet, ADA))
    Keeper(home.folder, Settings(), home.clock).take(home.ledger, "asked")
    where, name = STEPS[step]

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(where, name, crash)
        with pytest.raises(KeyboardInterrupt):
            home.erase(ADA)
    home.close()
    again = Home(home.folder)
    try:
        assert again.verdict().startswith("proven")
        again.erase(ADA)
        assert [] == again.holding(ADA)
        assert again.verdict().startswith("proven")
    finally:
        again.close()


def test_a_reader_that_holds_the_log_back_is_said_and_the_command_completes_later(
    home: Home,
) -> None:
    """Pages of a log that cannot be cut yet still hold everything."""
    home.work((greet, ADA))
    with home.ledger.read() as reader:
        reader.head()
        with pytest.raises(Busy):
            home.erase(ADA)

    home.erase(ADA)

    assert [] == home.holding(ADA)


def unsay(database: Any, seq: int) -> None:
    """A payload is taken out, and a fact is named that erased others."""
    said = 'SELECT seq FROM fact WHERE instr(body, \'"kind":"PayloadErased"\')'
    [(erasing,)] = database.execute(said).fetchall()
    sql = "UPDATE payload SET salt = NULL, text = NULL, blob = NULL, erased = ? WHERE id = ?"
    database.execute(sql, (erasing, seq * 8))


def point_elsewhere(database: Any, seq: int) -> None:
    """It names a fact that erases nothing."""
    sql = "UPDATE payload SET salt = NULL, text = NULL, blob = NULL, erased = ? WHERE id = ?"
    database.execute(sql, (seq + 1, seq * 8))


def bring_back(database: Any, seq: int) -> None:
    """What was erased is there again."""
    database.execute(
        "UPDATE payload SET text = x'31' WHERE id = (SELECT min(id) FROM payload WHERE erased NOT NULL)"
    )


@pytest.mark.parametrize("harm", [unsay, point_elsewhere, bring_back])
def test_a_payload_may_be_gone_only_where_a_fact_names_it(
    home: Home, harm: Callable[[Any, int], None]
) -> None:
    """Else an erasure of one person would be a licence to remove what anybody said."""
    _, his = home.work((greet, ADA), (greet, BOB))
    home.erase(ADA)
    with home.ledger.read() as reader:
        row = reader.get(RunRow, his)
    assert row is not None
    home.house.close()
    database = apsw.Connection(str(home.folder / "ledger.db"))
    harm(database, Seq(row.accepted))
    database.close()

    assert home.verdict().startswith("broken")
