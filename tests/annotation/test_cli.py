"""`loopyard annotate` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotation.errors import AnnotationError, BadPairs
from annotation.label_studio import LabelStudio
from annotation.pair_files import read_rows, read_tasks
from annotation.places import since
from annotation.record import Record
from annotation.tasks import Judgement
from tests.annotation.conftest import Studio, free_port
from tests.annotation.tasks import a_task, judged, side_of
from tests.annotation.test_pairs import answered, asked, generation, send, thumb
from tests.annotation.test_pull import annotate, results
from tests.contracts.langfuse_server import TraceServer, trace_server
from tests.llm_server.processes import process

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[2]
Run = subprocess.CompletedProcess[str]


def loopyard(data: Path, *arguments: str, **variables: str) -> Run:
    env = {**os.environ, "COLUMNS": "200", "LOOPYARD_DATA": str(data), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "gateway.cli", "annotate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=data, env=env, timeout=300)


def known(server: Studio) -> dict[str, str]:
    return {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": server.token}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines: list[dict[str, Any]] = [
        {"prompt": f"What is {n} + 1?", "answers": [f"{n + 1}", f"It is {n + 1}."]} for n in range(12)
    ]
    lines[0]["better"] = 1
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceServer]:
    with trace_server(tmp_path_factory.mktemp("traces")) as found:
        yield found


def test_help_teaches_with_an_example_each(tmp_path: Path) -> None:
    text = loopyard(tmp_path, "--help").stdout
    for name in ("serve", "push", "pull", "export", "quality"):
        assert name in text
        assert "Example" in loopyard(tmp_path, name, "--help").stdout


def test_a_file_of_pairs_goes_out_and_comes_back_as_a_dataset(
    server: Studio, studio: LabelStudio, tmp_path: Path, pairs: Path, title: str
) -> None:
    where = ("--project", title)
    first = loopyard(tmp_path, "push", *where, "--pairs", str(pairs), "--again", "0", **known(server))
    assert first.returncode == 0, first.stderr
    assert "12 tasks pushed, 0 were there" in first.stdout
    again = loopyard(tmp_path, "push", *where, "--pairs", str(pairs), "--again", "0", **known(server))
    assert "0 tasks pushed, 12 were there" in again.stdout
    record = Record(tmp_path / "annotation" / title)
    given = [{"task_id": task.task_id, "result": results("left"), "lead_time": 3} for task in record.tasks()]
    annotate(server, studio.project(title), tmp_path, *given)
    pulled = loopyard(tmp_path, "pull", *where, **known(server))
    assert "12 judgements, 11 preferences" in pulled.stdout, pulled.stderr
    told = json.loads(loopyard(tmp_path, "quality", *where, "--json").stdout)
    assert (told["judged"], told["gold"]["judged"], told["median_seconds"]) == (12, 1, 3)
    assert "12 of 12 tasks judged" in loopyard(tmp_path, "quality", *where).stdout
    for to, name in (("trl", "train.jsonl"), ("trlx", "train.jsonl"), ("csv", "train.csv")):
        out = tmp_path / to
        done = loopyard(tmp_path, "export", *where, "--format", to, "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert "# Preferences" in (out / "README.md").read_text()
        assert sorted(p.name for p in out.iterdir())[:2] == ["README.md", name.replace("train", "held_out")]
        assert (out / name).stat().st_size
    row = json.loads((tmp_path / "trl" / "train.jsonl").read_text().splitlines()[0])
    assert set(row) == {"prompt", "chosen", "rejected", "tools"}


def test_traces_become_pairs_with_second_answers(
    server: Studio, studio: LabelStudio, traces: TraceServer, tmp_path: Path, title: str
) -> None:
    send(
        traces,
        [
            generation("a", 1, asked("Where?"), answered("Here.")),
            generation("b", 2, asked("Where?"), answered("There.")),
            generation("c", 3, asked("Who?"), answered("Me.")),
        ],
        [thumb("a", 1, True), thumb("b", 2, False)],
    )
    keys = {"LANGFUSE_PUBLIC_KEY": traces.public_key, "LANGFUSE_SECRET_KEY": traces.secret_key}
    known_ = {**known(server), "LANGFUSE_HOST": traces.host, **keys}
    (tmp_path / "llm").mkdir()
    with process({"LLM_BACKEND": "echo", "LLM_DATA": str(tmp_path / "llm")}) as (_, url):
        options = ("--project", title, "--since", "2026-01-01", "--again", "0", "--model-url", f"{url}/v1")
        refused = loopyard(tmp_path, "push", *options, "--model", "nobody", **known_)
        assert refused.returncode == 1
        assert "nobody" in refused.stderr
        name = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"]
        done = loopyard(tmp_path, "push", *options, "--model", name, **known_)
    assert done.returncode == 0, done.stderr
    assert "1 preferences of users, 0 pairs, 1 answers alone" in done.stdout
    assert "1 tasks pushed" in done.stdout
    (task,) = Record(tmp_path / "annotation" / title).tasks()
    assert {side_of(task, "Me."), side_of(task, "Who?")} == {"left", "right"}
    annotate(server, studio.project(title), tmp_path, {"task_id": task.task_id, "result": results("left")})
    pulled = loopyard(tmp_path, "pull", "--project", title, **known_).stdout
    assert "1 judgements, 2 preferences" in pulled
    # The second answer has a trace of its own, and is judged as well.
    assert "Scores in the trace store: 2 new, changed or taken back" in pulled
    auth, params = (traces.public_key, traces.secret_key), {"name": "preference", "fields": "subject"}
    found = httpx.get(f"{traces.host}/api/public/v3/scores", params=params, auth=auth, trust_env=False)
    values = {score["subject"]["traceId"]: score["value"] for score in found.json()["data"]}
    assert sorted(values.values()) == ["chosen", "rejected"]
    assert values["c" * 32] == ("chosen" if side_of(task, "Me.") == "left" else "rejected")


def test_nothing_is_pushed_of_a_file_with_a_bad_line(tmp_path: Path, pairs: Path) -> None:
    with pairs.open("a") as file:
        file.write(
            '{"prompt": "x", "answers": ["same", "same"]}\n{"prompt": 3, "answers": ["a", "b"]}\nno json\n'
        )
    done = loopyard(tmp_path, "push", "--pairs", str(pairs), LABEL_STUDIO_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "3 lines are bad" in done.stderr
    assert "line 13: " in done.stderr
    assert "both answers are the same" in done.stderr
    assert "line 14: prompt is neither a text nor a list of messages" in done.stderr
    assert "line 15: is not JSON" in done.stderr
    assert '"answers": ["Four weeks.", "It depends."]' in done.stderr
    assert not (tmp_path / "annotation").exists()


def test_without_label_studio_the_remedy_is_named(tmp_path: Path, pairs: Path) -> None:
    done = loopyard(tmp_path, "push", "--pairs", str(pairs))
    assert (done.returncode, done.stdout) == (1, "")
    assert "loopyard annotate serve" in done.stderr
    dead = loopyard(tmp_path, "pull", LABEL_STUDIO_URL="http://127.0.0.1:9", LABEL_STUDIO_API_KEY="5ec2e7")
    assert dead.returncode == 1
    assert "no Label Studio answers at http://127.0.0.1:9" in dead.stderr.replace("No", "no")
    assert "5ec2e7" not in dead.stderr
    assert "Traceback" not in done.stderr + dead.stderr


def test_on_a_full_disk_nothing_is_pushed_and_nothing_lost(
    server: Studio, tmp_path: Path, pairs: Path, title: str
) -> None:
    given = ("push", "-p", title, "--pairs", str(pairs), "--again", "0")
    # The kernel refuses every byte to a file, as it does on a disk that is full.
    script = 'ulimit -f 0; exec "$0" -m gateway.cli annotate "$@"'
    env = {**os.environ, **known(server), "LOOPYARD_DATA": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", script, sys.executable, *given]
    full = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=300)
    assert full.returncode == 1
    assert "cannot be written" in full.stderr
    assert "Make room" in full.stderr
    assert "Traceback" not in full.stderr
    assert "12 tasks pushed, 0 were there" in loopyard(tmp_path, *given, **known(server)).stdout


def test_a_wrong_token_is_told_without_itself(server: Studio, tmp_path: Path, pairs: Path) -> None:
    given = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": "5ec2e7" * 6}
    done = loopyard(tmp_path, "push", "--pairs", str(pairs), **given)
    assert done.returncode == 1
    assert "does not take the token" in done.stderr
    assert "5ec2e7" not in done.stderr


def test_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = loopyard(tmp_path, "pull", ANNOTATION_LABELSTUDIO_URL="x")
    assert done.returncode == 1
    assert "ANNOTATION_LABELSTUDIO_URL" in done.stderr
    assert "ANNOTATION_LABEL_STUDIO_URL" in done.stderr


def test_export_of_nothing_and_to_nowhere(tmp_path: Path) -> None:
    done = loopyard(tmp_path, "export", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "has no preferences" in done.stderr
    row = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
    (tmp_path / "rows.jsonl").write_text(row)
    (tmp_path / "file").write_text("")
    given = ("--pairs", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "file" / "out"))
    done = loopyard(tmp_path, "export", *given)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_quality_of_files(tmp_path: Path) -> None:
    tasks = [a_task(number) for number in range(3)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(task.plain()) + "\n" for task in tasks))
    told: list[Judgement] = [judged(task, "left", who) for task in tasks for who in ("ann", "bob")]
    (tmp_path / "j.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in told))
    files = ("--pairs", str(tmp_path / "tasks.jsonl"), "--judgements", str(tmp_path / "j.jsonl"))
    found = json.loads(loopyard(tmp_path, "quality", *files, "--json").stdout)
    assert (found["judgements"], found["agreement"]["pairs_judged_by_several"]) == (6, 3)
    alone = loopyard(tmp_path, "quality", *files[:2])
    assert alone.returncode == 1
    assert "belong together" in alone.stderr


def test_a_label_studio_of_our_own_starts_takes_pairs_and_stops(tmp_path: Path, pairs: Path) -> None:
    port, env = free_port(), {**os.environ, "LOOPYARD_DATA": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gateway.cli", "annotate", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            told = next((line for line in serving.stdout if "Label Studio: " in line), "")
            assert told.strip().endswith(f"http://127.0.0.1:{port}")
            done = loopyard(tmp_path, "push", "--pairs", str(pairs), "--again", "0")
            assert "12 tasks pushed" in done.stdout, done.stderr
            for name in ("label-studio-token", "label-studio-password"):
                file = tmp_path / "secrets" / name
                assert file.stat().st_mode & 0o777 == 0o600
                assert file.read_text().strip() not in done.stdout + done.stderr
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.communicate(timeout=60)
    assert serving.returncode == 0
    assert not (tmp_path / "run" / "label-studio.json").exists()
    gone = loopyard(tmp_path, "pull")
    assert "loopyard annotate serve" in gone.stderr


def test_files_may_hold_pairs_rows_and_tasks(tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    messages = [{"role": "user", "content": "a"}]
    lines: list[dict[str, Any]] = [
        {"prompt": messages, "answers": ["b", "c"], "pair_id": "one", "user": "u"},
        {"prompt": "a", "chosen": "b", "rejected": "d", "pair_id": "two"},
        a_task(3).plain(),
        {"prompt": messages, "answers": ["c", "b"], "pair_id": "one"},
    ]
    file.write_text("\ufeff" + "\r\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert [task.task_id for task in read_tasks(file)] == ["one", "two", "pair-3"]
    assert read_tasks(file)[2] == a_task(3)
    file.write_text(json.dumps(lines[0]) + "\n" + json.dumps({**lines[1], "pair_id": "one"}))
    with pytest.raises(BadPairs, match=r"line 2.*another pair"):
        read_tasks(file)
    with pytest.raises(BadPairs, match="line 1: has no chosen"):
        read_rows(file)


def test_following_tells_of_each_judgement_until_it_is_stopped(
    server: Studio, studio: LabelStudio, tmp_path: Path, pairs: Path, title: str
) -> None:
    loopyard(tmp_path, "push", "-p", title, "--pairs", str(pairs), "--again", "0", **known(server))
    env = {**os.environ, **known(server), "LOOPYARD_DATA": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gateway.cli", "annotate", "pull", "-p", title, "--follow"]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None
            assert any("0 judgements" in line for line in following.stdout)
            task = Record(tmp_path / "annotation" / title).tasks()[1]
            given = {"task_id": task.task_id, "result": results("left")}
            annotate(server, studio.project(title), tmp_path, given)
            assert any("1 judgements, 1 preferences" in line for line in following.stdout)
            following.send_signal(signal.SIGINT)
            assert "Stopped." in following.communicate(timeout=120)[0]
        finally:
            following.kill()
    assert following.returncode == 0
    code = "print(json.dumps([w.url for w in ls.webhooks.list(project=int(sys.argv[1]))]))"
    assert server.sdk(code, str(studio.project(title))) == []


def test_times_are_dates_or_so_long_ago() -> None:
    assert since("2h") > since("1d") > since("2w")
    assert since("2026-11-02").tzinfo is not None
    with pytest.raises(AnnotationError, match="'soon' is no time"):
        since("soon")
