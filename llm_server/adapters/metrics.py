"""Adapters for Prometheus, read when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llm_server.adapters.manager import AdapterManager


class AdapterCollector(Collector):
    """What the managers of all models know; as many labels as there are adapters."""

    def __init__(self, managers: Callable[[], Iterable[AdapterManager]]) -> None:
        self._managers = managers

    def collect(self) -> Iterator[Metric]:
        """Counts, bytes and use."""
        events: Counter[str] = Counter()
        states: Counter[str] = Counter()
        held = GaugeMetricFamily(
            "llm_adapter_resident_bytes", "Memory that an adapter takes.", labels=["adapter"]
        )
        used = GaugeMetricFamily("llm_adapter_inflight", "Sequences that use an adapter.", labels=["adapter"])
        seconds = CounterMetricFamily("llm_adapter_load_seconds", "Time spent loading adapters.")
        total = 0.0
        for manager in self._managers():
            events.update(manager.events.counts)
            total += manager.load_seconds
            for adapter in manager.store.adapters():
                versions = list(adapter.versions.values())
                states.update(str(version.state) for version in versions)
                held.add_metric([adapter.name], sum(v.resident.bytes for v in versions if v.resident))
                used.add_metric([adapter.name], sum(v.inflight for v in versions))
        seconds.add_metric([], total)
        happened = CounterMetricFamily(
            "llm_adapter_events", "Loads, promotions, evictions and so on.", labels=["event"]
        )
        for event, count in events.items():
            happened.add_metric([event], count)
        there = GaugeMetricFamily("llm_adapter_versions", "Versions by state.", labels=["state"])
        for state, count in states.items():
            there.add_metric([state], count)
        yield from (happened, there, held, used, seconds)
