"""What a check of the ledger came to.

What it is not: the check.
"""

from enum import StrEnum

import msgspec

from tildawn.ledger.verified import Verified


class State(StrEnum):
    """Whether the ledger says what its writer wrote."""

    PROVEN = "proven"
    BROKEN = "broken"
    NOT_PROVABLE = "not-provable"


_EXIT = {State.PROVEN: 0, State.BROKEN: 4, State.NOT_PROVABLE: 3}


def exit_code_of(state: State) -> int:
    """0 proven, 4 broken, 3 not provable.

    Raises:
        Nothing.
    """
    return _EXIT[state]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a check.

    ``size`` facts were found good; ``chain`` and ``root`` (hexadecimal) are the hashes after
    them.  ``seq`` is the first fact concerned, where there is one; ``differences`` say in words
    where projections are not what the facts make of them, at most 20.
    """

    state: State
    what: str = ""
    seq: int | None = None
    size: int = 0
    chain: str = ""
    root: str = ""
    differences: tuple[str, ...] = ()
    #: The newest signed checkpoint that holds; 0 where there is none.
    sealed: int = 0
    #: The origin of the log, as its facts name it.
    origin: str = ""
    #: For the next quick check; None where nothing was proven.
    verified: Verified | None = None

    @property
    def exit_code(self) -> int:
        """0 proven, 4 broken, 3 not provable."""
        return _EXIT[self.state]
