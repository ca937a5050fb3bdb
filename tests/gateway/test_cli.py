"""The `loopyard` command as a user meets it, without a running installation; with one: tests/stack."""

import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gateway.cli_chat import collect, show
from gateway.cli_client import read_events
from gateway.cli_databases import absolute_url
from gateway.cli_errors import CommandError
from gateway.cli_ingest import find_files
from gateway.data_folder import open_data_folder
from gateway.demo_project import build_database
from gateway.lock import only_one
from gateway.services import Ports, build_services, read_environment

Run = subprocess.CompletedProcess[str]


def loopyard(*arguments: str, cwd: Path | None = None, **variables: str) -> Run:
    env = {**os.environ, "COLUMNS": "200", **variables}
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=60)


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_help_names_every_command_with_an_example() -> None:
    text = loopyard("--help").stdout
    for name in ("up", "status", "ingest", "databases", "chat", "doctor"):
        assert name in text
        assert loopyard(name, "--help").returncode == 0
    assert "loopyard ingest ~/contracts --project work" in text
    assert "sqlite:///shop.sqlite" in loopyard("databases", "add", "--help").stdout


def test_the_command_line_loads_no_service() -> None:
    code = "import sys, gateway.cli; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"fastapi", "sqlalchemy", "langchain", "torch", "httpx", "pydantic"} & set(loaded)


