"""Queue and slots of every model for Prometheus, read when somebody asks."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from llm_server.catalog import ChatModel


class ModelCollector(Collector):
    """Gauges by model: an edit that replaces an engine goes on with the same series."""

    def __init__(self, models: Callable[[], Iterable[ChatModel]]) -> None:
        """`models`: those that are served, and those that have been replaced and still compute."""
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A glance at counters that the engines' threads change."""
        counts: dict[str, tuple[int, int, int]] = {}
        for model in self._models():
            scheduler = model.engine.scheduler
            now = len(scheduler.waiting), len(scheduler.running), len(scheduler.cache)
            before = counts.get(model.id, (0, 0, 0))
            counts[model.id] = before[0] + now[0], before[1] + now[1], before[2] + now[2]
        gauges = (
            ("llm_queue_sequences", "Sequences that wait."),
            ("llm_slots_busy", "Sequences that decode or prefill."),
            ("llm_prefix_cache_entries", "Prefixes that are kept."),
        )
        for place, (name, text) in enumerate(gauges):
            gauge = GaugeMetricFamily(name, text, labels=["model"])
            for model_id, values in counts.items():
                gauge.add_metric([model_id], values[place])
            yield gauge
