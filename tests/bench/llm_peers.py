"""The servers that are measured against each other, each a process on loopback."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

SLOTS = 8
XLLAMACPP = """
import sys, time, xllamacpp as x
p = x.CommonParams()
p.model.path = sys.argv[1]
p.port, p.n_parallel, p.n_ctx = int(sys.argv[2]), {slots}, {slots} * int(sys.argv[4])
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(sys.argv[3])
p.no_extra_bufts = True
p.kv_unified = False
p.model_alias = "m"
server = x.Server(p)
time.sleep(1e6)
"""


def free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(
    name: str, model: Path, port: int, threads: int, context: int
) -> tuple[list[str], dict[str, str]]:
    """How to start a server, and its environment."""
    if name == "loopyard":
        settings = {"MODEL": model, "PORT": port, "THREADS": threads, "SLOTS": SLOTS, "CONTEXT": context}
        # A random model repeats itself, which would flatter drafts.
        settings["SPECULATION"] = "false"
        env = {f"LLM_{key}": str(value) for key, value in settings.items()}
        return [sys.executable, "-m", "llm_server", "serve"], {**env, "LLM_EMBEDDINGS": "false"}
    if name == "llama_cpp.server":
        options = {
            "model": model,
            "port": port,
            "n_threads": threads,
            "n_threads_batch": threads,
            "n_ctx": context,
        }
        flags = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return [sys.executable, "-m", "llama_cpp.server", *flags, "--interrupt_requests", "False"], {}
    script = XLLAMACPP.format(slots=SLOTS)
    return [sys.executable, "-c", script, str(model), str(port), str(threads), str(context)], {}


@contextmanager
def serving(name: str, model: Path, threads: int, context: int) -> Iterator[tuple[str, int]]:
    """Base URL and process id of a running server. RuntimeError with its log where it does not start."""
    port = free_port()
    words, env = command(name, model, port, threads, context)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(words, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                if process.poll() is not None:
                    break
                if answers(url):
                    yield url, process.pid
                    return
                time.sleep(0.1)
            log.seek(0)
            raise RuntimeError(f"{name} did not start: {log.read()[-800:]}")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    """Whether a completion comes back."""
    try:
        body = {"model": model_id(url), "prompt": "hi", "max_tokens": 1}
        return httpx.post(f"{url}/v1/completions", json=body, timeout=30).status_code == 200
    except (httpx.TransportError, KeyError, IndexError, ValueError):
        return False


def model_id(url: str) -> str:
    """The first model of /v1/models."""
    return str(httpx.get(f"{url}/v1/models", timeout=5).json()["data"][0]["id"])
