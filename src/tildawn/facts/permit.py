"""Facts about permits: what a run or a holder of a token may do, within limits.

What it is not: judgement; `tildawn.guard.permit` says what a permit allows.  The use of a permit
is `CallDispatched` itself, which names it.  Addresses and purposes are the user's, so they are
payloads; a permit whose addresses were erased allows nothing that has an address.
"""

from tildawn.facts.fact import FactData


CALLS = (
    "chat", "image", "embed", "call", "shell",
    "http:GET", "http:HEAD", "http:POST", "http:PUT", "http:PATCH", "http:DELETE",
    "file:read", "file:write", "file:append", "file:delete",
)  # fmt: skip
"""What runs do to the outside; ``call`` is a call that Python code declares with ``@call``."""

ASKED = (
    "look", "enqueue", "cancel", "pause", "resume", "retry", "emit", "answer",
    "dead.acknowledge", "own", "task",
)  # fmt: skip
"""What whoever holds a token asks of the house.

``look`` is every operation that only looks, ``own`` every one that is its owner's; the others are
operations by name.  ``task`` is to enqueue a Python task, on the route ``task:NAME``.
"""

OPERATIONS = frozenset((*CALLS, *ASKED))
"""All that a permit can allow; any other word is refused."""

GROUPS: dict[str, tuple[str, ...]] = {
    "http": tuple(one for one in CALLS if one.startswith("http:")),
    "file": tuple(one for one in CALLS if one.startswith("file:")),
    "read": ("http:GET", "http:HEAD", "file:read"),
    "model": ("chat", "image", "embed"),
    "work": ("enqueue", "task", "cancel", "pause", "resume", "retry", "emit"),
    "settle": ("answer", "dead.acknowledge"),
}
"""Words for several operations, for people to write; a permit on record holds them one by one."""


class PermitMinted(FactData, frozen=True):
    """A permit was made.  Nothing of it is ever changed; it can be revoked.

    A child allows no more than its parent, and what it uses is counted for both.  Empty
    ``routes`` or ``resources`` are no limit of that sort, a limit of -1 is none.
    """

    permit: str
    parent: str = ""
    operations: tuple[str, ...] = ()
    #: Globs of routes; ``*`` stops at a slash, ``**`` does not.
    routes: tuple[str, ...] = ()
    #: Digest of a JSON list of globs of addresses: of URLs, of files, of programs.
    resources: str = ""
    #: The one run that may use it, and the one attempt of that run, 0 for any.
    run: str = ""
    attempt: int = 0
    #: The night and the item whose runs it was made for, and whether for their ``work`` or
    #: their ``checks``.
    night: str = ""
    item: str = ""
    part: str = ""
    #: Instant of the wall clock, 0 for never.
    expires_at: int = 0
    #: Attempts of calls, each counted as it leaves.
    max_calls: int = -1
    max_cost_micro_usd: int = -1
    purpose: str = ""

    PAYLOADS = ("resources", "purpose")


class PermitRefused(FactData, frozen=True):
    """A permit did not allow what was wanted of it; nothing was done.

    ``operation`` is one of `OPERATIONS`, or ``mint`` for a child wider than its parent.
    ``why`` is operation, route, resource, run, attempt, expired, revoked, calls, cost, unknown,
    erased or wider.
    """

    permit: str
    operation: str
    why: str
    route: str = ""


class PermitRevoked(FactData, frozen=True):
    """A permit allows nothing any more, and neither does any of its children."""

    permit: str
    reason: str = ""

    PAYLOADS = ("reason",)


class TokenMinted(FactData, frozen=True):
    """Whoever shows the token with this SHA-256 acts under a permit; the token is nowhere kept."""

    digest: str
    permit: str


KINDS: tuple[type[FactData], ...] = (PermitMinted, PermitRefused, PermitRevoked, TokenMinted)
