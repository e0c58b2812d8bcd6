"""How a night calls its things in the ledger: queues, keys, budgets, tasks.

What it is not: configurable.  These words stand in ledgers, so they stay what they are.
"""

from tildawn.facts.night import PlanAccepted
from tildawn.facts.plan import Item, Once


ITEM, BEFORE, AFTER, ASK = "night.item", "night.before", "night.after", "night.ask"
"""Tasks: the work of a row, a look before it, a look after it, a question to the owner."""

PREFIX = "night/"
"""With this begin the queues of all nights."""


def item_queue(night: str, item: str) -> str:
    """Where the runs of an item wait; it is open only while the night takes new work.

    Raises:
        Nothing.
    """
    return f"{PREFIX}{night}/item/{item}"


def check_queue(night: str) -> str:
    """Where the checks of a night wait; it stays open when no new work is taken.

    Raises:
        Nothing.
    """
    return f"{PREFIX}{night}/check"


def night_scope(night: str) -> str:
    """The budget of a whole night.

    Raises:
        Nothing.
    """
    return f"night/{night}"


def scopes(night: str, item: str) -> tuple[str, ...]:
    """The budgets of a run of an item, narrowest first; ``{run}`` stands for its name.

    Raises:
        Nothing.
    """
    return ("run/{run}", f"item/{night}/{item}", night_scope(night))


def run_key(said: PlanAccepted, item: Item, key: str, *, turn: int = 0) -> str:
    """What makes a run the only one of its row.

    Args:
        said: the night.
        item: the item.
        key: of the row.
        turn: for a key that may be done once ever: how many runs with it came to nothing.

    Raises:
        Nothing.
    """
    if item.once is Once.EVER:
        return f"ever/{said.place}/{item.id}/{turn}/{key}"
    return f"night/{said.night}/{item.id}/{key}"


def before_subject(night: str, item: str, start: int) -> str:
    """What a look before the work is about: the rows of an item from ``start`` on.

    Raises:
        Nothing.
    """
    return f"{night}/{item}/{start}"
