"""The machine for Prometheus: processors, memory, the disk of LLM_DATA, graphics cards; read when asked."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from llm_server.graphics import Card, cards


class MachineCollector(Collector):
    """This process, and what it shares with others."""

    def __init__(self, data: Path) -> None:
        """`data`: a folder on the disk that counts; it may not be there yet."""
        self._data = data.absolute()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A glance; a card's series are there where NVIDIA's library is."""
        process, memory = psutil.Process(), psutil.virtual_memory()
        times = process.cpu_times()
        yield _gauge("llm_memory_bytes", "Resident memory of the process.", process.memory_info().rss)
        yield _gauge("llm_cpu_seconds", "Processor time of the process.", times.user + times.system)
        yield _gauge("llm_machine_memory_bytes", "Memory of the machine.", memory.total)
        yield _gauge("llm_machine_memory_available_bytes", "Of it, what can be had.", memory.available)
        yield _gauge("llm_machine_cores", "Processors of the machine.", os.cpu_count() or 1)
        place = next(folder for folder in (self._data, *self._data.parents) if folder.exists())
        disk = shutil.disk_usage(place)
        yield _gauge("llm_disk_bytes", "Size of the disk of LLM_DATA.", disk.total)
        yield _gauge("llm_disk_free_bytes", "Of it, what is free.", disk.free)
        yield from card_gauges(cards())


def card_gauges(found: Iterable[Card]) -> Iterator[GaugeMetricFamily]:
    """Series of every card; none where there is none."""
    all_of_them = list(found)
    shown: tuple[tuple[str, str, Callable[[Card], float]], ...] = (
        ("llm_gpu_memory_bytes", "Memory of a card.", lambda card: card.memory),
        ("llm_gpu_memory_used_bytes", "Of it, what is in use.", lambda card: card.used),
        ("llm_gpu_utilization_ratio", "Share of the last second that it computed.", lambda card: card.busy),
    )
    for name, text, read in shown if all_of_them else ():
        gauge = GaugeMetricFamily(name, text, labels=["gpu"])
        for card in all_of_them:
            gauge.add_metric([str(card.number)], read(card))
        yield gauge


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text)
    gauge.add_metric([], float(value))
    return gauge
