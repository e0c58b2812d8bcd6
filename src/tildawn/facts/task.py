"""Facts about tasks: where their code is found.

What it is not: runs of them; those are in `tildawn.facts.run`.
"""

from tildawn.facts.fact import FactData


class TaskLocated(FactData, frozen=True):
    """The code of a task was found, so that a later process can run what was accepted.

    ``place`` is JSON: module, function, and the folder they are found from.
    """

    task: str
    place: str

    PAYLOADS = ("place",)


KINDS: tuple[type[FactData], ...] = (TaskLocated,)
