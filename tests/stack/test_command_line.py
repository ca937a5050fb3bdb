"""The command line on a running installation."""

import json
from pathlib import Path

from rlhf.jobs import Jobs, State
from tests.stack.conftest import Stack, free_ports, loopyard, until


def test_a_question_about_documents_comes_with_its_source(stack: Stack) -> None:
    # Where the small model looks by itself is the trial's business, so the agent is named.
    answer = stack.chat("How many days of annual leave does every employee have?", "--agent", "documents")
    assert answer["answer"]
    assert answer["project"] == "demo"
    assert answer["agent"] == "documents"
    assert answer["timings"]["total_ms"] > 0
    assert answer["usage"]["total_tokens"] > 0
    searches = [call for call in answer["tool_calls"] if call["name"] == "rag_search"]
    assert searches
    assert searches[0]["ok"]
    assert "28 days" in searches[0]["result"]["text"]
    # Which passage the small model picks is the trial's business; that its quote stands there is ours.
    assert any(source["verified"] for source in answer["sources"])


def test_a_question_about_the_database_shows_its_sql_and_figures(stack: Stack) -> None:
    answer = stack.chat("How many customers are there?", "--agent", "data-analyst")
    queries = [call for call in answer["tool_calls"] if call["name"] == "sql_query"]
    assert queries
    assert queries[0]["ok"]
    assert queries[0]["result"]["structured"]["columns"]
    assert queries[0]["result"]["structured"]["sql"].startswith("SELECT ")


def test_without_json_steps_and_answer_are_shown(stack: Stack) -> None:
    question = "How many days of annual leave does every employee have?"
    done = stack.loopyard("chat", question, "--agent", "documents")
    assert done.returncode == 0
    assert "rag_search(query=" in done.stdout
    assert ".md > " in done.stdout


def test_an_unknown_agent_or_project_is_named_on_stderr_only(stack: Stack) -> None:
    done = stack.loopyard("chat", "hi", "--agent", "oracle", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "oracle" in done.stderr
    done = stack.loopyard("chat", "hi", "--project", "nowhere", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere" in done.stderr


def test_ingest_is_incremental_and_reports_what_failed(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.md").write_text("# A\n\nAlpha is the first letter.\n")
    (tmp_path / "deep" / "a.md").write_text("# A again\n\nAlef is the first letter, too.\n")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    done = stack.loopyard("ingest", str(tmp_path), "--project", "letters")
    assert done.returncode == 1
    assert "Made the project letters" in done.stdout
    assert "2 added, 0 unchanged, 1 of other kinds skipped, 2 failed" in done.stdout
    assert "broken.pdf" in done.stdout
    assert "empty.txt" in done.stdout
    (tmp_path / "broken.pdf").unlink()
    (tmp_path / "empty.txt").unlink()
    (tmp_path / "a.md").write_text("# A\n\nAlpha is a Greek letter.\n")
    done = stack.loopyard("ingest", str(tmp_path), "--project", "letters")
    assert done.returncode == 0
    assert "1 added, 1 unchanged" in done.stdout
    with stack.http() as http:
        found = http.post(
            "/tool_call",
            json={"name": "rag_search", "arguments": {"query": "first letter"}, "project": "letters"},
        ).json()
    texts = [hit["text"] for hit in found["structured"]["hits"]]
    assert any("Alef" in text for text in texts)
    assert any("Greek" in text for text in texts)
    assert not any("Alpha is the first" in text for text in texts)


def test_databases_are_listed_and_a_wrong_one_is_refused(stack: Stack, tmp_path: Path) -> None:
    listed = stack.loopyard("databases", "list", "--project", "demo").stdout
    assert "shop" in listed
    assert "sqlite" in listed
    (tmp_path / "no.sqlite").write_text("this is no database")
    done = stack.loopyard("databases", "add", "no", "sqlite:///no.sqlite", "--project", "demo", cwd=tmp_path)
    assert done.returncode == 1
    assert "no" in done.stderr
    done = stack.loopyard("databases", "add", "crm", "postgresql://u:hidden@127.0.0.1:9/x", "-p", "demo")
    assert done.returncode == 1
    assert "hidden" not in done.stdout + done.stderr


def test_status_and_doctor_see_a_healthy_installation(stack: Stack) -> None:
    done = stack.loopyard("status", "--json")
    assert done.returncode == 0
    assert [service["state"] for service in json.loads(done.stdout)["services"]] == ["ready"] * 5
    done = stack.loopyard("doctor")
    assert "accepted as admin" in done.stdout
    assert "prepared" in done.stdout
    assert "chats use loopyard-starter" in done.stdout


def test_a_second_up_names_the_first_and_a_taken_port_its_owner(stack: Stack, tmp_path: Path) -> None:
    done = stack.loopyard("up")
    assert done.returncode == 1
    assert f"already run by process {stack.process.pid}" in done.stderr
    port = stack.url.rpartition(":")[2]
    done = loopyard("up", "--data", str(tmp_path / "other"), *free_ports(), "--gateway-port", port)
    assert done.returncode == 1
    assert f"Port {port} is taken by process {stack.pid('gateway')}" in done.stderr


def test_the_worker_verifies_the_models_that_are_served(stack: Stack) -> None:
    with Jobs(stack.data / "jobs") as jobs:
        job_id = jobs.ask_for_check(stack.data / "jobs", stack.data / "models")
        until(lambda: jobs.get(job_id).state not in (State.QUEUED, State.RUNNING))
        job = jobs.get(job_id)
    assert job.state is State.DONE, job.error
    assert len(job.result) >= 2
