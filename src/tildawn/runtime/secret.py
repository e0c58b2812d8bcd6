"""What no record of a house may hold: gathered from its settings, its plans and the environment.

What it is not: the search; that is `tildawn.ledger.secret`.
"""

from collections.abc import Iterator, Mapping

from tildawn.ledger.secret import Secrets, secrets_in
from tildawn.runtime.setting import ProviderSettings, Settings


def key_variable(settings: ProviderSettings) -> str:
    """The variable of the environment that holds the key of the provider.

    Raises:
        Nothing.
    """
    return settings.key_variable or f"{settings.name.upper()}_API_KEY"


def configure(secrets: Secrets, settings: Settings, environ: Mapping[str, str]) -> None:
    """Tell the ledger of a house what its settings name.

    Raises:
        Nothing.
    """
    secrets.variables = environ
    secrets.public = frozenset(settings.ledger.public)
    secrets.hide(secrets_in(environ))
    secrets.name((key_variable(settings.provider), *settings.ledger.secrets))


class Told(Mapping[str, str]):
    """The environment of calls: whatever is taken out of it is a secret from then on."""

    def __init__(self, environ: Mapping[str, str], secrets: Secrets) -> None:
        """Take the variables, and who is told."""
        self._environ = environ
        self._secrets = secrets

    def __getitem__(self, name: str) -> str:
        """The value; before it leaves through the door, nothing may come back with it."""
        value = self._environ[name]
        self._secrets.refuse({name: value})
        return value

    def __contains__(self, name: object) -> bool:
        """Whether there is such a variable; asking tells nobody."""
        return name in self._environ

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._environ)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._environ)
