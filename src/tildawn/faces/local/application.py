"""The operations over HTTP, as an ASGI application.

What it is not: the socket, nor a decision.  It decodes, calls, and says what came of it.
"""

import logging
import os

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tildawn.errors import TildawnError, UnknownName
from tildawn.faces.catalog import BY_NAME
from tildawn.runtime.holder import PROTOCOL, Greeting
from tildawn.runtime.operation import Desk, perform, refusal_of
from tildawn.runtime.version import BUILD


BODY_MOST = 16 * 1024 * 1024
"""Longest input of an operation, in bytes."""

#: HTTP's words for exit codes; the body says the rest.
_STATUS = {2: 400, 3: 403, 4: 500, 75: 503}

_log = logging.getLogger(__name__)


def application(desk: Desk) -> Starlette:
    """The application that serves the operations of one house.

    Args:
        desk: what the operations use; its house is open to write.

    Raises:
        Nothing.
    """
    parent = os.getppid()

    async def hello(_: Request) -> Response:
        ledger = desk.house.ledger
        said = Greeting(
            protocol=PROTOCOL,
            build=BUILD,
            house=ledger.name,
            epoch=ledger.epoch,
            pid=os.getpid(),
            orphan=os.getppid() != parent,
        )
        return _json(msgspec.json.encode(said))

    async def operate(request: Request) -> Response:
        try:
            operation = BY_NAME.get(request.path_params["name"])
            if operation is None:
                message = f"no operation is called {request.path_params['name']}"
                raise UnknownName(message)  # noqa: TRY301 - answered like any refusal
            return _json(await perform(operation, desk, await request.body()))
        except TildawnError as error:
            said = refusal_of(error)
            # A message may quote what the holder alone knows to be a secret.
            text = desk.house.ledger.secrets.without(msgspec.json.encode(said).decode())
            return _json(text.encode(), status=_STATUS.get(said.exit_code, 409))
        # The outermost frame of a request: one bad request must not end a night.
        except Exception:  # noqa: BLE001 - logged with its trace, and answered
            _log.exception("operation %s failed", request.path_params["name"])
            fault = TildawnError("the holder of the house stumbled; its log says over what")
            return _json(msgspec.json.encode(refusal_of(fault)), status=500)

    return Starlette(
        routes=[
            Route("/hello", hello, methods=["GET"]),
            Route("/operations/{name}", operate, methods=["POST"]),
        ]
    )


def _json(body: bytes, *, status: int = 200) -> Response:
    return Response(body, status_code=status, media_type="application/json")
