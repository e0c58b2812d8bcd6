"""Scenario files: what is selected, and what is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadSetting
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse, ranges
from tildawn.providers.sim.script import Asked
from tildawn.units import Micros


def asked(prompt: str = "a red mug", path: str = "/v1/chat/completions") -> Asked:
    said = {"role": "user", "content": prompt}
    return Asked(
        method="POST",
        path=path,
        headers={"authorization": "Bearer sim"},
        body=msgspec.json.encode({"model": "m", "messages": [said]}),
        origin="http://sim",
    )


def fired(text: str, requests: list[Asked], *, seed: int = 0) -> list[bool]:
    """Which requests a scenario's rules made go wrong."""
    model, seen = SimModel(seed=seed, scenario=parse(text)), list[bool]()
    for request in requests:
        before = sum(model.meter.faults.values())
        model.script(request, now=Micros(0))
        seen.append(sum(model.meter.faults.values()) > before)
    return seen


def test_a_rule_counts_only_the_requests_that_it_is_about() -> None:
    """The second request about mugs is the second whatever else is asked in between."""
    text = """
    [[rule]]
    path = "/v1/chat"
    prompt = "MUG"
    nth = 2
    fault = { kind = "hang" }
    """
    requests = [asked(), asked("a cup"), asked(path="/v1/embeddings"), asked(), asked()]
    assert fired(text, requests) == [False, False, False, True, False]


def test_ranges_times_and_order_decide_which_rule_applies() -> None:
    """A burst is a range, a limit ends it, and the first rule wins."""
    text = """
    [[rule]]
    nth = "2-"
    times = 2
    fault = { kind = "server", status = 500 }
    [[rule]]
    nth = "1,3,5"
    fault = { kind = "rate" }
    """
    model = SimModel(scenario=parse(text))
    seen = list[dict[str, int]]()
    for _ in range(5):
        model.script(asked(), now=Micros(0))
        seen.append(dict(model.meter.faults))
    assert seen[-1] == {"rate": 2, "server": 2}
    assert seen[2] == {"rate": 1, "server": 2}


def test_a_probability_is_met_by_the_seed_and_not_by_luck() -> None:
    """The same seed gives the same night; another gives another of the same kind."""
    text = '[[rule]]\nprobability = 0.2\nfault = { kind = "hang" }'
    one, again, other = (fired(text, [asked()] * 500, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert 60 < sum(one) < 140


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=5))
def test_ranges_are_read_as_written(pairs: list[tuple[int, int]]) -> None:
    """A range that is off by one spares the request it was written for."""
    text = ", ".join(f"{low}-{low + more}" for low, more in pairs)
    assert ranges(text) == [(low, low + more) for low, more in pairs]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[[rule]]", "fault"),
        ("[[rule]]\nfault = { kind = 'hagn' }", "hagn"),
        ("[[rule]]\nfault = { kind = 'hang', delay = '1s' }", "delay"),
        ("[[rule]]\nfault = { kind = 'late', delay = 'soon' }", "soon"),
        ("[[rule]]\nfault = { kind = 'cut', keep = 100 }", "0 to 99"),
        ("[[rule]]\nfault = { kind = 'server', status = 200 }", "500 to 599"),
        ("[[rule]]\nfault = { kind = 'drip', size = 0 }", "size"),
        ("[[rule]]\nprobability = 2.0\nfault = { kind = 'hang' }", "0 to 1"),
        ("[[rule]]\nnth = '0'\nfault = { kind = 'hang' }", "2,5-7,20-"),
        ("[[rule]]\npaht = '/'\nfault = { kind = 'hang' }", "paht"),
        ("latency = '1 parsec'", "parsec"),
        ("latency = ", "scenario"),
    ],
)
def test_a_wrong_scenario_is_refused_and_says_what_is_wrong(text: str, hint: str) -> None:
    """A fault that silently never happens makes a test that cannot fail."""
    with pytest.raises(BadSetting) as caught:
        parse(text)
    assert hint in str(caught.value)
