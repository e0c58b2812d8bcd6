"""Appending: answers, order, expectations, isolation, cancellation, pressure.

What it is not: what a failing disk does; that is in tests/faults.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tildawn.errors import (
    BadValue,
    Busy,
    FoldFailed,
    HouseUnusable,
    InvariantViolated,
    TildawnError,
)
from tildawn.ledger import writer
from tildawn.ledger.entry import Committed, Outcome, Unmet
from tildawn.ledger.fold import Expect
from tildawn.ledger.ledger import APPEND_FACTS_MAX, Ledger
from tildawn.testing import bugs
from tildawn.testing.disk import FaultyDisk
from tildawn.testing.notebook import (
    Note,
    Puzzled,
    Risen,
    Seat,
    Seated,
    Struck,
    Total,
    note,
    open_notebook,
    verify_notebook,
)
from tildawn.units import Seq


def _absent(run: str, key: int) -> Expect:
    return Expect(row=Note, key=(run, key), test=lambda row: row is None, why="the key is new")


def test_facts_of_one_append_are_contiguous_and_read_back(ledger: Ledger) -> None:
    """All facts of one append are atomic and contiguous."""
    answer = ledger.append_now([note(ledger, key, run="r", text=f'"{key}"') for key in range(3)])

    assert isinstance(answer, Committed)
    with ledger.read() as reader:
        history = reader.history("r")
        texts = [reader.payload(seq, 0) for seq, _ in history]
        assert reader.get(Total, "r") == Total(run="r", count=3, amount=3, last=answer.first + 2)
    assert [seq for seq, _ in history] == [answer.first + at for at in range(3)]
    assert texts == [b'"0"', b'"1"', b'"2"']


def test_a_false_expectation_refuses_only_its_append_and_gives_the_row(ledger: Ledger) -> None:
    """An expectation is an answer and no error: it is how two callers agree who was first."""
    ledger.append_now([note(ledger, 1, run="r")], expect=[_absent("r", 1)])
    size = ledger.next_seq

    answer = ledger.append_now([note(ledger, 2, run="r")], expect=[_absent("r", 1)])

    assert isinstance(answer, Unmet)
    assert answer.why == "the key is new"
    assert answer.row == Note(run="r", key=1, amount=1, seq=size - 1)
    assert ledger.next_seq == size


async def _held(ledger: Ledger, gate: Any) -> asyncio.Task[Any]:
    """Start an append that holds the writer until the gate opens."""
    first = asyncio.create_task(
        ledger.append([note(ledger, 0, run="gate-keeper")], expect=[gate.expect()])
    )
    await asyncio.to_thread(gate.entered.wait, 30)
    return first


def test_expectations_see_earlier_appends_of_the_same_batch(ledger: Ledger, gate: Any) -> None:
    """Of a hundred callers who want the same key, one gets it, whatever the batch."""

    async def race() -> list[object]:
        held = await _held(ledger, gate)
        wishes = [
            asyncio.create_task(
                ledger.append([note(ledger, 7, run="r", amount=at)], expect=[_absent("r", 7)])
            )
            for at in range(100)
        ]
        await asyncio.sleep(0)
        gate.open.set()
        await held
        return await asyncio.gather(*wishes)

    answers = asyncio.run(race())

    assert [isinstance(answer, Committed) for answer in answers] == [True, *[False] * 99]


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_row_that_is_added_twice_refuses_the_second(
    ledger: Ledger, gate: Any, in_one_batch: bool
) -> None:
    """Repetition is harmless through unique keys, in memory as well as in the table."""

    async def twice() -> list[Any]:
        if not in_one_batch:
            return [await ledger.append([note(ledger, 1, run="r")]) for _ in range(2)]
        held = await _held(ledger, gate)
        tasks = [asyncio.create_task(ledger.append([note(ledger, 1, run="r")])) for _ in range(2)]
        await asyncio.sleep(0)
        gate.open.set()
        await held
        return await asyncio.gather(*tasks)

    first, second = asyncio.run(twice())

    assert isinstance(first, Committed)
    assert isinstance(second, Unmet)
    assert isinstance(second.row, Note)
    assert second.row.seq == first.first


def test_a_row_added_before_a_restart_is_still_there_to_refuse(
    house: Callable[..., Ledger],
) -> None:
    """With nothing in memory the table's own key must notice, and only that caller may suffer."""
    first = house()
    first.append_now([note(first, 1, run="r")])
    first.close()
    ledger = house()

    async def mixed() -> tuple[object, object, object]:
        return await asyncio.gather(
            ledger.append([note(ledger, 1, run="other")]),
            ledger.append([note(ledger, 1, run="r")]),
            ledger.append([note(ledger, 2, run="r")]),
        )

    before, again, after = asyncio.run(mixed())

    assert isinstance(before, Committed)
    assert isinstance(again, Unmet)
    assert isinstance(after, Committed)


