"""Datasets that are uploaded: inferred, checked, kept by content, downloaded in ranges, nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow
import pytest
from pyarrow import parquet

from gateway.middleware import MULTIPART_BYTES
from gateway.wiring import Services
from tests.gateway.conftest import clerk
from tests.gateway.service import ADMIN_KEY, Gateway, neighbours, running, settings
from tests.gateway.worker import preferences

DATASETS = "/api/v1/datasets"
CSV = "prompt,chosen,rejected\nWhy is the sky blue?,It scatters.,No idea.\n"


async def send(
    gateway: Gateway, name: str, content: bytes, project: str = "demo", key: str = ""
) -> httpx2.Response:
    headers = {"X-Project": project} | (gateway.key(key) if key else {})
    return await gateway.client.post(DATASETS, files={"file": (name, content)}, headers=headers)


async def project(gateway: Gateway, name: str) -> str:
    made = await gateway.client.post("/api/v1/projects", json={"name": name})
    assert made.status_code == 201, made.text
    return name


def stored(gateway: Gateway) -> list[Path]:
    return [file for file in (gateway.settings.objects / "datasets").rglob("*") if file.is_file()]


async def test_a_file_is_known_by_its_content(gateway: Gateway) -> None:
    name = await project(gateway, "known")
    sent = await send(gateway, "pairs.pdf", preferences(5), name)
    assert sent.status_code == 201, sent.text
    item = sent.json()
    assert (item["name"], item["format"], item["shape"], item["rows"]) == ("pairs", "jsonl", "preference", 5)
    again = await send(gateway, "pairs.pdf", preferences(5), name)
    assert (again.status_code, again.json()["id"]) == (200, item["id"])
    other = await send(gateway, "pairs.csv", CSV.encode(), name)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    shown = (await gateway.client.get(f"{DATASETS}/pairs", headers={"X-Project": name})).json()
    columns = {column["name"]: column for column in shown["facts"]["columns"]}
    assert columns["prompt"]["missing"] == 0
    assert columns["user"]["missing"] == 5


async def test_csv_and_parquet_are_read_too(gateway: Gateway, tmp_path: Path) -> None:
    name = await project(gateway, "formats")
    table = pyarrow.table({"text": ["one", "two", None], "label": ["a", "b", "a"]})
    parquet.write_table(table, tmp_path / "t")
    one = (await send(gateway, "a.txt", CSV.encode(), name)).json()
    two = (await send(gateway, "b.txt", (tmp_path / "t").read_bytes(), name)).json()
    assert (one["format"], one["shape"], one["rows"]) == ("csv", "preference", 1)
    assert (two["format"], two["shape"], two["rows"]) == ("parquet", "labels", 3)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "empty"),
        (b"a,b\nna\xefve,2\n", "is not UTF-8 at byte 6 (0xef)"),
        ("a,b\né,".encode() + b"\xe9\n", "mixes encodings"),
        (b"PK\x03\x04....", "is a ZIP archive"),
        (b"[1, 2]", "one JSON list"),
        (b"PAR1 nothing else", "no Parquet file"),
    ],
)
async def test_what_cannot_be_read_is_refused_and_leaves_nothing(
    gateway: Gateway, content: bytes, text: str
) -> None:
    before = stored(gateway)
    sent = await send(gateway, "bad.csv", content)
    assert sent.status_code == 400
    assert text in sent.json()["error"]["message"]
    assert str(gateway.settings.data) not in sent.text
    assert stored(gateway) == before


async def test_two_gigabytes_are_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    chosen = settings(tmp_path, upload_megabytes=1)
    async with neighbours(tmp_path, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        base = gateway.client.base_url
        reader, writer = await asyncio.open_connection(base.host, base.port)
        lines = [f"POST {DATASETS} HTTP/1.1", "Host: x", f"Content-Length: {2 << 30}"]
        lines += [f"Authorization: Bearer {ADMIN_KEY}", "Content-Type: multipart/form-data; boundary=b"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = await reader.read()  # without having sent one byte of the body
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413")
        sent = await send(gateway, "big.csv", b"a,b\n" + b"x,y\n" * (1 << 18))
        assert sent.status_code == 413
        assert stored(gateway) == []


def unlinked() -> set[str]:
    """Temporary files that this process holds open under no name: what a form keeps of an upload."""
    found = set()
    for number in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(number.readlink()))
    return {name for name in found if name.endswith("(deleted)") and "/tmp" in name}


async def test_an_upload_of_unknown_length_is_stopped_where_it_grows_too_large(tmp_path: Path) -> None:
    chosen, limit = settings(tmp_path, upload_megabytes=2), (2 << 20) + MULTIPART_BYTES
    async with neighbours(tmp_path, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        before, base = unlinked(), gateway.client.base_url
        reader, writer = await asyncio.open_connection(base.host, base.port)
        lines = [f"POST {DATASETS} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
        lines += [f"Authorization: Bearer {ADMIN_KEY}", "Content-Type: multipart/form-data; boundary=b"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.csv"\r\n\r\na,b\n'
        answer, sent = asyncio.create_task(reader.readuntil(b"}}")), 0
        for piece in (head, *[b"x,y\n" * (1 << 14)] * 1600):  # 100 MB, were it read to its end
            if answer.done():
                break
            with contextlib.suppress(ConnectionError):
                writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                await writer.drain()
            sent += len(piece)
            await asyncio.sleep(0)
        told = await asyncio.wait_for(answer, 20)
        writer.close()
        assert told.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in told.lower()
        error = json.loads(told.rpartition(b"\r\n\r\n")[2])["error"]
        assert (error["code"], error["message"]) == ("too_large", "The request is larger than 2 MB.")
        assert limit < sent < 20 * limit
        assert stored(gateway) == []
        assert list((gateway.settings.objects / "datasets").iterdir()) == []
        gc.collect()
        assert unlinked() <= before

        # One byte less than too much is taken, with the same encoding.
        async def body() -> AsyncIterator[bytes]:
            yield head
            yield b"x,y\n" * (1 << 18)
            yield b"\r\n--b--\r\n"

        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        taken = await gateway.client.post(DATASETS, content=body(), headers=kind)
        assert (taken.status_code, taken.json()["rows"]) == (201, 1 << 18), taken.text


async def test_names_never_leave_the_folder(gateway: Gateway) -> None:
    name = await project(gateway, "names")
    item = (await send(gateway, "../../../etc/passwd.csv", CSV.encode(), name)).json()
    assert item["name"] == "passwd"
    for bad in ("../up", "a/b", "=1", "x" * 101):
        sent = await gateway.client.post(
            DATASETS, files={"file": ("a.csv", CSV.encode())}, data={"name": bad}, headers={"X-Project": name}
        )
        assert sent.status_code == (422 if len(bad) > 100 else 400), (bad, sent.text)
    for bad in ("..%2F..%2Fgateway.db", "..", "%2e%2e"):
        got = await gateway.client.get(f"{DATASETS}/{bad}/download", headers={"X-Project": name})
        assert got.status_code in (404, 405), bad
    root = gateway.settings.objects / "datasets"
    assert all(file.is_relative_to(root) and len(file.parent.name) == 64 for file in stored(gateway))


async def test_findings_name_file_and_line(gateway: Gateway) -> None:
    name = await project(gateway, "checks")
    broken = preferences(3) + b"nonsense\n" + preferences(1) + b'{"prompt": []}\n'
    await send(gateway, "pairs.jsonl", broken, name)
    mail = "text,label\nwrite to ann@example.org please now,a\nwhat,b\nwhat,b\nno label,\n"
    await send(gateway, "labels.csv", mail.encode(), name)

    async def check(dataset: str) -> dict[str, Any]:
        done = await gateway.client.post(f"{DATASETS}/{dataset}/validate", headers={"X-Project": name})
        assert done.status_code == 200, done.text
        assert str(gateway.settings.data) not in done.text
        found = done.json()
        return {f["rule"]: (f["level"], f["count"], f["examples"][0]) for f in found["findings"]}

    found = await check("pairs")
    assert found["unreadable"][:2] == ("error", 2)
    assert found["unreadable"][2].startswith("pairs:4: is not JSON")
    assert found["exact duplicate"] == ("warning", 1, "pairs:5 is like pairs:1")
    found = await check("labels")
    assert found["missing value in label"] == ("error", 1, "labels:5")
    assert found["exact duplicate"] == ("warning", 1, "labels:4 is like labels:3")
    assert found["personal data: EMAIL"] == ("warning", 1, "labels:2")


async def test_a_check_knows_the_phone_numbers_of_the_countries_that_are_set(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await project(gateway, "phones")
    await send(
        gateway, "labels.csv", b"text,label\nring 044 668 18 00 please now,a\nsomething else,b\n", name
    )
    at, found = f"{DATASETS}/labels/validate", []
    for countries in ("US", "US,CH"):
        monkeypatch.setenv("RLHF_PII_REGIONS", countries)
        done = await gateway.client.post(at, headers={"X-Project": name})
        assert done.status_code == 200, done.text
        found.append([finding["rule"] for finding in done.json()["findings"]])
    assert found == [[], ["personal data: PHONE"]]


async def test_a_download_answers_ranges(gateway: Gateway) -> None:
    name = await project(gateway, "ranges")
    content = preferences(5)
    await send(gateway, "pairs.jsonl", content, name)
    at, headers = f"{DATASETS}/pairs/download", {"X-Project": name}
    whole = await gateway.client.get(at, headers=headers)
    assert (whole.status_code, whole.content) == (200, content)
    assert 'filename="pairs.jsonl"' in whole.headers["content-disposition"]
    part = await gateway.client.get(at, headers={**headers, "Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    beyond = await gateway.client.get(at, headers={**headers, "Range": f"bytes={len(content)}-"})
    assert beyond.status_code == 416
    train = await gateway.client.get(at, params={"part": "train"}, headers=headers)
    assert (train.status_code, train.json()["error"]["param"]) == (400, "part")


async def test_who_may_only_ask_agents_sees_no_dataset(gateway: Gateway) -> None:
    await send(gateway, "mine.csv", CSV.encode())
    key = await gateway.new_key(scopes=["chat", "tools"])
    for method, path in [("GET", ""), ("GET", "/mine"), ("GET", "/mine/download"), ("DELETE", "/mine")]:
        answer = await gateway.client.request(method, DATASETS + path, headers=gateway.key(key))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert (await send(gateway, "x.csv", CSV.encode(), key=key)).status_code == 403
    assert (await gateway.client.delete(f"{DATASETS}/mine")).status_code == 204


async def test_a_key_of_one_project_reaches_no_other(gateway: Gateway) -> None:
    one, other = await project(gateway, "one"), await project(gateway, "other")
    item = (await send(gateway, "secret.csv", CSV.encode(), one)).json()
    key = gateway.key(await gateway.new_key(scopes=["manage"], project=other))
    assert (await gateway.client.get(DATASETS, headers={**key, "X-Project": one})).status_code == 403
    for reference in ("secret", item["id"]):
        got = await gateway.client.get(f"{DATASETS}/{reference}/download", headers=key)
        assert got.status_code == 404
    built = await gateway.client.post(
        f"{DATASETS}/build", json={"name": "x", "sources": [item["id"]]}, headers=key
    )
    assert built.status_code == 404


async def test_equal_content_is_kept_until_nobody_has_it(gateway: Gateway) -> None:
    one, other = await project(gateway, "first"), await project(gateway, "second")
    content = preferences(7)
    ids = [(await send(gateway, "same.jsonl", content, name)).json()["id"] for name in (one, other)]
    assert ids[0] != ids[1]
    folder = gateway.settings.objects / "datasets"
    held = {file.parent.name for file in stored(gateway) if file.read_bytes() == content}
    assert len(held) == 1
    (digest,) = held
    assert (await gateway.client.delete(f"/api/v1/projects/{one}")).status_code == 204
    got = await gateway.client.get(f"{DATASETS}/same/download", headers={"X-Project": other})
    assert got.content == content
    gone = await gateway.client.delete(f"{DATASETS}/{ids[1]}", headers={"X-Project": other})
    assert gone.status_code == 204
    assert not (folder / digest).exists()
    entries = (await gateway.client.get("/api/v1/audit")).json()["items"]
    assert (entries[0]["action"], entries[0]["target"]) == ("dataset.delete", ids[1])


async def test_a_file_that_two_projects_have_outlives_one_that_goes_meanwhile(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last row of a file goes while the same file arrives in another project and has no row yet."""
    one, other = await project(gateway, "leaving"), await project(gateway, "coming")
    content = preferences(9)
    first = (await send(gateway, "kept.jsonl", content, one)).json()["id"]
    services: Services = gateway.app.state.services
    arrived, gone = threading.Event(), threading.Event()

    def keep(digest: str) -> None:
        arrived.set()
        assert gone.wait(20)

    with monkeypatch.context() as slow:
        slow.setattr(services.datasets.files, "keep", keep)
        coming = asyncio.create_task(send(gateway, "kept.jsonl", content, other))
        assert await asyncio.to_thread(arrived.wait, 20)
        deleted = await gateway.client.delete(f"{DATASETS}/{first}", headers={"X-Project": one})
        assert deleted.status_code == 204
        gone.set()
        assert (await coming).status_code == 201
    got = await gateway.client.get(f"{DATASETS}/kept/download", headers={"X-Project": other})
    assert got.content == content


