"""A gateway whose datasets and models lie in buckets: found again, erased there too, read from s3://."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastmcp.exceptions import ToolError
from typer.testing import CliRunner

from gateway.cli import app
from gateway.services import service_environment
from rlhf.objects.depots import open_depots
from rlhf.objects.registry import registry_of
from rlhf.objects.settings import Settings as ObjectSettings
from tests.gateway.conftest import clerk
from tests.gateway.service import Gateway, neighbours, running, settings, until
from tests.gateway.test_erasure import ADA, SECRET, USER, rows
from tests.gateway.worker import preferences
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.objects import server

DATASETS, REGISTRY = "/api/v1/datasets", "/api/v1/models-registry"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with server.s3_server() as url:
        yield url


@pytest.fixture
def s3(endpoint: str) -> ObjectSettings:
    return server.fresh(endpoint)


@pytest_asyncio.fixture(loop_scope="module")
async def kept(s3: ObjectSettings, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with an object store."""
    async with (
        neighbours(tmp_path, clerk) as (model, tools),
        running(settings(tmp_path / "data", s3=s3), model, tools) as gateway,
    ):
        yield gateway


async def upload(gateway: Gateway, name: str, content: bytes) -> httpx2.Response:
    return await gateway.client.post(DATASETS, files={"file": (name, content)})


def everything(s3: ObjectSettings) -> bytes:
    """All that the buckets hold."""
    return b"".join(server.got(s3, bucket, key) for bucket in s3.buckets for key in server.keys(s3, bucket))


async def test_a_dataset_outlives_the_local_copy_and_goes_with_its_row(kept: Gateway) -> None:
    s3, content = kept.settings.s3, preferences(5)
    sent = await upload(kept, "pairs.jsonl", content)
    assert sent.status_code == 201, sent.text
    shutil.rmtree(kept.settings.objects)
    (kept.settings.objects / "datasets").mkdir(parents=True)
    got = await kept.client.get(f"{DATASETS}/pairs/download")
    assert got.content == content
    ranged = await kept.client.get(f"{DATASETS}/pairs/download", headers={"Range": "bytes=0-9"})
    assert (ranged.status_code, ranged.content) == (206, content[:10])
    assert (await kept.client.post(f"{DATASETS}/pairs/validate")).json()["rows"] == 5
    assert server.keys(s3, s3.datasets) != []
    assert (await kept.client.delete(f"{DATASETS}/pairs")).status_code == 204
    assert server.keys(s3, s3.datasets) == []
    assert not list((kept.settings.objects / "datasets").glob("[0-9a-f]*"))


async def test_equal_content_of_two_names_stays_until_the_last_one_goes(kept: Gateway) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        assert (await upload(kept, name, preferences(5))).status_code == 201
    assert (await upload(kept, "one.jsonl", preferences(6))).status_code == 409
    assert (await kept.client.delete(f"{DATASETS}/one")).status_code == 204
    assert (await kept.client.get(f"{DATASETS}/two/download")).content == preferences(5)
    assert (await kept.client.delete(f"{DATASETS}/two")).status_code == 204
    assert server.keys(kept.settings.s3, kept.settings.s3.datasets) == []


async def test_an_altered_dataset_is_an_error_and_no_download(kept: Gateway) -> None:
    s3 = kept.settings.s3
    item = (await upload(kept, "pairs.jsonl", preferences(5))).json()
    shutil.rmtree(kept.settings.objects / "datasets" / item["digest"])
    server.put(s3, s3.datasets, f"{item['digest']}/{item['digest']}", preferences(5)[::-1])
    got = await kept.client.get(f"{DATASETS}/pairs/download")
    assert (got.status_code, got.json()["error"]["code"]) == (502, "object_store_failed")
    assert "was altered: delete it" in got.json()["error"]["message"]
    assert (await kept.client.delete(f"{DATASETS}/pairs")).status_code == 204


