"""The protocol of a witness over HTTP, as an ASGI application.

What it is not: the judgement, which is `tildawn.ledger.witness`.

Source: C2SP tlog-witness 1.0.0: ``POST /add-checkpoint`` and ``GET /SHA256-OF-ORIGIN/checkpoint``.
"""

import asyncio
import logging
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tildawn.errors import LedgerBroken
from tildawn.ledger.witness import SUBMISSION_BYTES_MAX, Answer, Witness


BODY_SECONDS = 10.0
"""How long a submission may take to arrive."""

_log = logging.getLogger(__name__)


def application(witness: Witness) -> Starlette:
    """The application of one witness.

    Raises:
        Nothing.
    """

    async def add(request: Request) -> Response:
        body = await _received(request)
        if isinstance(body, Answer):
            return _said(body)
        try:
            return _said(await asyncio.to_thread(witness.add, body))
        except (LedgerBroken, OSError) as error:
            return _failed(error)

    async def newest(request: Request) -> Response:
        try:
            found = await asyncio.to_thread(witness.newest, request.path_params["digest"])
        except (LedgerBroken, OSError) as error:
            return _failed(error)
        if found is None:
            return _said(Answer(HTTPStatus.NOT_FOUND, "nothing of this log was cosigned here\n"))
        return _said(Answer(HTTPStatus.OK, found))

    return Starlette(
        routes=[
            Route("/add-checkpoint", add, methods=["POST"]),
            Route("/{digest:str}/checkpoint", newest, methods=["GET"]),
        ]
    )


async def _received(request: Request) -> bytes | Answer:
    """The body, or why it is none; no more than the longest submission is ever kept."""
    got = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                got += piece
                if len(got) > SUBMISSION_BYTES_MAX:
                    return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long\n")
    except TimeoutError:
        return Answer(HTTPStatus.REQUEST_TIMEOUT, "too slow\n")
    except ClientDisconnect:
        return Answer(HTTPStatus.BAD_REQUEST, "gone\n")
    return bytes(got)


def _said(answer: Answer) -> Response:
    # Starlette adds a charset to every text; the type of a size is to be that type alone.
    headers = {"content-type": answer.media_type}
    return Response(answer.text, status_code=answer.status, headers=headers)


def _failed(error: Exception) -> Response:
    _log.error("nothing was cosigned: %s", error)
    answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "this witness cannot cosign now\n")
    return _said(answer)
