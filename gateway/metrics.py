"""Prometheus metrics of the gateway, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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

    def text(self) -> bytes:
        return generate_latest(self.registry)
