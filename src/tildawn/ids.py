"""Names for new things: UUIDv7, made before the first try.

What it is not: a source of secrets.  Randomness enters as an argument.
"""

import os
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


class Ids:
    """Makes names that sort by the time they were made.

    Source: RFC 9562 section 5.7 (48 bits of Unix milliseconds, version 7, random rest).
    """

    def __init__(self, clock: Clock, entropy: Entropy = os.urandom) -> None:
        """Take the clock that gives the time part and the source of the random part."""
        self._clock = clock
        self._entropy = entropy

    def new(self) -> str:
        """A fresh name: 32 lower-case hexadecimal digits.

        Raises:
            Nothing.
        """
        ms = self._clock.wall() // 1_000
        rand = int.from_bytes(self._entropy(10), "big")
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
