"""Tokens: what somebody outside shows to act under a permit.

What it is not: kept.  A token is printed once; the ledger has its SHA-256.  It has 256 random
bits, so a plain digest is enough: nobody finds it by trying.
"""

import base64
import hashlib
import hmac

import msgspec

from tildawn.errors import NotPermitted
from tildawn.guard.authority import chain_of, refusal, refused_fact, unusable
from tildawn.guard.permit import Grant, Wanted, bound, sorted_out
from tildawn.ids import Entropy
from tildawn.ledger.ledger import Ledger
from tildawn.ledger.reader import Reader
from tildawn.projections.permit import PermitUseRow, TokenRow
from tildawn.runtime.operation import AnyOperation, Permission
from tildawn.units import Micros


PREFIX = "tdp_"
"""How every token begins, so that a scanner for secrets knows one."""

BYTES = 32
"""Random bytes of a token. Source: the specification."""

TOKEN_VARIABLE = "TILDAWN_TOKEN"  # noqa: S105  the name of a variable
"""Where the command line looks for a token, so that it need not stand in a list of processes."""


def fresh_token(entropy: Entropy) -> str:
    """A new token.

    Args:
        entropy: gives random bytes that nobody can guess.

    Raises:
        Nothing.
    """
    return PREFIX + base64.urlsafe_b64encode(entropy(BYTES)).decode().rstrip("=")


def token_digest(token: str) -> str:
    """What the ledger keeps of a token: its SHA-256 in hexadecimal.

    Raises:
        Nothing.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def permit_of(reader: Reader, token: str) -> str:
    """The permit that a token names.

    Raises:
        NotPermitted: nobody made such a token here.
    """
    digest = token_digest(token)
    row = reader.get(TokenRow, digest) if token.startswith(PREFIX) else None
    # The look-up went by the digest already; comparing it again in constant time costs nothing
    # and holds whatever a store does with its keys.
    if row is None or not hmac.compare_digest(row.digest, digest):
        message = "no such token was made in this house"
        hint = "tildawn permit mint --token makes one"
        raise NotPermitted(message, hint=hint, reason="unknown")
    return row.permit


def authorize(
    reader: Reader, token: str, operation: AnyOperation, now: Micros, *, route: str = ""
) -> str:
    """Let whoever shows a token ask for an operation.

    Args:
        reader: of the house.
        token: as it was printed.
        operation: of the table.
        now: instant of the wall clock.
        route: for `enqueue` the task as ``task:NAME``, which the permit must allow as well.

    Returns:
        The permit, under which the runs of an `enqueue` go.

    Raises:
        NotPermitted: the token is unknown, or its permit or a parent of it says no; its fields
            say which and why.
    """
    permit = permit_of(reader, token)
    wanted = [Wanted(operation=operation_word(operation))]
    if route:
        wanted.append(Wanted(operation="task", route=route))
    chain = chain_of(reader, permit)
    if not chain:
        raise refusal(permit, wanted[0], "unknown")
    for link in chain:
        use = reader.get(PermitUseRow, link.permit)
        over = unusable(use, now) if use is not None else "unknown"
        for one in wanted:
            # What is asked of the house has no route; only what it is about has one.
            grant = link.grant if one.route else _without_routes(link.grant)
            why = sorted_out(grant, one) or bound(grant, one, now) or over
            if why:
                raise refusal(link.permit, one, why)
    return permit


def _without_routes(grant: Grant) -> Grant:
    return msgspec.structs.replace(grant, routes=())


def operation_word(operation: AnyOperation) -> str:
    """The word by which a permit allows an operation of the table.

    Raises:
        Nothing.
    """
    if operation.permission in {Permission.LOOK, Permission.OWN}:
        return operation.permission.value
    return operation.name


async def put_on_record(ledger: Ledger, error: NotPermitted) -> None:
    """Record that a permit did not allow what was asked of the house.

    A token that names no permit leaves nothing: whoever sends rubbish must not fill the ledger.

    Raises:
        TildawnError: the ledger did not take it.
    """
    said = refused_fact(error)
    if said is not None:
        # A crash before this leaves a refusal that nobody reads of; nothing was done either way.
        await ledger.append([ledger.draft(said)])
