"""The latencies of a route, sorted, with the percentiles that the time limit follows.

What it is not: the history; that is packed in `tildawn.projections.attempts`, and this is built
from it.  Nor a sketch: of 200 samples the exact answer costs less than an estimate.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

from tildawn.projections.attempts import SAMPLES, Sample


class Ring:
    """The last `tildawn.projections.attempts.SAMPLES` attempts, in order of arrival and of size.

    An attempt that was cut off counts as what it took at least.  Leaving out the old ones is
    the caller's: build a new ring.
    """

    __slots__ = ("_cut", "_order", "_sorted")

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        """Take what is known, oldest first; the last ones are kept where there are too many."""
        self._order: deque[Sample] = deque(samples, maxlen=SAMPLES)
        self._sorted = sorted(one.took_ms for one in self._order)
        self._cut = sum(one.cut for one in self._order)

    def __len__(self) -> int:
        """How many there are, at most `tildawn.projections.attempts.SAMPLES`."""
        return len(self._order)

    def add(self, sample: Sample) -> None:
        """Take one more, and drop the oldest where there are too many.

        Args:
            sample: how long an attempt took.

        Raises:
            Nothing.
        """
        order, ranked = self._order, self._sorted
        if len(order) == SAMPLES:
            oldest = order[0]
            del ranked[bisect_left(ranked, oldest.took_ms)]
            self._cut -= oldest.cut
        order.append(sample)
        insort(ranked, sample.took_ms)
        self._cut += sample.cut

    def p95_ms(self, *, pseudo: int = 0, pseudo_ms: int = 0) -> int:
        """The 95th percentile by nearest rank, no interpolation.

        Args:
            pseudo: how many further samples to imagine, >= 0.
            pseudo_ms: how long each of those took.

        Returns:
            Milliseconds; 0 without any sample.

        Raises:
            Nothing.
        """
        ranked = self._sorted
        count = len(ranked) + pseudo
        if not count:
            return 0
        rank = (95 * count + 99) // 100 - 1
        if not pseudo:
            return ranked[rank]
        before = bisect_left(ranked, pseudo_ms)
        if rank < before:
            return ranked[rank]
        return pseudo_ms if rank < before + pseudo else ranked[rank - pseudo]

    def largest_ms(self) -> int:
        """The longest; 0 without any.

        Raises:
            Nothing.
        """
        return self._sorted[-1] if self._sorted else 0

    @property
    def cut_share(self) -> int:
        """Attempts that were cut off, in parts per thousand of all, rounded up; 0 without any.

        Raises:
            Nothing.
        """
        return -(-self._cut * 1_000 // len(self._order)) if self._order else 0
