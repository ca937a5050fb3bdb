"""The process: commands, signals, a port that is taken."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai

from llm_server.serve import _listen
from llm_server.settings import Settings
from tests.llm_server.processes import ROOT, command, process


def test_sigterm_lets_a_stream_finish_and_ends_in_order(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    model = tiny("f16")
    settings = {"LLM_MODEL": str(model), "LLM_DATA": str(tmp_path), "LLM_EMBEDDINGS": "false"}
    with process(settings) as (server, url), openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:
        stream = client.chat.completions.create(
            model=model.stem,
            messages=[{"role": "user", "content": "go on"}],
            stream=True,
            max_tokens=300,
            temperature=1,
            extra_body={"ignore_eos": True},
        )
        chunks = iter(stream)
        next(chunks)
        server.send_signal(signal.SIGTERM)
        reasons = [chunk.choices[0].finish_reason for chunk in chunks]
        assert reasons[-1] == "length"
        assert server.wait(20) == 0


def test_sighup_follows_the_files_again(tmp_path: Path) -> None:
    """Whatever the watch has seen: a refused edit is refused once more."""
    file = tmp_path / "models.yaml"
    file.write_text("models: [{id: first, engine: echo}]\n")
    settings = {"LLM_CONFIG": str(file), "LLM_DATA": str(tmp_path), "LLM_BACKEND": "echo"}
    with process(settings) as (server, url):

        def refused_after(before: float) -> float:
            for _ in range(600):
                refused = httpx.get(f"{url}/admin/config").json()["refused"]
                if refused is not None and refused["at"] > before:
                    return float(refused["at"])
                time.sleep(0.05)
            raise AssertionError("nothing was read")

        file.write_text("models: [\n")
        watched = refused_after(0)
        server.send_signal(signal.SIGHUP)
        assert refused_after(watched) > watched
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_an_edit_of_the_keys_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("[{name: a, key: old}]")
    settings = {"LLM_KEYS_FILE": str(file), "LLM_DATA": str(tmp_path), "LLM_BACKEND": "echo"}
    with process(settings) as (_, url):

        def status(key: str) -> int:
            return httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

        assert (status("old"), status("new")) == (200, 401)
        (tmp_path / "beside").write_text("[{name: a, key: new}]")
        (tmp_path / "beside").replace(file)
        for _ in range(600):
            if status("new") == 200:
                break
            time.sleep(0.05)
        assert (status("old"), status("new")) == (401, 200)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {**os.environ, "LLM_BACKEND": "echo", "LLM_PORT": str(taken.getsockname()[1])}
        done = subprocess.run(
            command("serve"), cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
    assert done.returncode == 3
    assert "Cannot listen" in done.stderr
    assert "LLM_PORT" in done.stderr


def test_a_model_that_is_missing_ends_the_process_with_a_reason() -> None:
    env = {**os.environ, "LLM_MODEL": "/nowhere/x.gguf", "LLM_PORT": "0"}
    done = subprocess.run(command("serve"), cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "There is no model at /nowhere/x.gguf" in done.stderr


def test_settings_that_are_wrong_are_explained() -> None:
    env = {**os.environ, "LLM_HOST": "0.0.0.0", "LLM_TYPO": "1"}
    done = subprocess.run(command("serve"), cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "LLM_TYPO" in done.stderr


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    """asyncio sets TCP_NODELAY on what a listener accepts only where the listener names TCP."""
    with _listen(Settings(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP
