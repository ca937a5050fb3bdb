"""Adapters for Prometheus, read when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llm_server.adapters.manager import AdapterManager

REASONS = {"memory": "evicted", "unloaded": "unloaded"}
"""Why an adapter leaves the memory, and the event that tells of it: another one needed LLM_ADAPTER_MB, or an
operator has unloaded it."""


class AdapterCollector(Collector):
    """What the managers of all models know; as many series as there are adapters."""

    def __init__(self, managers: Callable[[], Iterable[tuple[str, AdapterManager]]]) -> None:
        """`managers` with the models' ids."""
        self._managers = managers

    def collect(self) -> Iterator[Metric]:
        """Counts, bytes and use, by model: two models may have adapters of one name."""
        each = ["model", "adapter"]
        held = GaugeMetricFamily("llm_adapter_resident_bytes", "Memory that an adapter takes.", labels=each)
        used = GaugeMetricFamily("llm_adapter_inflight", "Sequences that use an adapter.", labels=each)
        seconds = CounterMetricFamily(
            "llm_adapter_load_seconds", "Time spent loading adapters.", labels=["model"]
        )
        happened = CounterMetricFamily(
            "llm_adapter_events", "Loads, promotions, evictions and so on.", labels=["model", "event"]
        )
        there = GaugeMetricFamily("llm_adapter_versions", "Versions by state.", labels=["model", "state"])
        swaps = CounterMetricFamily(
            "llm_adapter_swaps", "Evicted adapters that a request brought back.", labels=["model"]
        )
        waited = CounterMetricFamily("llm_adapter_swap_seconds", "Spent on that.", labels=["model"])
        left = CounterMetricFamily(
            "llm_adapter_evictions", "Adapters that left the memory, by why.", labels=["model", "reason"]
        )
        for model, manager in self._managers():
            states: Counter[str] = Counter()
            for adapter in manager.store.adapters():
                versions = list(adapter.versions.values())
                states.update(str(version.state) for version in versions)
                held.add_metric([model, adapter.name], sum(v.resident.bytes for v in versions if v.resident))
                used.add_metric([model, adapter.name], sum(v.inflight for v in versions))
            seconds.add_metric([model], manager.load_seconds)
            swaps.add_metric([model], manager.swaps)
            waited.add_metric([model], manager.swap_seconds)
            for reason, event in REASONS.items():
                left.add_metric([model, reason], manager.events.counts[event])
            for event, count in dict(manager.events.counts).items():
                happened.add_metric([model, event], count)
            for state, count in states.items():
                there.add_metric([model, state], count)
        yield from (happened, there, held, used, seconds, swaps, waited, left)
