"""What is here already and may stand in for an answer: the answers of earlier calls.

What it is not: a cache.  It is asked only when nobody else serves, and every item is looked at
as an answer of the primary would be: a picture is read from its first byte to its last.

Everything that reads the house or computes does so in threads of its own, so that a tier that is
late can be left behind, and no crowd of other work stands before it.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import msgspec

from tildawn.clock import Clock
from tildawn.engine.outcome import Artifact
from tildawn.errors import TildawnError
from tildawn.facts.picture import Drawn
from tildawn.guard.fault import InvalidAnswer
from tildawn.guard.picture import check_picture
from tildawn.guard.request import Answer
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.sqlite.reader import Reader
from tildawn.picture import Picture
from tildawn.projections.stock import ABOUT, OUT, StockRow, answers_to, newest
from tildawn.runtime.outside.drawing import placeholder
from tildawn.runtime.repair.queue import report_damage
from tildawn.units import Micros, Seq


NEIGHBOURS_MAX = 5
"""Pictures that count as related to one. Source: the reviews of the original, at most five."""

LOOKED_AT = 200
"""Newest pictures among which related ones are looked for; reading what each was asked for takes
about 20 microseconds."""

PROMPT_CHARS = 2_000
"""How much of a prompt is kept for finding related pictures."""

TRIES = 3
"""Items that are looked at before a tier has nothing: one bad picture must not be the end."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_COMMON_LEAST = 8

T = TypeVar("T")


class About(msgspec.Struct, frozen=True):
    """What a picture was asked for, as it is kept beside the dispatch."""

    prompt: str
    size: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The picture that is wanted now; sides in pixels."""

    prompt: str
    width: int
    height: int
    #: A simulated answer never stands in for a real one.
    simulated: bool

    @property
    def about(self) -> bytes:
        """It as JSON, for the dispatch of the primary."""
        return msgspec.json.encode(About(self.prompt[:PROMPT_CHARS], self.size))

    @property
    def size(self) -> str:
        """Width and height as in a plan."""
        return f"{self.width}x{self.height}"


class Hands:
    """The threads of the local tiers, and what they showed last; of one house."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="tildawn-tier")
        #: Of the drawing alone: a look that was left behind keeps its thread until the disk
        #: answers, and the tier that cannot fail must not stand behind two of them.
        self._easel = ThreadPoolExecutor(1, thread_name_prefix="tildawn-drawing")
        #: In memory alone: after a restart a picture may be shown a second time in a row.
        self.shown = ""

    async def do(self, work: Callable[[], T]) -> T:
        """Look for something in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def draw(self, work: Callable[[], T]) -> T:
        """Draw something in the thread that nothing else is done in."""
        return await asyncio.get_running_loop().run_in_executor(self._easel, work)

    def close(self) -> None:
        """Let the threads end.

        Raises:
            Nothing.
        """
        for pool in (self._pool, self._easel):
            pool.shutdown(wait=False, cancel_futures=True)


class Stock:
    """Looks into one house for one kind of tier; blocks, so it belongs into a thread."""

    def __init__(self, ledger: Ledger, clock: Clock, *, until: Micros) -> None:
        """Look until an instant of ``clock.mono``: what is found later is of no use."""
        self._ledger = ledger
        self._clock = clock
        self._until = until

    def text(self, args: str, *, simulated: bool) -> Answer | None:
        """The newest answer to the same request, as it is on record.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self._ledger.read() as reader:
            for row in answers_to(reader, args, simulated=simulated, limit=TRIES):
                value = _payload(reader, row.seq, OUT)
                if value is not None:
                    return Answer(value=value)
        return None

    def exact(self, args: str, wanted: Wanted) -> Answer | None:
        """The newest whole picture that was drawn for the same request.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self._ledger.read() as reader:
            rows = answers_to(reader, args, simulated=wanted.simulated, limit=TRIES)
            found = [_artifact(reader, row) for row in rows]
        return self._first(found, wanted)

    def related(self, wanted: Wanted, *, shown: str) -> Answer | None:
        """One of the pictures that were asked for in words like these; not the one shown last.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self._ledger.read() as reader:
            rows, asked = self._sized(reader, wanted)
            order = neighbours(words(wanted.prompt), [words(one.prompt) for one in asked])
            found = [_artifact(reader, rows[at]) for at in order]
        return self._first(_last_of_all(shown, found), wanted)

    def recent(self, wanted: Wanted, *, shown: str) -> Answer | None:
        """The newest whole picture of that size; not the one shown last, if there is another.

        Raises:
            TildawnError: the house cannot be read.
        """
        with self._ledger.read() as reader:
            rows, _ = self._sized(reader, wanted)
            found = [_artifact(reader, row) for row in rows[: TRIES + 1]]
        return self._first(_last_of_all(shown, found), wanted)

    def draw(self, seed: str, wanted: Wanted) -> Answer:
        """A placeholder of the exact size.

        Raises:
            ValueError: the size is out of range.
            OSError: the disk refuses.
        """
        content = placeholder(seed, wanted.width, wanted.height)
        seen = Picture("image/png", wanted.width, wanted.height)
        return _answer(self._ledger.blobs.put(content), content, seen)

    def _sized(self, reader: Reader, wanted: Wanted) -> tuple[list[StockRow], list[About]]:
        """The newest pictures of the size, and what each was asked for."""
        rows: list[StockRow] = []
        asked: list[About] = []
        for row in newest(reader, simulated=wanted.simulated, limit=LOOKED_AT):
            if self._clock.mono() >= self._until:
                break
            kept = _payload(reader, row.about, ABOUT)
            about = None if kept is None else msgspec.json.decode(kept, type=About)
            if about is not None and about.size == wanted.size:
                rows.append(row)
                asked.append(about)
        return rows, asked

    def _first(self, found: Iterable[Artifact | None], wanted: Wanted) -> Answer | None:
        """The first that is a whole picture of the size."""
        there = (one for one in found if one is not None)
        for artifact in islice(there, TRIES):
            if self._clock.mono() >= self._until:
                break
            answer = self._whole(artifact, wanted)
            if answer is not None:
                return answer
        return None

    def _whole(self, artifact: Artifact, wanted: Wanted) -> Answer | None:
        try:
            content = self._ledger.blobs.get(artifact.sha256)
            seen = check_picture(content, width=wanted.width, height=wanted.height)
        except (TildawnError, InvalidAnswer):
            report_damage(self._ledger, artifact.sha256)
            return None
        return _answer(artifact.sha256, content, seen)


