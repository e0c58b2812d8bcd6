"""Whether the guard of a route acts, only says what it would do, or rests.

What it is not: the acting.  Deadline, money and the check of answers hold in every mode.
"""

from collections.abc import Mapping

from tildawn.errors import BadSetting
from tildawn.guard.policy import PRESETS, Mode, RoutePolicy
from tildawn.projections.route import WordRow
from tildawn.units import Micros


TRIALS = 50
"""Attempts for which a policy that a user wrote is only watched.  Source: the specification."""

WORDS: Mapping[str, Mode] = {
    "on": "on", "true": "on", "1": "on", "yes": "on",
    "off": "off", "false": "off", "0": "off", "no": "off",
    "shadow": "shadow",
}  # fmt: skip
"""What may be written for a mode, in small letters."""


MODE_VARIABLE = "GEN_BREAKER_ENABLED"
"""The variable of the environment that says the mode of all routes."""


def parse(text: str) -> Mode:
    """The mode that somebody wrote.

    Args:
        text: one of `WORDS`, in letters of any size.

    Returns:
        The mode.

    Raises:
        BadSetting: it is another word.  A typing error must not switch anything on or off.
    """
    mode = WORDS.get(text.strip().lower())
    if mode is None:
        message = f"{text!r} is no mode of the guard"
        hint = "write on (or true, 1, yes), off (or false, 0, no) or shadow"
        raise BadSetting(message, hint=hint, allowed=tuple(WORDS))
    return mode


def effective(  # noqa: PLR0913 - a mode has so many sources, and all are named
    *,
    environment: Mode | None,
    word: WordRow | None,
    everywhere: WordRow | None,
    policy: RoutePolicy,
    trials: int,
    adopted: str,
    promoted: str,
    now: Micros,
) -> Mode:
    """The mode that holds for a route.

    In this order: ``off`` of the environment; what the owner said about the route, then about
    all routes, until it expires; the policy, which follows the environment where it has the mode
    of its preset and nobody wrote it.  A policy that a user wrote and that would act is watched
    first, for `TRIALS` attempts or until it is promoted; the owner's own word does not wait for
    that.

    Args:
        environment: what the environment says, None where it is silent.
        word: what the owner said about this route.
        everywhere: what the owner said about all of them.
        policy: the numbers of the route.
        trials: attempts since its numbers were adopted.
        adopted: digest of the numbers to which ``trials`` belong.
        promoted: digest of the numbers that the owner lets act.
        now: the instant by the wall clock.

    Returns:
        The mode.

    Raises:
        Nothing.
    """
    if environment == "off":
        return "off"
    said = _said(word, now) or _said(everywhere, now)
    if said is not None:
        return said
    mode = _own(policy, environment)
    if mode == "on" and policy.custom and not _tried(policy, trials, adopted, promoted):
        return "shadow"
    return mode


def _said(row: WordRow | None, now: Micros) -> Mode | None:
    """What a row says at an instant; None where it is silent, has expired, or is not a mode."""
    if row is None or now >= row.mode_until:
        return None
    return WORDS.get(row.mode)


def _own(policy: RoutePolicy, environment: Mode | None) -> Mode:
    """The mode of the policy.  One that rests by its preset is not switched on by the way."""
    preset = PRESETS[policy.kind].mode
    follows = not policy.mode_said and policy.mode == preset != "off"
    return environment if environment is not None and follows else policy.mode


def _tried(policy: RoutePolicy, trials: int, adopted: str, promoted: str) -> bool:
    digest = policy.digest
    return promoted == digest or (adopted == digest and trials >= TRIALS)
