"""What every command is asked with: which house, which settings, and whether as JSON.

What it is not: the settings themselves.  This file loads nothing heavy.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click


F = TypeVar("F", bound=Callable[..., Any])


class Asked:
    """The common options of one command line; the place nearest to the command wins."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.house: str | None = None
        self.flags: dict[str, str] = {}
        self.json = False


def asked() -> Asked:
    """What the running command was asked with.

    Raises:
        RuntimeError: no command is running.
    """
    return click.get_current_context().ensure_object(Asked)


def options(command: F) -> F:
    """Give a command the common options; they are kept in `Asked`, not passed on.

    Raises:
        Nothing.
    """
    for option in (
        click.option(
            "--json", is_flag=True, expose_value=False, callback=_json,
            help="Data as JSON on standard output, one object a line.",
        ),
        click.option(
            "--set", metavar="NAME=VALUE", multiple=True, expose_value=False, callback=_set,
            help="Set one setting for this command.",
        ),
        click.option(
            "--house", metavar="FOLDER", expose_value=False, callback=_house,
            help="The house, instead of the one in this folder or above it.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def _json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Asked).json = True


def _house(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Asked).house = value


def _set(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    ctx.ensure_object(Asked).flags.update(pairs(values, parameter))


def pairs(values: tuple[str, ...], parameter: click.Parameter | None = None) -> Mapping[str, str]:
    """Words such as ``a=1`` as a mapping.

    Raises:
        click.BadParameter: one has no equals sign.
    """
    found: dict[str, str] = {}
    for one in values:
        name, sign, value = one.partition("=")
        if not sign or not name:
            message = f"{one!r} is not NAME=VALUE"
            raise click.BadParameter(message, param=parameter)
        found[name] = value
    return found
