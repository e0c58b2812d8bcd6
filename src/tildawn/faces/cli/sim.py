"""``tildawn sim serve``: the simulated provider on a socket of this machine.

What it is not: the simulator; `tildawn.providers.sim` is.
"""

import asyncio
from pathlib import Path

import click

from tildawn.clock import SystemClock
from tildawn.errors import BadSetting
from tildawn.faces.cli.asked import asked, options


@click.group(help="Serve the simulated provider.")
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
        except OSError as error:
            message = f"{scenario} cannot be read: {error.strerror}"
            raise BadSetting(message) from error
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
