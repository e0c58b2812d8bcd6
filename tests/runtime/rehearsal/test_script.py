"""Scripts of nights: what is written in them is what is played."""

import pytest

from tildawn.errors import BadSetting, UnknownName
from tildawn.providers.sim.scenario import Server
from tildawn.runtime.rehearsal.script import find, parse, shipped
from tildawn.units import SECOND, Micros


def test_every_shipped_script_can_be_read_and_says_what_it_is_about() -> None:
    """A name in the list that does not play would be found out at night."""
    assert len(shipped()) >= 10
    for name in shipped():
        assert find(name).about.endswith("."), name


def test_an_outage_becomes_a_rule_of_the_provider_from_then_to_then() -> None:
    """The length of an outage is what the numbers of a night are held against."""
    script = parse(
        'length = "1h"\n[[outage]]\nsince = "10m"\nlength = "90s"\nfault = {kind = "server"}'
    )
    [rule] = script.scenario.rule
    assert rule.fault == Server()
    assert [rule.holds(Micros(at * SECOND)) for at in (599, 600, 689, 690)] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("length = 3", "length"),
        ('length = "soon"', "duration"),
        ('length = "1h"\nlenght = "2h"', "lenght"),
        ('length = "1h"\n[[stream]]\nkind = "video"\nevery = "1s"', "video"),
        ('length = "1h"\n[[outage]]\nsince = "1m"\nlength = "0s"', "until"),
        ('length = "1h"\n[[provider.pace]]\nmedian = "1s"\nsigma = 9.0', "sigma"),
        ('length = "1h"\n[[provider.rule]]\nfault = {kind = "flood"}', "flood"),
    ],
)
def test_a_script_that_cannot_be_played_says_where(text: str, why: str) -> None:
    """A night that was played under other rules than those written down proves nothing."""
    with pytest.raises(BadSetting, match=why):
        parse(text, name="bad")


def test_a_name_that_is_neither_a_script_nor_a_file_lists_what_there_is() -> None:
    """Whoever mistypes sees the right name."""
    with pytest.raises(UnknownName) as caught:
        find("outage-10")
    assert "outage-10s" in str(caught.value.hint)


def test_a_stream_that_is_taken_up_again_goes_on_with_the_next_call() -> None:
    """After a restart in the middle of a night nothing is asked for twice."""
    [stream] = parse('length = "1h"\n[[stream]]\nkind = "chat"\nevery = "20s"').stream
    assert stream.next_after(Micros(0)) == (0, 0)
    assert stream.next_after(Micros(1)) == (1, 20 * SECOND)
    assert stream.next_after(Micros(40 * SECOND)) == (2, 40 * SECOND)
