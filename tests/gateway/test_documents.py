"""Uploads: idempotent, limited, ingested in the background, taken up again."""

from __future__ import annotations

import asyncio
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.conftest import clerk
from tests.gateway.service import ADMIN_KEY, Gateway, neighbours, running, settings, until

DOCUMENTS = "/api/v1/projects/demo/documents"


async def send(gateway: Gateway, name: str, content: bytes) -> Any:
    return await gateway.client.post(DOCUMENTS, files={"file": (name, content)})


async def finished(gateway: Gateway, document_id: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        item: dict[str, Any] = (await gateway.client.get(f"{DOCUMENTS}/{document_id}")).json()
        return item if item["state"] in ("ready", "failed") else None

    found: dict[str, Any] = await until(ended)
    return found


def files(gateway: Gateway) -> list[Path]:
    return list(gateway.settings.uploads.iterdir())


async def test_a_file_becomes_ready_with_progress(any_gateway: Gateway) -> None:
    any_gateway.tools.open.clear()
    sent = await send(any_gateway, "leave.md", b"Sick leave.")
    assert sent.status_code == 202
    item = sent.json()
    assert (item["state"], item["bytes"], item["media_type"]) == ("queued", 11, "text/markdown")

    async def parsing() -> bool:
        found = await any_gateway.client.get(f"{DOCUMENTS}/{item['id']}")
        return bool(found.json()["state"] == "parsing")

    await until(parsing)
    any_gateway.tools.open.set()
    done = await finished(any_gateway, item["id"])
    assert (done["state"], done["chunks"], done["pages"]) == ("ready", 2, 1)
    assert done["progress"] == {"done": 2, "total": 2}
    assert (await any_gateway.client.get("/api/v1/projects/demo")).json()["documents"] == 1


async def test_the_same_content_is_the_same_document(any_gateway: Gateway) -> None:
    first = await send(any_gateway, "leave.md", b"Sick leave.")
    again = await send(any_gateway, "copy.md", b"Sick leave.")
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]
    assert len((await any_gateway.client.get(DOCUMENTS)).json()["items"]) == 1
    assert len(files(any_gateway)) == 1


async def test_new_content_under_a_known_name_replaces_it(gateway: Gateway) -> None:
    first = (await send(gateway, "leave.md", b"Four hours.")).json()
    await finished(gateway, first["id"])
    second = await send(gateway, "leave.md", b"Five hours.")
    assert second.status_code == 202
    assert second.json()["id"] == first["id"]
    await finished(gateway, first["id"])
    assert gateway.tools.ingested[first["id"]]["text"] == "Five hours."


async def test_names_keep_their_folders_but_never_leave_them(gateway: Gateway) -> None:
    one = (await send(gateway, "deep/er/a.md", b"one")).json()
    two = (await send(gateway, "../../deep/a.md", b"two")).json()
    assert (one["name"], two["name"]) == ("deep/er/a.md", "deep/a.md")
    assert all(file.parent == gateway.settings.uploads for file in files(gateway))


@pytest.mark.parametrize(
    ("name", "content", "status", "text"),
    [
        ("empty.md", b"", 400, "empty"),
        ("virus.exe", b"MZ", 415, ".csv .docx .markdown .md .pdf .txt"),
        ("not-a.pdf", b"hello", 415, "not PDF"),
        ("x" * 300 + ".md", b"x", 400, "200 characters"),
    ],
)
async def test_files_that_are_refused(
    gateway: Gateway, name: str, content: bytes, status: int, text: str
) -> None:
    answer = await send(gateway, name, content)
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]
    assert files(gateway) == []
    assert (await gateway.client.get(DOCUMENTS)).json()["items"] == []


async def test_a_file_that_cannot_be_read_says_why(gateway: Gateway) -> None:
    item = (await send(gateway, "broken.pdf", b"%PDF-1.7")).json()
    done = await finished(gateway, item["id"])
    assert (done["state"], done["error"]) == (
        "failed",
        "broken.pdf cannot be read: it is protected by a password.",
    )
    other = (await send(gateway, "broken-too.pdf", b"%PDF-1.4")).json()
    await finished(gateway, other["id"])
    assert (await gateway.client.delete(f"{DOCUMENTS}/{other['id']}")).status_code == 204
    # The same file may be tried again, for example after the reason is gone.
    gateway.tools.failing = "nothing"
    assert (await send(gateway, "broken.pdf", b"%PDF-1.7")).status_code == 202
    assert (await finished(gateway, item["id"]))["state"] == "ready"


