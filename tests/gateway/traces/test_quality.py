"""What is live is compared with what answered before it, shown, and rolled back where that is wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.app import create_app
from gateway.errors import UpstreamFailed
from gateway.models.schemas import DeployedOut
from gateway.models.service import ModelRegistry
from gateway.quality.measures import Answer, Share, compared, difference, overall, shares, slowness
from gateway.quality.watch import Watch
from gateway.wiring import Services
from llm_server.settings import Settings as ServerSettings
from rlhf.registry import LIVE, Registry, Version
from tests.gateway.service import ADMIN_KEY, settings
from tests.gateway.traces.conftest import TraceStore, trace_store
from tests.graphs.model_server import serving
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER
from tests.llm_server.conftest import serving as serving_models
from tests.llm_server.tiny import make_tiny

NAME = "polite"
pytestmark = pytest.mark.timeout(300)


def answer(**more: Any) -> Answer:
    return Answer(
        **{"model": "tiny", "at": "2026-11-30T12:00:00.000Z", "text": "Fine.", "seconds": 1.0, **more}
    )


def test_the_interval_is_newcombes() -> None:
    # Newcombe (1998), table II, example (a), method 10: 56/70 and 48/80.
    low, high = difference(Share(48, 80), Share(56, 70), 0.95)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        (Share(2, 50), Share(2, 50), "ok"),
        (Share(2, 50), Share(6, 50), "watch"),
        (Share(2, 50), Share(15, 50), "worse"),
        (Share(2, 50), Share(9, 9), "unknown"),
        (Share(0, 5), Share(9, 50), "unknown"),
        (Share(25, 50), Share(0, 50), "ok"),
    ],
)
def test_worse_is_proven_and_watch_may_be_chance(before: Share, now: Share, state: str) -> None:
    (found,) = compared({"thumbs_down": before}, {"thumbs_down": now}, 30).values()
    assert found.state == state
    assert overall({"thumbs_down": found})[0] == state


def test_what_is_counted() -> None:
    said = ["I cannot help with that.", "I’m sorry, no.", "I can tell you.", "Sorry, I am not able to."]
    found = [answer(text=text, seconds=float(at), tools=2) for at, text in enumerate(said)]
    found += [answer(thumb=False, judged=True, tools=1, failed_tools=1), answer(thumb=True, seconds=None)]
    counted = shares(found, 2.5)
    assert counted["refusals"] == Share(3, 6)
    assert counted["thumbs_down"] == Share(1, 2)
    assert counted["judged_worse"] == Share(0, 1)
    assert counted["tool_errors"] == Share(1, 9)
    assert counted["slow"] == Share(1, 5)
    assert slowness([answer(seconds=float(one)) for one in range(11)]) == 9.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A model server and the data folder whose adapters it may read."""
    folder = tmp_path_factory.mktemp("quality")
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


async def versions(url: str, data: Path) -> tuple[Version, Version]:
    """One that was live, and one that is."""
    registry, made = Registry(data), []
    async with httpx2.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60, trust_env=False
    ) as client:
        for seed in (1, 2):
            folder = make_adapter(data / "made" / str(seed), seed)
            version = registry.add(NAME, folder, {"base": "tiny", "parent": None}, [])
            body = {"name": NAME, "source": {"path": str(version.folder)}}
            loaded = await client.post("/adapters", params={"wait": "true"}, json=body)
            assert loaded.is_success, loaded.text
            registry.promote(version)
            made.append(version)
        card = (await client.get("/adapters")).json()["data"][0]
        if card["aliases"]["stable"] != made[1].digest:
            body = {"version": made[1].digest, "if_match": card["aliases"]["stable"]}
            (await client.post(f"/adapters/{NAME}:promote", json=body)).raise_for_status()
    return made[0], made[1]


async def answered(store: TraceStore, version: Version, begin: datetime, count: int, down: int) -> None:
    """So many answers of a version, a minute apart, of which the first ones get a thumb down."""
    spans, scores = [], []
    for at in range(count):
        trace, start = f"{version.digest[7:15]}{at:024x}", (begin + timedelta(minutes=at)).timestamp()
        root = {"trace": trace, "id": f"{1:016x}", "start": start, "name": "general"}
        root["attributes"] = {"langfuse.observation.type": "agent", "langfuse.observation.output": "Yes."}
        child = {"trace": trace, "id": f"{2:016x}", "parent": f"{1:016x}", "start": start + 0.1}
        model = f"tiny:{NAME}@{version.digest[:19]}"
        child["attributes"] = {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": model,
        }
        tool = {"trace": trace, "id": f"{3:016x}", "parent": f"{1:016x}", "start": start + 0.2}
        tool["attributes"] = {"langfuse.observation.type": "tool", "langfuse.observation.level": "DEFAULT"}
        spans += [root, child, tool]
        thumb = {"id": f"{trace}-thumbs", "traceId": trace, "name": "thumbs", "dataType": "BOOLEAN"}
        scores.append({**thumb, "value": int(at >= down)})
    (await store.export(*spans)).raise_for_status()
    assert (await store.client.post("/api/public/scores", json=scores)).status_code == 202