BAD: dict[str, Callable[[Ledger], list[Any]]] = {
    "a fold that raises": lambda ledger: [
        note(ledger, 900, run="bad"), ledger.draft(Puzzled(why="x"), run="bad"),
    ],
    "a unique index": lambda ledger: [note(ledger, 900, run="bad"), ledger.draft(Seated(who="b"))],
    "a row that is there": lambda ledger: [
        note(ledger, 901, run="bad"), note(ledger, 5, run="good"),
    ],
    "one key twice": lambda ledger: [note(ledger, 902, run="bad") for _ in range(2)],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD))
def test_one_bad_append_cannot_fail_its_511_neighbours(
    ledger: Ledger, gate: Any, kind: str, folder: Any
) -> None:
    """A bug in one caller must not become an outage of all, nor leave a trace."""
    ledger.append_now([ledger.draft(Seated(who="a"))])

    async def crowd() -> list[Any]:
        held = await _held(ledger, gate)
        appends = [[note(ledger, key, run="good")] for key in range(511)]
        appends.insert(300, BAD[kind](ledger))
        tasks = [asyncio.create_task(ledger.append(entries)) for entries in appends]
        await asyncio.sleep(0)
        gate.open.set()
        await held
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(crowd())
    bad = answers.pop(300)

    assert all(isinstance(answer, Committed) for answer in answers)
    firsts = [answer.first for answer in answers]
    assert firsts == list(range(firsts[0], firsts[0] + 511))
    assert isinstance(bad, FoldFailed | InvariantViolated | Unmet)
    with ledger.read() as reader:
        assert reader.count(Note, "run = 'bad'") == 0
        assert reader.get(Total, "bad") is None
        assert reader.get(Total, "good") == Total(
            run="good", count=511, amount=511, last=firsts[-1]
        )
    ledger.close()
    assert verify_notebook(folder).what == ""


def test_a_refused_append_that_leaves_a_trace_would_be_found(tmp_path: Path) -> None:
    """The planted bug of isolation, which the tests above must be able to see."""
    with bugs.planted("refused-leaves-trace"), open_notebook(tmp_path) as ledger:
        refused = ledger.append_now([note(ledger, 1, run="r"), note(ledger, 1, run="r")])
        ledger.append_now([note(ledger, 2, run="r")])
        assert isinstance(refused, Unmet)

    assert verify_notebook(tmp_path).differences != ()


def test_a_kind_first_seen_in_a_refused_append_is_still_noted_later(
    ledger: Ledger, folder: Path
) -> None:
    """By its kinds another version sees whether it understands a house; one was once forgotten."""
    with pytest.raises(InvariantViolated):
        ledger.append_now([ledger.draft(Seated(who="a")), ledger.draft(Seated(who="b"))])

    ledger.append_now([ledger.draft(Seated(who="a"))])

    with ledger.read() as reader:
        kinds = reader.query("SELECT name FROM kind WHERE name = 'Seated'")
    assert kinds == [("Seated",)]
    assert verify_notebook(folder).what == ""


