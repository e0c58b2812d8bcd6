"""Commands that work: up, night, demo.

What it is not: the worker.  A command starts it as a process of its own and looks after it.
"""

import os
import sys

import click

from tildawn.faces.cli.ask import house_there
from tildawn.faces.cli.asked import asked, options


@click.command(help="Work on what is enqueued until you stop it.")
@options
def up() -> None:
    folder = house_there()
    flags = [f"{name}={value}" for name, value in asked().flags.items()]
    sys.stdout.flush()
    os.execv(  # noqa: S606 - our own interpreter, our own module
        sys.executable, [sys.executable, "-m", "tildawn.faces.local", str(folder), *flags]
    )
