"""``tildawn completion SHELL``: the script that a shell loads.

What it is not: an installer; it prints, and the user decides where to.
"""

import click
from click.shell_completion import get_completion_class

from tildawn.faces.cli.asked import options


@click.command(help="Print the completion script of a shell: bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options
def completion(shell: str) -> None:
    kind = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    assert kind is not None, "click knows the three"
    click.echo(kind(root, {}, "tildawn", "_TILDAWN_COMPLETE").source())
