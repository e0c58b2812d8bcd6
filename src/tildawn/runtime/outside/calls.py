"""From a prepared call to the door and back to the engine.

What it is not: policy.  It joins two strangers: the engine's ticket and the guard's request.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tildawn.engine import port
from tildawn.errors import UnknownName
from tildawn.guard import request as door
from tildawn.guard.call import Door
from tildawn.guard.ladder import EVERYBODY
from tildawn.guard.policy import Class
from tildawn.guard.retry import RULES, RetryPolicy
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.outside.call import CallDef
from tildawn.runtime.outside.kind import CallOptions, Prepare, Prepared
from tildawn.runtime.outside.local import file, shell
from tildawn.runtime.outside.model import chat, image, sealed_free
from tildawn.runtime.outside.web import http
from tildawn.runtime.outside.world import World
from tildawn.runtime.policies import Policies
from tildawn.units import Micros, MicroUsd


KINDS: Mapping[str, Prepare] = {
    "chat": chat,
    "image": image,
    "http": http,
    "shell": shell,
    "file": file,
}
"""The kinds of calls that plans and tasks may name."""


CLASSES: Mapping[str, Class] = {
    "chat": "chat",
    "image": "image",
    "http": "http",
    "shell": "local",
    "file": "local",
}
"""What kind of calls each is to the guard."""

SIGNS = frozenset({"chat", "image", "embedding"})
"""Kinds whose other side can be asked for a sign of life, free of charge."""


TRIES = max(rule.tries for rule in RULES.values())
"""The most tries of one call, where its step says nothing."""


class Asked(msgspec.Struct, frozen=True):
    """A call as the engine needs it: its request for the digest, and how to make it."""

    request: bytes
    prepared: Prepared
    perform: port.Perform


class Calls:
    """Makes calls of a world through a door."""

    def __init__(self, world: World, door: Door, *, policies: Policies | None = None) -> None:
        """Join them.

        Args:
            world: what calls are made with.
            door: what they pass.
            policies: the numbers of each route.
        """
        self.world = world
        self._policies = policies or Policies({})
        self._door = door
        self._ledger: Ledger = world.ledger

    def of_kind(
        self,
        name: str,
        kind: str,
        fields: dict[str, object],
        options: CallOptions,
        *,
        simulated: bool,
    ) -> Asked:
        """A call of a registered kind.

        Raises:
            UnknownName: there is no such kind.
            Misused: it needs a provider and there is none.
        """
        if kind not in KINDS:
            message = f"no kind of call is called {kind!r}"
            raise UnknownName(message, hint=f"one of {', '.join(KINDS)}")
        prepared = KINDS[kind](self.world, fields, options, simulated=simulated)
        request = sealed_free({"kind": kind, **fields})
        return self._asked(name, request, prepared, options, kind=CLASSES[kind])

    def declared(
        self,
        definition: CallDef[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        simulated: bool,
    ) -> Asked:
        """A call that a user declared.

        Raises:
            BadValue: an argument has no JSON form.
        """
        request = definition.arguments.encode(args, kwargs)
        prepared = definition.prepare(self.world, args, kwargs, simulated=simulated)
        lookup = definition.looking(self.world, args, kwargs, simulated=simulated)
        return self._asked(definition.name, request, prepared, definition.options, lookup)

    def _asked(
        self,
        name: str,
        request: bytes,
        prepared: Prepared,
        options: CallOptions,
        lookup: door.Lookup | None = None,
        *,
        kind: Class = "http",
    ) -> Asked:
        digest = self._ledger.keyed(request)
        timeout, deadline = self._limits(prepared.route, kind, options.timeout)

        async def perform(ticket: port.Ticket, final: port.Final) -> port.Verdict:
            asked = door.CallRequest(
                run=ticket.run,
                path=ticket.path,
                run_attempt=ticket.attempt,
                fence=ticket.fence,
                name=name,
                route=prepared.route,
                repeat=options.repeat,
                args_digest=digest,
                body_digest=digest,
                perform=prepared.perform,
                lookup=lookup,
                validate=prepared.validate,
                timeout=timeout,
                deadline=deadline,
                retry=_retry(options.retry),
                reserve=prepared.reserve,
                reserve_tokens=prepared.reserve_tokens,
                worst=prepared.worst,
                most=_most(options),
                budgets=ticket.budgets,
                model=prepared.model,
                simulated=ticket.simulated,
                what=prepared.what,
                about=prepared.about,
                remotes=prepared.remotes,
                locals=prepared.locals,
                patience=options.patience,
                kind=kind,
                sign=kind in SIGNS,
                permit=ticket.permit,
                operation=prepared.operation,
                resource=prepared.resource,
            )
            return _verdict(await self._door.call(asked, final), prepared.route)

        return Asked(request, prepared, perform)

    def _limits(
        self, route: str, kind: Class, asked: Micros | None
    ) -> tuple[Micros | None, Micros]:
        """The limit of an attempt, and of the call with all its attempts.

        The settings of a route cap what a call asks for.  Without them a call that asks for a
        long attempt gets the time for it.
        """
        deadline = self._policies.of(route, kind).deadline
        cap = self._policies.timeout(route)
        if cap is not None:
            return cap if asked is None else min(asked, cap), deadline
        return asked, Micros(max(deadline, 2 * (asked or 0)))


def _most(options: CallOptions) -> MicroUsd | None:
    """What all attempts of a call may cost together, where the step limits one.

    Without it a call that is sent again after every crash is bought for ever.
    """
    if options.max_cost is None:
        return None
    return MicroUsd(options.max_cost * (options.retry or TRIES))


def _retry(tries: int | None) -> RetryPolicy | None:
    if tries is None:
        return None
    rules = {kind: msgspec.structs.replace(rule, tries=tries) for kind, rule in RULES.items()}
    return RetryPolicy(rules=rules)


def _verdict(said: door.Verdict, route: str) -> port.Verdict:
    match said:
        case door.Ended():
            return port.Ended()
        case door.Later(due=due, why=why):
            # A call that was never sent has no row: only this says which route it waits for.
            return port.Later(due, f"{why} {route}", shared=why in EVERYBODY)
        case door.Hold(why=why, detail=detail, choices=choices):
            return port.Hold(why, detail, choices)
        case door.Stale():
            return port.Stale()
