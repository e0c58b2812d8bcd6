"""Commands that change what runs: enqueue, cancel, pause, resume, retry, emit, answer, budget.

What it is not: their effect; the operations have that.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from tildawn.errors import BadValue
from tildawn.faces.cli.ask import ask
from tildawn.faces.cli.asked import options, pairs
from tildawn.faces.cli.night import go_on_with
from tildawn.faces.cli.words import columns, tell
from tildawn.runtime.operation import Operation
from tildawn.runtime.operations import budget as money
from tildawn.runtime.operations import run as runs
from tildawn.runtime.operations.naming import PART_LEAST
from tildawn.runtime.token import TOKEN_VARIABLE
from tildawn.watch.words import dollars


@click.command(help=runs.ENQUEUE.help)
@click.argument("task", metavar="MODULE:TASK")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--input", "text", default="", metavar="JSON", help="The arguments as an object.")
@click.option("--key", default="", help="A second run with this key is not accepted.")
@click.option("--label", default="", help="What the run is called for people.")
@click.option("--subject", default="", help="Whom it is about; tildawn erase takes the same.")
@click.option("--queue", default="", help="The queue it waits in.")
@click.option("--priority", default=0, help="Higher starts first.")
@click.option("--delay", default="", metavar="TIME", help="Start no earlier than in 10m, 1h30m.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Act under the permit of the token in it; else of that in {TOKEN_VARIABLE}.",
)
@options
def enqueue(
    task: str, words: tuple[str, ...], text: str, token_file: Path | None, **more: str | int
) -> None:
    given = msgspec.convert({"task": task, "words": dict(pairs(words)), **more}, runs.EnqueueInput)
    given = msgspec.structs.replace(given, token=_token(token_file))
    given = msgspec.structs.replace(given, input=_json(text or "{}"))
    tell(ask(runs.ENQUEUE, given), _accepted)


def _token(file: Path | None) -> str:
    """A token is never an argument: anybody on the machine can read those."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    token = file.read_text("utf-8", "replace").strip()
    if not token:
        message = f"{file} holds no token"
        raise BadValue(message, hint="tildawn permit mint --token prints one")
    return token


def _json(text: str) -> msgspec.Raw:
    raw = text.encode()
    try:
        msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        message = f"{text!r} is no JSON: {error}"
        raise BadValue(message, hint="""quote it: '{"shops": 3}'""") from error
    return msgspec.Raw(raw)


def _accepted(one: runs.Enqueued) -> Iterator[str]:
    if one.fresh:
        yield f"Accepted as {one.name}, {one.state}."
    else:
        yield f"Its key was accepted before, as {one.name}, {one.state}; nothing was added."


@click.command(help=runs.CANCEL.help)
@click.argument("run")
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@options
def cancel(run: str, reason: str) -> None:
    _change(runs.CANCEL, run, reason, "Asked to stop", "It had ended already")


@click.command(help=runs.PAUSE.help)
@click.argument("run")
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@options
def pause(run: str, reason: str) -> None:
    _change(runs.PAUSE, run, reason, "Paused", "It had ended or was held already")


@click.command(help=runs.RETRY.help)
@click.argument("run")
@options
def retry(run: str) -> None:
    _change(runs.RETRY, run, "", "It tries again", "It has neither failed nor is it held")


@click.command(help="Let a paused run go on, or work on an unfinished night by its number.")
@click.argument("run", metavar="RUN|NIGHT")
@options
def resume(run: str) -> int:
    if run.isdecimal() and len(run) < PART_LEAST:  # too short for a part of a run's name
        return go_on_with(run)
    _change(runs.RESUME, run, "", "It goes on", "It was not paused")
    return 0


def _change(
    operation: Operation[runs.RunInput, runs.Changed], run: str, reason: str, yes: str, no: str
) -> None:
    def lines(one: runs.Changed) -> Iterator[str]:
        yield f"{yes if one.changed else no}: {one.name}, {one.state}."

    tell(ask(operation, runs.RunInput(run=run, reason=reason)), lines)


@click.command(help=runs.EMIT.help)
@click.argument("run")
@click.argument("event")
@click.argument("value", metavar="[JSON]", default="null")
@options
def emit(run: str, event: str, value: str) -> None:
    given = runs.EmitInput(run=run, event=event, value=_json(value))

    def lines(one: runs.Changed) -> Iterator[str]:
        if one.changed:
            yield f"Sent {event}: {one.name}, {one.state}."
        else:
            yield f"It has ended, so it hears nothing more: {one.name}, {one.state}."

    tell(ask(runs.EMIT, given), lines)


@click.command(help=runs.ANSWER.help)
@click.argument("run")
@click.argument("choice")
@click.option("--value", metavar="JSON", help="The answer of a call that did happen.")
@options
def answer(run: str, choice: str, value: str | None) -> None:
    given = runs.AnswerInput(
        run=run, choice=choice, value=_json(value) if value is not None else None
    )

    def lines(one: runs.Changed) -> Iterator[str]:
        if one.changed:
            yield f"Answered with {choice}: {one.name}, {one.state}."
        else:
            yield f"Somebody else answered first: {one.name}, {one.state}."

    tell(ask(runs.ANSWER, given), lines)


@click.command(help="Show budgets, or set the limit of one; without a scope, of the latest night.")
@click.argument("words", nargs=-1, metavar="[SCOPE] [AMOUNT]")
@click.option("--tokens", type=click.IntRange(min=0), help="A limit of tokens.")
@click.option("--reason", default="", help="Why; it is kept with the fact.")
@options
def budget(words: tuple[str, ...], tokens: int | None, reason: str) -> None:
    scope, amount = _scope_and_amount(words)
    if amount or tokens is not None:
        given = money.LimitInput(scope=scope, amount=amount, reason=reason, tokens=tokens)
        tell(ask(money.LIMIT, given), _budgets)
    else:
        tell(ask(money.BUDGET, money.BudgetInput(scope=scope)), _budgets)


def _scope_and_amount(words: tuple[str, ...]) -> tuple[str, str]:
    if len(words) > 2:  # noqa: PLR2004 - a scope and an amount
        message = "give a scope and an amount, one of them, or neither"
        raise click.UsageError(message)
    if len(words) == 2:  # noqa: PLR2004
        return words[0], words[1]
    if not words:
        return "", ""
    return ("", words[0]) if words[0].lstrip("$")[:1].isdigit() else (words[0], "")


def _budgets(found: money.Budgets) -> Iterator[str]:
    if not found.budgets:
        yield "No money was set or spent."
        return
    rows = [("scope", "limit", "spent", "promised", "held", "")]
    for one in found.budgets:
        limit = "none" if one.limit_micro_usd is None else dollars(one.limit_micro_usd)
        spent, promised = dollars(one.spent_micro_usd), dollars(one.reserved_micro_usd)
        rows.append((one.scope, limit, spent, promised, dollars(one.held_micro_usd), _note(one)))
    yield from columns(rows)


def _note(one: money.BudgetLine) -> str:
    said = ["stopped by an overrun"] if one.stopped else []
    if one.limit_tokens is not None:
        said.append(f"{one.used_tokens + one.reserved_tokens} of {one.limit_tokens} tokens")
    if one.strained and not one.stopped:
        said.append("cheaper tiers preferred")
    return ", ".join(said)
