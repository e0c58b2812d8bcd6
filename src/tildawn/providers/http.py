"""Calls to web servers: one request, one bounded answer.

What it is not: a browser.  No redirects, no cookies, no retries, no time limit of its own;
cancelling the call closes its socket.
"""

import hashlib
from typing import Literal
from urllib.parse import urlencode

import msgspec

from tildawn.providers.fault import Fault, FaultKind
from tildawn.providers.port import Wire
from tildawn.providers.wire import Outgoing, Wires


ANSWER_BYTES = 8 * 1024 * 1024
"""The longest answer accepted unless the caller says otherwise."""


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a multipart request."""

    name: str
    filename: str
    data: bytes
    media_type: str = "application/octet-stream"


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a web server.

    ``json`` is JSON text.  With ``files`` the body is multipart/form-data: the JSON document
    first, as one part named ``json``, then the files; ``fields`` are plain parts between them.
    Without files, ``fields`` make a form.  ``any_status`` returns refusals as answers, for checks
    that expect one.  ``secrets`` are values that must not show up in a fault.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    json: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[FilePart, ...] = ()
    body: bytes | None = None
    any_status: bool = False
    limit: int = ANSWER_BYTES
    secrets: tuple[str, ...] = ()


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, or None.

        Raises:
            Nothing.
        """
        return next((value for key, value in self.headers if key == name.lower()), None)

    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 become replacement characters.

        Raises:
            Nothing.
        """
        return self.body.decode("utf-8", "replace")

    def json(self) -> str | None:
        """The body as JSON text if it is JSON, else None.

        Raises:
            Nothing.
        """
        try:
            msgspec.json.decode(self.body)
            return self.body.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return None


async def send(
    request: HttpRequest, *, wires: Wires, idempotency_key: str, wire: Wire | None = None
) -> HttpAnswer:
    """Send a request.

    Args:
        request: the request; its own ``Idempotency-Key`` header, if any, wins.
        wires: the pools of connections.
        idempotency_key: sent as the header ``Idempotency-Key``.
        wire: told when the request starts to leave.

    Returns:
        The answer, with a 2xx status unless ``request.any_status``.

    Raises:
        Fault: no answer, too long an answer, or one that is no success.
    """
    content_type, body = _body(request)
    given = {name.lower() for name, _ in request.headers}
    headers = list(request.headers)
    own = (("idempotency-key", idempotency_key), ("content-type", content_type))
    headers += [(name, value) for name, value in own if value and name not in given]
    out = Outgoing(
        method=request.method,
        url=request.url,
        headers=tuple(headers),
        body=body,
        secrets=request.secrets,
    )
    got = await wires.exchange(out, limit=request.limit, wire=wire, any_status=request.any_status)
    return HttpAnswer(status=got.status, headers=got.headers, body=got.body)


def _body(request: HttpRequest) -> tuple[str, bytes | None]:
    if request.body is not None:
        return "application/octet-stream", request.body
    if request.files:
        return _multipart(request)
    if request.fields and request.json is not None:
        detail = "json and fields together need files, or one of them has to go"
        raise Fault(FaultKind.BAD_REQUEST, detail, sent=False)
    if request.fields:
        return "application/x-www-form-urlencoded", urlencode(request.fields).encode()
    if request.json is not None:
        return "application/json", request.json.encode()
    return "", None


def _multipart(request: HttpRequest) -> tuple[str, bytes]:
    """The same request always makes the same bytes, so that its digest says it is the same.

    Source: RFC 7578; escapes of names as in WHATWG HTML, "multipart/form-data encoding".
    """
    parts = list[tuple[str, bytes]]()
    if request.json is not None:
        parts.append((_disposition("json", None, "application/json"), request.json.encode()))
    parts += [(_disposition(name, None, ""), value.encode()) for name, value in request.fields]
    parts += [
        (_disposition(part.name, part.filename, part.media_type), part.data)
        for part in request.files
    ]
    whole = hashlib.sha256(b"".join(head.encode() + data for head, data in parts))
    boundary = f"tildawn-{whole.hexdigest()}"
    body = b"".join(
        f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def _disposition(name: str, filename: str | None, media_type: str) -> str:
    line = f'Content-Disposition: form-data; name="{_escaped(name)}"'
    if filename is not None:
        line += f'; filename="{_escaped(filename)}"'
    kind = "".join(char for char in media_type if char.isprintable())
    return f"{line}\r\nContent-Type: {kind}" if kind else line


def _escaped(text: str) -> str:
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