async def test_a_store_that_is_away_registers_nothing_and_chats_go_on(
    s3: ObjectSettings, tmp_path: Path
) -> None:
    away = s3.model_copy(update={"endpoint": "http://127.0.0.1:1", "seconds": 0.3})
    async with neighbours(tmp_path, clerk) as (model, tools):
        async with running(settings(tmp_path / "data", s3=away), model, tools) as gateway:
            sent = await upload(gateway, "pairs.jsonl", preferences(5))
            assert sent.status_code == 502
            assert "does not answer for s3://datasets-" in sent.json()["error"]["message"]
            assert server.SECRET not in sent.text
            assert (await gateway.client.get(DATASETS)).json()["items"] == []
            assert not list((gateway.settings.objects / "datasets").glob("[0-9a-f]*"))
            assert [name for name, _ in await gateway.chat("hello")][-1] == "done"
        # What was refused can be sent again once the store is back.
        async with running(settings(tmp_path / "data", s3=s3), model, tools) as gateway:
            assert (await upload(gateway, "pairs.jsonl", preferences(5))).status_code == 201


async def fetched(gateway: Gateway, address: str, **more: str) -> httpx2.Response:
    return await gateway.client.post(DATASETS, data={"source": address, **more})


async def test_rows_are_read_from_a_bucket_that_the_operator_names(kept: Gateway) -> None:
    s3 = kept.settings.s3
    bucket = server.source_of(s3)
    server.put(s3, bucket, "open/2026/feedback.jsonl", preferences(7))
    address = f"s3://{bucket}/open/2026/feedback.jsonl"
    made = await fetched(kept, address)
    assert made.status_code == 201, made.text
    assert (made.json()["name"], made.json()["rows"], made.json()["format"]) == ("feedback", 7, "jsonl")
    assert (await fetched(kept, address)).status_code == 200
    server.put(s3, bucket, "open/table", b"text,label\na,b\n")
    assert (await fetched(kept, f"s3://{bucket}/open/table", name="t")).json()["format"] == "csv"
    server.put(s3, bucket, "open/junk", b"PK\x03\x04")
    assert "is a ZIP archive" in (await fetched(kept, f"s3://{bucket}/open/junk")).json()["error"]["message"]
    for refused in (
        f"s3://{s3.datasets}/a",
        f"s3://{bucket}/closed/a",
        "s3://localhost:8000/a",
        "file:///etc",
    ):
        answer = await fetched(kept, refused, name="x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "source_refused"), answer.text
    assert (await kept.client.post(DATASETS, data={"name": "x"})).status_code == 400
    acts = (await kept.client.get("/api/v1/audit")).json()["items"]
    assert {one["action"] for one in acts} >= {"dataset.fetch", "dataset.fetch.failed"}
    assert address in {one["target"] for one in acts}


async def test_a_version_lies_in_the_bucket_and_is_erased_there(kept: Gateway, tmp_path: Path) -> None:
    s3 = kept.settings.s3
    # Another machine has trained on rows of hers, and built a dataset that this one has never seen.
    other = open_depots(s3, tmp_path / "other" / "objects", tmp_path / "other")
    pair: dict[str, Any] = {"pair_id": "p", "user": USER, "session": "s", "source": "choice"}
    folder = make_adapter(tmp_path / "made", 1)
    version = registry_of(tmp_path / "other", other.models).add("citing", folder, {"parent": None}, [pair])
    mine = (await upload(kept, "mine.jsonl", rows(USER))).json()
    theirs = other.datasets.root / mine["digest"]
    assert other.datasets.bring(theirs)
    step = other.artifacts.root / "ab12"
    step.mkdir(parents=True)
    (step / "rows.jsonl").write_bytes(rows(USER))
    other.artifacts.keep(step)

    async def seen() -> dict[str, Any] | None:
        found = await kept.client.get(f"{REGISTRY}/citing/versions/{version.short}")
        return dict(found.json()) if found.status_code == 200 else None

    assert (await until(seen))["digest"] == version.digest
    packed = await kept.client.get(f"{REGISTRY}/citing/versions/{version.short}/download")
    assert packed.content[:2] == b"PK"
    assert SECRET.encode() in everything(s3)
    done = await kept.client.delete(ADA)
    assert done.status_code == 200, done.text
    assert done.json()["unreached"] == []
    assert [one["digest"] for one in done.json()["datasets"]["withdrawn"]] == [mine["digest"]]
    assert done.json()["adapters"] == [f"citing@{version.short}"]
    left = everything(s3)
    assert SECRET.encode() not in left
    assert USER.encode() not in left
    # The other machine's copies follow.
    other.settle()
    assert not step.exists()
    assert [file.name for file in theirs.iterdir()] == ["manifest.json"]
    assert json.dumps(USER) not in (version.folder / "pairs.jsonl").read_text()


async def test_an_erasure_that_cannot_reach_the_store_says_so(s3: ObjectSettings, tmp_path: Path) -> None:
    down: list[bool] = []
    with server.line(s3.endpoint, lambda *_: bool(down)) as (line, _):
        shaky = s3.model_copy(update={"endpoint": line, "seconds": 0.5})
        async with (
            neighbours(tmp_path, clerk) as (model, tools),
            running(settings(tmp_path / "data", s3=shaky), model, tools) as gateway,
        ):
            assert (await upload(gateway, "mine.jsonl", rows(USER))).status_code == 201
            down.append(True)
            done = (await gateway.client.delete(ADA)).json()
            assert [(one["place"], one["what"]) for one in done["unreached"]] == [
                ("datasets", "the object store")
            ]
            assert "does not answer" in done["unreached"][0]["why"]
            assert SECRET.encode() in everything(s3)
            down.clear()
            again = (await gateway.client.delete(ADA)).json()
    assert again["unreached"] == []
    assert SECRET.encode() not in everything(s3)


def test_only_gateway_and_worker_get_the_keys_of_the_store() -> None:
    env = {"S3_SECRET_KEY": "a", "AWS_SECRET_ACCESS_KEY": "b", "PATH": "/bin"}
    for room in ("tools", "llm_server", "traces"):
        assert not {"S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"} & set(service_environment(room, {}, env))
    for room in ("gateway", "rlhf"):
        assert service_environment(room, {}, env)["S3_SECRET_KEY"] == "a"


def doctor(folder: Path) -> str:
    found = CliRunner().invoke(app, ["doctor", "--data", str(folder)])
    return " ".join(found.output.split())


def test_doctor_says_whether_the_buckets_can_be_read(
    s3: ObjectSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "objects" not in doctor(tmp_path / "data")
    for name, value in server.environment(s3).items():
        monkeypatch.setenv(name, value)
    assert f"✓ objects bucket {s3.models} of {s3.endpoint} can be read" in doctor(tmp_path / "data")
    monkeypatch.setenv("S3_MODELS", "not-made-yet")
    missing = "refuses s3://not-made-yet/: there is no such bucket; make it on the server"
    assert missing in doctor(tmp_path / "data")
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    told = doctor(tmp_path / "data")
    assert "http://127.0.0.1:1 does not answer" in told
    assert server.SECRET not in told
    monkeypatch.setenv("S3_SECRET_KEY", "")
    assert "S3_ENDPOINT needs S3_ACCESS_KEY and S3_SECRET_KEY" in doctor(tmp_path / "data")


async def test_the_tool_fetches_what_its_caller_may(working: Gateway) -> None:
    from tests.gateway.test_managed_tools import client

    key = await working.new_key(scopes=["tools", "manage"])
    async with client(working, key) as mcp:
        with pytest.raises(ToolError, match="cannot be read: set S3_ENDPOINT"):
            await mcp.call_tool("data_fetch", {"name": "a", "source": "s3://rows/a.jsonl"})
