"""What calls are made with: providers, connections, prices, files, secrets.

What it is not: a guard.  Whether and when a call is made is decided at the door.
"""

from collections.abc import Mapping
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


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """Which model is asked where a call names none."""

    chat: str = ""
    image: str = ""
    embed: str = ""


class World:
    """Everything outside that calls can reach."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        wires: Wires,
        prices: Prices,
        provider: Provider | None,
        models: Models,
        env: Mapping[str, str],
        folder: Path,
        max_tokens: int = 1_024,
    ) -> None:
        """Collect what calls are made with.

        Args:
            ledger: keeps blobs.
            clock: for deadlines.
            wires: pools of connections, shared by all.
            prices: for the worst case and for bills without a cost.
            provider: of models, or None where there is none.
            models: defaults by kind.
            env: what ``${NAME}`` stands for; never recorded.
            folder: where relative paths begin when a call names no folder.
            max_tokens: longest answer of a chat that names no limit.
        """
        self.ledger = ledger
        self.clock = clock
        self.wires = wires
        self.prices = prices
        self.models = models
        self.env = env
        self.folder = folder
        self.max_tokens = max_tokens
        self._provider = provider

    @property
    def provider(self) -> Provider:
        """The provider of models.

        Raises:
            Misused: there is none.
        """
        if self._provider is None:
            message = "there is no provider of models"
            hint = "set a key, a local base URL, or try it with --simulate"
            raise Misused(message, hint=hint)
        return self._provider

    async def aclose(self) -> None:
        """Close idle connections."""
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
