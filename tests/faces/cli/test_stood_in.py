"""What ``tildawn show`` says of a call that somebody else answered."""

from tildawn.faces.cli import look
from tildawn.runtime.operations.showing import CallLine


def line(**said: str) -> CallLine:
    """A call that has ended."""
    fields = {"fault": "", "effect": "none", "tier": "", "instead": ""} | said
    return CallLine(
        path="p", name="photo", route="p:m", state="settled", attempts=1, spend_micro_usd=0,
        assumed_micro_usd=0, reserved_micro_usd=0, held_micro_usd=0, key="k", sent_at=0, ended_at=0,
        seq=0, **fields,
    )  # fmt: skip


def test_a_call_that_something_stood_in_for_says_what_and_why():
    """Whoever asks why a picture is a gradient finds the answer beside the call."""
    [_, plain, stood] = look._calls((line(), line(tier="procedural", instead="timeout")))
    assert plain[-1] == ""
    assert stood[-1] == "procedural instead, because of timeout"


def test_what_nobody_knows_is_said_beside_it():
    """The primary was sent and never answered; that something was served does not settle it."""
    said = line(tier="global", instead="patience", effect="unknown")
    [_, row] = look._calls((said,))
    assert row[-1] == "global instead, because of patience, effect unknown"
