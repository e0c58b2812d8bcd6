"""``tildawn sim``: the simulated provider on a socket of this machine, and nights against it.

What it is not: the simulator, which is `tildawn.providers.sim`, nor the playing of a night.
"""

import asyncio
from pathlib import Path
from typing import Literal

import click

from tildawn.clock import SystemClock
from tildawn.errors import BadSetting
from tildawn.faces.cli.asked import asked, options


Mode = Literal["on", "shadow", "off"]


@click.group(help="Serve the simulated provider, or play a night against it.")
@options
def sim() -> None:
    pass


@sim.command(help="Serve it until you stop it; the same seed gives the same answers.")
@click.option("--host", default="127.0.0.1", help="An address of this machine.")
@click.option("--port", default=8484, help="0 takes a free one.")
@click.option("--seed", default=0, help="What the answers derive from, beside the questions.")
@click.option("--scenario", metavar="FILE", help="Faults on order.")
@click.option("--key", metavar="TEXT", default="sim", help="The key that it asks for.")
@click.option("--no-idempotency", is_flag=True, help="Ignore Idempotency-Key, as some hosts do.")
@options
def serve(
    host: str, port: int, seed: int, scenario: str | None, key: str, no_idempotency: bool
) -> None:
    from tildawn.providers.sim.model import SimModel  # noqa: PLC0415 - heavy
    from tildawn.providers.sim.scenario import Scenario, parse  # noqa: PLC0415
    from tildawn.providers.sim.server import serve as serve_model  # noqa: PLC0415

    faults = Scenario()
    if scenario is not None:
        try:
            faults = parse(Path(scenario).read_text(encoding="utf-8"), name=scenario)
        except (OSError, UnicodeDecodeError) as error:
            message = f"{scenario} cannot be read: {error}"
            raise BadSetting(message, hint="make it readable, as UTF-8") from error
    model = SimModel(seed=seed, scenario=faults, key=key, idempotency=not no_idempotency)
    ready = _ready_json if asked().json else _ready
    try:
        asyncio.run(
            serve_model(clock=SystemClock(), host=host, port=port, model=model, on_ready=ready)
        )
    except OSError as error:
        message = f"port {port} of {host} cannot be opened: {error.strerror}"
        raise BadSetting(message, hint="--port 0 takes a free one") from error


def _ready(url: str) -> None:
    click.echo(f"The simulator answers at {url}/v1; stop it with Ctrl-C.")


def _ready_json(url: str) -> None:
    click.echo(f'{{"url":"{url}/v1"}}')


@sim.command(help="Play a night in virtual time, and say what each policy made of it.")
@click.argument("scenario", required=False)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["on", "shadow", "off"]),
    help="Only this one; give it again for more. All three when absent.",
)
@click.option("--seed", default=0, help="The same one gives the same night.")
@click.option("--turns", is_flag=True, help="Also say when which route changed its state, and why.")
@options
def replay(scenario: str | None, modes: tuple[Mode, ...], seed: int, turns: bool) -> None:
    from tildawn.faces.cli.replay import listed, played  # noqa: PLC0415 - heavy

    if scenario is None:
        listed()
    else:
        played(scenario, modes=modes, seed=seed, turns=turns)
