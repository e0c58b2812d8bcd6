"""Why a call outside ended without an answer, as one typed error.

What it is not: a judgement about trying again.  A fault says what happened and whether the
request may have arrived; the rules about retries read `Fault.kind` and live elsewhere.
"""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

from tildawn.errors import Effect
from tildawn.ledger.secret import redact
from tildawn.units import SECOND, Micros, MicroUsd


DETAIL_CHARS = 500
"""The longest detail of a fault; enough for a provider's sentence, too short for a document."""

WAIT_MOST = Micros(7 * 24 * 3_600 * SECOND)
"""The longest wait that another side may ask for; more is believed to be this."""

SUCCESS, REDIRECTS = range(200, 300), range(300, 400)
CLIENT_ERRORS, SERVER_ERRORS = range(400, 500), range(500, 600)


class FaultKind(StrEnum):
    """The classes of failure; each has its own rule for trying again."""

    TIMEOUT = "timeout"
    RATE = "rate"
    NETWORK = "network"
    SERVER = "server"
    INVALID_ANSWER = "invalid_answer"
    NOT_FOUND = "not_found"
    AUTH = "auth"
    QUOTA = "quota"
    REFUSED_CONTENT = "refused_content"
    BAD_REQUEST = "bad_request"
    #: The other side could not prove who it is, or speaks no TLS: a person has to look at it.
    TLS = "tls"
    #: More bytes than we take; asking again would bring them again.
    TOO_LARGE = "too_large"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Fault(Exception):
    """A call outside ended without an answer that can be used."""

    def __init__(
        self,
        kind: FaultKind,
        detail: str,
        *,
        sent: bool,
        status: int | None = None,
        retry_after: Micros | None = None,
        cost: MicroUsd | None = None,
    ) -> None:
        """Make the fault.

        Args:
            kind: its class.
            detail: what happened; redacted and cut to `DETAIL_CHARS` characters.
            sent: whether the request may have reached the other side.
            status: the HTTP status or exit code of the other side, if it gave one.
            retry_after: how long the other side asks us to wait, in microseconds, >= 0.
            cost: what the other side says it charged although the answer is unusable.

        Raises:
            Nothing.
        """
        self.kind = kind
        self.detail = redact(detail)[:DETAIL_CHARS]
        self.sent = sent
        self.status = status
        self.retry_after = retry_after
        self.cost = cost
        super().__init__(f"{kind}: {self.detail}")

    @property
    def effect(self) -> Effect:
        """What happened in the world: none if unsent or refused with a 4xx, else unknown.

        408 and 409 stay unknown: the first says that the other side lost patience with us, the
        second may speak about an earlier try of the same request that is still at work.

        Raises:
            Nothing.
        """
        if not self.sent:
            return Effect.NONE
        refused = self.status in CLIENT_ERRORS and self.status not in {408, 409}
        return Effect.NONE if refused else Effect.UNKNOWN


def kind_of_status(status: int, body: str) -> FaultKind:
    """The class of an HTTP answer that is no success.

    Args:
        status: the status, outside 200-299.
        body: the beginning of the body, which tells a spent quota from a rate limit and a refusal
            of content from a malformed request.

    Returns:
        The class; `FaultKind.UNKNOWN` for a status that HTTP does not define.

    Raises:
        Nothing.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _kind_of_429(body)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status in SERVER_ERRORS:
        return FaultKind.SERVER
    if status in CLIENT_ERRORS:
        return FaultKind.REFUSED_CONTENT if _CONTENT.search(body) else FaultKind.BAD_REQUEST
    if status in REDIRECTS:
        return FaultKind.BAD_REQUEST
    return FaultKind.UNKNOWN


def retry_after(*, seconds_or_date: str | None, millis: str | None, now: Micros) -> Micros | None:
    """How long to wait, from the three spellings in use.

    Args:
        seconds_or_date: the header ``Retry-After``: seconds (decimals allowed) or an HTTP date.
        millis: the header ``retry-after-ms``, which wins as it is the finer one.
        now: the instant now, for dates.

    Returns:
        Microseconds from 0 to `WAIT_MOST`, or None if neither header can be read: a refusal
        stays what it is, and says nothing about when to come again.

    Raises:
        Nothing.
    """
    if millis is not None and _NUMBER.fullmatch(millis.strip()):
        return _believed(float(millis) * 1_000)
    if seconds_or_date is None:
        return None
    text = seconds_or_date.strip()
    if _NUMBER.fullmatch(text):
        return _believed(float(text) * 1_000_000)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:  # "-0000" in the old style: a UTC time without a zone
            when = when.replace(tzinfo=UTC)
        return _believed(int(when.timestamp()) * 1_000_000 - now)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None  # the reader of dates has ways of its own to stumble


def _believed(wait: float) -> Micros:
    return Micros(round(min(max(wait, 0), WAIT_MOST)))


def _kind_of_429(body: str) -> FaultKind:
    # A quota "per minute" comes back by itself, so it is a rate; a spent one needs a person.
    if _SPENT.search(body):
        return FaultKind.QUOTA
    if _PER_TIME.search(body):
        return FaultKind.RATE
    return FaultKind.QUOTA if _QUOTA.search(body) else FaultKind.RATE


_BY_STATUS = {
    401: FaultKind.AUTH,
    402: FaultKind.QUOTA,
    403: FaultKind.AUTH,
    404: FaultKind.NOT_FOUND,
    408: FaultKind.TIMEOUT,
    410: FaultKind.NOT_FOUND,
    451: FaultKind.REFUSED_CONTENT,
    504: FaultKind.TIMEOUT,
}

_SPENT = re.compile(
    r"insufficient[_ ]quota|billing[_ ]hard[_ ]limit|used all available credits", re.IGNORECASE
)

_PER_TIME = re.compile(r"per[ _]?(?:second|minute)|rate[_ ]limit", re.IGNORECASE)

_QUOTA = re.compile(r"quota", re.IGNORECASE)

_CONTENT = re.compile(
    r"content[_ ]policy|content[_ ]filter|moderation[_ ]blocked|safety[_ ]system", re.IGNORECASE
)

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
