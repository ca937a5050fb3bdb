"""The file LLM_ENV_FILE: what is edited in it is in force, or waits for a restart and says so."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from llm_server.app import create_app
from llm_server.config.source import SettingsSource
from llm_server.errors import PreparationFailed
from tests.llm_server.config.conftest import replace_file
from tests.llm_server.processes import process

FIRST, SECOND = "first-key-of-the-file", "second-key-of-the-file"


@pytest.fixture
def env(tmp_path: Path) -> Iterator[tuple[Path, httpx.Client]]:
    """A server process of its own on a file, which names a key; asked as an admin."""
    file = tmp_path / "llm.env"
    write(file)
    given = {"LLM_ENV_FILE": str(file), "LLM_BACKEND": "echo", "LLM_DATA": str(tmp_path / "data")}
    with process(given | {"LLM_EMBEDDINGS": "false"}) as (_, url), httpx.Client(base_url=url) as http:
        yield file, http


def write(file: Path, **more: str) -> None:
    values = {"LLM_API_KEY": FIRST, "LLM_ADMIN_KEY": "admin-key-of-the-file", **more}
    replace_file(file, "# ours\n" + "".join(f"{name}={value}\n" for name, value in values.items()))


def wait_for(true: Callable[[], object]) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


def test_an_edit_is_followed_or_waits_for_a_restart(env: tuple[Path, httpx.Client]) -> None:
    file, http = env
    admin = {"authorization": "Bearer admin-key-of-the-file"}

    def asks(key: str) -> int:
        return http.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

    def config() -> dict[str, Any]:
        found: dict[str, Any] = http.get("/admin/config", headers=admin).json()
        return found

    assert (asks(FIRST), asks(SECOND)) == (200, 401)
    assert (config()["env_file"], config()["needs_restart"]) == (str(file), [])
    # A key, at once; nothing is loaded anew for it.
    loaded = config()["models"]
    write(file, LLM_API_KEY=SECOND)
    wait_for(lambda: (asks(FIRST), asks(SECOND)) == (401, 200))
    assert config()["models"] == loaded
    # Limits of the model, and its context.
    write(file, LLM_SLOTS="3", LLM_QUEUE="5", LLM_CONTEXT="128")
    wait_for(lambda: config()["models"][0]["slots"] == 3)
    assert config()["models"][0]["queue"] == 5
    card = http.get("/v1/models/echo", headers=admin).json()
    assert card["max_model_len"] == 128
    # A limit of bodies waits, and says so; taken back, nothing waits.
    write(file, LLM_MAX_BODY_MB="7")
    wait_for(lambda: config()["needs_restart"] == ["LLM_MAX_BODY_MB"])
    write(file)
    wait_for(lambda: config()["needs_restart"] == [])
    # What is wrong is refused as a whole, and what was in force stays.
    write(file, LLM_API_KEY=SECOND, LLM_SLOTS="many")
    wait_for(lambda: "LLM_SLOTS" in (config()["env_refused"] or ""))
    assert (asks(FIRST), asks(SECOND)) == (200, 401)
    answer = http.post("/admin/reload", headers=admin)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "config_refused")
    assert SECOND not in answer.text + str(config())
    write(file, LLM_API_KEY=SECOND)
    wait_for(lambda: config()["env_refused"] is None and asks(SECOND) == 200)


def test_keys_of_other_servers_come_from_it_too(tmp_path: Path) -> None:
    environment = {"LLM_ENV_FILE": str(tmp_path / "env"), "TAKEN": "by the environment"}
    (tmp_path / "env").write_text("OTHER_SERVERS_KEY='a b'\nTAKEN=by the file\n")
    source = SettingsSource({}, environment)
    source.read()
    assert environment["OTHER_SERVERS_KEY"] == "a b"
    assert environment["TAKEN"] == "by the environment"
    (tmp_path / "env").write_text("\n")
    source.read()
    assert "OTHER_SERVERS_KEY" not in environment


@pytest.mark.parametrize(("text", "line"), [("A=1\nno assignment\n", 2), ("='x\n", 1)])
def test_a_line_that_is_no_assignment_is_named_and_not_shown(tmp_path: Path, text: str, line: int) -> None:
    environment = {"LLM_ENV_FILE": str(tmp_path / "env")}
    (tmp_path / "env").write_text(text)
    with pytest.raises(ValueError, match=f"line {line}: it is no NAME=value") as refused:
        SettingsSource({}, environment).read()
    assert "assignment" not in str(refused.value)
    with pytest.raises(ValueError, match="cannot be read"):
        SettingsSource({}, {"LLM_ENV_FILE": str(tmp_path / "none")}).read()


def test_a_key_cannot_go_where_others_can_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the file says that the next start will listen on loopback."""
    env = tmp_path / "env"
    env.write_text("LLM_HOST=0.0.0.0\nLLM_API_KEY=a-long-random-key-1\nLLM_ADMIN_KEY=a-long-random-key-2\n")
    monkeypatch.setenv("LLM_ENV_FILE", str(env))
    monkeypatch.setenv("LLM_DATA", str(tmp_path / "data"))
    source = SettingsSource({"backend": "echo"})
    app = create_app(source.read(), source=source)
    env.write_text("")
    with pytest.raises(ValueError, match="anyone on the network could call"):
        app.state.live.follow()
    assert app.state.keys.caller("a-long-random-key-1") is not None
    app.state.responses.close()
    source.forget()


