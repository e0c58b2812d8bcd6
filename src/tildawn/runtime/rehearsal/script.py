"""The script of a played night: who asks when, and what becomes of the provider; a TOML file.

What it is not: the playing; that is `tildawn.runtime.rehearsal.night`.

::

    about = "The provider is gone for a minute."
    length = "1h"                    # how long the night is

    [[stream]]
    kind = "image"                   # or chat
    every = "20s"                    # one call each
    since = "0s"                     # the first of them
    until = "1h"                     # and none from then on; to the end when absent
    patience = "interactive"         # or batch; with ``accepts`` and ``tiers`` as in plans

    [[outage]]
    since = "30m"
    length = "60s"
    path = "/v1/"                    # requests whose path begins so
    fault = { kind = "reset" }       # see the scenarios of the simulator

    [provider]                       # a scenario of the simulator: paces and rules
    [[provider.pace]]
    path = "/v1/images"
    median = "50s"
    sigma = 0.25

Times count from the beginning of the night.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from tildawn.errors import BadSetting, BadValue, UnknownName
from tildawn.providers.sim import scenario as sim
from tildawn.providers.sim.scenario import Fate, Reset, Rule, Scenario, micros
from tildawn.units import Micros, duration


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls of one kind, one after the other."""

    kind: Literal["image", "chat"]
    every: str
    since: str = "0s"
    until: str | None = None
    #: Whether somebody waits in front of each; who may answer, and what may stand in instead.
    patience: Literal["interactive", "batch"] = "batch"
    accepts: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()

    def next_after(self, at: Micros) -> tuple[int, Micros]:
        """The number of the first call that is due at an instant or after it, and when.

        Raises:
            Nothing.
        """
        since, every = micros(self.since), duration(self.every)
        number = max(-(-(at - since) // every), 0)
        return number, Micros(since + number * every)


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time in which nobody is served."""

    since: str
    length: str
    path: str = "/v1/"
    fault: Fate = Reset()

    @property
    def window(self) -> tuple[Micros, Micros]:
        """From when to when."""
        began = micros(self.since)
        return began, Micros(began + micros(self.length))


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A night that can be played."""

    length: str
    about: str = ""
    stream: tuple[Stream, ...] = ()
    outage: tuple[Outage, ...] = ()
    provider: Scenario = Scenario()

    @property
    def scenario(self) -> Scenario:
        """What the simulated provider follows: outages first, then its own rules."""
        outages = tuple(
            Rule(fault=one.fault, path=one.path, since=one.since, until=_end_of(one))
            for one in self.outage
        )
        return msgspec.structs.replace(self.provider, rule=outages + self.provider.rule)


def _end_of(outage: Outage) -> str:
    _, end = outage.window
    return f"{end // 1_000}ms"


def parse(text: str, *, name: str = "script") -> Script:
    """A script from TOML.

    Args:
        text: see the module.
        name: what to call it in an error.

    Returns:
        The script, every setting of it checked.

    Raises:
        BadSetting: it is no TOML, or a setting is unknown or out of range; says where.
    """
    try:
        script = msgspec.convert(tomllib.loads(text), Script)
        duration(script.length)
        for stream in script.stream:
            duration(stream.every)
            micros(stream.since)
            if stream.until is not None:
                micros(stream.until)
        sim.check(script.scenario)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, BadValue, ValueError) as error:
        message = f"{name}: {error}"
        raise BadSetting(message) from error
    return script


def shipped() -> dict[str, str]:
    """The scripts that come with Tildawn, by name: the text of each.

    Raises:
        Nothing.
    """
    folder = files("tildawn.runtime.rehearsal") / "scenarios"
    found = [one for one in folder.iterdir() if one.name.endswith(".toml")]
    return {
        one.name.removesuffix(".toml"): one.read_text(encoding="utf-8")
        for one in sorted(found, key=lambda one: one.name)
    }


def find(name: str) -> Script:
    """A script by the name of a shipped one or by the path of a file.

    Raises:
        UnknownName: it is neither.
        BadSetting: see `parse`.
    """
    known = shipped()
    if name in known:
        return parse(known[name], name=name)
    path = Path(name)
    if not path.is_file():
        message = f"no scenario and no file is called {name!r}"
        raise UnknownName(message, hint=f"one of {', '.join(known)}, or a file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name} cannot be read: {error}"
        raise BadSetting(message, hint="make it readable, as UTF-8") from error
    return parse(text, name=name)
