"""The anchors that the settings name.

What it is not: when they are asked; that is `tildawn.runtime.anchors`.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tildawn.clock import Clock
from tildawn.errors import BadSetting
from tildawn.ledger.anchor import Anchor
from tildawn.runtime.setting import AnchorSettings
from tildawn.units import Micros


_NEEDED = {"file": ("path",), "git": ("path",), "witness": ("url", "key")}
_OTHER = {"file": ("path",), "git": ("path", "remote", "branch"), "witness": ("url", "key")}


class Place(msgspec.Struct, frozen=True):
    """One anchor, and how often it is to have the newest checkpoint."""

    anchor: Anchor
    every: Micros


def check_anchors(settings: Mapping[str, AnchorSettings]) -> None:
    """See whether each anchor has what its kind needs, and nothing of another kind.

    Raises:
        BadSetting: one does not.
    """
    for name, said in settings.items():
        if not said.kind:
            message = f'anchor.{name}.kind is missing: "file", "git" or "witness"'
            raise BadSetting(message, hint=f'[anchor."{name}"] kind = "file"')
        for field in _NEEDED[said.kind]:
            if not getattr(said, field):
                message = f"anchor.{name}.{field} is missing; a {said.kind} needs it"
                raise BadSetting(message, hint=f'[anchor."{name}"] {field} = "…"')
        for field in ("path", "remote", "branch", "url", "key"):
            if getattr(said, field) and field not in _OTHER[said.kind]:
                message = f"anchor.{name}.{field} says nothing to a {said.kind}"
                raise BadSetting(message, hint="remove it")


def places_of(
    settings: Mapping[str, AnchorSettings],
    *,
    folder: Path,
    clock: Clock,
    env: Mapping[str, str],
) -> tuple[Place, ...]:
    """Make the anchors; nothing is touched yet.

    Args:
        settings: checked.
        folder: the house; relative paths begin at its parent.
        clock: of the house.
        env: what git may see of it.

    Raises:
        BadSetting: a branch or a remote cannot be one.
        BadValue: a key is none of a witness.
    """
    return tuple(
        Place(_made(name, said, folder=folder, clock=clock, env=env), said.every)
        for name, said in settings.items()
    )


def _made(
    name: str, said: AnchorSettings, *, folder: Path, clock: Clock, env: Mapping[str, str]
) -> Anchor:
    path = folder.parent / Path(said.path).expanduser()
    if said.kind == "file":
        from tildawn.ledger.anchor_file import FileAnchor  # noqa: PLC0415 - only where it is used

        return FileAnchor(name, path, house=folder)
    if said.kind == "git":
        from tildawn.providers.git import BRANCH, GitAnchor  # noqa: PLC0415

        return GitAnchor(
            name, path, remote=said.remote, branch=said.branch or BRANCH, clock=clock, environ=env
        )
    from tildawn.providers.wire import Wires  # noqa: PLC0415
    from tildawn.providers.witness import WitnessAnchor  # noqa: PLC0415

    return WitnessAnchor(name, said.url, said.key, wires=Wires(clock=clock))
