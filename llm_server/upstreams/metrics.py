"""Upstream servers for Prometheus, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llm_server.catalog import UpstreamModel


class UpstreamCollector(Collector):
    """Answers and breakers of every server."""

    def __init__(self, models: Callable[[], Iterable[UpstreamModel]]) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Two counters, one gauge."""
        answers = CounterMetricFamily(
            "llm_upstream_requests", "By status, or kind of failure.", labels=["model", "server", "outcome"]
        )
        resting = GaugeMetricFamily(
            "llm_upstream_open", "1 where the breaker is not closed.", labels=["model", "server"]
        )
        looks = CounterMetricFamily(
            "llm_upstream_probes",
            "Looks at a server, by what was found.",
            labels=["model", "server", "found"],
        )
        for model in self._models():
            for number, server in enumerate(model.pool.servers):
                for outcome, count in server.outcomes.items():
                    answers.add_metric([model.id, str(number), outcome], count)
                for found, count in server.probes.items():
                    looks.add_metric([model.id, str(number), found], count)
                resting.add_metric([model.id, str(number)], float(server.breaker.state != "closed"))
        yield from (answers, looks, resting)