async def test_the_next_start_removes_what_was_left_half_way(gateway: Gateway) -> None:
    root = gateway.settings.objects / "datasets"
    (root / ".abc.partial-x").mkdir()
    (root / ".upload.part").write_text("half")
    services: Services = gateway.app.state.services
    await services.datasets.prepare()
    assert [file for file in root.iterdir() if file.name.startswith(".")] == []


async def test_without_a_worker_the_reason_is_told(gateway: Gateway) -> None:
    name = await project(gateway, "alone")
    await send(gateway, "pairs.jsonl", preferences(5), name)
    body = {"name": "built", "sources": ["pairs"]}
    built = await gateway.client.post(f"{DATASETS}/build", json=body, headers={"X-Project": name})
    assert built.status_code == 502
    assert "No worker has run" in built.json()["error"]["message"]
    listed = (await gateway.client.get(DATASETS, headers={"X-Project": name})).json()["items"]
    assert [item["name"] for item in listed] == ["pairs"]
    jobs = await gateway.client.get("/api/v1/jobs")
    assert jobs.status_code == 502


async def test_only_what_can_be_trained_on_is_built(gateway: Gateway) -> None:
    name = await project(gateway, "shapes")
    files = {
        "table": {"a": 1},
        "labels": {"text": "a", "label": "b"},
        "asked": {"query": "a", "positive": "b"},
    }
    for file, row in files.items():
        await send(gateway, f"{file}.jsonl", json.dumps(row).encode(), name)
    refused = (
        ({"sources": ["table"]}, "'table' holds rows of the shape 'table', which are nothing to train on"),
        ({"sources": ["labels", "asked"]}, "several kinds ('labels' label, 'asked' triplet)"),
        (
            {"sources": ["labels"], "steps": [{"wash": {}}]},
            "step 1 is `wash`, which is none",
        ),
        ({"sources": ["labels"], "steps": [{"chunk": {"column": "text", "tokens": 32}}]}, "not for label"),
    )
    for more, said in refused:
        body = {"name": "built", **more}
        built = await gateway.client.post(f"{DATASETS}/build", json=body, headers={"X-Project": name})
        assert built.status_code == 400
        assert said in built.json()["error"]["message"]
