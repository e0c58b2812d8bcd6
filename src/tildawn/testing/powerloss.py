"""What a power cut can leave of files that were written through a `FaultyDisk`.

What it is not: exhaustive.  Synced data stays; of the rest, any part may be there, in any order.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Literal

from tildawn.testing.disk import Operation


SECTOR_BYTES = 512
"""What a disk writes as a whole. Source: the smallest sector in use."""

Mode = Literal["none", "all", "some", "shuffle", "torn"]
MODES: tuple[Mode, ...] = ("none", "all", "some", "shuffle", "torn")
Files = dict[str, bytearray]
Pending = dict[str, list[Operation]]


def power_losses(
    log: Iterable[Operation], *, modes: Sequence[Mode], seed: int
) -> Iterator[tuple[int, Mode, Files]]:
    """What the files may be when the power goes, behind every operation on one of them.

    Args:
        log: what was done, in order.
        modes: how much of what was not synced is there: none, all, some writes, some in another
            order, some sectors.  One that is named twice chooses twice.
        seed: of the choices.

    Yields:
        How many entries of the log were done, the mode, and content by the name of the file.

    Raises:
        Nothing.
    """
    files: Files = {}
    pending: Pending = {}
    for at, operation in enumerate(log, 1):
        if operation.kind == "ack":
            continue
        _take(operation, files, pending)
        for number, mode in enumerate(modes):
            rng = Random(f"{seed} {at} {number}")  # noqa: S311 - a seed that anyone can repeat
            left = {name: bytearray(content) for name, content in files.items()}
            _add_pending(left, pending, mode, rng)
            yield at, mode, left


def _take(operation: Operation, files: Files, pending: Pending) -> None:
    """Follow what is surely there, and what may be."""
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


def _add_pending(files: Files, pending: Pending, mode: Mode, rng: Random) -> None:
    if mode == "none":
        return
    for name, operations in pending.items():
        content = files.setdefault(name, bytearray())
        order = rng.sample(operations, len(operations)) if mode == "shuffle" else operations
        for operation in order:
            if mode == "all" or rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
                _apply(content, operation, rng if mode == "torn" else None)


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
