"""A holder that is stopped by SIGSTOP, for longer than its calls may take, and goes on.

What it is not: a crash; the process lives, so its lock holds and nobody else may write.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from tildawn.clock import SystemClock
from tildawn.errors import HouseLocked
from tildawn.ids import Ids
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.verify import verify
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY


class Shop(ThreadingHTTPServer):
    """Takes every order, and leaves the first one without an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Till)
        self.keys: list[str] = []
        self.came = threading.Event()
        self.never = threading.Event()


class Till(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        """Note the key; answer all but the first."""
        shop = cast("Shop", self.server)
        self.rfile.read(int(self.headers.get("content-length", 0)))
        shop.keys.append(self.headers.get("idempotency-key", ""))
        if len(shop.keys) == 1:
            shop.came.set()
            shop.never.wait(60)
            return
        body = json.dumps({"made": "a lamp"}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Silent."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop on loopback, closed behind the test."""
    made = Shop()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.never.set()
    made.shutdown()
    thread.join()
    made.server_close()


def opened(folder: Path, **options: Any) -> Ledger:
    """The house, opened by this process."""
    clock = SystemClock()
    return Ledger.open(
        folder, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
        build="test", **options,
    )  # fmt: skip


def test_a_stopped_holder_keeps_its_house_and_ends_its_night_right(
    tmp_path: Path, shop: Shop
) -> None:
    """A laptop that is closed and opened again: nobody broke in, and nothing was bought twice."""
    folder = tmp_path / "house"
    script = Path(__file__).with_name("holder.py")
    url = f"http://127.0.0.1:{shop.server_port}/orders"
    child = subprocess.Popen([sys.executable, str(script), str(folder), url])
    try:
        assert shop.came.wait(30)
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        for _ in range(10):  # for longer than an attempt may take
            with pytest.raises(HouseLocked):
                opened(folder)
            assert not shop.never.wait(0.08)
        os.kill(child.pid, signal.SIGCONT)
        assert 0 == child.wait(40)
    finally:
        child.kill()
        child.wait()

    assert 2 == len(shop.keys)
    assert 1 == len(set(shop.keys))
    assert shop.keys[0], "the second try had another key, or none"
    with opened(folder, mode="read") as ledger, ledger.read() as reader:
        facts = [fact for _, fact in reader.facts()]
    kinds = [fact.kind for fact in facts]
    assert 2 == kinds.count("CallDispatched")
    faults = [fact.data.fault for fact in facts if fact.kind == "CallSettled"]  # pyright: ignore[reportAttributeAccessIssue]  a CallSettled has one
    assert ["timeout", ""] == faults, "the overdue attempt is on record as what it was"
    assert "RunDone" in kinds
    assert "PenLaid" == kinds[-1]
    assert verify(folder, registry=REGISTRY, projections=PROJECTIONS).exit_code == 0
    assert not (folder / "stacks.txt").exists(), "the watchdog took a stopped process for a hang"
