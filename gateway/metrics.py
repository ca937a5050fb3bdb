"""Prometheus metrics of the gateway, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.quality.measures import STATES
from gateway.quality.schemas import QualityOut

Seen = Mapping[str, QualityOut]
LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "loopyard_gateway_requests_total",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "loopyard_gateway_request_seconds",
            "Duration of requests, streams to their end.",
            ["route"],
            buckets=LATENCY,
            registry=self.registry,
        )
        self._chats = Gauge(
            "loopyard_gateway_chats_running", "Answers in the making.", registry=self.registry
        )
        self._dropped = Gauge(
            "loopyard_gateway_spool_dropped",
            "Batches of spans and scores since the start that the spool had no room for.",
            registry=self.registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def watch(self, running: Callable[[], int], dropped: Callable[[], int]) -> None:
        self._chats.set_function(running)
        self._dropped.set_function(dropped)

    def watch_quality(self, seen: Callable[[], Seen]) -> None:
        self.registry.register(_Quality(seen))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Quality(Collector):
    """How live adapters answer, as it was seen last."""

    def __init__(self, seen: Callable[[], Seen]) -> None:
        self._seen = seen

    def collect(self) -> Iterator[GaugeMetricFamily]:
        said = "How a live adapter answers: -1 too little to compare, 0 ok, 1 watch, 2 worse."
        state = GaugeMetricFamily("loopyard_gateway_adapter_quality", said, labels=["adapter"])
        labels = ["adapter", "measure", "window"]
        share = GaugeMetricFamily("loopyard_gateway_adapter_share", "Share by measure.", labels=labels)
        for name, one in self._seen().items():
            state.add_metric([name], STATES.index(one.state) - 1)
            for measure in one.measures:
                for window, part in (("before", measure.before), ("now", measure.now)):
                    if part.all:
                        share.add_metric([name, measure.name, window], part.bad / part.all)
        yield state
        yield share
