"""The registry over HTTP with a real model server and a real worker: deployed, rolled back, traced to people,
packed."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result

from gateway.app import create_app
from gateway.cli import app
from gateway.models.archive import packed
from llm_server.settings import Settings as ServerSettings
from rlhf.registry import CONFIG, PAIRS, WEIGHTS, Registry, Version, content_digest
from tests.gateway.service import Gateway, settings, until
from tests.gateway.worker import worker
from tests.graphs.model_server import serving
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER
from tests.llm_server.conftest import serving as serving_models
from tests.llm_server.tiny import make_tiny

REGISTRY, JOBS = "/api/v1/models-registry", "/api/v1/jobs"
PATIENT = pytest.mark.timeout(300)
"""A deployment loads torch in a process of its own."""


@dataclass
class Place:
    """A gateway with its registry and a model server that may read it."""

    data: Path
    registry: Registry
    client: httpx2.AsyncClient
    server: httpx2.AsyncClient

    def add(self, name: str, seed: int, user: str = "ann", parent: str | None = None) -> Version:
        """A version that learnt from one pair of a user."""
        trace = {"trace_id": f"trace-{seed}", "generation_id": f"gen-{seed}", "model": "tiny"}
        pair: dict[str, Any] = {"pair_id": f"p{seed}", "user": user, "session": "s", "source": "choice"}
        pair |= {"chosen_trace": trace, "rejected_trace": None}
        folder = make_adapter(self.data / "made" / str(seed), seed)
        return self.registry.add(name, folder, {"base": "tiny", "parent": parent}, [pair])

    async def stable(self, name: str) -> str | None:
        cards = (await self.server.get("/adapters")).json()["data"]
        return next((card["aliases"]["stable"] for card in cards if card["name"] == name), None)

    async def deploy(self, name: str, version: str, wait: bool = True, **more: bool) -> httpx2.Response:
        body = {"version": version, **more}
        return await self.client.post(f"{REGISTRY}/{name}/deploy", json=body, params={"wait": wait})

    async def chats(self) -> str:
        """The model that answers chats."""
        return str((await self.client.get("/api/v1/models/chats")).json()["model"])

    async def live(self, version: Version) -> None:
        """Let a version answer, as a deployment in the past has left it."""
        body = {"name": version.name, "source": {"path": str(version.folder)}}
        loaded = await self.server.post("/adapters", params={"wait": "true"}, json=body)
        assert loaded.is_success, loaded.text
        self.registry.promote(version)

    @contextmanager
    def another_base(self) -> Iterator[None]:
        """The folder of the model that is served is not any more what it was when the server read it."""
        file = self.data.parent / "tiny" / "model.safetensors"
        kept, weights = file.read_bytes(), load_file(file)
        save_file({name: tensor[::-1].copy() for name, tensor in weights.items()}, file, {"format": "pt"})
        try:
            yield
        finally:
            file.write_bytes(kept)


@pytest.fixture(scope="module")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("registry")
    make_tiny(folder / "tiny")
    (folder / "data" / "adapters").mkdir(parents=True)
    chosen = ServerSettings(
        model=str(folder / "tiny"),
        data=folder / "models",
        quantisation="f32",
        embeddings=False,
        threads=1,
        api_key=USER,
        admin_key=ADMIN,
        adapter_folders=str(folder / "data" / "adapters"),
    )
    with serving_models(chosen) as url:
        yield f"{url}/v1", folder / "data"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(model_url: tuple[str, Path]) -> AsyncIterator[Place]:
    url, data = model_url
    full = settings(data, llm_url=url, llm_api_key=USER, llm_admin_key=ADMIN, upload_megabytes=2)
    key = {"Authorization": f"Bearer {full.admin_key.get_secret_value()}"}
    admin = {"Authorization": f"Bearer {ADMIN}"}
    env = {"RLHF_SERVER_URL": url, "RLHF_SERVER_KEY": ADMIN, "OMP_NUM_THREADS": "1"}
    with worker(data, **env):
        async with (
            serving(create_app(full)) as gateway,
            httpx2.AsyncClient(base_url=gateway, headers=key, timeout=280, trust_env=False) as client,
            httpx2.AsyncClient(base_url=url, headers=admin, timeout=120, trust_env=False) as server,
        ):
            yield Place(data, Registry(data), client, server)


async def ended(place: Place, job_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        job: dict[str, Any] = (await place.client.get(f"{JOBS}/{job_id}")).json()
        return job if job["state"] in ("done", "failed", "cancelled") else None

    found: dict[str, Any] = await until(look, 250)
    return found


@PATIENT
async def test_a_version_is_deployed_and_rolled_back_here_and_in_the_server(place: Place) -> None:
    one, two = place.add("citing", 1), place.add("citing", 2)
    first = await place.deploy("citing", one.short)
    assert (first.status_code, first.json()["live"]) == (200, one.digest), first.text
    assert first.json()["parity"] >= 0.99
    assert first.json()["positions"] > 32
    assert await place.stable("citing") == one.digest
    assert await place.chats() == "tiny:citing"
    # Who chooses the base stays with it: this deployment is not for chats.
    assert (await place.client.put("/api/v1/models/chats", json={"model": None})).status_code == 200
    second = await place.deploy("citing", two.short, wait=False, chats=False)
    assert (second.status_code, second.json()["kind"]) == (202, "deploy"), second.text
    job = await ended(place, second.json()["id"])
    assert job["state"] == "done", job["error"]
    assert job["asked"] == {"name": "citing", "digest": two.digest}
    deployment = job["result"]["deploy"]["deployment"]
    assert (deployment["digest"], deployment["was"], deployment["floor"]) == (two.digest, one.digest, 0.99)
    assert await place.stable("citing") == two.digest
    assert await place.chats() == "tiny"
    shown = (await place.client.get(f"{REGISTRY}/citing/versions/live")).json()
    assert (shown["digest"], shown["served"], shown["aliases"]) == (two.digest, True, ["live"])
    assert set(shown["checksums"]) >= {CONFIG, WEIGHTS, PAIRS}
    for ref in (one.short, two.short):
        refused = await place.client.delete(f"{REGISTRY}/citing/versions/{ref}")
        assert refused.status_code == 409
        assert "deploy another version first" in refused.json()["error"]["message"]
    back = await place.client.post(f"{REGISTRY}/citing/rollback")
    meant = {"name": "citing", "live": one.digest, "previous": two.digest}
    # It had been compared when it was live before.
    assert back.json() == {**meant, "parity": None, "positions": None}
    assert await place.stable("citing") == one.digest
    acts = [entry["action"] for entry in (await place.client.get("/api/v1/audit")).json()["items"]]
    assert acts[:3] == ["model.rollback", "model.delete.failed", "model.delete"]
    assert acts.count("model.deploy") == 2


async def test_what_cannot_be_deployed_leaves_the_name_as_it_was(place: Place) -> None:
    good, bad = place.add("steady", 3), place.add("steady", 4)
    await place.live(good)
    weights = bad.folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-8] + b"damaged!")
    refused = await place.deploy("steady", bad.short)
    assert refused.status_code == 409
    assert "is damaged" in refused.json()["error"]["message"]
    assert (await place.deploy("steady", "0000")).status_code == 404
    assert (await place.client.post(f"{REGISTRY}/steady/rollback")).status_code == 409
    assert await place.stable("steady") == good.digest
    assert place.registry.find("steady").digest == good.digest
    gone = await place.client.delete(f"{REGISTRY}/steady/versions/{bad.short}")
    assert gone.status_code == 204
    assert not bad.folder.exists()


@PATIENT
async def test_what_the_server_computes_otherwise_than_peft_is_refused_and_the_name_stays(
    place: Place,
) -> None:
    good, bad = place.add("strict", 8), place.add("strict", 9)
    await place.live(good)
    with place.another_base():
        refused = await place.deploy("strict", bad.short)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_deployed"), refused.text
    said = refused.json()["error"]["message"]
    assert "the server computes something else than PEFT" in said
    assert "at least 99% are wanted of f32. strict is as it was." in said
    assert await place.stable("strict") == good.digest
    assert place.registry.aliases("strict") == {"live": good.digest}
    versions = (await place.server.get("/adapters/strict")).json()["versions"]
    assert [version["id"] for version in versions] == [good.digest]
    latest = (await place.client.get("/api/v1/audit")).json()["items"][0]
    assert (latest["action"], latest["target"]) == ("model.deploy.failed", "strict")
    # Who may only manage a project does not take a deployment up again.
    made = await place.client.post("/api/v1/keys", json={"name": "m", "scopes": ["manage"]})
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    (job,) = [one for one in (await place.client.get(JOBS)).json()["items"] if "strict" in one["title"]]
    assert (await place.client.post(f"{JOBS}/{job['id']}/resume", headers=key)).status_code == 403


async def test_without_a_worker_nothing_is_deployed_and_nothing_waits(gateway: Gateway) -> None:
    data = gateway.settings.data
    version = Registry(data).add("alone", make_adapter(data / "made", 10), {"parent": None}, [])
    (data / "run").mkdir(exist_ok=True)
    for beat in (None, {"pid": 1, "time": time.time() - 60}):
        if beat:
            (data / "run" / "worker.json").write_text(json.dumps(beat))
        refused = await gateway.client.post(f"{REGISTRY}/alone/deploy", json={"version": version.short})
        assert refused.status_code == 502, refused.text
        assert "No worker runs on this data folder; `loopyard up`" in refused.json()["error"]["message"]
    assert Registry(data).aliases("alone") == {}


async def test_lineage_leads_from_an_adapter_to_people_and_back(place: Place) -> None:
    parent = place.add("lineage", 5, user="bob")
    child = place.add("lineage", 6, user="eve", parent=parent.digest)
    found = (await place.client.get(f"{REGISTRY}/lineage/versions/{parent.short}/lineage")).json()
    assert (found["users"], found["children"]) == (["bob"], [f"lineage@{child.short}"])
    assert [trace["trace_id"] for trace in found["traces"]] == ["trace-5"]

    async def learnt(**query: str) -> set[str]:
        answer = await place.client.get(f"{REGISTRY}/learnt-from", params=query)
        assert answer.status_code == 200, answer.text
        return {item["digest"] for item in answer.json()["items"]}

    # What was trained on from a version that saw somebody has seen them too.
    assert await learnt(user="bob") == {parent.digest, child.digest}
    assert await learnt(user="eve") == {child.digest}
    assert await learnt(trace="trace-6") == {child.digest}
    assert await learnt(user="nobody") == set()
    assert (await place.client.get(f"{REGISTRY}/learnt-from")).status_code == 400
    text = (await place.client.get(f"{REGISTRY}/lineage/versions/{child.short}/card")).text
    assert child.digest in text
    assert parent.digest in text


@PATIENT
async def test_a_download_can_be_imported_again(place: Place) -> None:
    version = place.add("packed", 7)
    got = await place.client.get(f"{REGISTRY}/packed/versions/{version.short}/download")
    assert got.headers["content-disposition"] == f'attachment; filename="packed-{version.short}.zip"'
    with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
        assert archive.testzip() is None
        assert archive.read(f"packed-{version.short}/{WEIGHTS}") == (version.folder / WEIGHTS).read_bytes()
    files = {"file": ("a.zip", got.content)}
    made = await place.client.post(f"{REGISTRY}/elsewhere/versions", files=files, data={"source": "a friend"})
    assert made.status_code == 201, made.text
    assert made.json()["digest"] == version.digest
    assert made.json()["lineage"]["source"] == "a friend"
    deployed = await place.deploy("elsewhere", version.short)
    assert deployed.status_code == 200, deployed.text
    assert await place.stable("elsewhere") == version.digest


def zipped(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"no archive", 400, "no ZIP archive"),
        (zipped(("readme.txt", b"hi")), 400, f"no {CONFIG} and no {WEIGHTS}"),
        (zipped(("a/" + CONFIG, b"{}"), ("b/" + CONFIG, b"{}"), (WEIGHTS, b"x")), 400, "twice"),
        (zipped((CONFIG, b"not json"), (WEIGHTS, b"x")), 400, "is no PEFT adapter"),
        (zipped((CONFIG, b"{}"), (WEIGHTS, bytes(50 << 20))), 413, "unpacks to more than 2 MB"),
        (zipped((CONFIG, b" " * (2 << 20)), (WEIGHTS, b"x")), 413, "unpacks to more than 1 MB"),
    ],
)
async def test_archives_that_are_refused_leave_nothing(
    place: Place, content: bytes, status: int, text: str
) -> None:
    sent = await place.client.post(f"{REGISTRY}/bad/versions", files={"file": ("a.zip", content)})
    assert sent.status_code == status, sent.text
    assert text in sent.json()["error"]["message"]
    assert (await place.client.get(f"{REGISTRY}/bad")).status_code == 404
    assert list((place.data / "gateway" / "incoming").iterdir()) == []


async def test_an_archive_that_lies_about_its_size_is_stopped(place: Place) -> None:
    honest = zipped((CONFIG, b"{}"), (WEIGHTS, bytes(9 << 20)))
    small = (1000).to_bytes(4, "little")
    lying = honest.replace((9 << 20).to_bytes(4, "little"), small)
    assert lying != honest
    sent = await place.client.post(f"{REGISTRY}/bad/versions", files={"file": ("a.zip", lying)})
    assert sent.status_code in (400, 413)
    assert (await place.client.get(f"{REGISTRY}/bad")).status_code == 404


async def test_names_in_an_archive_lead_nowhere(place: Place) -> None:
    folder = make_adapter(place.data / "made" / "evil", 11)
    entries = [(f"../../../../{name}", (folder / name).read_bytes()) for name in (CONFIG, WEIGHTS)]
    content = zipped(*entries, ("../../../../evil.txt", b"x"), ("/etc/evil", b"x"))
    sent = await place.client.post(f"{REGISTRY}/evil/versions", files={"file": ("a.zip", content)})
    assert (sent.status_code, sent.json()["digest"]) == (201, content_digest(folder))
    assert not list(place.data.rglob("evil.txt"))
    kept = place.registry.find("evil", sent.json()["version"]).folder
    assert sorted(file.name for file in kept.iterdir()) == [CONFIG, WEIGHTS, "lineage.json", PAIRS]


async def test_the_registry_is_for_admins_and_names_are_no_paths(place: Place) -> None:
    made = await place.client.post("/api/v1/keys", json={"name": "k", "scopes": ["chat", "tools", "manage"]})
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    for path in ("", "/citing", "/learnt-from?user=ann", "/citing/versions/live/download"):
        assert (await place.client.get(REGISTRY + path, headers=key)).status_code == 403
    body = {"version": "live"}
    assert (await place.client.post(f"{REGISTRY}/citing/deploy", json=body, headers=key)).status_code == 403
    for name in ("..", ".", "a%2Fb", "%2e%2e", "..%2F..%2Fsecrets"):
        assert (await place.client.get(f"{REGISTRY}/{name}/versions/live")).status_code in (404, 422), name
    assert (await place.client.get(f"{REGISTRY}/citing/versions/..%2F..")).status_code in (404, 422)


async def loopyard(place: Place, *words: str) -> Result:
    """The command in a thread: the gateway lives in this one."""
    key = place.client.headers["Authorization"].removeprefix("Bearer ")
    (place.data / "admin-key").write_text(key)
    (place.data / "run" / "gateway.json").write_text(json.dumps({"url": str(place.client.base_url)}))
    return await asyncio.to_thread(CliRunner().invoke, app, ["models", *words, "--data", str(place.data)])


async def test_versions_are_listed_deployed_and_rolled_back_on_a_terminal(place: Place) -> None:
    first, second = place.add("shell", 12), place.add("shell", 13)
    listed = json.loads((await loopyard(place, "list", "--json")).output)
    assert "shell" in [model["name"] for model in listed]
    assert second.short in (await loopyard(place, "list")).output
    asked = await loopyard(place, "deploy", "shell", second.short, "--no-follow")
    assert asked.exit_code == 0, asked.output
    job_id = asked.output.removeprefix("job ").strip()
    assert (await place.client.get(f"{JOBS}/{job_id}")).json()["title"] == f"deploy shell {second.short}"
    await place.client.post(f"{JOBS}/{job_id}/cancel")
    for version in (first, second):
        await place.live(version)
    body = {"version": second.digest, "if_match": first.digest}
    assert (await place.server.post("/adapters/shell:promote", json=body)).is_success
    back = await loopyard(place, "rollback", "shell")
    assert back.output.strip() == f"shell is {first.short} again", back.exception
    assert await place.stable("shell") == first.digest


def test_links_are_not_packed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "weights").write_text("weights")
    (folder / "link").symlink_to(tmp_path / "secret")
    with zipfile.ZipFile(io.BytesIO(b"".join(packed(folder, "top")))) as archive:
        assert archive.namelist() == ["top/weights"]
