"""A small shop server for the demonstration, as a process of its own.

What it is not: careful.  Like many shops it lets two drafts have one sku; only the
``Idempotency-Key`` keeps it from listing a product twice, and it counts what it was asked
beside what it keeps.

Usage: ``python -m tildawn.apps.night.demo.shop FOLDER``.  The first line on its standard output
is its address.  The file ``orders.json`` in the folder says at which request it accepts a draft
and then never answers (``hang``), and at which it also says so on standard output (``hold``).
"""

import json
import sqlite3
import sys
import threading
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import msgspec


SCHEMA = """
CREATE TABLE IF NOT EXISTS product(
  id INTEGER PRIMARY KEY, sku TEXT NOT NULL, title TEXT, bullets TEXT, photo_bytes INTEGER,
  state TEXT NOT NULL DEFAULT 'draft', key TEXT);
CREATE TABLE IF NOT EXISTS request(n INTEGER PRIMARY KEY, sku TEXT, key TEXT, known INTEGER);
"""

BODY_BYTES_MAX = 32 * 1024 * 1024
"""Longest request; a picture of four megapixels is far below it."""


class Orders(msgspec.Struct, frozen=True):
    """At which requests for a new draft the shop misbehaves, counted from 1; 0 is never."""

    hang: int = 0
    hold: int = 0


class Proof(msgspec.Struct, frozen=True):
    """What the shop keeps, and what it was asked."""

    products: int
    skus: int
    requests: int
    known: int


class Draft(msgspec.Struct, frozen=True):
    """A product as it was sent."""

    sku: str
    title: str
    bullets: str
    photo_bytes: int


class Shelves:
    """The shop's own SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it."""
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript(SCHEMA)

    def put(self, draft: Draft, key: str) -> tuple[int, bool, int]:
        """Keep a draft unless its key is known.

        Returns:
            The number of the product, whether the key was known, and how many requests for new
            drafts there were.
        """
        with self._lock, self._db:
            row = self._db.execute(
                "SELECT id FROM product WHERE key = ? AND key <> ''", (key,)
            ).fetchone()
            known = row is not None
            self._db.execute(
                "INSERT INTO request(sku, key, known) VALUES (?, ?, ?)",
                (draft.sku, key, int(known)),
            )
            if not known:
                self._db.execute(
                    "INSERT INTO product(sku, title, bullets, photo_bytes, key)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (draft.sku, draft.title, draft.bullets, draft.photo_bytes, key),
                )
                row = self._db.execute("SELECT last_insert_rowid()").fetchone()
            new = self._db.execute("SELECT count(*) FROM request WHERE known = 0").fetchone()
        return int(row[0]), known, int(new[0])

    def find(self, sku: str) -> dict[str, object] | None:
        """The first draft of a product, and how many there are."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, title, state, photo_bytes FROM product WHERE sku = ? ORDER BY id",
                (sku,),
            ).fetchall()
        if not rows:
            return None
        number, title, state, photo = rows[0]
        return {
            "id": number,
            "sku": sku,
            "title": title,
            "state": state,
            "photo_bytes": photo,
            "copies": len(rows),
        }

    def proof(self) -> Proof:
        """Count rows and requests."""
        with self._lock:
            products, skus = self._db.execute(
                "SELECT count(*), count(DISTINCT sku) FROM product"
            ).fetchone()
            requests, known = self._db.execute(
                "SELECT count(*), coalesce(sum(known), 0) FROM request"
            ).fetchone()
        return Proof(int(products), int(skus), int(requests), int(known))


class Shop(ThreadingHTTPServer):
    """The server."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        """Bind to a free port of this machine."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.shelves = Shelves(folder / "shop.db")
        orders = folder / "orders.json"
        text = orders.read_bytes() if orders.exists() else b"{}"
        self.orders = msgspec.json.decode(text, type=Orders)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Show one product, or the proof."""
        shop = cast("Shop", self.server)
        if self.path == "/proof":
            self._answer(200, msgspec.to_builtins(shop.shelves.proof()))
            return
        found = shop.shelves.find(unquote(self.path.removeprefix("/products/")))
        self._answer(200 if found else 404, found or {"error": "no such product"})

    def do_POST(self) -> None:
        """Keep a draft; then answer, or misbehave as ordered."""
        shop = cast("Shop", self.server)
        try:
            draft = self._draft()
        except (KeyError, ValueError) as error:
            self._answer(400, {"error": f"no product: {error}"})
            return
        number, known, new = shop.shelves.put(draft, self.headers.get("Idempotency-Key", ""))
        if not known and new in {shop.orders.hang, shop.orders.hold}:
            if new == shop.orders.hold:
                print(json.dumps({"holding": draft.sku}), flush=True)  # noqa: T201 - its voice
            self._never_answer()
            return
        self._answer(200 if known else 201, {"id": number, "sku": draft.sku, "state": "draft"})

    def _draft(self) -> Draft:
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 < length <= BODY_BYTES_MAX:
            message = f"{length} bytes"
            raise ValueError(message)
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        whole = BytesParser(policy=HTTP).parsebytes(head + self.rfile.read(length))
        parts = {_name(part): part for part in whole.iter_parts()}
        photo = parts["photo"].get_payload(decode=True) if "photo" in parts else b""
        return Draft(
            sku=_text(parts["sku"]),
            title=_text(parts["title"]),
            bullets=_text(parts["bullets"]),
            photo_bytes=len(cast("bytes", photo)),
        )

    def _never_answer(self) -> None:
        """Wait until the other side gives up."""
        self.close_connection = True
        while self.connection.recv(4_096):
            pass

    def _answer(self, status: int, value: object) -> None:
        body = msgspec.json.encode(value)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent; the proof says it all."""


def _name(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition"))


def _text(part: Message) -> str:
    return cast("bytes", part.get_payload(decode=True)).decode()


def main() -> None:
    """Serve until the process that started this one is gone or says so.

    Raises:
        OSError: no port of this machine can be had.
    """
    shop = Shop(Path(sys.argv[1]))
    print(json.dumps({"url": f"http://127.0.0.1:{shop.server_address[1]}"}), flush=True)  # noqa: T201
    # The parent holds the other end of our standard input: its end is ours.
    threading.Thread(target=_until_orphaned, args=(shop,), daemon=True).start()
    shop.serve_forever()


def _until_orphaned(shop: Shop) -> None:
    sys.stdin.read()
    shop.shutdown()


if __name__ == "__main__":
    main()
