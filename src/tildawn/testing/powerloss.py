"""What a power cut can leave of files that were written through a `FaultyDisk`.

What it is not: exhaustive.  Synced data stays; of the rest, any part may be there, in any order.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal

from tildawn.testing.disk import Operation


SECTOR_BYTES = 512
"""What a disk writes as a whole. Source: the smallest sector in use."""

Mode = Literal["none", "all", "some", "shuffle", "torn"]
MODES: tuple[Mode, ...] = ("none", "all", "some", "shuffle", "torn")
Files = dict[str, bytearray]


def after_power_loss(log: Sequence[Operation], *, mode: Mode, rng: Random) -> Files:
    """The files after the power went at the end of a log.

    Args:
        log: what was done until then, in order.
        mode: how much of what was not synced is there: none, all, some writes, some in another
            order, some sectors.
        rng: chooses.

    Returns:
        Content by the name of the file.

    Raises:
        Nothing.
    """
    files, pending = _synced(log)
    if mode == "none":
        return files
    for name, operations in pending.items():
        content = files.setdefault(name, bytearray())
        order = rng.sample(operations, len(operations)) if mode == "shuffle" else operations
        for operation in order:
            if mode == "all" or rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
                _apply(content, operation, rng if mode == "torn" else None)
    return files


def crash_points(log: Sequence[Operation]) -> Iterator[int]:
    """The lengths of the log at which the power may go: behind every operation on a file.

    Raises:
        Nothing.
    """
    return (at + 1 for at, operation in enumerate(log) if operation.kind != "ack")


def _synced(log: Sequence[Operation]) -> tuple[Files, dict[str, list[Operation]]]:
    """What is surely there, and what may be."""
    files: Files = {}
    pending: dict[str, list[Operation]] = {}
    for operation in log:
        name = operation.file
        if operation.kind in {"write", "truncate"}:
            pending.setdefault(name, []).append(operation)
        elif operation.kind == "sync":
            content = files.setdefault(name, bytearray())
            for done in pending.pop(name, []):
                _apply(content, done, None)
        elif operation.kind == "delete":
            files.pop(name, None)
            pending.pop(name, None)
    return files, pending


def _apply(content: bytearray, operation: Operation, rng: Random | None) -> None:
    if operation.kind == "truncate":
        del content[operation.offset :]
        return
    for at in range(0, len(operation.content), SECTOR_BYTES if rng else len(operation.content)):
        if rng is not None and rng.random() < 0.4:  # noqa: PLR2004 - some sectors are missing
            continue
        piece = operation.content[at : at + SECTOR_BYTES] if rng else operation.content
        begin = operation.offset + at
        if len(content) < begin:
            content.extend(bytes(begin - len(content)))
        content[begin : begin + len(piece)] = piece