def test_a_change_of_the_key_of_another_server_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, file = tmp_path / "env", tmp_path / "models.yaml"
    far = {"id": "far", "upstream": [{"url": "http://127.0.0.1:9/v1", "key_env": "KEY_OF_FAR"}]}
    file.write_text(yaml.safe_dump({"models": [far], "embeddings": False}))
    env.write_text("KEY_OF_FAR=one\n")
    monkeypatch.setenv("LLM_ENV_FILE", str(env))
    monkeypatch.setenv("LLM_CONFIG", str(file))
    monkeypatch.setenv("LLM_DATA", str(tmp_path / "data"))
    source = SettingsSource({"backend": "echo"})
    app = create_app(source.read(), source=source)
    app.state.reloader.load()

    def key() -> str | None:
        found: str | None = app.state.catalog.get("far").pool.servers[0].spec.key
        return found

    assert key() == "one"
    env.write_text("KEY_OF_FAR=two\n")
    app.state.follow(unless_seen=True)
    assert key() == "two"
    env.write_text("")
    app.state.follow(unless_seen=True)
    assert key() == "two", "without a key the edit is refused, and what is in force stays"
    app.state.catalog.close()
    app.state.reloader.close()
    app.state.responses.close()
    source.forget()


def test_an_edit_that_meets_a_broken_file_of_models_is_followed_once_that_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, file = tmp_path / "env", tmp_path / "models.yaml"
    good = yaml.safe_dump({"models": [{"id": "a", "engine": "echo"}], "embeddings": False})
    file.write_text(good)
    env.write_text("LLM_SLOTS=1\n")
    monkeypatch.setenv("LLM_ENV_FILE", str(env))
    monkeypatch.setenv("LLM_CONFIG", str(file))
    monkeypatch.setenv("LLM_DATA", str(tmp_path / "data"))
    source = SettingsSource({"backend": "echo"})
    app = create_app(source.read(), source=source)
    app.state.reloader.load()
    file.write_text("models: [")
    env.write_text("LLM_SLOTS=3\n")
    app.state.follow(unless_seen=True)
    assert app.state.reloader.card()["refused"] is not None
    file.write_text(good)
    app.state.follow(unless_seen=True)
    card = app.state.reloader.card()
    assert (card["refused"], card["models"][0]["slots"]) == (None, 3)
    app.state.catalog.close()
    app.state.reloader.close()
    app.state.responses.close()
    source.forget()


def test_an_edit_that_the_keys_refuse_leaves_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, keys = tmp_path / "env", tmp_path / "keys.yaml"
    keys.write_text("keys: [{name: a, key: key-of-a}]")
    env.write_text("KEY_OF_FAR=one\n")
    for name, value in {"ENV_FILE": env, "KEYS_FILE": keys, "DATA": tmp_path / "data"}.items():
        monkeypatch.setenv(f"LLM_{name}", str(value))
    source = SettingsSource({"backend": "echo"})
    app = create_app(source.read(), source=source)
    env.write_text("KEY_OF_FAR=two\nLLM_SLOTS=3\n")
    keys.write_text("keys: [")
    with pytest.raises(PreparationFailed):
        app.state.live.follow()
    assert (os.environ["KEY_OF_FAR"], "LLM_SLOTS" in os.environ) == ("one", False)
    keys.write_text("keys: [{name: a, key: key-of-a}]")
    app.state.live.follow()
    assert os.environ["KEY_OF_FAR"] == "two"
    app.state.responses.close()
    source.forget()
