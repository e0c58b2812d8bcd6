"""What is asked of runs: enqueue, cancel, pause, resume, retry, answer.

What it is not: the rules; the engine's owner has those.
"""

from collections.abc import Mapping

import msgspec

from tildawn.engine.owner import Options
from tildawn.engine.queue import backlog
from tildawn.engine.task import TaskDef
from tildawn.errors import BadValue, Busy, Misused, NotPermitted
from tildawn.projections.run import RunRow
from tildawn.projections.story import name_of
from tildawn.runtime.house import House
from tildawn.runtime.operation import Desk, Effect, Operation, Permission
from tildawn.runtime.operations.naming import run_meant
from tildawn.runtime.setting import SIMULATOR
from tildawn.runtime.task import located
from tildawn.runtime.token import authorize, put_on_record
from tildawn.units import Micros, duration


class EnqueueInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to run.

    ``input`` is the arguments as a JSON object; ``words`` are arguments as text, each read as the
    type that the task declares.
    """

    task: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    words: Mapping[str, str] = {}
    #: A second run with the same key is not accepted; the first one is named instead.
    key: str = ""
    label: str = ""
    #: Whom it is about, for `tildawn erase`.
    subject: str = ""
    queue: str = ""
    priority: int = 0
    #: Such as ``10m``; empty for at once.
    delay: str = ""
    limit_key: str = ""
    #: Of whoever asks; without one the run has the owner's authority.
    token: str = ""


class Enqueued(msgspec.Struct, frozen=True, kw_only=True):
    """The run is on disk; ``fresh`` is false when its key had been accepted before."""

    run: str
    name: str
    fresh: bool
    state: str


class RunInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which run, and why."""

    run: str
    reason: str = ""


class AnswerInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The choice for a held run; ``value`` is the answer of a call that is said to be applied."""

    run: str
    choice: str
    value: msgspec.Raw | None = None


class EmitInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event for a run: what it is called, and its value; sent twice, it is heard twice."""

    run: str
    event: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Whether anything changed, and how the run stands."""

    run: str
    name: str
    changed: bool
    state: str


async def _enqueue(desk: Desk, given: EnqueueInput) -> Enqueued:
    house = desk.house
    task, place = house.tasks.find(given.task)
    permit = await _permitted(desk, given, task.name) if given.token else ""
    text = _arguments(task, given)
    if not house.working:
        _check_backlog(house)
    if place is not None:
        entries = located(house.ledger, task.name, place)
        if entries:
            # A crash before the run leaves a place without runs, which is true.
            await house.ledger.append(entries)
    due = Micros(desk.clock.wall() + duration(given.delay)) if given.delay else Micros(0)
    accepted = await house.owner.enqueue_json(
        task,
        text,
        Options(
            key=given.key, label=given.label, subject=given.subject, queue=given.queue,
            priority=given.priority, due=due, limit_key=given.limit_key, permit=permit,
            simulated=house.settings.provider.name == SIMULATOR,
        ),
    )  # fmt: skip
    row, name = _look(house, accepted.run)
    return Enqueued(run=accepted.run, name=name, fresh=accepted.fresh, state=row.state)


async def _permitted(desk: Desk, given: EnqueueInput, task: str) -> str:
    """The permit under which a token lets a task be enqueued."""
    ledger = desk.house.ledger
    try:
        with ledger.read() as reader:
            return authorize(reader, given.token, ENQUEUE, desk.clock.wall(), route=f"task:{task}")
    except NotPermitted as error:
        await put_on_record(ledger, error)
        raise


def _check_backlog(house: House) -> None:
    """The limit that a working engine keeps by itself."""
    limit = house.settings.engine.backlog
    with house.ledger.read() as reader:
        waiting = backlog(reader, at_most=limit)
    if waiting >= limit:
        message = f"{limit:,} runs wait already; nothing was accepted"
        raise Busy(message, hint="wait until some have run, or raise engine.backlog")


def _arguments(task: "TaskDef[..., object]", given: EnqueueInput) -> bytes:
    try:
        named = msgspec.json.decode(bytes(given.input), type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        message = f"the input of {task.name} is no JSON object: {error}"
        raise BadValue(message, hint="""write it like '{"shops": 3}', or shops=3""") from error
    for name, word in given.words.items():
        named[name] = msgspec.Raw(_read_word(task, name, word))
    return msgspec.json.encode(named)


def _read_word(task: "TaskDef[..., object]", name: str, word: str) -> bytes:
    """A word as JSON where the argument takes it so, else as text."""
    quoted = msgspec.json.encode(word)
    for text in (word.encode(), quoted):
        try:
            msgspec.json.decode(text)
            task.arguments.decode(b'{"%b":%b}' % (name.encode(), text))
        except (msgspec.DecodeError, BadValue):
            continue
        return text
    return quoted


async def _cancel(desk: Desk, given: RunInput) -> Changed:
    run = _meant(desk, given.run)
    return _changed(desk, run, await desk.house.owner.cancel(run, given.reason))


async def _pause(desk: Desk, given: RunInput) -> Changed:
    run = _meant(desk, given.run)
    reason = given.reason or "paused by its owner"
    return _changed(desk, run, await desk.house.owner.pause(run, reason))


async def _resume(desk: Desk, given: RunInput) -> Changed:
    run = _meant(desk, given.run)
    return _changed(desk, run, await desk.house.owner.resume(run))


async def _retry(desk: Desk, given: RunInput) -> Changed:
    run = _meant(desk, given.run)
    return _changed(desk, run, await desk.house.owner.retry(run))


async def _answer(desk: Desk, given: AnswerInput) -> Changed:
    house = desk.house
    run = _meant(desk, given.run)
    row, name = _look(house, run)
    choices = row.choices.split("\n") if row.choices else []
    if row.state != "held" or given.choice not in choices:
        offered = " | ".join(choices) if row.state == "held" else f"it is {row.state}"
        message = f"run {name} cannot be answered with {given.choice!r}: {offered}"
        raise Misused(message, hint=f"tildawn show {name}")
    value = bytes(given.value) if given.value is not None else None
    return _changed(desk, run, await house.owner.answer(run, given.choice, value))


async def _emit(desk: Desk, given: EmitInput) -> Changed:
    if not given.event:
        message = "the event has no name"
        raise Misused(message, hint="tildawn emit RUN EVENT [JSON]")
    run = _meant(desk, given.run)
    try:
        value = msgspec.json.decode(given.value)
    except msgspec.DecodeError as error:
        message = f"the value of the event is no JSON: {error}"
        raise BadValue(message) from error
    owner = desk.house.owner
    return _changed(desk, run, await owner.emit(run, given.event, value))


def _meant(desk: Desk, said: str) -> str:
    with desk.house.ledger.read() as reader:
        return run_meant(reader, said).run


def _look(house: House, run: str) -> tuple[RunRow, str]:
    with house.ledger.read() as reader:
        row = reader.get(RunRow, run)
        assert row is not None, "a run that was found does not go away"
        return row, name_of(reader, run)


def _changed(desk: Desk, run: str, changed: bool) -> Changed:
    row, name = _look(desk.house, run)
    return Changed(run=run, name=name, changed=changed, state=row.state)


ENQUEUE = Operation(
    name="enqueue", input=EnqueueInput, output=Enqueued, effect=Effect.WRITE,
    permission=Permission.WORK, run=_enqueue,
    help="Accept a run of a task; it is on disk when this answers.",
)  # fmt: skip
CANCEL = Operation(
    name="cancel", input=RunInput, output=Changed, effect=Effect.WRITE,
    permission=Permission.WORK, run=_cancel,
    help="Ask a run to stop.",
)  # fmt: skip
PAUSE = Operation(
    name="pause", input=RunInput, output=Changed, effect=Effect.WRITE,
    permission=Permission.WORK, run=_pause,
    help="Hold a run until you resume it.",
)  # fmt: skip
RESUME = Operation(
    name="resume", input=RunInput, output=Changed, effect=Effect.WRITE,
    permission=Permission.WORK, run=_resume,
    help="Let a paused run go on.",
)  # fmt: skip
RETRY = Operation(
    name="retry", input=RunInput, output=Changed, effect=Effect.WRITE,
    permission=Permission.WORK, run=_retry,
    help="Let a failed or held run try again; what is on record stays.",
)  # fmt: skip
EMIT = Operation(
    name="emit", input=EmitInput, output=Changed, effect=Effect.WRITE,
    permission=Permission.WORK, run=_emit,
    help="Send an event to a run that waits for one, or will.",
)  # fmt: skip
ANSWER = Operation(
    name="answer", input=AnswerInput, output=Changed, effect=Effect.WRITE,
    permission=Permission.SETTLE, run=_answer,
    help="Settle what needs you: a held run, or an effect that nobody knows.",
)  # fmt: skip
