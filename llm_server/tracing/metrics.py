"""Traces for Prometheus, read when somebody asks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from llm_server.tracing.tracer import Tracer


class TraceCollector(Collector):
    """What became of the requests that were to be traced."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def collect(self) -> Iterator[Metric]:
        """One counter."""
        traced = CounterMetricFamily(
            "llm_traced_requests", "Requests by what became of their traces.", labels=["outcome"]
        )
        traced.add_metric(["sent"], self._tracer.sent)
        traced.add_metric(["dropped"], self._tracer.dropped)
        yield traced
