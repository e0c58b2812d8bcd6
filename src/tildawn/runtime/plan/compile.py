"""The compiler: the bytes of a plan file become a checked plan, or every reason why not.

What it is not: a runner or a keeper of copies (``snapshot``).  It reads the plan's folder, once
each file, and nothing else.
"""

from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import UNSET

from tildawn.errors import BadPlan
from tildawn.facts.plan import (
    Fixed,
    Item,
    MapOf,
    Night,
    Plain,
    Plan,
    Role,
    Rows,
    Source,
    Stop,
    Window,
)
from tildawn.runtime.plan.builtin import BUILTIN
from tildawn.runtime.plan.document import PLAN_BYTES_MAX, Mapping, Node, Sequence, read_document
from tildawn.runtime.plan.item import ItemDraft, read_item
from tildawn.runtime.plan.kinds import Registry
from tildawn.runtime.plan.layout import plan_shape
from tildawn.runtime.plan.order import cycles, in_order
from tildawn.runtime.plan.permit import allowed_of
from tildawn.runtime.plan.problem import Mark, Problems, nearest
from tildawn.runtime.plan.reading import Reading, SecretUse
from tildawn.runtime.plan.rows import Named, check_rows, rows_of
from tildawn.runtime.plan.scope import check_uses, row_form
from tildawn.runtime.plan.shape import WHOLE, Held
from tildawn.runtime.plan.table import CSV_BYTES_MAX, Table, TableFault, open_table
from tildawn.runtime.plan.task import find_task
from tildawn.units import MicroUsd


@dataclass(frozen=True, slots=True)
class Copy:
    """The bytes of one source, to be kept."""

    source: Source
    body: bytes


@dataclass(frozen=True, slots=True)
class Compiled:
    """A checked plan and the bytes it was made from, each file read once."""

    plan: Plan
    folder: str
    copies: tuple[Copy, ...]
    #: Where each ``${NAME}`` stands, for messages about missing ones.
    secrets: tuple[SecretUse, ...]
    #: The plan file as messages name it.
    file: str


@dataclass(slots=True)
class _Work:
    """What the passes over one plan share."""

    file: str
    folder: Path
    registry: Registry
    problems: Problems
    reading: Reading
    drafts: list[ItemDraft] = field(default_factory=list[ItemDraft])
    rows: dict[str, Rows] = field(default_factory=dict[str, Rows])
    copies: list[Copy] = field(default_factory=list[Copy])


def read_plan(path: Path | str, *, registry: Registry = BUILTIN) -> Plan:
    """Read and check a plan file with everything it names.

    Args:
        path: the plan file.
        registry: the kinds it may use.

    Raises:
        BadPlan: with every problem; see `problems_of`.
    """
    return compile_plan(path, registry=registry).plan


def compile_plan(path: Path | str, *, registry: Registry = BUILTIN) -> Compiled:
    """Read and check a plan file; the bytes that were checked come along.

    Args:
        path: the plan file.
        registry: the kinds it may use.

    Raises:
        BadPlan: with every problem; see `problems_of`.
    """
    file = str(path)
    problems = Problems(file)
    body = _plan_file(Path(path), problems)
    problems.refuse()
    folder = Path(path).absolute().parent
    return compile_body(body, file=file, folder=folder, registry=registry)


