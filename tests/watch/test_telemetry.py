"""Events and metrics of the guard: every field, the original's names, and no word of a user's.

What it is not: a server of metrics.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tildawn.facts.call import (
    BudgetSet,
    CallDispatched,
    CallDoubted,
    CallRefused,
    CallServed,
    CallSettled,
)
from tildawn.facts.route import (
    RouteForced,
    RouteLimitMoved,
    RouteModeSet,
    RoutePromoted,
    RouteReviewed,
)
from tildawn.ids import Ids
from tildawn.ledger.entry import Committed
from tildawn.ledger.ledger import Ledger
from tildawn.runtime.wiring import PROJECTIONS, REGISTRY
from tildawn.testing.clock import ManualClock
from tildawn.testing.history import History
from tildawn.watch.metrics import LABELS, METRICS, Exposition, samples_of
from tildawn.watch.stream import events, kind_of_scope, would_of
from tildawn.watch.telemetry import NAMES, AnyEvent, Attempt, Limit, Probe, Transition, original


CANARY = "a canary in a blue cage, oil on canvas"

FIELDS = {
    "route", "lane", "attempt", "tier", "status", "latency_ms", "queue_ms", "ttft_ms",
    "timeout_ms", "timeout_basis", "circuit_state", "generation", "fallback_tier", "probe",
    "probe_success", "cost_micro_usd", "cost_source", "tokens_in", "tokens_out",
}  # fmt: skip
"""Of the specification; provider_request_id is a known gap."""


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    clock = ManualClock()
    ledger = Ledger.open(
        tmp_path, registry=REGISTRY, projections=PROJECTIONS, clock=clock, ids=Ids(clock),
        build="test",
    )  # fmt: skip
    yield History(ledger, clock, "sim:image:1024x1024", kind="image", budgets=("night/abc",))
    ledger.close()


def read(history: History, *, since: int = 0) -> list[AnyEvent]:
    with history.ledger.read() as reader:
        return list(events(reader, since=since, limit=-1))


def attempts(history: History, *, since: int = 0) -> list[Attempt]:
    return [one for one in read(history, since=since) if isinstance(one, Attempt)]


def test_an_attempt_has_every_field_of_the_specification(history: History) -> None:
    """Somebody's dashboard stands on these names."""
    history.attempt(took=44, spend=42_000)

    [event] = attempts(history)
    body = json.loads(msgspec.json.encode(event))

    assert body["event"] == "guard.attempt"
    assert set(body) >= FIELDS | {"would_reject", "would_timeout_at_ms"}
    assert (event.status, event.latency_ms, event.circuit_state) == ("success", 44_000, "closed")
    assert (event.cost_micro_usd, event.cost_source, event.scopes) == (
        42_000,
        "reported",
        ("night",),
    )
    assert (event.timeout_ms, event.timeout_basis) == (60_000, "p95")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("", "success"), ("timeout", "timeout"), ("cancelled", "aborted"),
        ("invalid_answer", "invalid"), ("server", "error"), ("rate", "error"),
    ],
)  # fmt: skip
def test_each_end_of_an_attempt_has_one_status(history: History, fault: str, status: str) -> None:
    """Timeouts and errors of the other side are told apart, and callers who left from both."""
    history.attempt(fault)

    assert [event.status for event in attempts(history)] == [status]


def test_what_was_refused_served_or_lost_is_an_attempt_too(history: History) -> None:
    """A dashboard that leaves them out shows a good night that was none."""
    history.say(
        CallRefused(name="image", route=history.route, why="budget-spent", args="a", error=""),
        run="1" * 32, path="a",
    )  # fmt: skip
    history.serve("related", instead="route-open", took=0.12)
    history.say(
        CallDispatched(
            name="image", route=history.route, attempt=1, key="k", args="a", repeat="never",
            deadline=0, timeout_ms=1, reserve_micro_usd=9,
        ),
        run="1" * 32, path="b",
    )  # fmt: skip
    history.say(CallDoubted(attempt=1, why="crash"), run="1" * 32, path="b")

    refused, served, lost = attempts(history)

    assert (refused.status, refused.fault) == ("rejected", "budget-spent")
    assert (served.status, served.fallback_tier, served.fallback_reason, served.latency_ms) == (
        "success", "related", "route-open", 120,
    )  # fmt: skip
    assert (lost.status, lost.cost_micro_usd, lost.cost_source) == ("unknown", 9, "held")


