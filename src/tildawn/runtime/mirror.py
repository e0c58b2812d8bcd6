"""The mirror that the settings of a house wish for.

What it is not: the mirror; `tildawn.ledger.mirror` is that.
"""

from pathlib import Path
from typing import cast

import msgspec

from tildawn.errors import BadSetting
from tildawn.ledger.layout import Layout
from tildawn.ledger.likeness import compare
from tildawn.ledger.mirror import Mode, Wish
from tildawn.ledger.verdict import State, Verdict
from tildawn.runtime.setting import Settings


def wish_of(folder: Path, settings: Settings) -> Wish | None:
    """How and where a second copy is to be kept; None when none is.

    Args:
        folder: the house; a relative folder of the mirror is looked for beside it.
        settings: read and checked.

    Raises:
        BadSetting: a mirror is wished for and no folder is named.
    """
    wanted = settings.ledger
    if wanted.mirror == "off":
        return None
    if not wanted.mirror_folder:
        message = f"ledger.mirror is {wanted.mirror}, and ledger.mirror_folder names no folder"
        raise BadSetting(message, hint="set ledger.mirror_folder to a folder on another disk")
    place = folder.absolute().parent / Path(wanted.mirror_folder).expanduser()
    return Wish(mode=cast("Mode", wanted.mirror), folder=place)


def with_mirror(folder: Path, settings: Settings, found: Verdict) -> Verdict:
    """The verdict over a house and its mirror: a broken one counts most, then a missing one.

    Args:
        folder: the house.
        settings: read and checked; without a mirror the verdict stays as it is.
        found: of the house alone.

    Raises:
        BadSetting: a mirror is wished for and no folder is named.
    """
    wish = wish_of(folder, settings)
    if wish is None or found.state is State.BROKEN:
        return found
    copy = compare(Layout(folder), wish)
    if copy.state is State.PROVEN:
        return found
    if copy.state is State.NOT_PROVABLE and found.state is State.NOT_PROVABLE:
        return found
    return msgspec.structs.replace(
        found, state=copy.state, what=f"the mirror: {copy.what}", seq=copy.seq
    )
