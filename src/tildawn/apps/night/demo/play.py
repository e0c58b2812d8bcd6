"""Plays the demonstration: a simulated provider, a shop, and a night that is killed in the middle.

What it is not: a simulation of the crash.  The worker dies by a real SIGKILL while a draft is on
its way to the shop, and this process, which never holds the pen, only watches.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from importlib.resources import files
from pathlib import Path
from typing import IO, cast
from urllib.request import urlopen

import msgspec

from tildawn.apps.night.demo.shop import Orders, Proof
from tildawn.errors import Failed
from tildawn.ledger.pen import Holder


STAGE = ("plan.yaml", "products.csv", "build_sitemap.py", "shop_tasks.py", "provider.toml")
"""What the demonstration's folder begins with."""

ORDERS = Orders(hang=3, hold=15)
"""The third draft is accepted and never answered; at the fifteenth the worker is killed."""

SETTINGS = """\
# Settings of the demonstration's house.
[provider]
name = "sim"
base_url = "{url}"
"""

Say = Callable[[str], None]


class Played(msgspec.Struct, frozen=True):
    """How the demonstration ended."""

    folder: str
    code: int
    killed: bool
    proof: Proof

    @property
    def good(self) -> bool:
        """Whether every product is in the shop, and none twice, though the worker was killed."""
        proof = self.proof
        return self.code == 0 and self.killed and proof.products == proof.skus == PRODUCTS


PRODUCTS = 24
"""Rows of the shipped products.csv."""


def play(folder: Path, say: Say, *, environment: dict[str, str] | None = None) -> Played:
    """Play it in a folder.

    Args:
        folder: to be made; everything of the demonstration lies in it.
        say: told each line.
        environment: more variables for the night.

    Returns:
        How it ended.

    Raises:
        FileExistsError: the folder exists.
        Failed: a server did not start.
    """
    folder.mkdir(parents=True)
    stage = files("tildawn.apps.night.demo").joinpath("stage")
    for name in STAGE:
        (folder / name).write_text(stage.joinpath(name).read_text("utf-8"), "utf-8")
    (folder / "orders.json").write_bytes(msgspec.json.encode(ORDERS))
    with _provider(folder) as provider, _shop(folder) as (shop, voice):
        (folder / "tildawn.toml").write_text(SETTINGS.format(url=provider), "utf-8")
        say(f"The simulated provider answers at {provider}, the shop at {shop}.")
        killer = _Killer(folder / ".tildawn" / "pen", voice, say)
        killer.start()
        variables = os.environ | {"SHOP_URL": shop} | (environment or {})
        code = _night(folder, variables, say)
        with urlopen(f"{shop}/proof") as answer:  # noqa: S310 - our own server on loopback
            proof = msgspec.json.decode(answer.read(), type=Proof)
    return Played(str(folder), code, killer.killed, proof)


def _night(folder: Path, variables: dict[str, str], say: Say) -> int:
    with subprocess.Popen(
        [sys.executable, "-m", "tildawn", "night", "plan.yaml"],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as night:
        for line in cast("IO[str]", night.stdout):
            say(f"  {line.rstrip()}")
    return night.returncode


class _Killer(threading.Thread):
    """Waits for the word of the shop, then kills who holds the pen."""

    def __init__(self, pen: Path, voice: IO[str], say: Say) -> None:
        super().__init__(daemon=True)
        self._pen = pen
        self._voice = voice
        self._say = say
        self.killed = False

    def run(self) -> None:
        for line in self._voice:
            held = json.loads(line).get("holding")
            if held is None:
                continue
            holder = msgspec.json.decode(self._pen.read_bytes(), type=Holder)
            os.kill(holder.pid, signal.SIGKILL)
            self.killed = True
            self._say(
                f"The draft of {held} is on its way: kill -9 {holder.pid}, the worker is dead."
            )


@contextlib.contextmanager
def _provider(folder: Path) -> Generator[str]:
    argv = [
        sys.executable,
        "-m",
        "tildawn",
        "sim",
        "serve",
        "--port",
        "0",
        "--json",
        "--scenario",
        str(folder / "provider.toml"),
    ]
    with _served(argv, folder) as server:
        yield _address(server)


@contextlib.contextmanager
def _shop(folder: Path) -> Generator[tuple[str, IO[str]]]:
    argv = [sys.executable, "-m", "tildawn.apps.night.demo.shop", str(folder)]
    with _served(argv, folder) as server:
        yield _address(server), cast("IO[str]", server.stdout)


@contextlib.contextmanager
def _served(argv: list[str], folder: Path) -> Generator[subprocess.Popen[str]]:
    """A server that is ended when we leave."""
    with (folder / "servers.log").open("a") as log:
        server = subprocess.Popen(  # noqa: S603 - our own interpreter, our own modules
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield server
    finally:
        server.terminate()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            cast("IO[str]", pipe).close()


def _address(server: subprocess.Popen[str]) -> str:
    line = cast("IO[str]", server.stdout).readline()
    if not line:
        message = "a server of the demonstration did not start"
        raise Failed(message, hint="look into servers.log in its folder")
    return str(json.loads(line)["url"])


def told(played: Played) -> list[str]:
    """The proof in words, one line each.

    Raises:
        Nothing.
    """
    proof = played.proof
    doubled = proof.products - proof.skus
    repeats = f"of which {proof.known} were repeats that it recognised by their key"
    return [
        f"Products in the file:           {PRODUCTS}",
        f"Products in the shop:           {proof.skus}",
        f"Listed twice:                   {doubled}",
        f"Requests that the shop got:     {proof.requests}, {repeats}",
        f"The worker was killed:          {'yes, by kill -9' if played.killed else 'no'}",
    ]