@asynccontextmanager
async def house(served: tuple[str, Path]) -> AsyncIterator[tuple[Services, httpx2.AsyncClient, TraceStore]]:
    """A gateway that rolls back by itself, with traces."""
    url, data = served
    async with trace_store(data) as store:
        chosen = settings(
            data,
            llm_url=url,
            llm_api_key=USER,
            llm_admin_key=ADMIN,
            traces_url=store.url,
            quality_minutes=0,
            quality_rollback=True,
        )
        app = create_app(chosen)
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with (
            serving(app) as at,
            httpx2.AsyncClient(base_url=at, headers=headers, timeout=60, trust_env=False) as client,
        ):
            yield app.state.services, client, store


class Away(ModelRegistry):
    """A registry whose model server is being started again."""

    def __init__(self) -> None: ...

    async def rollback(self, name: str) -> DeployedOut:
        raise UpstreamFailed(f"The model server does not answer: {name} stays.")


async def test_an_adapter_that_is_liked_less_is_seen_and_rolled_back_once(served: tuple[str, Path]) -> None:
    async with house(served) as (services, client, store):
        assert (await client.get(f"/api/v1/quality/{NAME}")).status_code == 404
        before, live = await versions(*served)
        now = datetime.now(UTC)
        await answered(store, before, now - timedelta(days=2), 40, 2)
        found = (await client.get(f"/api/v1/quality/{NAME}")).json()
        assert (found["state"], found["began"]) == ("unknown", None)
        await answered(store, live, now - timedelta(hours=2), 40, 24)

        found = (await client.get(f"/api/v1/quality/{NAME}")).json()
        assert (found["version"], found["state"]) == (live.digest, "worse")
        assert found["reason"].startswith("60% of the thumbs are down, 5% before (difference +")
        measures = {one["name"]: one for one in found["measures"]}
        assert (measures["thumbs_down"]["before"], measures["thumbs_down"]["now"]) == (
            {"bad": 2, "all": 40},
            {"bad": 24, "all": 40},
        )
        assert measures["judged_worse"]["state"] == "unknown"
        assert {measures[name]["state"] for name in ("tool_errors", "refusals", "slow")} == {"ok"}
        metrics = (await client.get("/metrics")).text
        assert f'loopyard_gateway_adapter_quality{{adapter="{NAME}"}} 2.0' in metrics
        share = f'loopyard_gateway_adapter_share{{adapter="{NAME}",measure="thumbs_down",window="now"}} 0.6'
        assert share in metrics

        watch = Watch(
            services.quality, services.registry, services.accounts, services.audit, services.settings
        )
        registry = Registry(served[1])
        services.quality.latest.clear()
        away = Watch(services.quality, Away(), services.accounts, services.audit, services.settings)
        await away.look()
        assert registry.aliases(NAME)[LIVE] == live.digest
        # What could not be done then is done at the next look.
        await watch.look()
        assert registry.aliases(NAME)[LIVE] == before.digest
        entries = (await client.get("/api/v1/audit")).json()["items"]
        entry, _refused = [one for one in entries if one["action"] == "model.rollback"]
        assert (entry["target"], entry["detail"]["by"]) == (NAME, "quality")
        assert entry["detail"]["version"] == live.digest

        # Somebody deploys it again, and wants it to stay: it is told, and not rolled back a second time.
        await services.registry.rollback(NAME)
        await watch.look()
        assert registry.aliases(NAME)[LIVE] == live.digest
        assert services.quality.latest[NAME].state == "worse"


async def test_only_admins_see_it(served: tuple[str, Path]) -> None:
    async with house(served) as (_, client, _store):
        made = await client.post("/api/v1/keys", json={"name": "k", "scopes": ["chat"]})
        bearer = {"Authorization": f"Bearer {made.json()['key']}"}
        assert (await client.get("/api/v1/quality", headers=bearer)).status_code == 403
