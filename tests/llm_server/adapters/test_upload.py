"""Adapters that are sent, by who has no access to the server's disk."""

import gzip
import io
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_server.adapters.uploads import Uploads
from llm_server.errors import AdapterRefused
from llm_server.settings import Settings
from tests.llm_server.adapters.making import CONFIG, WEIGHTS, edit_config, make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def url(models: Path, data: Path) -> Iterator[str]:
    """The tiny model. Bodies of one megabyte, uploads of two."""
    settings = Settings(
        model=str(models / "tiny"),
        data=data,
        embeddings=False,
        threads=1,
        temperature=0,
        api_key=USER,
        admin_key=ADMIN,
        max_body_mb=1,
        upload_mb=2,
        uploads_mb=3,
    )
    with serving(settings) as base:
        yield base


@pytest.fixture
def admin(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60) as client:
        yield client


def packed(folder: Path, below: str = "", mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for file in sorted(folder.iterdir()):
            tar.add(file, f"{below}{file.name}")
    return out.getvalue()


def member(name: str, content: bytes = b"x", **kind: Any) -> bytes:
    """An archive with one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for field, value in kind.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def send(admin: httpx.Client, name: str, *files: tuple[str, bytes], **fields: Any) -> httpx.Response:
    parts = [("file", file) for file in files]
    return admin.post(
        "/v1/adapters/upload", params={"wait": "true"}, data={"name": name, **fields}, files=parts
    )


def said(admin: httpx.Client, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 16}
    text: str = admin.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("way", ["tar", "folder in tar.gz", "two files"])
def test_a_sent_adapter_answers(admin: httpx.Client, tmp_path: Path, way: str) -> None:
    folder = make_adapter(tmp_path / "sent", len(way))
    (folder / "README.md").write_text("a card")
    files = {
        "tar": [("sent.tar", packed(folder, mode="w"))],
        "folder in tar.gz": [("sent.tar.gz", packed(folder, "deep/er/"))],
        "two files": [(name, (folder / name).read_bytes()) for name in (CONFIG, WEIGHTS)],
    }[way]
    name = way.split()[0]
    answer = send(admin, name, *files, scale="0.5", pin="true")
    assert answer.status_code == 201, answer.text
    assert said(admin, f"tiny:{name}") != said(admin, "tiny")
    card = admin.get(f"/v1/adapters/{name}").json()
    assert (card["default_scale"], card["pinned"]) == (0.5, True)
    assert card["versions"][0]["state"] == "ready"
    assert admin.delete(f"/v1/adapters/{name}").status_code == 202


def test_it_is_checked_as_any_other(admin: httpx.Client, tmp_path: Path, data: Path) -> None:
    folder = make_adapter(tmp_path / "dora", 31)
    edit_config(folder, use_dora=True)
    refused = send(admin, "dora", ("a.tar", packed(folder, mode="w")))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "dora")
    wrong = send(
        admin, "hash", ("a.tar", packed(make_adapter(tmp_path / "h", 32), mode="w")), sha256="0" * 64
    )
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (422, "checksum_mismatch")


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (("a.tar", member("../outside/adapter_config.json")), "unsafe_path"),
        (("a.tar", member("/etc/adapter_config.json")), "unsafe_path"),
        (("a.tar", member(CONFIG, b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "unsafe_path"),
        (("a.tar", member(CONFIG, b"", type=tarfile.LNKTYPE, linkname="x")), "unsafe_path"),
        (("a.tar", member("pipe", b"", type=tarfile.FIFOTYPE)), "unsafe_path"),
        (("a.tar", b"no archive at all"), "bad_archive"),
        (("a.tar.gz", b"\x1f\x8b\x08\x00cut"), "bad_archive"),
        (("a.zip", b"PK"), "unknown_format"),
        (("../../a.safetensors", b"x"), "unknown_format"),
        (("a.tar", member("README.md")), "unknown_format"),
    ],
)
def test_what_is_no_adapter_is_refused_and_leaves_nothing(
    admin: httpx.Client, data: Path, file: tuple[str, bytes], code: str
) -> None:
    refused = send(admin, "bad", file)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, code), refused.text
    assert admin.get("/v1/adapters/bad").status_code == 404
    assert not (data.parent / "outside").exists()
    send(admin, "bad", ("a.zip", b"PK"))
    assert not list((data / "uploads").glob("bad-*"))


def test_sizes_are_bounded_packed_and_unpacked(admin: httpx.Client) -> None:
    large = send(admin, "large", ("a.tar", member(WEIGHTS, b"\0" * (3 << 20))))
    assert (large.status_code, large.json()["error"]["code"]) == (413, "body_too_large")
    assert "LLM_UPLOAD_MB" in large.json()["error"]["message"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo(WEIGHTS)
        info.size = 64 << 20
        tar.addfile(info, io.BytesIO(b"\0" * info.size))
    bomb = out.getvalue()
    assert len(bomb) < 1 << 20
    refused = send(admin, "bomb", ("a.tar.gz", bomb))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "too_large")


def header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


HUGE = 64 << 20
EMPTY = b"\0" * 512


@pytest.mark.parametrize(
    ("start", "piece", "times"),
    [
        (header(tarfile.XHDTYPE, HUGE), EMPTY, HUGE // 512),
        (header(tarfile.XGLTYPE, HUGE), EMPTY, HUGE // 512),
        (header(tarfile.GNUTYPE_LONGNAME, HUGE), b"x" * 512, HUGE // 512),
        (header(tarfile.XHDTYPE, -512), EMPTY, HUGE // 512),
        (b"", header(tarfile.GNUTYPE_LONGNAME, 1) + EMPTY, 900),
        (b"", header(tarfile.GNUTYPE_LONGLINK, 1) + EMPTY, HUGE // 1024),
    ],
    ids=["pax", "global pax", "long name", "negative", "chain", "long chain"],
)
def test_headers_take_no_memory(tmp_path: Path, start: bytes, piece: bytes, times: int) -> None:
    """They are read whole; packed, gigabytes of them are small."""
    bomb = io.BytesIO(gzip.compress(start + piece * times, 1))
    uploads = Uploads(tmp_path, 1 << 30, 1 << 30)
    tracemalloc.start()
    with pytest.raises(AdapterRefused) as refused:
        uploads.take("a", [("a.tgz", bomb)], set)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (refused.value.code, peak < 16 << 20) == ("bad_archive", True), peak
    assert not list(tmp_path.iterdir())


def test_all_uploads_together_are_bounded_and_unused_ones_go(
    admin: httpx.Client, tmp_path: Path, data: Path
) -> None:
    folder = make_adapter(tmp_path / "kept", 40)
    assert send(admin, "kept", ("a.tar", packed(folder, mode="w"))).status_code == 201
    (kept,) = (data / "uploads").glob("kept-*")
    (kept / "ballast").write_bytes(b"\0" * (3 << 20))
    more = packed(make_adapter(tmp_path / "more", 41), mode="w")
    full = send(admin, "more", ("a.tar", more))
    assert (full.status_code, full.json()["error"]["code"]) == (409, "uploads_full")
    admin.delete("/v1/adapters/kept")
    for _ in range(200):
        if admin.get("/v1/adapters/kept").status_code == 404:
            break
    assert send(admin, "more", ("a.tar", more)).status_code == 201
    assert not kept.exists()


def test_it_takes_an_admin_key_and_a_name(url: str, admin: httpx.Client) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {USER}"}) as user:
        assert send(user, "mine", ("a.tar", b"x")).status_code == 403
    nameless = admin.post("/v1/adapters/upload", files=[("file", ("a.tar", b"x"))])
    assert (nameless.status_code, nameless.json()["error"]["param"]) == (400, "name")
    evil = send(admin, "../../evil", ("a.tar", b"x"))
    assert (evil.status_code, evil.json()["error"]["param"]) == (400, "name")


def test_an_upload_that_becomes_known_while_another_one_comes_stays(tmp_path: Path) -> None:
    """What is needed is asked for in one step with what is still arriving."""
    uploads = Uploads(tmp_path / "uploads", 1 << 20, 1 << 20)
    known: set[str] = set()

    def file() -> list[tuple[str, io.BytesIO]]:
        return [("a.gguf", io.BytesIO(b"x"))]

    first = uploads.take("first", file(), lambda: known)
    settling = threading.Thread(target=uploads.settled, args=(first,))

    def needed() -> set[str]:
        before = set(known)
        known.add(str(first))
        settling.start()
        settling.join(0.5)
        return before

    uploads.take("second", file(), needed)
    settling.join()
    assert first.exists()
    third = uploads.take("third", file(), lambda: known)
    assert (first.exists(), third.exists()) == (True, True)
