"""Size and root of a ledger as twelve words that a person can keep.

What it is not: a signature.  Whoever keeps the words is the witness.

132 bits, eleven a word, the most significant first: 32 of the size, the first 92 of
SHA-256(``tildawn/words/v1`` ‖ 0x0A ‖ origin ‖ 0x0A ‖ size in decimal ‖ 0x0A ‖ root), and the
first 8 of SHA-256 over those 124 bits, as an integer of 16 bytes, against slips of the pen.
Because the size is among them, words of any age can be compared with the ledger of today.
"""

from functools import cache
from hashlib import sha256
from importlib import resources

from tildawn.errors import BadValue
from tildawn.ledger.checkpoint import Checkpoint


WORDS = 12
_BITS = 11
SIZE_MAX = 2**32 - 1
"""The longest ledger that has words; 136 years at one fact a second."""

_HASH_BITS = 92
_CHECK_BITS = 8
_PREFIX = b"tildawn/words/v1\n"


def words_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The twelve words of a size and a root.

    Raises:
        BadValue: the ledger is longer than 4,294,967,295 facts.
    """
    if checkpoint.size > SIZE_MAX:
        message = f"a ledger of {checkpoint.size} facts has no words; {SIZE_MAX} is the most"
        raise BadValue(message)
    said = checkpoint.size << _HASH_BITS | _hash(checkpoint)
    number = said << _CHECK_BITS | _check(said)
    listed = _listed()
    places = (number >> _BITS * at & 2**_BITS - 1 for at in reversed(range(WORDS)))
    return tuple(listed[place] for place in places)


class Kept(tuple[int, int]):
    """What twelve words say: a size, and 92 bits of a hash."""

    __slots__ = ()

    @property
    def size(self) -> int:
        """How many facts the ledger had."""
        return self[0]

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether these are the words of that checkpoint.

        Raises:
            Nothing.
        """
        return self == (checkpoint.size, _hash(checkpoint))


def parse_words(text: str) -> Kept:
    """Read twelve words, in any case and however they are spaced; four letters of each are enough.

    Raises:
        BadValue: they are not twelve of the list, or were written down wrongly.
    """
    words = text.lower().replace(",", " ").split()
    if len(words) != WORDS:
        message = f"these are {len(words)} words, not {WORDS}"
        raise BadValue(message)
    number = 0
    for word in words:
        place = _places().get(word[:4])
        if place is None or not _listed()[place].startswith(word):
            message = f"{word!r} is no word of the list"
            raise BadValue(message)
        number = number << _BITS | place
    said, check = number >> _CHECK_BITS, number & 2**_CHECK_BITS - 1
    if check != _check(said):
        message = "these twelve words do not belong together; one was written down wrongly"
        raise BadValue(message)
    return Kept((said >> _HASH_BITS, said & 2**_HASH_BITS - 1))


def _hash(checkpoint: Checkpoint) -> int:
    head = f"{checkpoint.origin}\n{checkpoint.size}\n".encode()
    digest = sha256(_PREFIX + head + checkpoint.root).digest()
    return int.from_bytes(digest, "big") >> (256 - _HASH_BITS)


def _check(said: int) -> int:
    return sha256(said.to_bytes(16, "big")).digest()[0]


@cache
def _listed() -> tuple[str, ...]:
    file = resources.files("tildawn.ledger") / "words.txt"
    return tuple(file.read_text(encoding="ascii").split())


@cache
def _places() -> dict[str, int]:
    # No two words of the list begin with the same four letters. Source: BIP 39.
    return {word[:4]: place for place, word in enumerate(_listed())}