async def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    chosen = settings(tmp_path, upload_megabytes=1)
    async with neighbours(tmp_path, clerk) as (model, tools), running(chosen, model, tools) as gateway:
        base = gateway.client.base_url
        reader, writer = await asyncio.open_connection(base.host, base.port)
        lines = [f"POST {DOCUMENTS} HTTP/1.1", "Host: x", "Content-Length: 209715200"]
        lines += [f"Authorization: Bearer {ADMIN_KEY}", "Content-Type: multipart/form-data; boundary=b"]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = await reader.read()  # without having sent one byte of the body
        writer.close()
        assert answer.startswith(b"HTTP/1.1 413")
        assert b'"code":"too_large"' in answer
        sent = await send(gateway, "big.md", b"x" * (1 << 20) + b"x")
        assert sent.status_code == 413
        assert "1 MB" in sent.json()["error"]["message"]
        assert files(gateway) == []


class FullDisk:
    """Runs while no file of this process may grow beyond 1 MiB, as on a disk that is full."""

    def __enter__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, self._limits[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        signal.signal(signal.SIGXFSZ, self._handler)


async def test_a_full_disk_leaves_nothing_behind(gateway: Gateway) -> None:
    with FullDisk():
        sent = await send(gateway, "big.md", b"x" * (3 << 20))
    assert sent.status_code == 507
    assert sent.json()["error"]["code"] == "storage_full"
    assert files(gateway) == []
    assert (await gateway.client.get(DOCUMENTS)).json()["items"] == []
    assert (await send(gateway, "big.md", b"x" * (3 << 20))).status_code == 202


async def test_a_document_that_is_deleted_while_it_is_taken_in_leaves_the_index(gateway: Gateway) -> None:
    gateway.tools.open.clear()
    item = (await send(gateway, "leave.md", b"Sick leave.")).json()

    async def parsing() -> bool:
        found = await gateway.client.get(f"{DOCUMENTS}/{item['id']}")
        return bool(found.json()["state"] == "parsing")

    await until(parsing)
    assert (await gateway.client.delete(f"{DOCUMENTS}/{item['id']}")).status_code == 204
    gateway.tools.open.set()

    async def gone() -> bool:
        deletions = [claim for claim in gateway.tools.claims if claim["tool"] == "rag_delete"]
        return len(deletions) >= 2 and not gateway.tools.ingested

    await until(gone)


async def test_deleting_takes_it_out_of_the_index_and_off_the_disk(gateway: Gateway) -> None:
    item = (await send(gateway, "leave.md", b"Sick leave.")).json()
    await finished(gateway, item["id"])
    assert (await gateway.client.delete(f"{DOCUMENTS}/{item['id']}")).status_code == 204
    assert gateway.tools.ingested == {}
    assert files(gateway) == []
    assert (await gateway.client.get(f"{DOCUMENTS}/{item['id']}")).status_code == 404


async def test_a_passage_with_what_stands_around_it(gateway: Gateway) -> None:
    text = "a" * 700 + "THE PASSAGE" + "b" * 700
    item = (await send(gateway, "leave.md", text.encode())).json()
    await finished(gateway, item["id"])
    found = (
        await gateway.client.get(f"{DOCUMENTS}/{item['id']}/passage", params={"start": 700, "end": 711})
    ).json()
    assert found == {
        "name": "leave.md",
        "page": 1,
        "section": "S",
        "text": "THE PASSAGE",
        "before": "a" * 600,
        "after": "b" * 600,
    }


async def test_unfinished_documents_are_taken_up_by_the_next_start(tmp_path: Path, database_url: str) -> None:
    chosen = settings(tmp_path, database_url=database_url)
    async with neighbours(tmp_path, clerk) as (model, tools):
        tools.open.clear()
        async with running(chosen, model, tools) as gateway:
            item = (await send(gateway, "leave.md", b"Sick leave.")).json()
            (chosen.uploads / ".left-behind.part").write_bytes(b"half")
        tools.open.set()
        async with running(chosen, model, tools) as gateway:
            assert (await finished(gateway, item["id"]))["state"] == "ready"
            assert [file.name for file in files(gateway)] == [item["id"]]


async def test_a_document_waits_for_tools_that_are_away(tmp_path: Path) -> None:
    async with neighbours(tmp_path, clerk) as (model, tools):
        there, tools.url = tools.url, "http://127.0.0.1:9"
        async with running(settings(tmp_path), model, tools) as gateway:
            item = (await send(gateway, "leave.md", b"Sick leave.")).json()

            async def said() -> bool:
                found = (await gateway.client.get(f"{DOCUMENTS}/{item['id']}")).json()
                return found["state"] == "queued" and "not available" in (found["error"] or "")

            await until(said)
        tools.url = there
        async with running(settings(tmp_path), model, tools) as gateway:
            assert (await finished(gateway, item["id"]))["state"] == "ready"


async def test_a_form_without_a_file(gateway: Gateway) -> None:
    answer = await gateway.client.post(DOCUMENTS, data={"x": "y"})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "file"