def test_without_an_installation_the_error_tells_how_to_start_one(tmp_path: Path) -> None:
    done = loopyard("chat", "hello", "--data", str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "admin-key does not exist" in done.stderr
    assert "`loopyard up`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("chat", "hello", "--json"), ("ingest", "VERSION", "-p", "x"), ("databases", "list", "-p", "x")],
)
def test_a_gateway_that_does_not_run_is_named_by_its_address(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    open_data_folder(tmp_path)
    (tmp_path / "run" / "gateway.json").write_text(json.dumps({"url": "http://127.0.0.1:9"}))
    done = loopyard(*arguments, cwd=tmp_path, LOOPYARD_DATA=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "No gateway answers at http://127.0.0.1:9" in done.stderr
    assert "start it with `loopyard up`" in done.stderr


def test_status_of_nothing(tmp_path: Path) -> None:
    done = loopyard("status", "--json", "--data", str(tmp_path))
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["running"] is False
    assert [service["state"] for service in found["services"]] == ["stopped"] * 5


def test_a_second_up_is_refused_and_names_the_first(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    with only_one(tmp_path / "run" / "up.lock", "The data folder"):
        done = loopyard("up", "--data", str(tmp_path))
    assert done.returncode == 1
    assert f"already run by process {os.getpid()}" in done.stderr


@pytest.mark.parametrize("flag", ["--gateway-port", "--llm-port", "--tools-port"])
def test_a_port_that_is_taken_is_named_with_its_owner_and_the_flag(
    tmp_path: Path, busy_port: int, flag: str
) -> None:
    done = loopyard("up", "--data", str(tmp_path), flag, str(busy_port))
    assert done.returncode == 1
    assert f"Port {busy_port} is taken by process {os.getpid()}" in done.stderr
    assert f"choose another one with {flag}" in done.stderr


def test_up_refuses_a_folder_of_a_newer_format(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    (tmp_path / "VERSION").write_text('{"format": 99}')
    done = loopyard("up", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "has format 99" in done.stderr


def test_doctor_names_what_is_wrong_and_the_remedy(tmp_path: Path, busy_port: int) -> None:
    data = open_data_folder(tmp_path)
    data.admin_key_file.chmod(0o644)
    done = loopyard("doctor", "--data", str(tmp_path), "--llm-port", str(busy_port))
    assert done.returncode == 1
    assert f"{busy_port} is taken by process {os.getpid()}" in done.stdout
    assert "choose another one with --llm-port" in done.stdout
    assert f"chmod 600 {data.admin_key_file}" in done.stdout
    assert "format 1" in done.stdout


def test_a_service_gets_its_own_settings_only(tmp_path: Path) -> None:
    data = open_data_folder(tmp_path)
    environment = {"PATH": "/bin", "GATEWAY_SECRET_KEY": "mine", "LLM_THREADS": "2", "TOOLS_PORT": "1"}
    services = {s.name: s.env for s in build_services(data, Ports(tools=9001), environment, model="m.gguf")}
    assert services["gateway"]["GATEWAY_SECRET_KEY"] == "mine"
    assert services["llm_server"]["LLM_THREADS"] == "2"
    assert services["llm_server"]["LLM_MODEL"] == "m.gguf"
    assert services["tools"]["TOOLS_PORT"] == "9001"
    assert services["tools"]["TOOLS_CONTEXT_KEY"] == services["gateway"]["GATEWAY_CONTEXT_KEY"]
    assert services["tools"]["TOOLS_LLM_API_KEY"] == services["llm_server"]["LLM_API_KEY"]
    assert services["traces"]["TRACES_PORT"] in services["gateway"]["GATEWAY_TRACES_URL"]
    assert "GATEWAY_LABEL_STUDIO_URL" not in services["gateway"]
    for name in ("LABEL_STUDIO_URL", "ANNOTATION_LABEL_STUDIO_URL"):
        env = build_services(data, Ports(), {**environment, name: "http://studio"})[3].env
        assert env["GATEWAY_LABEL_STUDIO_URL"] == "http://studio"
    strangers = {"tools": "GATEWAY_", "llm_server": "TOOLS_", "worker": "LLM_", "traces": "GATEWAY_"}
    for name, prefix in strangers.items():
        assert not [key for key in services[name] if key.startswith(prefix)]
        assert services[name]["PATH"] == "/bin"


def test_an_operators_file_of_models_is_served(tmp_path: Path) -> None:
    data = open_data_folder(tmp_path)
    environment = {"LLM_CONFIG": "/etc/loopyard/models.yaml"}
    env = build_services(data, Ports(), environment)[0].env
    assert env["LLM_CONFIG"] == "/etc/loopyard/models.yaml"
    assert "LLM_MODEL" not in env
    assert env["LLM_ADAPTER_FOLDERS"] == f"{data.path / 'jobs'},{data.path / 'adapters'}"
    with pytest.raises(CommandError, match="both say what is served"):
        build_services(data, Ports(), environment, model="m.gguf")


def test_a_folder_of_the_same_name_is_not_taken_for_a_service(tmp_path: Path) -> None:
    (tmp_path / "rlhf").mkdir()
    (tmp_path / "rlhf" / "__main__.py").write_text("print('not ours')")
    (tmp_path / "rlhf" / "__init__.py").touch()
    services = build_services(open_data_folder(tmp_path / "data"), Ports(), {**os.environ, "PYTHONPATH": ""})
    command, env = services[-1].command[:-1], services[-1].env
    done = subprocess.run([*command, "--help"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert "python -m rlhf" in done.stdout


def test_an_env_file_completes_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LLM_THREADS=3\nLLM_SLOTS=2\n")
    monkeypatch.setenv("LLM_SLOTS", "4")
    found = read_environment(tmp_path)
    assert (found["LLM_THREADS"], found["LLM_SLOTS"]) == ("3", "4")


def test_addresses_of_sqlite_files_become_absolute(tmp_path: Path) -> None:
    (tmp_path / "shop.sqlite").touch()
    (tmp_path / "here").mkdir()
    wanted = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    assert absolute_url("sqlite:///../shop.sqlite", tmp_path / "here") == wanted
    assert absolute_url("shop.sqlite", tmp_path) == wanted
    assert absolute_url(wanted, Path("/")) == wanted
    assert absolute_url("postgresql://u:p@h/d", tmp_path) == "postgresql://u:p@h/d"


@pytest.mark.parametrize("url", ["sqlite:///nowhere.sqlite", "nowhere"])
def test_an_address_that_leads_nowhere_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(CommandError, match="nowhere"):
        absolute_url(url, tmp_path)


def test_a_folder_is_searched_through(tmp_path: Path) -> None:
    for name in ("a.md", "deep/er/b.PDF", "deep/c.csv", ".git/d.md", "e.exe"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found, skipped = find_files(tmp_path)
    assert [c.name for c in found] == ["a.md", "deep/c.csv", "deep/er/b.PDF"]
    assert skipped == 1
    # A file that was named is always sent: whether it can be read is for the server to say.
    assert [c.name for c in find_files(tmp_path / "e.exe")[0]] == ["e.exe"]


def test_a_path_with_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"\.docx"):
        find_files(tmp_path)
    with pytest.raises(CommandError, match="does not exist"):
        find_files(tmp_path / "gone")


def test_events_are_read_from_a_stream() -> None:
    lines = [
        ": hello",
        "event: token",
        'data: {"text":',
        'data: "a: b"}',
        "",
        "",
        "event: done",
        "data: {}",
        "",
    ]
    assert list(read_events(iter(lines))) == [("token", {"text": "a: b"}), ("done", {})]


def an_answer() -> Iterator[tuple[str, dict[str, object]]]:
    """The events of one answer from a database."""
    yield "start", {"conversation_id": "c1", "agent": "data-analyst"}
    yield "route", {"route": "database"}
    yield "tool_call", {"id": "1", "name": "sql_query", "arguments": {"sql": "SELECT COUNT(*) FROM Track"}}
    table = {"columns": ["COUNT(*)"], "rows": [[3503]], "row_count": 1, "sql": "SELECT COUNT(*) FROM Track"}
    yield (
        "tool_result",
        {"id": "1", "name": "sql_query", "ok": True, "text": "", "structured": table, "ms": 2},
    )
    for text in ("There are ", "3503 tracks."):
        yield "token", {"text": text}
    source = {"n": 1, "document": "a.md", "page": 2, "section": None, "quote": "[b]tracks[/b]", "score": 0.5}
    yield "sources", {"items": [{**source, "verified": True}]}
    yield (
        "done",
        {"answer": "There are 3503 tracks.", "usage": {"total_tokens": 9}, "timings": {"total_ms": 8}},
    )


def test_an_answer_is_collected_into_one_object() -> None:
    found = collect(an_answer(), "data-analyst", "music")
    assert found["answer"] == "There are 3503 tracks."
    assert found["project"] == "music"
    assert found["route"] == "database"
    assert found["tool_calls"][0]["result"]["structured"]["rows"] == [[3503]]
    assert found["tool_calls"][0]["ok"] is True
    assert found["sources"][0]["document"] == "a.md"
    assert found["usage"] == {"total_tokens": 9}


def test_an_answer_is_shown_with_its_steps_table_and_sources() -> None:
    screen = io.StringIO()
    show(an_answer(), "data-analyst", "music", Console(file=screen, width=100))
    text = screen.getvalue()
    for part in ("sql_query(sql=", "SELECT COUNT(*)", "3503", "There are 3503 tracks.", "[1] a.md > page 2"):
        assert part in text
    assert "[b]tracks[/b]" in text


def test_an_error_in_the_stream_is_a_failure_and_so_is_a_stream_that_ends() -> None:
    error = ("error", {"message": "model_server is away", "code": "upstream", "retryable": True})
    with pytest.raises(CommandError, match="model_server is away; ask again"):
        collect(iter([error]), "general", "demo")
    with pytest.raises(CommandError, match="broke off"):
        collect(iter([("token", {"text": "Th"})]), "general", "demo")


def test_the_demo_database_is_built_again_when_its_script_changes(tmp_path: Path) -> None:
    import contextlib
    import sqlite3

    script = tmp_path / "shop.sql"
    for rows in (1, 2):
        script.write_text("CREATE TABLE t(a); INSERT INTO t VALUES" + ",".join(["(1)"] * rows))
        file = build_database(script, tmp_path / "demo" / "shop.sqlite")
        with contextlib.closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT COUNT(*) FROM t").fetchone() == (rows,)
