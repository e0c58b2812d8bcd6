"""Whether a guard acts: who is asked, in which order, and what a typing error does.

What it is not: what the modes do.
"""

import msgspec
import pytest

from tildawn.errors import BadSetting
from tildawn.guard.mode import TRIALS, effective, parse
from tildawn.guard.policy import PRESETS, Mode, RoutePolicy
from tildawn.projections.route import WordRow
from tildawn.units import SECOND, Micros


NOON = Micros(1_771_070_400 * SECOND)
IMAGE, LOCAL = PRESETS["image"], PRESETS["local"]
OWN = msgspec.structs.replace(IMAGE, custom=True, concurrency=3)


def word(mode: str, *, until: int = NOON + SECOND, route: str = "shop:create") -> WordRow:
    return WordRow(
        route=route, mode=mode, mode_until=until, forced="", forced_until=0, watch_at=0,
        review_at=0, promoted_at=0, mode_seq=1, forced_seq=-1,
    )  # fmt: skip


def mode(
    policy: RoutePolicy = IMAGE,
    *,
    environment: Mode | None = None,
    said: WordRow | None = None,
    everywhere: WordRow | None = None,
    tried: tuple[int, str, str] = (0, "", ""),
) -> Mode:
    trials, adopted, promoted = tried
    return effective(
        environment=environment,
        word=said,
        everywhere=everywhere,
        policy=policy,
        trials=trials,
        adopted=adopted,
        promoted=promoted,
        now=NOON,
    )


# -- words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("on", "on"), ("true", "on"), ("1", "on"), ("yes", "on"), (" ON\n", "on"),
        ("off", "off"), ("false", "off"), ("0", "off"), ("no", "off"), ("False", "off"),
        ("shadow", "shadow"), ("Shadow", "shadow"),
    ],
)  # fmt: skip
def test_the_usual_words_are_understood(text, means) -> None:
    """They are what people write into an environment."""
    assert means == parse(text)


@pytest.mark.parametrize("text", ["", "onn", "enabled", "2", "none", "on off"])
def test_another_word_is_refused_and_the_allowed_ones_are_named(text) -> None:
    """A typing error must not silently switch the guard on, nor off."""
    with pytest.raises(BadSetting) as refused:
        parse(text)

    assert repr(text) in refused.value.message
    for allowed in ("on", "off", "shadow", "true", "false"):
        assert allowed in str(refused.value.hint)


# -- order ---------------------------------------------------------------------------------


def test_a_preset_is_on_from_the_start() -> None:
    """Its numbers are the ones that were measured."""
    assert mode() == "on"


def test_off_of_the_environment_wins_over_everything() -> None:
    """It is what somebody sets in trouble, and nothing may undo it from inside."""
    assert mode(environment="off", said=word("on"), everywhere=word("on")) == "off"
    assert mode(OWN, environment="off", tried=(0, "", OWN.digest)) == "off"


@pytest.mark.parametrize("environment", [None, "on", "shadow"])
@pytest.mark.parametrize("said", ["on", "shadow", "off"])
def test_the_word_about_a_route_wins_over_the_word_about_all(environment, said) -> None:
    """The nearer one was meant."""
    assert said == mode(environment=environment, said=word(said), everywhere=word("shadow"))
    assert said == mode(environment=environment, everywhere=word(said, route="*"))


def test_a_word_expires() -> None:
    """Nobody remembers in March what was switched off in November."""
    assert mode(said=word("off", until=NOON)) == "on"
    assert mode(said=word("off", until=NOON + 1)) == "off"
    assert mode(said=word("off", until=NOON), everywhere=word("shadow")) == "shadow"


def test_a_word_that_was_taken_back_says_nothing() -> None:
    """An empty mode gives the route back; the row stays for its other words."""
    assert mode(said=word(""), everywhere=word("shadow")) == "shadow"
    assert mode(said=word(""), everywhere=word("")) == "on"


def test_the_environment_is_what_holds_where_the_policy_is_silent() -> None:
    """A policy with a mode of its own was written for this route."""
    quiet = msgspec.structs.replace(IMAGE, mode="shadow")
    rests = msgspec.structs.replace(IMAGE, mode="off")

    assert mode(environment="shadow") == "shadow"
    assert mode(environment="on") == "on"
    assert mode(quiet, environment="on") == "shadow"
    assert mode(rests, environment="on") == "off"


def test_a_mode_that_a_user_wrote_is_not_changed_by_the_environment() -> None:
    """Nor is it where it happens to be that of the class; only ``off`` wins."""
    written = msgspec.structs.replace(IMAGE, mode_said=True)

    assert mode(written, environment="shadow") == "on"
    assert mode(written, environment="off") == "off"


def test_what_rests_by_its_class_is_not_switched_on_by_the_way() -> None:
    """Something local has no provider to be protected from, unless its owner says so."""
    assert mode(LOCAL, environment="on") == "off"
    assert mode(LOCAL, environment="shadow") == "off"
    assert mode(LOCAL, said=word("on")) == "on"


# -- trials --------------------------------------------------------------------------------


def test_a_policy_of_a_user_is_watched_for_fifty_attempts() -> None:
    """A wrong number must cost a line in the report, not the night."""
    assert mode(OWN) == "shadow"
    assert mode(OWN, environment="on") == "shadow"
    assert mode(OWN, tried=(TRIALS - 1, OWN.digest, "")) == "shadow"
    assert mode(OWN, tried=(TRIALS, OWN.digest, "")) == "on"


def test_attempts_under_other_numbers_do_not_count() -> None:
    """A changed policy is a new one."""
    assert mode(OWN, tried=(10_000, IMAGE.digest, "")) == "shadow"


def test_a_promoted_policy_acts_at_once_and_only_that_one() -> None:
    """The owner looked at what it would have done."""
    assert mode(OWN, tried=(3, OWN.digest, OWN.digest)) == "on"
    assert mode(OWN, tried=(3, OWN.digest, IMAGE.digest)) == "shadow"


def test_trials_make_nothing_act_that_does_not() -> None:
    """Off stays off, and what was said about the route does not wait."""
    rests = msgspec.structs.replace(OWN, mode="off")

    assert mode(rests) == "off"
    assert mode(OWN, environment="shadow", tried=(TRIALS, OWN.digest, "")) == "shadow"
    assert mode(OWN, said=word("on")) == "on"
