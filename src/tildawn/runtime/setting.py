"""Every setting, declared once: its place, its kind, its range, and one line of help.

What it is not: the reading of files and the environment; that is `tildawn.runtime.config`.
The structs below are what the rest of the runtime gets; the table `SETTINGS` is made from them.
"""

import difflib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, cast, get_args, get_origin, get_type_hints

import msgspec

from tildawn.errors import BadSetting, BadValue
from tildawn.units import SECOND, Micros, duration


SIMULATOR = "sim"
"""The provider that makes everything up; what rests on it is marked."""


class Kind(StrEnum):
    """How a setting is written."""

    NUMBER = "a whole number"
    TEXT = "text"
    DURATION = "a duration such as 90s"
    NAMES = "a list of names"
    LIMITS = "a table of numbers by name"


class Says(msgspec.Struct, frozen=True, kw_only=True):
    """What a field of a section says about itself beside its type."""

    help: str
    kind: Kind
    #: In the unit of the value: microseconds for durations, characters for texts.
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the settings file."""


def _number(help_: str, low: int, high: int) -> Says:
    return Says(help=help_, kind=Kind.NUMBER, low=low, high=high)


def _time(help_: str, low: str, high: str) -> Says:
    return Says(help=help_, kind=Kind.DURATION, low=duration(low), high=duration(high))


def _text(help_: str, *choices: str) -> Says:
    return Says(help=help_, kind=Kind.TEXT, choices=choices)


class HouseSettings(Section, frozen=True, kw_only=True):
    """``[house]``: what this house works with."""

    tasks: Annotated[
        tuple[str, ...],
        Says(
            help="Modules beside the house whose tasks are known from the start.", kind=Kind.NAMES
        ),
    ] = ()
    zone: Annotated[
        str, _text("The zone of times that are shown where no plan names one; an IANA name.")
    ] = "UTC"


class EngineSettings(Section, frozen=True, kw_only=True):
    """``[engine]``: how much of this machine the engine may use."""

    resident: Annotated[
        int, _number("Runs in memory at once; beyond it those leave that wait longest.", 1, 100_000)
    ] = 2_000
    backlog: Annotated[
        int, _number("Runs that may wait to start; more are refused.", 1, 100_000_000)
    ] = 2_000_000
    park_after: Annotated[
        Micros, _time("A run that waits longer than this leaves memory.", "1s", "1d")
    ] = Micros(60 * SECOND)
    threads: Annotated[int, _number("Threads for steps that are plain functions.", 1, 256)] = 8
    queues: Annotated[
        Mapping[str, int],
        Says(
            help="How many runs of a queue go on at once, by the queue's name.",
            kind=Kind.LIMITS, low=1, high=100_000,
        ),
    ] = {}  # fmt: skip


class ProviderSettings(Section, frozen=True, kw_only=True):
    """``[provider]``: who answers model calls."""

    name: Annotated[
        str,
        _text(
            "Who answers model calls; without one, a plan with model steps is refused.",
            "", "openai", "openrouter", "xai", "ollama", "vllm", "plain", SIMULATOR,
        ),
    ] = ""  # fmt: skip
    base_url: Annotated[
        str, _text("Where the provider is, up to and including /v1; its usual place when empty.")
    ] = ""
    key_variable: Annotated[
        str,
        _text("The environment variable that holds the key; such as OPENAI_API_KEY when empty."),
    ] = ""
    chat_model: Annotated[
        str, _text("The model of chat steps that name none; the provider's first when empty.")
    ] = ""
    image_model: Annotated[
        str, _text("The model of image steps that name none; the provider's first when empty.")
    ] = ""


class RouteSettings(Section, frozen=True, kw_only=True):
    """``[route."NAME"]``: the numbers of one route, where ``*`` stands for anything.

    What is not set is as the kind of the calls has it; see `tildawn.guard.policy.PRESETS`.
    """

    kind: Annotated[
        str,
        _text(
            "What the calls are like; it chooses the numbers that are not set here.",
            "", "image", "chat", "embedding", "http", "local",
        ),
    ] = ""  # fmt: skip
    mode: Annotated[
        str | None,
        _text(
            "Whether the rules act, only say what they would do, or rest.", "on", "shadow", "off"
        ),
    ] = None
    timeout: Annotated[
        Micros | None, _time("The longest that one attempt may take.", "10ms", "1d")
    ] = None
    timeout_least: Annotated[
        Micros | None, _time("The shortest limit of an attempt that is learned.", "10ms", "1d")
    ] = None
    timeout_cold: Annotated[
        Micros | None,
        _time("The limit of an attempt while little is known about the route.", "10ms", "1d"),
    ] = None
    timeout_first: Annotated[
        Micros | None, _time("The longest wait for the first piece of a stream.", "10ms", "1d")
    ] = None
    timeout_idle: Annotated[
        Micros | None, _time("The longest wait between two pieces of a stream.", "10ms", "1d")
    ] = None
    deadline: Annotated[
        Micros | None,
        _time("The longest that a call may take with all its attempts.", "10ms", "7d"),
    ] = None
    limiter: Annotated[str, _text("A named limiter.", "", "image.conservative", "chat")] = ""
    burst: Annotated[
        int | None, _number("Attempts that may be sent at once by the limiter.", 1, 100_000)
    ] = None
    every: Annotated[Micros | None, _time("When the limiter lets one more go.", "1ms", "1d")] = None
    tokens_a_minute: Annotated[
        int | None, _number("Tokens of models that may be asked for in a minute.", 1, 10**9)
    ] = None
    concurrency: Annotated[
        int | None, _number("Attempts under way at once; 0 for no limit.", 0, 100_000)
    ] = None
    window: Annotated[int | None, _number("Attempts that the breaker looks at.", 20, 30)] = None
    least: Annotated[
        int | None, _number("Attempts that there must be for the share of failures.", 5, 30)
    ] = None
    share: Annotated[
        int | None, _number("Share of failures, in percent, that opens the breaker.", 10, 100)
    ] = None
    in_a_row: Annotated[int | None, _number("Timeouts in a row that open the breaker.", 2, 30)] = (
        None
    )
    failure_tokens: Annotated[
        int | None, _number("Failures, less those that drained, that open the breaker.", 2, 30)
    ] = None
    check_first: Annotated[
        Micros | None, _time("The first wait before the other side is asked again.", "1s", "1h")
    ] = None
    check_longest: Annotated[
        Micros | None, _time("The longest wait between two such checks.", "1s", "1h")
    ] = None
    probes_an_hour: Annotated[
        int | None, _number("Paid attempts an hour to find out whether it is back.", 0, 25)
    ] = None
    probe_usd_an_hour: Annotated[
        str, _text("What those may cost in an hour, in US dollars; 1 when empty.")
    ] = ""
    usd_a_day: Annotated[
        str, _text("What the route may spend on a day (UTC), in US dollars; no limit when empty.")
    ] = ""
    unknown_price: Annotated[
        str, _text("What to do when nobody knows the price: deny, free, or assume and an amount.")
    ] = "deny"


class LedgerSettings(Section, frozen=True, kw_only=True):
    """``[ledger]``: how the ledger is kept."""

    ballast_mb: Annotated[
        int,
        _number("Megabytes set aside, given back when the disk is full; 0 for none.", 0, 10_000),
    ] = 64

    snapshots_daily: Annotated[
        int, _number("Of how many days the newest snapshot stays.", 1, 10_000)
    ] = 7
    snapshots_weekly: Annotated[
        int, _number("Of how many weeks the newest snapshot stays.", 0, 10_000)
    ] = 4
    secrets: Annotated[
        tuple[str, ...],
        Says(
            help="Environment variables whose values no record may hold, beside the provider's "
            "key and every ${NAME} of a plan.",
            kind=Kind.NAMES,
        ),
    ] = ()
    public: Annotated[
        tuple[str, ...],
        Says(help="Variables of plans whose values are no secrets.", kind=Kind.NAMES),
    ] = ()

    checkpoint_folder: Annotated[
        str,
        _text(
            "A folder on another disk for one more copy of the newest checkpoint; none if empty."
        ),
    ] = ""
    mirror: Annotated[
        str,
        _text(
            "A second copy of the record: none, one that follows, or one in every commit.",
            "off", "async", "sync-degrade",
        ),
    ] = "off"  # fmt: skip
    mirror_folder: Annotated[
        str,
        _text("Where the second copy is; an existing folder, best on another disk."),
    ] = ""
    keep_hot: Annotated[
        Micros,
        _time(
            "How long the bodies of facts stay in the database before they are in the archive"
            " alone; a hundred years are for ever.", "1h", "36500d",
        ),
    ] = Micros(36_500 * 86_400 * SECOND)  # fmt: skip
    keep_payloads: Annotated[
        Micros,
        _time(
            "How long after its end what a run was given, said and made is kept; then it is erased"
            " as tildawn erase does. A hundred years are for ever.", "1d", "36500d",
        ),
    ] = Micros(36_500 * 86_400 * SECOND)  # fmt: skip
    keep_archive: Annotated[
        Micros,
        _time(
            "How long the archive keeps what facts say; then only their hashes stay, and no run"
            " of that time can be shown. A hundred years are for ever.", "1d", "36500d",
        ),
    ] = Micros(36_500 * 86_400 * SECOND)  # fmt: skip


class AnchorSettings(Section, frozen=True, kw_only=True):
    """``[anchor."NAME"]``: another place that keeps checkpoints of the ledger."""

    kind: Annotated[
        str,
        _text(
            "What the place is: a folder, a repository of git, or a witness over HTTP.",
            "", "file", "git", "witness",
        ),
    ] = ""  # fmt: skip
    path: Annotated[
        str, _text("The folder of a file anchor, best on another disk, or the repository of git.")
    ] = ""
    remote: Annotated[
        str, _text("Where git pushes to; a name or an address. Without it nothing is pushed.")
    ] = ""
    branch: Annotated[
        str, _text("The branch of git, best used by nobody else; tildawn if empty.")
    ] = ""
    url: Annotated[str, _text("Where a witness takes checkpoints, without /add-checkpoint.")] = ""
    key: Annotated[
        str,
        _text("The public key of the witness, NAME+ID+BASE64; its type is that of cosignatures."),
    ] = ""
    every: Annotated[
        Micros, _time("How often the place gets the newest checkpoint.", "1m", "30d")
    ] = Micros(3_600 * SECOND)


class LogSettings(Section, frozen=True, kw_only=True):
    """``[log]``: what is kept beside the ledger."""

    level: Annotated[
        str, _text("The least important lines that are kept.", "debug", "info", "warning", "error")
    ] = "info"
    keep_mb: Annotated[int, _number("Megabytes of log lines that are kept.", 1, 10_000)] = 50


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a house, read and checked."""

    house: HouseSettings = HouseSettings()
    engine: EngineSettings = EngineSettings()
    provider: ProviderSettings = ProviderSettings()
    ledger: LedgerSettings = LedgerSettings()
    log: LogSettings = LogSettings()
    #: By name; none means that no other place knows how long the ledger was.
    anchor: Mapping[str, AnchorSettings] = {}
    #: By route; a route that is not named has the defaults.
    route: Mapping[str, RouteSettings] = {}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; ``NAME`` stands in ``name`` where the user chooses a name."""

    name: str
    says: Says
    default: object

    @property
    def help(self) -> str:
        """One line."""
        return self.says.help

    @property
    def variable(self) -> str:
        """The environment variable; empty for settings with a chosen name."""
        if "NAME" in self.name:
            return ""
        return "TILDAWN_" + self.name.replace(".", "_").upper()

    @property
    def range(self) -> str:
        """What is allowed, in words."""
        says = self.says
        if says.choices:
            return "one of " + ", ".join(word or '""' for word in says.choices)
        if says.low is None or says.high is None:
            return str(says.kind)
        low, high = (shown(says.kind, bound) for bound in (says.low, says.high))
        return f"{says.kind}, {low} to {high}"


def _rows() -> Iterator[Setting]:
    for section, kind in get_type_hints(Settings).items():
        place, declared = f"{section}.", kind
        if get_origin(kind) is not None:
            place, declared = f"{section}.NAME.", get_args(kind)[1]
        hints = get_type_hints(declared, include_extras=True)
        for field in msgspec.structs.fields(declared):
            default: object = field.default
            if default is msgspec.NODEFAULT:
                default = cast("dict[str, int]", {})
            [says] = [one for one in get_args(hints[field.name]) if isinstance(one, Says)]
            yield Setting(name=place + field.name, says=says, default=default)


SETTINGS: tuple[Setting, ...] = tuple(_rows())
"""All settings; ``docs/reference/settings.md`` has a section for each."""


def nearest(name: str) -> str | None:
    """The setting whose name is most like this one, or None.

    Raises:
        Nothing.
    """
    found = difflib.get_close_matches(name, [row.name for row in SETTINGS], n=1, cutoff=0.5)
    return found[0] if found else None


def setting_called(name: str) -> Setting | None:
    """The row of a name such as ``engine.resident`` or ``route.shop:create.timeout``.

    Raises:
        Nothing.
    """
    section, _, rest = name.partition(".")
    chosen, _, field = rest.rpartition(".")
    for row in SETTINGS:
        if row.name == name or (chosen and row.name == f"{section}.NAME.{field}"):
            return row
    return None


def shown(kind: Kind, value: object) -> str:
    """A value as a person would write it.

    Raises:
        Nothing.
    """
    if value is None:
        return "as the kind of its calls"
    if isinstance(value, int):
        return _duration_shown(value) if kind is Kind.DURATION else str(value)
    if isinstance(value, Mapping):
        table = cast("Mapping[str, int]", value)
        return ", ".join(f"{name}={number}" for name, number in table.items()) or "none"
    if isinstance(value, tuple):
        return ", ".join(cast("tuple[str, ...]", value)) or "none"
    return str(value) or '""'


def _duration_shown(value: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if value % (size * SECOND) == 0:
            return f"{value // (size * SECOND)}{unit}"
    return f"{value // 1_000}ms"


def value_of(setting: Setting, raw: object, *, where: str) -> object:
    """What was written as the value of a setting, checked.

    Args:
        setting: which one.
        raw: as a TOML file gives it, or text from the environment or a flag.
        where: the source, for the message.

    Raises:
        BadSetting: it is of another kind or out of its range.
    """
    try:
        return _READ[setting.says.kind](setting.says, raw)
    except (ValueError, BadValue):
        message = f"{where}: {setting.name} cannot be {raw!r}; it is {setting.range}"
        raise BadSetting(
            message, hint="tildawn config --explain", setting=setting.name, range=setting.range
        ) from None


def _whole(says: Says, raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError  # noqa: TRY004 - one kind of error for every bad value
    return _within(says, int(raw))


def _duration(says: Says, raw: object) -> int:
    if not isinstance(raw, str):
        raise ValueError  # noqa: TRY004 - one kind of error for every bad value
    return _within(says, duration(raw))


def _within(says: Says, number: int) -> int:
    if says.low is not None and number < says.low:
        raise ValueError
    if says.high is not None and number > says.high:
        raise ValueError
    return number


def _words(says: Says, raw: object) -> str:
    if not isinstance(raw, str) or (says.choices and raw not in says.choices):
        raise ValueError
    return raw


def _names(_: Says, raw: object) -> tuple[str, ...]:
    found = [part.strip() for part in raw.split(",")] if isinstance(raw, str) else raw
    if not isinstance(found, list):
        raise ValueError  # noqa: TRY004
    names = cast("list[object]", found)
    texts = tuple(name for name in names if isinstance(name, str) and name)
    if len(texts) != len(names):
        raise ValueError
    return texts


def _limits(says: Says, raw: object) -> "dict[str, int]":
    if isinstance(raw, str):
        pairs = [part.partition("=") for part in raw.split(",") if part.strip()]
        raw = {name.strip(): number.strip() for name, _, number in pairs}
    if not isinstance(raw, dict):
        raise ValueError  # noqa: TRY004
    table = cast("dict[str, object]", raw)
    return {name: _whole(says, number) for name, number in table.items()}


_READ = {
    Kind.NUMBER: _whole,
    Kind.TEXT: _words,
    Kind.DURATION: _duration,
    Kind.NAMES: _names,
    Kind.LIMITS: _limits,
}
