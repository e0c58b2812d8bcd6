"""Chance from a seed: the same question always gets the same dice.

What it is not: the interpreter's generator, whose sequences may change with its version.
"""

import hashlib
import math


class Chance:
    """An endless row of dice, fixed by what it is made from."""

    def __init__(self, *origin: str | int) -> None:
        """Take what the dice depend on."""
        self._root = hashlib.sha256("\x1f".join(map(str, origin)).encode()).digest()
        self._count = 0

    def digest(self) -> bytes:
        """The next 32 bytes.

        Raises:
            Nothing.
        """
        self._count += 1
        return hashlib.sha256(self._root + self._count.to_bytes(8, "big")).digest()

    def below(self, bound: int) -> int:
        """A whole number from 0 up to but without ``bound`` >= 1.

        Raises:
            Nothing.
        """
        return int.from_bytes(self.digest()[:16], "big") % bound

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both possible; ``low`` if the range is empty.

        Raises:
            Nothing.
        """
        return low + self.below(max(high - low, 0) + 1)

    def swing(self) -> float:
        """A number from the normal distribution with mean 0 and deviation 1.

        Raises:
            Nothing.

        Source: the transform of Box and Muller, of which one half is used.
        """
        one, two = ((self.below(_EVEN) + 0.5) / _EVEN for _ in range(2))
        return math.sqrt(-2 * math.log(one)) * math.cos(2 * math.pi * two)


_EVEN = 1_000_000_000