def _plan_file(path: Path, problems: Problems) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(PLAN_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.add(Mark(1, 1), f"the plan cannot be read: {reason}", nearest=_near(path))
        return b""


def _near(path: Path) -> str | None:
    try:
        return nearest(path.name, [other.name for other in path.parent.iterdir()])
    except (OSError, ValueError):
        return None


def compile_body(body: bytes, *, file: str, folder: Path, registry: Registry = BUILTIN) -> Compiled:
    """Check a plan that is already in memory, as other applications emit it.

    Args:
        body: the bytes of the plan, YAML or JSON.
        file: how messages name it.
        folder: where relative paths and tasks are looked for.
        registry: the kinds it may use.

    Raises:
        BadPlan: with every problem; see `problems_of`.
    """
    problems = Problems(file)
    work = _Work(file, folder, registry, problems, Reading(problems))
    _keep(work, body, role=Role.PLAN, item="", path=Path(file).name)
    node = read_document(body, problems)
    if node is None:
        problems.refuse()
        raise BadPlan
    held = plan_shape(registry).held(node, work.reading, WHOLE) or {}
    night = _night(held.get("night"), work)
    _read_work(held, work)
    _check_needs(work)
    for draft in work.drafts:
        _check_item(draft, work)
    problems.refuse()
    return _compiled(night, work)


def _compiled(night: Night, work: _Work) -> Compiled:
    by_id = {draft.id: draft for draft in work.drafts}
    order = in_order({d.id: [need.item for need, _ in d.needs] for d in work.drafts})
    if order is None:  # pragma: no cover - a circle is a problem, and problems are refused before
        raise BadPlan
    items = tuple(_item(by_id[name], work) for name in order)
    names = tuple(sorted({use.name for use in work.reading.secrets}))
    plan = Plan(version=1, night=night, items=items, required_env=names)
    secrets = tuple(work.reading.secrets)
    return Compiled(plan, str(work.folder), tuple(work.copies), secrets, work.file)


def _sha(body: bytes) -> str:
    return sha256(body).hexdigest()


# The night.


def _night(held: Held | None, work: _Work) -> Night:
    if held is None or not isinstance(held.value, MapOf):
        return Night()
    value = held.value
    window, zone, report = value.plain("window"), value.plain("zone"), value.plain("report_at")
    if zone is None and "zone" not in _keys(held) and (window is not None or report is not None):
        expected = "zone: a time zone such as Europe/Berlin"
        work.problems.add(held.key, "a night with hours and without a zone", expected=expected)
    stop = value.get("stop")
    limits = stop if isinstance(stop, MapOf) else MapOf()
    budget = value.plain("budget")
    return Night(
        window=_window(window, held, work),
        zone=None if zone is None else str(zone),
        report_minute=None if report is None else _minute(str(report)),
        budget=MicroUsd(budget) if isinstance(budget, int) else None,
        stop=Stop(
            in_a_row=_or(limits.plain("in_a_row"), Stop().in_a_row),
            total=_or(limits.plain("total"), Stop().total),
        ),
    )


def _keys(held: Held) -> dict[str, Node]:
    return {k.text: n for k, n in held.node.entries} if isinstance(held.node, Mapping) else {}


def _window(window: Plain, held: Held, work: _Work) -> Window | None:
    if window is None:
        return None
    start, _, end = str(window).partition("-")
    if start == end:
        found = f"a window of no length or of a whole day, {window!r}"
        work.problems.add(_keys(held)["window"].mark, found, expected="two different times")
    return Window(_minute(start), _minute(end))


def _minute(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _or(value: Plain, default: int) -> int:
    return value if isinstance(value, int) else default


# The work.


def _read_work(held: dict[str, Held], work: _Work) -> None:
    if "work" not in held:
        return
    node: Node = held["work"].node
    if not isinstance(node, Sequence) or not node.items:
        work.problems.add(node.mark, "work is no list of items", expected="- id: a-name")
        return
    first: dict[str, Mark] = {}
    for entry in node.items:
        draft = read_item(entry, work.reading, work.registry)
        if draft is None:
            continue
        work.drafts.append(draft)
        if draft.id in first and draft.id:
            found = f"the item {draft.id!r} a second time"
            expected = f"another id; the first is in line {first[draft.id].line}"
            work.problems.add(draft.held["id"].node.mark, found, expected=expected)
        first.setdefault(draft.id, draft.mark)


def _check_needs(work: _Work) -> None:
    marks = {draft.id: draft for draft in work.drafts}
    for draft in work.drafts:
        for need, mark in draft.needs:
            if need.item not in marks:
                known = [name for name in marks if name]
                work.problems.unknown(mark, "needs the unknown item {}", need.item, known)
    needs = {draft.id: [need.item for need, _ in draft.needs] for draft in work.drafts}
    for circle in cycles(needs):
        around = " → ".join([*circle, circle[0]])
        after = circle[1 % len(circle)]
        mark = next(m for need, m in marks[circle[0]].needs if need.item == after)
        found = f"the items need each other in a circle: {around}"
        work.problems.add(mark, found, expected="one of these needs taken out")


# Rows, tasks and names.


def _check_item(draft: ItemDraft, work: _Work) -> None:
    if "for_each" not in draft.held:
        check_uses(draft, None, work.problems)
    else:
        _check_rows(draft, work)
    if draft.task is not None:
        mark = draft.held["task"].node.mark
        find_task(work.folder, draft.task, partial(_tell, work.problems, mark))
    value = draft.value("input")
    if value is not None:
        body = msgspec.json.encode(value, order="sorted")
        _keep(work, body, role=Role.INPUT, item=draft.id, path="")


def _tell(
    problems: Problems, mark: Mark, found: str, expected: str | None, near: str | None
) -> None:
    problems.add(mark, found, expected=expected, nearest=near)


def _keep(work: _Work, body: bytes, *, role: Role, item: str, path: str) -> None:
    source = Source(role=role, item=item, path=path, sha256=_sha(body), size=len(body))
    work.copies.append(Copy(source, body))


def _check_rows(draft: ItemDraft, work: _Work) -> None:
    path = draft.text("for_each")
    table = None if path is None else _table(draft, path, work)
    before = work.problems.count
    check_uses(draft, row_form(None if table is None else table.columns), work.problems)
    if table is None or path is None:
        return
    # With a key that names a missing column, every row would say so once more.
    fine = work.problems.count == before
    named = Named(draft.value("key"), draft.value("subject")) if fine else Named()
    count = check_rows(table, _shown(path, work), named, work.problems)
    work.rows[draft.id] = rows_of(table, path, count)
    _keep(work, table.body, role=Role.ROWS, item=draft.id, path=path)


def _table(draft: ItemDraft, path: str, work: _Work) -> Table | None:
    mark = draft.held["for_each"].node.mark
    full = work.folder / path
    try:
        with full.open("rb") as stream:
            body = stream.read(CSV_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        found = f"{path!r} cannot be read: {reason}"
        work.problems.add(mark, found, nearest=_near(full))
        return None
    try:
        return open_table(body)
    except TableFault as fault:
        place = Mark(fault.line, fault.column)
        shown = _shown(path, work)
        work.problems.add(place, fault.found, expected=fault.expected, file=shown)
        return None


def _shown(path: str, work: _Work) -> str:
    """A file of the plan as messages name it: beside the plan, however that was named."""
    return str(Path(work.file).parent / path)


def _item(draft: ItemDraft, work: _Work) -> Item:
    return Item(
        id=draft.id,
        title=draft.text("title") or draft.id,
        for_each=work.rows.get(draft.id),
        key=draft.value("key") or Fixed(draft.id),
        once=draft.once,
        budget=draft.money("budget"),
        budget_total=draft.money("budget_total"),
        steps=tuple(step.step for step in draft.steps if step.step is not None),
        task=draft.task,
        input=draft.value("input"),
        evidence=tuple(draft.evidence),
        needs=tuple(need for need, _ in draft.needs),
        concurrency=draft.number("concurrency"),
        priority=draft.number("priority") or 0,
        lane=draft.lane,
        must=draft.value("must") == Fixed(value=True),
        model=draft.text("model"),
        when=draft.value("when"),
        trial=draft.value("trial") == Fixed(value=True),
        permit=allowed_of(draft.value("permit")),
        subject=draft.value("subject") or UNSET,
    )
