"""What /metrics tells of the machine, of each model and of adapters that come and go."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llm_server.graphics import Card, cards
from llm_server.machine_metrics import card_gauges
from llm_server.settings import Settings
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.config.conftest import Edited, edited
from tests.llm_server.conftest import serving

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(http: httpx.Client) -> Samples:
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Edited]:
    content = {"models": [{"id": name, "engine": "echo"} for name in ("one", "two")], "embeddings": False}
    with edited(tmp_path / "models.yaml", tmp_path / "data", content) as server:
        yield server


def test_the_machine(two: Edited, tmp_path: Path) -> None:
    found = {name: value for (name, labels), value in samples(two.http).items() if not labels}
    assert found["llm_machine_memory_bytes"] == psutil.virtual_memory().total
    assert 0 < found["llm_machine_memory_available_bytes"] < found["llm_machine_memory_bytes"]
    assert 0 < found["llm_memory_bytes"] < found["llm_machine_memory_bytes"]
    assert found["llm_machine_cores"] == os.cpu_count()
    assert found["llm_disk_bytes"] == shutil.disk_usage(tmp_path).total
    assert 0 < found["llm_disk_free_bytes"] <= found["llm_disk_bytes"]


def test_latencies_are_of_a_model(two: Edited) -> None:
    for _ in range(3):
        assert two.say("two").status_code == 200
    assert two.say("one").status_code == 200
    found = samples(two.http)
    assert found["llm_time_to_first_token_seconds_count", (("model", "one"),)] == 1
    assert found["llm_time_to_first_token_seconds_count", (("model", "two"),)] == 3
    letters = len("hello there")
    assert found["llm_inter_token_seconds_count", (("model", "one"),)] == letters
    assert found["llm_inter_token_seconds_count", (("model", "two"),)] == 3 * letters
    assert found["llm_generated_tokens_total", ()] == 4 * (letters + 1)


def test_adapters_that_come_and_go(models: Path, tmp_path: Path) -> None:
    """Two adapters where the memory has room for one."""
    paths = [make_adapter(tmp_path / name, seed, rank=64) for seed, name in enumerate(["a", "b"], 70)]
    settings = Settings(
        model=str(models / "tiny"), data=tmp_path / "data", embeddings=False, threads=1, adapter_mb=1
    )
    with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as http:
        for path in paths:
            body = {"name": path.name, "source": str(path)}
            assert http.post("/v1/adapters", params={"wait": "true"}, json=body).status_code == 201
        size = max(v for (name, _), v in samples(http).items() if name == "llm_adapter_resident_bytes")
        if 2 * size <= 1 << 20:
            pytest.fail(f"adapters of {size} bytes both fit: make them larger")
        before = samples(http)
        for name in ("a", "b", "a"):
            asked = {"model": name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
            assert http.post("/v1/chat/completions", json=asked).status_code == 200
        after = samples(http)
        model = ("model", "tiny")
        swapped = after["llm_adapter_swaps_total", (model,)] - before["llm_adapter_swaps_total", (model,)]
        assert swapped == 3
        assert after["llm_adapter_swap_seconds_total", (model,)] > 0
        assert after["llm_adapter_evictions_total", (model, ("reason", "memory"))] == 4
        assert after["llm_adapter_evictions_total", (model, ("reason", "unloaded"))] == 0
        http.delete("/v1/adapters/b")
        for _ in range(100):
            if samples(http)["llm_adapter_evictions_total", (model, ("reason", "unloaded"))] == 1:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the unloading is not counted")


NVML = r"""
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned int gpu, memory; } rates_t;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **h) { *h = (void *)(unsigned long)(i + 1); return 0; }
int nvmlDeviceGetMemoryInfo(void *h, memory_t *m) {
  m->total = 1000ull * (unsigned long)h; m->used = 10ull * (unsigned long)h; m->free = 0; return 0; }
int nvmlDeviceGetUtilizationRates(void *h, rates_t *r) {
  r->gpu = 25 * (unsigned int)(unsigned long)h; return 0; }
"""


def test_graphics_cards_are_read_as_nvml_tells_them(tmp_path: Path) -> None:
    """A library with NVML's documented calls, for a machine that has no card."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("a C compiler is missing; the native build of this project needs one too")
    source, library = tmp_path / "nvml.c", tmp_path / "libnvml.so"
    source.write_text(NVML)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    found = cards(str(library))
    assert found == [Card(0, 1000.0, 10.0, 0.25), Card(1, 2000.0, 20.0, 0.5)]
    told = [(gauge.name, sample) for gauge in card_gauges(found) for sample in gauge.samples]
    values = {(name, sample.labels["gpu"]): sample.value for name, sample in told}
    assert values["llm_gpu_memory_bytes", "1"] == 2000
    assert values["llm_gpu_memory_used_bytes", "0"] == 10
    assert values["llm_gpu_utilization_ratio", "1"] == 0.5


def test_without_the_library_there_are_no_cards() -> None:
    assert cards("libnothing-of-this-name.so") == []
    assert list(card_gauges([])) == []
