"""Leave to send one attempt.

What it is not: the giving of it; that is `tildawn.guard.gate`.
"""

import msgspec

from tildawn.guard.health import Health, Place
from tildawn.guard.policy import Mode
from tildawn.guard.request import Attempt
from tildawn.guard.timeout import Limit
from tildawn.units import Micros


class Pass(msgspec.Struct, kw_only=True):
    """Leave to send one attempt; `Gate.leave` takes it back."""

    health: Health
    place: Place
    mode: Mode
    limit: Limit
    generation: int
    #: What such attempts usually take at the most.
    usual: Micros = Micros(0)
    #: Sent to find out whether the other side is back.
    probe: bool = False
    turn: Micros = Micros(0)
    turn_tokens: Micros = Micros(0)
    tokens: int = 0
    queued: Micros = Micros(0)
    would: str = ""
    inside: bool = False

    def sends(self, attempt: Attempt) -> None:
        """The attempt is being made from here on.

        Raises:
            Nothing.
        """
        flight = self.health.flying.get(self.place)
        if flight is not None:
            flight.attempt, flight.sent = attempt, self.health.clock.mono()
