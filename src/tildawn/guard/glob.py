"""Globs of routes and addresses: what one matches, and whether one lies within another.

What it is not: a shell's.  ``*`` stands for any signs but a slash, ``**`` for any signs at all;
every other sign stands for itself.  There is nothing else, so that a person reads a glob as we do.
"""

import functools

from tildawn.errors import BadValue


LENGTH_MOST = 200
"""Signs of one glob; no route and few addresses are longer."""

_STAR, _STARS = "\x01", "\x02"
"""``*`` and ``**`` as single signs, which no route and no address may hold."""


def check_glob(glob: str) -> None:
    """Refuse what is no glob.

    Raises:
        BadValue: it is empty or too long, or holds signs that nobody can see.
    """
    if not glob or len(glob) > LENGTH_MOST or not glob.isprintable():
        message = f"{glob!r:.80} is no pattern"
        hint = f"1 to {LENGTH_MOST} visible signs; * stops at a slash, ** does not"
        raise BadValue(message, hint=hint)


def matches(glob: str, text: str) -> bool:
    """Whether a glob stands for a text, in time linear in the length of the text.

    Raises:
        Nothing.
    """
    return text.isprintable() and _accepts(_compiled(glob), text)


def within(child: str, parent: str) -> bool:
    """Whether everything that ``child`` matches is surely matched by ``parent``.

    ``parent`` reads the signs of ``child``: its ``**`` takes any of them, its ``*`` takes all but
    slashes and ``**``, a letter takes itself alone.  Where it can read them all, it can read
    whatever they stand for.  The reverse does not hold: some globs that lie within another are
    not seen to, and those are refused.

    Raises:
        Nothing.
    """
    return _accepts(_compiled(parent), _signs(child))


class _Compiled:
    """A glob as sets of places, each set a number with one bit for a place."""

    __slots__ = ("end", "letters", "star", "stars")

    def __init__(self, signs: str) -> None:
        self.letters: dict[str, int] = {}
        self.star = self.stars = 0
        self.end = 1 << len(signs)
        for place, sign in enumerate(signs):
            if sign == _STAR:
                self.star |= 1 << place
            elif sign == _STARS:
                self.stars |= 1 << place
            else:
                self.letters[sign] = self.letters.get(sign, 0) | 1 << place


@functools.lru_cache(maxsize=1_024)
def _compiled(glob: str) -> _Compiled:
    return _Compiled(_signs(glob))


@functools.lru_cache(maxsize=1_024)
def _signs(glob: str) -> str:
    """The glob with single signs for its wildcards, neighbours joined into one."""
    text = glob.replace("**", _STARS).replace("*", _STAR)
    for pair in (_STAR + _STARS, _STARS + _STAR, _STARS + _STARS):
        while pair in text:
            text = text.replace(pair, _STARS)
    return text


def _accepts(glob: _Compiled, text: str) -> bool:
    wild = glob.star | glob.stars
    at = 1 | (1 & wild) << 1  # a wildcard may stand for nothing
    for sign in text:
        stays = at & glob.stars
        if sign not in {"/", _STARS}:
            stays |= at & glob.star
        at = stays | (at & glob.letters.get(sign, 0)) << 1
        at |= (at & wild) << 1
        if not at:
            return False
    return bool(at & glob.end)