def test_a_constraint_sees_every_state_in_the_order_of_the_facts(ledger: Ledger, gate: Any) -> None:
    """The last states of a batch may be legal while the way there was not, and the reverse."""

    async def seats() -> list[Any]:
        held = await _held(ledger, gate)
        changes = [
            Seated(who="a"),
            Seated(who="b"),
            Risen(who="a"),
            Seated(who="b"),
            Seated(who="a"),
        ]
        tasks = [asyncio.create_task(ledger.append([ledger.draft(data)])) for data in changes]
        await asyncio.sleep(0)
        gate.open.set()
        await held
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(seats())

    taken = [isinstance(answer, Committed) for answer in answers]
    assert taken == [True, False, True, True, False]
    with ledger.read() as reader:
        assert [row.who for row in reader.rows(Seat, "sits = 1")] == ["b"]


def test_outcomes_come_in_ledger_order_with_one_wake_up_a_batch(
    ledger: Ledger, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers may rely on the order, and one wake-up is what makes the rate possible."""
    wakes: list[int] = []
    original = writer._call

    def counted(loop: Any, function: Any, argument: Any) -> None:
        wakes.append(len(argument))
        original(loop, function, argument)

    async def many() -> list[Outcome]:
        held = await _held(ledger, gate)
        got: list[Outcome] = []
        last = asyncio.Event()

        def done(outcome: Outcome) -> None:
            got.append(outcome)
            if len(got) == 200:
                last.set()

        for key in range(200):
            ledger.submit([note(ledger, key, run="r")], done=done)
        monkeypatch.setattr(writer, "_call", counted)
        gate.open.set()
        await last.wait()
        await held
        return got

    got = asyncio.run(many())

    firsts = [outcome.first for outcome in got if isinstance(outcome, Committed)]
    assert firsts == sorted(firsts)
    assert len(firsts) == 200
    assert wakes == [1, 200]


def test_a_batch_is_one_commit_with_one_sync(house: Callable[..., Ledger], gate: Any) -> None:
    """Group commit is where the throughput comes from; more syncs would halve it silently."""
    with FaultyDisk("counting") as disk:
        ledger = house(vfs="counting")

        async def many() -> int:
            ledger.append_now([note(ledger, 1, run="warm")])
            held = await _held(ledger, gate)
            before = disk.counts["sync"]
            tasks = [
                asyncio.create_task(ledger.append([note(ledger, key, run="r")]))
                for key in range(500)
            ]
            await asyncio.sleep(0)
            gate.open.set()
            await held
            await asyncio.gather(*tasks)
            return disk.counts["sync"] - before

        syncs = asyncio.run(many())
        ledger.close()

    assert syncs == 2  # the held append's own, and one for the 500 behind it


def test_a_cancelled_caller_leaves_its_fact_behind(ledger: Ledger, gate: Any) -> None:
    """A fact is a statement about the world; giving up waiting does not unmake it."""

    async def cancel() -> None:
        held = await _held(ledger, gate)
        task = asyncio.create_task(ledger.append([note(ledger, 1, run="r")]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        await held
        await ledger.append([note(ledger, 2, run="r")])

    asyncio.run(cancel())

    with ledger.read() as reader:
        assert [row.key for row in reader.rows(Note, "run = 'r'")] == [1, 2]


def test_a_full_queue_refuses_submit_and_makes_append_wait(
    ledger: Ledger, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pressure goes back to the callers; nothing is dropped and memory does not grow."""
    monkeypatch.setattr(writer, "QUEUE_APPENDS", 10)

    async def pressure() -> list[Any]:
        held = await _held(ledger, gate)
        tasks = [
            asyncio.create_task(ledger.append([note(ledger, key, run="r")])) for key in range(50)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            ledger.submit([note(ledger, 99, run="r")], done=None)
        gate.open.set()
        await held
        return await asyncio.gather(*tasks)

    answers = asyncio.run(pressure())

    assert all(isinstance(answer, Committed) for answer in answers)
    with ledger.read() as reader:
        assert reader.count(Note, "run = 'r'") == 50


def test_threads_without_a_loop_append_too(ledger: Ledger) -> None:
    """Signal handlers, workers and the command line have no event loop."""
    threads = [
        threading.Thread(target=lambda key=key: ledger.append_now([note(ledger, key, run="t")]))
        for key in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with ledger.read() as reader:
        assert reader.count(Note, "run = 't'") == 20


def test_a_callback_that_raises_does_not_silence_its_neighbours(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer serves everybody; one caller's bug is logged and passed by."""

    async def both() -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def fails(_: Outcome) -> None:
            message = "a bug of the caller"
            raise RuntimeError(message)

        ledger.submit([note(ledger, 1)], done=fails)
        ledger.submit([note(ledger, 2)], done=future.set_result)
        return await future

    assert isinstance(asyncio.run(both()), Committed)
    assert "a callback of an append failed" in caplog.text


def test_a_relaxed_append_is_answered_without_a_sync(house: Callable[..., Ledger]) -> None:
    """Relaxed facts ride on the next strict commit; that is their whole point."""
    with FaultyDisk("relaxed") as disk:
        ledger = house(vfs="relaxed")
        ledger.append_now([note(ledger, 0)])
        before = disk.counts["sync"]

        async def relaxed() -> None:
            for key in range(1, 6):
                await ledger.append([note(ledger, key)], relaxed=True)

        asyncio.run(relaxed())
        between = disk.counts["sync"]
        ledger.append_now([note(ledger, 6)])
        after = disk.counts["sync"]
        ledger.close()

    assert (between - before, after - between) == (0, 1)


@pytest.mark.parametrize("count", [0, APPEND_FACTS_MAX + 1])
def test_an_append_of_no_facts_or_too_many_is_refused(ledger: Ledger, count: int) -> None:
    """One append is one transaction, and nobody may hold the writer for long."""
    with pytest.raises(BadValue, match="facts"):
        ledger.append_now([note(ledger, 1)] * count)


def test_an_append_longer_than_a_batch_is_still_one_transaction(ledger: Ledger) -> None:
    """A plan's chunk of runs is all there or not there."""
    answer = ledger.append_now([note(ledger, key, run="r") for key in range(2_000)])

    assert isinstance(answer, Committed)
    assert answer.count == 2_000


def test_a_closed_ledger_says_so(ledger: Ledger) -> None:
    """Late code must hear that nothing was recorded."""
    entry = note(ledger, 1)
    ledger.close()

    with pytest.raises(HouseUnusable, match="closed"):
        ledger.append_now([entry])


def test_closing_commits_what_was_queued(ledger: Ledger, gate: Any, house: Any) -> None:
    """Parking on a signal must not lose what was accepted into the queue."""

    async def close() -> list[TildawnError | Committed | Unmet]:
        held = await _held(ledger, gate)
        got: list[Outcome] = []
        for key in range(20):
            ledger.submit([note(ledger, key, run="r")], done=got.append)
        closing = asyncio.create_task(asyncio.to_thread(ledger.close))
        await asyncio.sleep(0)
        gate.open.set()
        await closing
        await held
        return got

    got = asyncio.run(close())

    assert len(got) == 20
    again = house()
    with again.read() as reader:
        assert reader.count(Note, "run = 'r'") == 20


def test_a_struck_note_can_be_noted_again(ledger: Ledger) -> None:
    """Dropping and adding one key inside one append must end in the row that was added last."""
    ledger.append_now([note(ledger, 1, run="r"), ledger.draft(Struck(key=1), run="r")])
    ledger.append_now(
        [note(ledger, 1, run="r"), ledger.draft(Struck(key=1), run="r"), note(ledger, 1, run="r")]
    )

    with ledger.read() as reader:
        [row] = reader.rows(Note)
    assert row.seq == Seq(ledger.next_seq - 1)
