"""A shop outside the process under test: it acts, it remembers, and it kills on order.

What it is not: part of any life that is killed; its memory is the truth about effects.
"""

import json
import os
import signal
import socket
from pathlib import Path


class Shop:
    """Serves one request at a time on loopback; every request is a line of ``log``."""

    def __init__(self, log: Path) -> None:
        """Bind to a free port."""
        self.log = log
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]

    def serve(self) -> None:
        """Serve for ever; run in a process of its own."""
        while True:
            client, _ = self.listener.accept()
            with client:
                try:
                    self._answer(client)
                except (ConnectionError, ValueError):
                    continue

    def _answer(self, client: socket.socket) -> None:
        head, body = _read(client)
        line = head.split("\r\n", 1)[0]
        path = line.split(" ")[1]
        asked = json.loads(body) if body else {}
        key = _header(head, "idempotency-key")
        order = asked.get("order", {})
        when = order.get("when") if order.get("request") == self._number() + 1 else None
        if path.startswith("/find?"):
            self._send(client, json.dumps(self._look(path.partition("?")[2])))
            return
        _kill(asked, when, "before")
        known = path == "/keyed" and key in {row["key"] for row in self.rows() if row["applied"]}
        with self.log.open("a") as out:
            out.write(
                json.dumps(
                    {
                        "route": path,
                        "item": asked["item"],
                        "key": key,
                        "applied": not known,
                    }
                )
                + "\n"
            )
        _kill(asked, when, "applied")
        self._send(client, json.dumps({"made": asked["item"]}))
        _kill(asked, when, "answered")

    def _number(self) -> int:
        return len(self.rows())

    def rows(self) -> list[dict[str, object]]:
        """Every request that had an effect or was recognised."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def _look(self, item: str) -> dict[str, object] | None:
        found = [row for row in self.rows() if row["item"] == item and row["applied"]]
        return {"made": item} if found else None

    def _send(self, client: socket.socket, body: str) -> None:
        client.sendall(
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )


def _kill(asked: dict[str, object], when: object, moment: str) -> None:
    if when == moment:
        os.kill(int(str(asked["pid"])), signal.SIGKILL)


def _read(client: socket.socket) -> tuple[str, str]:
    text = b""
    while b"\r\n\r\n" not in text:
        more = client.recv(65_536)
        if not more:
            raise ConnectionError
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(_header(head.decode(), "content-length") or 0)
    while len(body) < length:
        more = client.recv(65_536)
        if not more:
            raise ConnectionError
        body += more
    return head.decode(), body.decode()


def _header(head: str, name: str) -> str:
    for line in head.split("\r\n")[1:]:
        if line.lower().startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    return ""
