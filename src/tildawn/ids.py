"""Names for new things: UUIDv7, made before the first try.

What it is not: a source of secrets.  Randomness enters as an argument.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import NewType
from uuid import UUID

from tildawn.clock import Clock


RunId = NewType("RunId", str)
"""The name of a run: a UUIDv7 as 32 lower-case hexadecimal digits."""

CallId = NewType("CallId", str)
"""The name of a call: its run, a slash, and its path."""

Entropy = Callable[[int], bytes]
"""Gives n random bytes."""


_NAME_BYTES = 10
_POOL_NAMES = 64


class SystemEntropy:
    """Random bytes of the system; those of names come from a pool.

    Asking the system lets go of the interpreter, which costs more than the bytes do.  Any thread
    may ask.
    """

    def __init__(self) -> None:
        """Begin with an empty pool."""
        self._pool: deque[bytes] = deque()
        self._process = os.getpid()

    def __call__(self, size: int) -> bytes:
        """``size`` random bytes, never given twice."""
        if size != _NAME_BYTES:
            return os.urandom(size)
        if self._process != os.getpid():  # a copy of this process would give the same
            self._pool.clear()
            self._process = os.getpid()
        try:
            return self._pool.popleft()
        except IndexError:
            fresh = os.urandom(_NAME_BYTES * _POOL_NAMES)
            self._pool.extend(
                fresh[at : at + _NAME_BYTES] for at in range(_NAME_BYTES, len(fresh), _NAME_BYTES)
            )
            return fresh[:_NAME_BYTES]


class Ids:
    """Makes names that sort by the time they were made.

    Source: RFC 9562 section 5.7 (48 bits of Unix milliseconds, version 7, random rest).
    """

    def __init__(self, clock: Clock, entropy: Entropy | None = None) -> None:
        """Take the clock that gives the time part and the source of the random part.

        Args:
            clock: the machine's.
            entropy: gives random bytes; those of the system when absent.
        """
        self._clock = clock
        self._entropy = entropy or SystemEntropy()

    def new(self) -> str:
        """A fresh name: 32 lower-case hexadecimal digits.

        Raises:
            Nothing.
        """
        ms = self._clock.wall() // 1_000
        rand = int.from_bytes(self._entropy(_NAME_BYTES), "big")
        value = (
            (ms & (1 << 48) - 1) << 80
            | 0x7 << 76
            | (rand >> 68) << 64
            | 0b10 << 62
            | rand & (1 << 62) - 1
        )
        return f"{value:032x}"

    def random(self, size: int) -> bytes:
        """``size`` random bytes.

        Raises:
            Nothing.
        """
        return self._entropy(size)


def as_uuid(name: str) -> UUID:
    """The name as a UUID object.

    Raises:
        ValueError: the text is not 32 hexadecimal digits.
    """
    return UUID(hex=name)
