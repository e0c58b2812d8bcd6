"""A plan as a value: what the compiler makes of a plan file and what a night runs from.

What it is not: the reader of plan files (``runtime/plan``) or what happened to a plan.
Everything here is frozen, holds no position in a file, no absolute path and no secret, and
goes to canonical bytes and back, so that an accepted plan can be kept and read for ever.
"""

from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from tildawn.units import Micros, MicroUsd


Plain = str | int | float | bool | None
"""One scalar of JSON."""


class Repeat(StrEnum):
    """Whether a call may be made again when nobody knows what became of it."""

    SAFE = "safe"
    KEYED = "keyed"
    NEVER = "never"


class Once(StrEnum):
    """Within what a key of an item is unique."""

    NIGHT = "night"
    EVER = "ever"


class When(StrEnum):
    """What a needed item must have reached: all its runs done, or all ended somehow."""

    ALL = "all"
    FINISHED = "finished"


class Lane(StrEnum):
    """Whose work it is."""

    OWNER = "owner"
    MAINTENANCE = "maintenance"


class Patience(StrEnum):
    """Whether somebody waits in front of a call, or it has the night."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Mode(StrEnum):
    """What a template may become, and how what is substituted is kept from meaning more.

    ``value``: any JSON when it is one expression, else text.
    ``text``: text only.
    ``url``: text whose substituted values are percent-encoded; one expression is a whole URL.
    ``path``: a path below the plan's folder, each substituted value one name in it.
    ``file``: an artifact when it is one expression, else a path.
    ``content``: an artifact when it is one expression, else text.
    """

    VALUE = "value"
    TEXT = "text"
    URL = "url"
    PATH = "path"
    FILE = "file"
    CONTENT = "content"


class Text(msgspec.Struct, frozen=True, tag="text"):
    """Characters that the author of the plan wrote; never expanded again."""

    text: str


class Env(msgspec.Struct, frozen=True, tag="env"):
    """``${NAME}``: a secret that only the door resolves."""

    name: str


class Filter(msgspec.Struct, frozen=True):
    """One filter of an expression with its literal arguments."""

    name: str
    arguments: tuple[Plain, ...] = ()


class Expr(msgspec.Struct, frozen=True, tag="expr"):
    """``{{ root.path[0] | filter }}``: a look-up in plain data, then filters from a fixed list."""

    root: str
    path: tuple[str | int, ...] = ()
    filters: tuple[Filter, ...] = ()


Part = Text | Env | Expr
"""One segment of a template."""


class Fixed(msgspec.Struct, frozen=True, tag="fixed"):
    """A scalar that needs no rendering; durations are microseconds, money micro-dollars."""

    value: Plain


class Template(msgspec.Struct, frozen=True, tag="template"):
    """Text with segments to fill in; at least one of them is no ``Text``."""

    parts: tuple[Part, ...]
    mode: Mode = Mode.VALUE


class ListOf(msgspec.Struct, frozen=True, tag="list"):
    """A list of values."""

    items: "tuple[Value, ...]" = ()


class Entry(msgspec.Struct, frozen=True):
    """One named value of a map."""

    name: str
    value: "Value"


class MapOf(msgspec.Struct, frozen=True, tag="map"):
    """Named values in the order of the file; names are unique and literal."""

    entries: tuple[Entry, ...] = ()

    def get(self, name: str) -> "Value | None":
        """The value of that name, or None when there is none.

        Raises:
            Nothing.
        """
        return next((entry.value for entry in self.entries if entry.name == name), None)

    def plain(self, name: str) -> Plain:
        """The scalar of that name; None when it is absent or needs rendering.

        Raises:
            Nothing.
        """
        value = self.get(name)
        return value.value if isinstance(value, Fixed) else None


Value = Fixed | Template | ListOf | MapOf
"""A value of the plan: JSON in which any text may be a template."""


class Window(msgspec.Struct, frozen=True):
    """The hours of the night, in minutes after local midnight, 0..1439; may cross midnight."""

    start_minute: int
    end_minute: int


class Stop(msgspec.Struct, frozen=True):
    """When failures end the night; counted on settled runs in ledger order."""

    #: Source: the overnight policy, "after 3 failures in a row, 5 in total".
    in_a_row: int = 3
    total: int = 5


class Night(msgspec.Struct, frozen=True):
    """When the work may run, what it may cost and when it is reported."""

    window: Window | None = None
    #: An IANA name; None only when neither window nor report_at is given.
    zone: str | None = None
    #: Minutes after local midnight, 0..1439.
    report_minute: int | None = None
    budget: MicroUsd | None = None
    stop: Stop = Stop()


class Rows(msgspec.Struct, frozen=True):
    """The CSV file of an item, as it was found when the plan was checked."""

    #: Relative to the plan's folder unless the author wrote an absolute path.
    path: str
    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    count: int


class Need(msgspec.Struct, frozen=True):
    """Another item that has to come first."""

    item: str
    when: When = When.ALL


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an item: a registered kind, its fields, and how the call is to be made."""

    name: str
    kind: str
    fields: MapOf
    #: None when it follows from the model, which is known only at the door: see `route_of`.
    route: str | None
    repeat: Repeat
    timeout: Micros
    max_cost: MicroUsd | None = None
    model: str | None = None
    #: Other models that may answer.
    accepts: tuple[str, ...] = ()
    #: Names of local tiers that may stand in for an answer.
    tiers: tuple[str, ...] = ()
    #: Left out of the bytes where the author said nothing, so that plans of before there was
    #: patience keep their digests; it means `Patience.BATCH` for ever.
    patience: Patience | msgspec.UnsetType = msgspec.UNSET
    #: Further tries after the first; None leaves it to the rules of the fault.
    retry: int | None = None
    approve: bool = False

    @property
    def interactive(self) -> bool:
        """Whether somebody waits in front of it."""
        return self.patience is Patience.INTERACTIVE


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One check named before the work begins."""

    kind: str
    fields: MapOf
    timeout: Micros


class TaskRef(msgspec.Struct, frozen=True):
    """A Python task: ``module:function``, found from the plan's folder."""

    module: str
    function: str


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What the runs of an item may do: the permit that is minted when its plan is accepted."""

    operations: tuple[str, ...]
    routes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    #: For all runs of the item together.
    max_calls: int | None = None
    max_cost: MicroUsd | None = None
    #: How long after the acceptance.
    expires: Micros | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``work``: steps or a task, run once or once a row."""

    id: str
    title: str
    for_each: Rows | None = None
    #: Names a run within its item; rendered with the row as ``item``.
    key: Value
    once: Once = Once.NIGHT
    budget: MicroUsd | None = None
    budget_total: MicroUsd | None = None
    steps: tuple[Step, ...] = ()
    task: TaskRef | None = None
    input: Value | None = None
    evidence: tuple[Evidence, ...] = ()
    needs: tuple[Need, ...] = ()
    concurrency: int | None = None
    priority: int = 0
    lane: Lane = Lane.OWNER
    must: bool = False
    model: str | None = None
    when: Value | None = None
    trial: bool = False
    #: Left out where there is none, so that a plan without it is the same bytes as ever.
    permit: Allowed | UnsetType = UNSET
    #: Whom a run is about, rendered with the row as ``item``; left out likewise.
    subject: "Value | UnsetType" = UNSET

    @property
    def runs(self) -> int:
        """How many runs it plans: the rows of its CSV, else 1."""
        return self.for_each.count if self.for_each is not None else 1


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A checked plan with every default filled in."""

    version: int
    night: Night
    #: In an order in which every item comes after those it needs.
    items: tuple[Item, ...]
    #: Names of the ``${VAR}`` it uses, sorted.
    required_env: tuple[str, ...] = ()

    def item(self, name: str) -> Item | None:
        """The item of that id, or None.

        Raises:
            Nothing.
        """
        return next((item for item in self.items if item.id == name), None)


class Role(StrEnum):
    """What a kept copy is."""

    PLAN = "plan"
    ROWS = "rows"
    INPUT = "input"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a plan was made from, by the digest of its bytes."""

    role: Role
    #: The item it belongs to; empty for the plan file itself.
    item: str
    #: As the plan names it; empty for an input, which stands in the plan.
    path: str
    sha256: str
    size: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What a night rests on from the moment it is accepted."""

    VERSION: ClassVar[int] = 1

    plan: Plan
    sources: tuple[Source, ...]
    #: Where relative paths and tasks are looked for; not part of the digest.
    folder: str

    @property
    def digest(self) -> str:
        """SHA-256 over the compiled plan and the digests of its sources, in hexadecimal."""
        plan = sha256(plan_bytes(self.plan)).hexdigest()
        body = msgspec.json.encode(
            ("tildawn-plan", self.VERSION, plan, self.sources), order="sorted"
        )
        return sha256(body).hexdigest()

    def rows_of(self, item: str) -> Source | None:
        """The source of an item's rows, or None when it has no ``for_each``.

        Raises:
            Nothing.
        """
        return next((s for s in self.sources if s.role is Role.ROWS and s.item == item), None)


def plan_bytes(plan: Plan) -> bytes:
    """The canonical bytes of a compiled plan, ``${VAR}`` unexpanded and defaults spelled out.

    Defaults are written so that a later version with other defaults reads the same plan.

    Raises:
        Nothing.
    """
    return msgspec.json.encode(plan, order="sorted")


def plan_from(body: bytes) -> Plan:
    """The plan of such bytes.

    Raises:
        msgspec.DecodeError: the bytes are no compiled plan.
    """
    return msgspec.json.decode(body, type=Plan)


def parts_of(value: Value | None) -> Iterator[Part]:
    """Every template segment within a value, in order.

    Raises:
        Nothing.
    """
    match value:
        case Template():
            yield from value.parts
        case ListOf():
            for item in value.items:
                yield from parts_of(item)
        case MapOf():
            for entry in value.entries:
                yield from parts_of(entry.value)
        case _:
            return


def route_of(step: Step, *, provider: str, model: str) -> str:
    """The route of a step once provider and model are known.

    Args:
        step: of any kind.
        provider: the name of the provider, such as ``openai``.
        model: the model that will be asked.

    Returns:
        The author's route, or the kind's own, or ``provider:model`` with the size of a picture.

    Raises:
        Nothing.
    """
    if step.route is not None:
        return step.route
    size = step.fields.plain("size")
    return f"{provider}:{model}" if size is None else f"{provider}:{model}:{size}"
