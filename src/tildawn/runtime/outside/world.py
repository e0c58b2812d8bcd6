"""What calls are made with: providers, connections, prices, files, secrets.

What it is not: a guard.  Whether and when a call is made is decided at the door.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tildawn.clock import Clock
from tildawn.errors import Misused
from tildawn.ledger.ledger import Ledger
from tildawn.providers.port import Provider
from tildawn.providers.prices import Prices
from tildawn.providers.wire import Wires
from tildawn.runtime.outside.stock import Hands


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """Which model is asked where a call names none."""

    chat: str = ""
    image: str = ""
    embed: str = ""


@dataclass(frozen=True)
class World:
    """Everything outside that calls can reach."""

    #: Keeps blobs.
    ledger: Ledger
    #: For deadlines.
    clock: Clock
    _: KW_ONLY
    #: Pools of connections, shared by all.
    wires: Wires
    #: For the worst case and for bills without a cost.
    prices: Prices
    #: The provider of models where there is one; see `provider`.
    connected: Provider | None
    #: Which model is asked where a call names none.
    models: Models
    #: What ``${NAME}`` stands for; never recorded.
    env: Mapping[str, str]
    #: Where relative paths begin when a call names no folder.
    folder: Path
    #: Longest answer of a chat that names no limit.
    max_tokens: int = 1_024
    #: Threads in which local tiers of the fallback ladder look and draw.
    hands: Hands = field(default_factory=Hands)

    @property
    def provider(self) -> Provider:
        """The provider of models.

        Raises:
            Misused: there is none.
        """
        if self.connected is None:
            message = "there is no provider of models"
            hint = "set a key, a local base URL, or try it with --simulate"
            raise Misused(message, hint=hint)
        return self.connected

    async def aclose(self) -> None:
        """Close idle connections, and let the threads end."""
        self.hands.close()
        await self.wires.aclose()


def is_loopback(url: str) -> bool:
    """Whether a URL stays on this machine.

    Raises:
        Nothing.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