@pytest.mark.parametrize(
    ("fault", "status"), [("", "success"), ("timeout", "timeout"), ("rate", "error")]
)
def test_an_attempt_behind_a_substitute_is_told_when_it_ends(
    history: History, fault: str, status: str
) -> None:
    """A dashboard of the answers alone shows a provider that is well while it hangs."""
    history.overtaken(fault, asked_wait=9 if fault == "rate" else 0)

    served, ended = attempts(history)

    assert (served.tier, served.status) == ("exact", "success")
    assert (ended.tier, ended.status, ended.fault) == ("", status, fault)
    assert (ended.attempt, ended.run, ended.latency_ms) == (1, "1" * 32, 60_000)
    assert (ended.timeout_ms, ended.timeout_basis, ended.circuit_state) == (
        60_000, "p95", "closed",
    )  # fmt: skip
    assert attempts(history, since=ended.seq) == [ended], "the middle of the ledger says the same"
    waits = [one.wait_ms for one in read(history) if isinstance(one, Limit)]
    assert waits == ([9_000] if fault == "rate" else [])
    counted = 'guard_attempts_total{route="sim:image:1024x1024",status="%s",tier=""} 1.0'
    assert counted % status in exposed(history)


def test_a_test_of_the_route_behind_a_substitute_is_told_as_one(history: History) -> None:
    """A real request may find out whether the other side is back."""
    history.overtaken(probe=True)

    [probe] = [one for one in read(history) if isinstance(one, Probe)]

    assert (probe.success, attempts(history)[-1].status) == (True, "recovered")


def test_an_outage_is_a_story_of_transitions_and_probes(history: History) -> None:
    """Open, checks, a paid probe that recovered, ramp, closed; with how long each state lasted."""
    history.outage(dead=20)

    found = read(history)
    turns = [(one.was, one.to) for one in found if isinstance(one, Transition)]
    probes = [(one.paid, one.success) for one in found if isinstance(one, Probe)]
    back = next(one for one in found if isinstance(one, Attempt) and one.probe)

    assert turns == [
        ("closed", "open"), ("open", "probing"), ("probing", "ramp"), ("ramp", "closed"),
    ]  # fmt: skip
    assert probes == [(False, False), (False, False), (False, True), (True, True)]
    assert (back.status, back.circuit_state, back.probe_success) == ("recovered", "probing", True)
    [opened] = [one for one in found if isinstance(one, Transition) and one.was == "open"]
    assert opened.lasted_s == pytest.approx(35)
    assert b'"from":"open"' in msgspec.json.encode(opened)


def test_every_kind_of_event_has_its_dotted_name(history: History) -> None:
    """The seven names of the specification, and no other."""
    history.outage(dead=10)
    history.attempt("rate", asked_wait=20)
    route = history.route
    history.say(RouteLimitMoved(route=route, was_ms=60_000, limit_ms=73_000, basis="climbing"))
    history.say(BudgetSet(scope="night/abc", limit_micro_usd=4_000_000))
    for word in (
        RouteModeSet(route=route, mode="off", until=9, reason=""),
        RouteForced(route=route, state="open", until=9, reason=""),
        RoutePromoted(route=route, policy="p", watch_at=1, review_at=2),
        RouteReviewed(route=route, look="watch", good=True, attempts=1, timeouts=0, open_ms=0),
    ):
        history.say(word)

    names = {json.loads(msgspec.json.encode(one))["event"] for one in read(history)}

    assert names == set(NAMES)


def test_the_original_name_carries_the_original_fields(history: History) -> None:
    """Event, status, latency, circuit state, tier and probe success: nothing else, nothing less."""
    history.attempt("timeout", took=60)
    history.attempt("server")
    history.turn("open", cause="share", wait=5)
    history.attempt(run="probe", probe=True)

    found = [json.loads(msgspec.json.encode(original(one))) for one in attempts(history)]

    assert found[0] == {
        "event": "dalle_generation", "status": "timeout", "latency_ms": 60_000,
        "circuit_state": "closed", "fallback_tier": "", "probe_success": None,
    }  # fmt: skip
    assert [one["status"] for one in found] == ["timeout", "aborted", "recovered"]
    assert found[2]["probe_success"] is True


def test_reading_on_from_the_middle_gives_the_same_events(history: History) -> None:
    """A collector that was away asks for what came since."""
    history.attempt("timeout")
    whole = read(history)
    settled = whole[0].seq

    assert read(history, since=settled) == whole
    assert read(history, since=settled + 1) == []


