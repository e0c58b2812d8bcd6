"""The command line: one group of commands, each loaded when it is typed.

What it is not: the commands.  This file loads nothing heavy, so that ``--help`` is quick.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType
from typing import NoReturn

import click

from tildawn.errors import TildawnError
from tildawn.faces.cli.asked import options


COMMANDS: dict[str, tuple[str, str]] = {
    # Name: the module that has it, and one line of help.
    "init": ("house", "Make a house in this folder, with settings and an example plan."),
    "demo": ("night", "Run a whole night in about a minute, through a real kill -9."),
    "night": ("night", "Run a plan through its night, or go on with an unfinished one."),
    "up": ("night", "Work on what is enqueued until you stop it."),
    "enqueue": ("work", "Accept a run of a task; it is on disk when this answers."),
    "runs": ("look", "List runs, newest first."),
    "show": ("look", "Show one run: its calls, its trouble, and what may be answered."),
    "status": ("look", "Say how the house stands."),
    "logs": ("look", "Show the newest facts, and the log lines between them."),
    "cancel": ("work", "Ask a run to stop."),
    "pause": ("work", "Hold a run until you resume it."),
    "resume": ("work", "Let a paused run go on, or an unfinished night."),
    "retry": ("work", "Let a failed or held run try again."),
    "emit": ("work", "Send an event to a run that waits for one, or will."),
    "answer": ("work", "Settle what needs you: tildawn answer RUN CHOICE."),
    "dead": ("mend", "List dead letters: what only you can set going again."),
    "erase": ("erase", "Erase what is kept of a person or of a run."),
    "budget": ("work", "Show budgets, or set the limit of one."),
    "permit": ("permit", "Make, list, show and revoke permits."),
    "routes": ("route", "List routes: state, time limit, limiter, money, last attempts."),
    "route": ("route", "Explain one route, or have your say about it."),
    "slo": ("route", "Show what was promised, measured, and is left, for a day."),
    "events": ("route", "Give what the guard did as events, one JSON object a line."),
    "takeover": ("house", "Take the pen from the process that holds it."),
    "report": ("look", "Write the morning report."),
    "verify": ("proof", "Prove the ledger, or say where it is broken."),
    "receipt": ("proof", "Give the proof that one fact is in the ledger."),
    "key": ("proof", "Show the key that signs the ledger, or let a new one sign."),
    "repair": ("mend", "Say what is wrong with the pictures that the house keeps, or mend it."),
    "rebuild": ("rebuild", "Say which tables differ from the facts, or make them anew."),
    "quarantine": ("quarantine", "Say whether the house may work, or let it work again."),
    "archive": (
        "segment",
        "List the segments of the archive, or let old facts leave the database.",
    ),
    "snapshot": ("snapshot", "Take a snapshot of the house now, or list those there are."),
    "import": ("legacy", "Seal an old log, and say what was outside its chain."),
    "mirror": ("mirror", "Say how the second copy of the ledger stands, verify or use it."),
    "restore": ("snapshot", "Go back to an earlier state, or prove with a drill that you could."),
    "doctor": ("house", "Examine what a night rests on, and say what to do."),
    "plan": ("plan", "Check a plan, show what it would do, or print its schema."),
    "sim": ("sim", "Serve the simulated provider."),
    "anchor": ("anchor", "Keep checkpoints in other places, and verify against them."),
    "witness": ("witness", "Witness the ledgers of other machines."),
    "config": ("house", "Show every setting and where it comes from."),
    "completion": ("completion", "Print the completion script of a shell."),
}

INTERRUPTED = 75
"""Ctrl-C: nothing is lost, type it again."""


class Commands(click.Group):
    """The commands by name; the module of one is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, imported."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"tildawn.faces.cli.{entry[0]}")
        # A name that Python keeps for itself has a line behind it there.
        found = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name for an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib  # noqa: PLC0415 - a tenth of what --help may take

            message = f"there is no command {args[0]!r}"
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"tildawn {near[0]}" if near else "tildawn --help"
            raise NoCommand(message, hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without loading any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in COMMANDS.items()])


class NoCommand(click.UsageError):
    """A command that does not exist."""

    def __init__(self, message: str, *, hint: str) -> None:
        """Say it, and what to type instead."""
        super().__init__(message)
        self.hint = hint


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    invoke_without_command=True,
    epilog="Exit codes: 0 it worked, 1 the work failed, 2 usage, 3 a gate, budget or proof says no, "
    "4 the ledger is broken, 75 try again.",
)
@click.version_option(package_name="tildawn", message="%(version)s")
@options
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Hand it the night.  Wake to finished work, with proof."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit.

    Args:
        arguments: without the program's name; those of this process when absent.

    Raises:
        SystemExit: with the exit code.
    """
    sys.excepthook = _ended
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of our own: its traceback may quote anything, so secrets in it are blacked out."""
    from tildawn.faces.hush import show  # noqa: PLC0415 - only who fails needs it

    show(kind, error, trace)


def run(arguments: list[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code.

    Raises:
        Nothing.
    """
    try:
        code = cli.main(arguments, prog_name="tildawn", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as error:
        return _usage(error)
    except TildawnError as error:
        return _refused(error, as_json="--json" in arguments)
    except (click.Abort, KeyboardInterrupt):
        click.echo("tildawn: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough; Python must not complain about it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def _usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else "tildawn"
    click.echo(f"tildawn: {error.format_message()} [usage]", err=True)
    click.echo(f"Next: {getattr(error, 'hint', None) or f'{path} --help'}", err=True)
    return error.exit_code if error.exit_code != 1 else 2


def _refused(error: TildawnError, *, as_json: bool) -> int:
    from tildawn.faces.hush import hushed  # noqa: PLC0415 - only who fails needs it

    if as_json:
        from tildawn.faces.cli.words import refusal_json  # noqa: PLC0415 - loads msgspec

        click.echo(hushed(refusal_json(error)), err=True)
        return error.exit_code
    click.echo(_tame(hushed(f"tildawn: {error.message} [{error.code}]")), err=True)
    if error.hint:
        click.echo(_tame(hushed(f"Next: {error.hint}")), err=True)
    return error.exit_code


def _tame(text: str) -> str:
    """The text without what could steer a terminal; a message may quote anything."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)


if __name__ == "__main__":
    main()
