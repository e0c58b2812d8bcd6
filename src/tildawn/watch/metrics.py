"""The guard's metrics for Prometheus: one table, filled from events.

What it is not: a server, or a second count; after a restart it is filled again from the ledger.
Labels are routes, tiers and words of ours: nothing that a user, a prompt or a model wrote.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tildawn.watch.telemetry import AnyEvent, Attempt, TimeoutChanged, Transition


LABELS = frozenset({"route", "status", "tier", "state", "scope", "source"})
"""What may be a label; each has few values."""

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 45.0, 60.0, 120.0, 180.0)
"""Twelve buckets, with the limits that are promised among them."""

ACTIVATION = (0.04, 0.08, 0.12, 0.25, 0.5, 1.0, 1.5, 2.0, 5.0)
STATES = ("closed", "open", "probing", "ramp", "blocked")


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A value for a metric: added to a counter, seen by a histogram, or set."""

    metric: str
    labels: tuple[str, ...]
    value: float


METRICS: tuple[Metric, ...] = (
    Metric(name="guard_attempts_total", kind="counter", labels=("route", "status", "tier"),
           help="Attempts by what they came to."),
    Metric(name="guard_latency_seconds", kind="histogram", labels=("route",), buckets=SECONDS,
           help="How long attempts took that were sent."),
    Metric(name="guard_state", kind="gauge", labels=("route", "state"),
           help="1 for the state that a route is in."),
    Metric(name="guard_open_seconds_total", kind="counter", labels=("route",),
           help="Seconds out of service, counted when a state ends."),
    Metric(name="guard_timeout_seconds", kind="gauge", labels=("route",),
           help="How long an attempt may take."),
    Metric(name="guard_fallback_activation_seconds", kind="histogram", labels=("tier",),
           buckets=ACTIVATION, help="From the decision to leave the primary to the answer."),
    Metric(name="guard_money_micro_usd_total", kind="counter", labels=("scope", "source"),
           help="Millionths of a US dollar by kind of budget and by who says so."),
)  # fmt: skip


def samples_of(event: AnyEvent) -> Iterator[Sample]:
    """What an event adds to the metrics.

    Raises:
        Nothing.
    """
    match event:
        case Attempt():
            yield from _of_attempt(event)
        case Transition():
            for state in STATES:
                yield Sample(
                    metric="guard_state", labels=(event.route, state),
                    value=float(state == event.to),
                )  # fmt: skip
            if event.was in {"open", "probing"}:
                yield Sample(
                    metric="guard_open_seconds_total", labels=(event.route,), value=event.lasted_s
                )
        case TimeoutChanged():
            yield Sample(
                metric="guard_timeout_seconds", labels=(event.route,),
                value=event.limit_ms / 1_000,
            )  # fmt: skip
        case _:
            return


def _of_attempt(event: Attempt) -> Iterator[Sample]:
    labels = (event.route, event.status, event.tier)
    yield Sample(metric="guard_attempts_total", labels=labels, value=1.0)
    seconds = event.latency_ms / 1_000
    if event.attempt:
        yield Sample(metric="guard_latency_seconds", labels=(event.route,), value=seconds)
    elif event.tier:
        yield Sample(
            metric="guard_fallback_activation_seconds", labels=(event.tier,), value=seconds
        )
    if event.cost_micro_usd:
        # A table's date would make a label of every price list there was.
        source = event.cost_source.partition("@")[0]
        for scope in event.scopes or ("none",):
            yield Sample(
                metric="guard_money_micro_usd_total", labels=(scope, source),
                value=float(event.cost_micro_usd),
            )  # fmt: skip


class Exposition:
    """The metrics as Prometheus reads them."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for one in METRICS:
            if one.kind == "counter":
                self._counters[one.name] = Counter(
                    one.name, one.help, one.labels, registry=self._registry
                )
            elif one.kind == "gauge":
                self._gauges[one.name] = Gauge(
                    one.name, one.help, one.labels, registry=self._registry
                )
            else:
                self._histograms[one.name] = Histogram(
                    one.name, one.help, one.labels, registry=self._registry, buckets=one.buckets
                )

    def take(self, event: AnyEvent) -> None:
        """Count an event.

        Raises:
            Nothing.
        """
        for sample in samples_of(event):
            if counter := self._counters.get(sample.metric):
                counter.labels(*sample.labels).inc(sample.value)
            elif gauge := self._gauges.get(sample.metric):
                gauge.labels(*sample.labels).set(sample.value)
            else:
                self._histograms[sample.metric].labels(*sample.labels).observe(sample.value)

    def text(self) -> str:
        """The exposition format.

        Raises:
            Nothing.
        """
        return generate_latest(self._registry).decode()