def words(text: str) -> frozenset[str]:
    """The words of a text that say something: letters only, at least three, in small letters.

    Raises:
        Nothing.
    """
    # HOLE: scripts without spaces have no words here, so their pictures have few neighbours.
    return frozenset(_WORD.findall(text.casefold()))


def neighbours(wanted: frozenset[str], stock: Sequence[frozenset[str]]) -> list[int]:
    """The places of the texts that share most with one, best first, newer before older.

    A word counts the more the rarer it is; one that is in most of the texts ("photo", "the")
    relates nothing to nothing once there are enough of them to tell.

    Args:
        wanted: the words of the one.
        stock: the words of the others, newest first.

    Returns:
        At most `NEIGHBOURS_MAX` places.

    Raises:
        Nothing.
    """
    often = Counter(word for text in stock for word in text)
    most = len(stock) // 2 if len(stock) >= _COMMON_LEAST else len(stock)
    telling = {word: 1 / often[word] for word in wanted if 0 < often[word] <= most}
    scores = [sum(telling.get(word, 0.0) for word in text) for text in stock]
    order = sorted(range(len(stock)), key=lambda at: -scores[at])
    return [at for at in order[:NEIGHBOURS_MAX] if scores[at] > 0]


def _last_of_all(shown: str, found: Iterable[Artifact | None]) -> Iterator[Artifact | None]:
    again: list[Artifact] = []
    for artifact in found:
        if artifact is not None and artifact.sha256 == shown:
            again.append(artifact)
        else:
            yield artifact
    yield from again


def _payload(reader: Reader, seq: int, slot: int) -> bytes | None:
    """A payload, or None where it was erased or its blob is gone."""
    try:
        return reader.payload(Seq(seq), slot)
    except TildawnError:
        return None


def _artifact(reader: Reader, row: StockRow) -> Artifact | None:
    text = _payload(reader, row.seq, OUT)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Artifact)
    except msgspec.DecodeError:
        return None  # the answer of a model that draws no pictures


def _answer(blob: str, content: bytes, seen: Picture) -> Answer:
    kept = Artifact(f"image-{blob[:12]}", blob, len(content), seen.media)
    drawn = Drawn(blob, seen.media, seen.width, seen.height, len(content))
    return Answer(value=msgspec.json.encode(kept), blobs=(blob,), picture=drawn)
