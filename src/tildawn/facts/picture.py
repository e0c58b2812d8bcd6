"""Facts about pictures that the house keeps, and about the repair of what is wrong with them.

What it is not: the pictures; those are blobs.  A fact that settles a call says what it brought
with `Drawn`.  Each fact here but the repair's own carries ``run`` and ``path`` of the picture.
"""

import msgspec

from tildawn.facts.fact import FactData


class Drawn(msgspec.Struct, frozen=True):
    """A picture that was read: its blob, and what its bytes say about themselves.

    ``blob`` is the SHA-256 in hexadecimal, sides are pixels from 1 to 16,384.
    """

    blob: str
    media: str
    width: int
    height: int
    size_bytes: int


class PictureNoted(FactData, frozen=True):
    """An answer of before pictures were measured refers to one; its measures follow."""

    attempt: int
    blob: str
    media: str


class PictureMeasured(FactData, frozen=True):
    """A picture was read and is whole; a damage that was on record for it is over."""

    attempt: int
    picture: Drawn


class PictureDamaged(FactData, frozen=True):
    """Whoever wanted to show a picture found that it cannot be shown.

    ``why`` is ``missing``, ``altered`` or ``unreadable``.
    """

    attempt: int
    blob: str
    why: str


class PictureCondemned(FactData, frozen=True):
    """A picture is lost for good; ``plan`` is the hash of the repair that says so."""

    attempt: int
    blob: str
    why: str
    plan: str
    detail: str = ""

    PAYLOADS = ("detail",)


class RepairBegun(FactData, frozen=True):
    """The owner had a plan of repair carried out; its text is kept with the fact."""

    plan: str
    steps: int
    text: str

    PAYLOADS = ("text",)


class PicturesOpened(FactData, frozen=True):
    """From here on rows of pictures may lack their measures; the repair fills them in."""

    plan: str


class PicturesConstrained(FactData, frozen=True):
    """No row of a picture lacks its measures, and from here on none may."""

    plan: str


class RepairEnded(FactData, frozen=True):
    """A plan of repair was carried out to its end."""

    plan: str
    measured: int = 0
    restored: int = 0
    condemned: int = 0


KINDS: tuple[type[FactData], ...] = (
    PictureNoted,
    PictureMeasured,
    PictureDamaged,
    PictureCondemned,
    RepairBegun,
    PicturesOpened,
    PicturesConstrained,
    RepairEnded,
)