@pytest.mark.parametrize(
    ("would", "expected"),
    [
        ("", ("", 0)), ("route-open", ("route-open", 0)), ("timeout 30000 ms", ("", 30_000)),
        ("route-open, timeout 30000 ms", ("route-open", 30_000)),
    ],
)  # fmt: skip
def test_what_a_watching_guard_would_have_done_is_two_fields(
    would: str, expected: tuple[str, int]
) -> None:
    """A rejection and a limit are two things."""
    assert would_of(would) == expected


def test_a_scope_is_told_by_its_kind_alone() -> None:
    """A label with the name of each run would grow without end."""
    scopes = ("night/019c", "run/019c", "route:sim:chat/2026-11-20", "probes:sim/2026-11-20T03")

    assert [kind_of_scope(one) for one in scopes] == ["night", "run", "route", "probes"]


# -- metrics -------------------------------------------------------------------------------


def test_no_label_can_hold_what_a_user_wrote() -> None:
    """The table allows six labels, each with few values."""
    assert {label for one in METRICS for label in one.labels} <= LABELS
    assert all(one.name.startswith("guard_") for one in METRICS)
    assert next(one for one in METRICS if one.name == "guard_latency_seconds").buckets[11:] == (
        180.0,
    )


def exposed(history: History) -> str:
    exposition = Exposition()
    for event in read(history):
        exposition.take(event)
    return exposition.text()


def test_metrics_count_what_the_events_say(history: History) -> None:
    """One outage of 35 s, three timeouts, one recovery."""
    history.outage(dead=20)
    history.serve("related", instead="route-open", took=0.12)
    history.say(RouteLimitMoved(route=history.route, was_ms=1, limit_ms=73_000, basis="p95"))

    text = exposed(history)
    route = 'route="sim:image:1024x1024"'

    assert f'guard_attempts_total{{{route},status="timeout",tier=""}} 3.0' in text
    assert f'guard_attempts_total{{{route},status="recovered",tier=""}} 1.0' in text
    assert f'guard_state{{{route},state="closed"}} 1.0' in text
    assert f'guard_state{{{route},state="open"}} 0.0' in text
    assert f"guard_open_seconds_total{{{route}}} 37.0" in text
    assert f"guard_timeout_seconds{{{route}}} 73.0" in text
    assert 'guard_fallback_activation_seconds_bucket{le="0.12",tier="related"} 1.0' in text
    assert 'guard_money_micro_usd_total{scope="none",source="reported"} 11000.0' in text


def test_a_prompt_is_in_no_event_and_no_metric(history: History) -> None:
    """What a user asked for stays in the house, however it came onto the record."""
    ledger = history.ledger
    said = ledger.payload(msgspec.json.encode(CANARY))

    def record(data: msgspec.Struct, *, path: str, **slots: str) -> None:
        fact = msgspec.structs.replace(data, **dict.fromkeys(slots, said.digest))
        names = type(data).PAYLOADS  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # a fact
        payloads = [said if name in slots else None for name in names]  # pyright: ignore[reportUnknownVariableType]  # as above
        entry = ledger.draft(fact, run="1" * 32, path=path, payloads=payloads)  # pyright: ignore[reportArgumentType]  # as above
        assert isinstance(ledger.append_now([entry]), Committed)

    sent = CallDispatched(
        name="image", route=history.route, attempt=1, key="k", args="a", repeat="safe",
        deadline=0, timeout_ms=1,
    )  # fmt: skip
    record(sent, path="p", what="", about="")
    record(CallSettled(attempt=1, final=True, effect="none", fault="server"), path="p", error="")
    record(CallServed(name="image", route=history.route, args="a", tier="exact", instead="server",
                      out=""), path="q", out="", error="")  # fmt: skip
    record(CallRefused(name="image", route=history.route, why="policy", args="a", error=""),
           path="r", error="")  # fmt: skip
    record(RouteForced(route=history.route, state="open", until=9, reason=""), path="", reason="")
    with ledger.read() as reader:
        assert CANARY in reader.payload(reader.head().size - 1, 0).decode()  # pyright: ignore[reportArgumentType]  # a position

    lines = b"\n".join(msgspec.json.encode(event) for event in read(history)).decode()

    assert lines.count("guard.attempt") == 3
    for text in (lines, exposed(history)):
        assert "canary" not in text
        assert "blue cage" not in text


def test_every_sample_fits_its_metric(history: History) -> None:
    """A label too many stops an exposition at the worst moment."""
    history.outage(dead=20)
    known = {one.name: one for one in METRICS}

    for event in read(history):
        for sample in samples_of(event):
            assert len(sample.labels) == len(known[sample.metric].labels)
