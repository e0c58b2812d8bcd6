"""Lines beside the ledger, as JSON: what a person greps when something is odd.

What it is not: the record.  Nothing is ever decided by a log line; the ledger says what
happened, and these lines may be deleted at any time.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tildawn.ledger.secret import Secrets
from tildawn.runtime.setting import LogSettings
from tildawn.units import Micros


if TYPE_CHECKING:
    from structlog.typing import Processor


_FILES = 4
_MEGABYTE = 1_000_000

_TALKERS = ("httpx2", "httpcore", "asyncio", "uvicorn")
"""Libraries that tell of every request, with addresses that may hold what nobody should read."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line: its instant in microseconds since 1970, its level, its words, its run."""

    at: Micros
    level: str
    event: str
    logger: str = ""
    run: str = ""


def write_line(text: str, *, run: str = "", **fields: object) -> None:
    """Write what a task wants to be read, such as ``ctx.log("copied", rows=3)``.

    Raises:
        Nothing.
    """
    logging.getLogger("tildawn.task").info(text, extra={"said": {"run": run, **fields}})


def keep_log(
    folder: Path, settings: LogSettings, secrets: Secrets | None = None
) -> logging.Handler:
    """Send every line of this process to ``<house>/logs/worker.jsonl``.

    Args:
        folder: the house.
        settings: which lines, and how many of them.
        secrets: what no line may show; what looks like a key never is shown.

    Returns:
        The handler, for `end_log`.

    Raises:
        OSError: the folder cannot be written.
    """
    import structlog  # noqa: PLC0415 - only a process that keeps a log pays for loading it

    place = folder / "logs"
    place.mkdir(mode=0o700, exist_ok=True)
    handler = RotatingFileHandler(
        place / "worker.jsonl", maxBytes=settings.keep_mb * _MEGABYTE // _FILES,
        backupCount=_FILES - 1, encoding="utf-8",
    )  # fmt: skip
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_stamped],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redacting(secrets or Secrets()),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(settings.level.upper())
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler


def _redacting(secrets: Secrets) -> "Processor":
    def clean(value: object) -> object:
        if isinstance(value, str):
            return secrets.without(value)
        if isinstance(value, Mapping):
            items = cast("Mapping[object, object]", value).items()
            return {clean(name): clean(one) for name, one in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [clean(one) for one in cast("Iterable[object]", value)]
        return value if value is None or isinstance(value, int | float) else clean(repr(value))

    def processor(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        return {name: clean(value) for name, value in event.items()}

    return processor


def end_log(handler: logging.Handler) -> None:
    """Close what `keep_log` opened.

    Raises:
        Nothing.
    """
    logging.getLogger().removeHandler(handler)
    handler.close()


def lines(folder: Path, *, after: Micros) -> Iterator[Line]:
    """The lines of a house behind an instant, oldest first; what is no line is passed over.

    Raises:
        Nothing.
    """
    for number in range(_FILES - 1, -1, -1):
        path = folder / "logs" / ("worker.jsonl" + (f".{number}" if number else ""))
        try:
            text = path.read_bytes()
        except OSError:
            continue
        for raw in text.splitlines():
            try:
                line = msgspec.json.decode(raw, type=Line)
            except msgspec.DecodeError:
                continue
            if line.at > after:
                yield line


def _stamped(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["at"] = int(record.created * 1_000_000)
        event["level"] = record.levelname.lower()
        event["logger"] = record.name
        said = getattr(record, "said", None)
        if isinstance(said, dict):
            event.update(said)  # pyright: ignore[reportUnknownArgumentType]  the caller's fields
    return event
