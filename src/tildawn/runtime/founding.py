"""Makes a house in a folder, with settings and an example beside it.

What it is not: a reset.  What is there stays as it is, each file of it.
"""

from importlib.resources import files
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import HouseUnusable
from tildawn.ledger.layout import Layout
from tildawn.runtime.house import House
from tildawn.runtime.setting import Settings


EXAMPLE = ("tildawn.toml", "plan.yaml", "products.csv")


class Founded(msgspec.Struct, frozen=True, kw_only=True):
    """A house that is there now; ``fresh`` when it was not before."""

    folder: str
    house: str
    fresh: bool
    written: tuple[str, ...]
    kept: tuple[str, ...]


def found_house(folder: Path, settings: Settings, *, clock: Clock, example: bool) -> Founded:
    """Make a house; where there is one, only what is missing beside it.

    A crash in the middle leaves a whole house or none, and any part of the example.

    Args:
        folder: the house itself.
        settings: read and checked.
        clock: the machine's.
        example: also write settings, a plan and its products beside it.

    Returns:
        What was made.

    Raises:
        HouseLocked: a process holds the pen of the house that is there.
        HouseUnusable: the disk will not do.
    """
    layout = Layout(folder)
    fresh = not layout.database.exists() and not layout.founded.exists()
    with House.open(folder, settings, mode="write", clock=clock) as house:
        name = house.ledger.name
    written: list[str] = []
    kept: list[str] = []
    for one in EXAMPLE if example else ():
        content = (files("tildawn.runtime") / "example" / one).read_bytes()
        (written if _written(folder.parent / one, content) else kept).append(one)
    return Founded(
        folder=str(folder), house=name, fresh=fresh, written=tuple(written), kept=tuple(kept)
    )


def _written(path: Path, content: bytes) -> bool:
    """Write a file unless there is one."""
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        return False
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise HouseUnusable(message, hint="choose a folder you may write to") from error
    return True
