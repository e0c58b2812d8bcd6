"""Scenario files: what is selected, and what is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tildawn.errors import BadSetting
from tildawn.providers.sim.model import SimModel
from tildawn.providers.sim.scenario import parse, ranges
from tildawn.providers.sim.script import Asked, Cut, Wait
from tildawn.units import SECOND, Micros


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


def latencies(text: str, at: list[int]) -> list[int]:
    """How long answers take, in milliseconds, to requests at so many seconds."""
    model = SimModel(scenario=parse(text), began=Micros(0))
    scripts = [model.script(asked(), now=Micros(second * SECOND)) for second in at]
    return [one[0].wait // 1_000 if isinstance(one[0], Wait) else 0 for one in scripts]


def test_an_outage_lasts_from_then_to_then_by_the_clock() -> None:
    """How often somebody asks does not decide how long the other side is gone."""
    text = '[[rule]]\nsince = "10s"\nuntil = "20s"\nfault = { kind = "reset" }'
    model = SimModel(scenario=parse(text), began=Micros(0))
    gone = [model.script(asked(), now=Micros(at * SECOND)) == (Cut(),) for at in (9, 10, 19, 20)]
    assert gone == [False, True, True, False]


def test_an_answer_grows_slower_over_the_time_that_a_drift_takes() -> None:
    """A drift of three times in twenty seconds is twice as slow after half of it."""
    text = '[[pace]]\nmedian = "2s"\ngrow = 3\nwithin = "20s"'
    assert latencies(text, [0, 10, 20, 500]) == [2_000, 4_000, 6_000, 6_000]


def test_the_last_pace_that_holds_is_the_one() -> None:
    """A slow hour is written below the rest of the night."""
    text = (
        'latency = "5ms"\n[[pace]]\nsince = "10s"\nuntil = "30s"\nmedian = "1s"\n'
        '[[pace]]\nsince = "20s"\nuntil = "30s"\nmedian = "3s"'
    )
    assert latencies(text, [0, 10, 20, 30]) == [5, 1_000, 3_000, 5]


def test_latencies_scatter_around_their_median() -> None:
    """A percentile that is learned from answers which all take the same proves nothing."""
    seen = sorted(latencies('[[pace]]\nmedian = "50s"\nsigma = 0.25', list(range(400))))
    assert 47_000 < seen[200] < 53_000
    # Source: the 95th percentile of a log-normal is its median times e^(1.645 sigma).
    assert 70_000 < seen[380] < 81_000


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
        ("[[rule]]\nsince = '1h'\nuntil = '1h'\nfault = { kind = 'hang' }", "not after"),
        ("[[pace]]\nmedian = '1s'\nsigma = -1.0", "sigma"),
        ("[[pace]]\nmedian = '1s'\ngrow = 0.0", "grow"),
        ("[[pace]]\nsigma = 0.1", "median"),
        ("latency = ", "scenario"),
    ],
)
def test_a_wrong_scenario_is_refused_and_says_what_is_wrong(text: str, hint: str) -> None:
    """A fault that silently never happens makes a test that cannot fail."""
    with pytest.raises(BadSetting) as caught:
        parse(text)
    assert hint in str(caught.value)
