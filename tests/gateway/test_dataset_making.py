"""Datasets over MCP: mapped, prepared, asked of documents, synthesised; with a real worker and real tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.exceptions import ToolError
from pydantic import SecretStr

from tests.gateway.conftest import clerk
from tests.gateway.service import CONTEXT_KEY, Gateway, neighbours, running, settings, until
from tests.gateway.test_cli_jobs import run
from tests.gateway.worker import worker
from tests.graphs.model_server import Reply, last_user, serving
from tests.tools.serving import free_port
from tools.app import create_app as create_tools
from tools.settings import Settings as ToolSettings

DATASETS = "/api/v1/datasets"
FAQ = "question,reply,topic\n" + "".join(
    f"how do I reach desk{at} of wing{at},Take stairs{at} and door{at}.,ways\n" for at in range(10)
)


def writer(body: dict[str, Any]) -> Reply:
    """A model that writes a question about a passage, or another request, when it is asked for one."""
    if "response_format" not in body or "system" not in body["messages"][0]["role"]:
        return clerk(body)
    wanted = body["response_format"]["json_schema"]["schema"]["properties"]
    text = last_user(body)
    if "question" in wanted:
        sentence = next((line for line in text.splitlines() if line.startswith("Guests")), "Nobody is here.")
        sentence = sentence.partition(". ")[0] + "."
        place = sentence.split()[2]
        return Reply(json.dumps({"question": f"Until when must {place} be left?", "sentence": sentence}))
    if "request" in wanted:
        made = f"what is number {body['seed']} of list {body['seed'] * 7} about"
        return Reply(json.dumps({"request": made, "answer": "See the notice board."}))
    return clerk(body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def making(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with the tools of the product, and a worker whose model server is the gateway's."""
    folder, port = tmp_path_factory.mktemp("making"), free_port()
    key, url = SecretStr(CONTEXT_KEY), f"http://127.0.0.1:{port}"
    chosen, away = settings(folder), f"http://127.0.0.1:{free_port()}/v1"
    reached = ToolSettings(
        data=folder / "tools", uploads=chosen.uploads, context_key=key, gateway_url=url, llm_url=away
    )
    async with neighbours(folder, writer) as (model, tools), serving(create_tools(reached)) as tools_url:
        tools.url = tools_url
        with worker(folder, RLHF_SERVER_URL=model.url):
            async with running(chosen, model, tools, port) as up:
                yield up


def client(gateway: Gateway, key: str) -> Client[Any]:
    headers = {"Authorization": f"Bearer {key}", "X-Project": "demo"}
    return Client(StreamableHttpTransport(f"{gateway.url}/mcp", headers=headers))


async def manager(gateway: Gateway) -> Client[Any]:
    return client(gateway, await gateway.new_key(scopes=["tools", "manage"]))


async def finished(mcp: Any, made: Any) -> dict[str, Any]:
    """The description of a dataset whose job is done."""
    state = ""
    while state not in ("done", "failed", "cancelled"):
        job = {"job": made.structured_content["job_id"], "seconds": 40}
        seen = await mcp.call_tool("jobs_watch", job)
        state = seen.structured_content["state"]
    assert state == "done", seen.content[0].text
    shown = await mcp.call_tool("data_describe", {"dataset": made.structured_content["id"]})
    found: dict[str, Any] = shown.structured_content
    return {**found, "said": shown.content[0].text}


async def lines(gateway: Gateway, dataset: str, part: str) -> list[dict[str, Any]]:
    sent = await gateway.client.get(f"{DATASETS}/{dataset}/download", params={"part": part})
    assert sent.status_code == 200, sent.text
    return [json.loads(line) for line in sent.text.splitlines()]


@pytest.mark.timeout(200)
async def test_a_file_with_other_columns_is_mapped_previewed_and_built(making: Gateway) -> None:
    async with await manager(making) as mcp:
        await mcp.call_tool("data_add", {"name": "faq", "content": FAQ})
        seen = await mcp.call_tool("data_describe", {"dataset": "faq"})
        assert "Likely mapping, as sft: instruction = question, output = reply" in seen.content[0].text
        likely = seen.structured_content["facts"]["suggested"]["columns"]
        with pytest.raises(
            ToolError, match=r"shape 'table'.*name `mapping`, such as \{'instruction': 'question'"
        ):
            await mcp.call_tool("data_build", {"name": "x", "sources": ["faq"]})
        bad = {"instruction": "question", "output": "answer"}
        with pytest.raises(ToolError, match=r"'faq' has no column answer.*it has: question, reply, topic"):
            await mcp.call_tool("data_build", {"name": "x", "sources": ["faq"], "mapping": bad})
        given = {"mapping": likely, "steps": [{"clean": {}}, {"augment": {"how": ["typos"]}}]}
        shown = await mcp.call_tool("data_preview", {"dataset": "faq", **given, "examples": 1})
        preview = shown.structured_content
        assert (preview["kind"], preview["read"], preview["rows"]) == ("sft", 10, 10)
        assert preview["later"] == ["augment"]
        assert preview["tokens"]["longest"] > 10
        assert preview["examples"][0]["completion"] == [
            {"role": "assistant", "content": "Take stairs0 and door0."}
        ]
        assert "Done when it is built: augment" in shown.content[0].text
        built = await mcp.call_tool("data_build", {"name": "answers", "sources": ["faq"], **given})
        found = await finished(mcp, built)
        assert (found["kind"], found["rows"]) == ("sft", 10 + found["facts"]["steps"][2]["made"])
        assert "augment: 8 rows, " in found["said"]
        listed = await mcp.call_tool("data_steps", {})
        names = [step["name"] for step in listed.structured_content["items"]]
        assert names[:2] == ["map", "clean"]
        assert "limit (preference, kto, sft, triplet, label)" in listed.content[0].text
        with pytest.raises(ToolError, match="step 1 is `wash`, which is none"):
            await mcp.call_tool("data_preview", {"dataset": "faq", "steps": [{"wash": {}}]})
    held = await lines(making, "answers", "held_out")
    assert all("made" not in row for row in held)
    made = [row for row in await lines(making, "answers", "train") if "made" in row]
    assert made
    assert {row["made"]["step"] for row in made} == {"typos"}


@pytest.mark.timeout(200)
async def test_the_shell_maps_and_builds_too(making: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "help.csv"
    file.write_text(FAQ.replace("desk", "bench"))
    added = await run(making, "datasets", "add", str(file))
    assert "likely, as sft: --map instruction=question --map output=reply" in added.output
    mapped = ["--map", "instruction=question", "--map", "output=reply"]
    done = await run(making, "datasets", "build", "helped", "help", *mapped)
    assert done.exit_code == 0, done.output
    assert "helped: 10 rows, sft" in done.output
    wrong = await run(making, "datasets", "build", "other", "help", "--map", "output=nothing")
    assert wrong.exit_code == 1
    assert "has no column nothing" in str(wrong.exception)


async def handbook(gateway: Gateway, count: int = 6) -> None:
    """Documents of two sections each."""
    there = (await gateway.client.get("/api/v1/projects/demo/documents")).json()["items"]
    if there:
        return
    for at in range(count):
        body = f"Guests leave room{at} before noon and give key{at} back to desk{at} of the house. " * 3
        more = f"Guests park cars{at} behind wing{at} and put card{at} on the dashboard of each. " * 3
        text = f"# House {at}\n\n## Leaving {at}\n\n{body}\n\n## Parking {at}\n\n{more}\n"
        file = {"file": (f"house{at}.md", text.encode(), "text/markdown")}
        sent = await gateway.client.post("/api/v1/projects/demo/documents", files=file)
        assert sent.status_code == 202, sent.text

    async def taken() -> bool:
        items = (await gateway.client.get("/api/v1/projects/demo/documents")).json()["items"]
        return all(item["chunks"] for item in items)

    await until(taken, 60)


@pytest.mark.timeout(200)
async def test_documents_become_triplets_by_rules_with_their_sources(making: Gateway) -> None:
    await handbook(making)
    async with await manager(making) as mcp:
        asked = {"name": "search", "kind": "triplet", "questions": "rules", "held_out": 0.3}
        made = await mcp.call_tool("data_from_documents", asked)
        found = await finished(mcp, made)
        assert found["kind"] == "triplet"
        assert [parent["name"] for parent in found["parents"]] == ["search passages"]
        assert found["facts"]["origin"]["by"] == "rules: headings and first sentences"
        assert found["facts"]["origin"]["counts"]["documents"] == 6
        assert "Questions of documents by rules" in found["said"]
        with pytest.raises(
            ToolError, match=r"'house9.md' is not in this project\. Documents with passages: house0"
        ):
            await mcp.call_tool("data_from_documents", {"name": "x", "documents": ["house9.md"]})
        with pytest.raises(ToolError, match="exists already"):
            await mcp.call_tool("data_from_documents", {"name": "search"})
    sides = [await lines(making, "search", part) for part in ("train", "held_out")]
    documents = [{row["passage"]["document"] for row in side} for side in sides]
    assert documents[1]
    assert not documents[0] & documents[1]
    for side in sides:
        texts = {row["positive"] for row in side}
        for row in side:
            assert row["passage"]["name"].startswith("house")
            assert row["passage"]["section"]
            assert row["negative"] is None or row["negative"] in texts
            assert row["negative"] != row["positive"]
    assert any(row["negative"] for row in sides[0])


@pytest.mark.timeout(200)
async def test_a_model_asks_about_documents_and_its_answers_cite(making: Gateway) -> None:
    await handbook(making)
    async with await manager(making) as mcp:
        # The server of this test does not say that it is the embedded model: `auto` is the model.
        made = await mcp.call_tool("data_from_documents", {"name": "asked", "held_out": 0.3, "passages": 12})
        found = await finished(mcp, made)
        assert found["facts"]["origin"]["by"] == "model loopyard-starter"
        log = await mcp.call_tool("jobs_log", {"job": made.structured_content["job_id"]})
        assert "loopyard-starter is asked about" in log.content[0].text
    for row in await lines(making, "asked", "train"):
        said = row["completion"][0]["content"]
        quotation = said.split('"')[1]
        assert said == f'The documents say: "{quotation}" [1]'
        assert quotation in " ".join(row["prompt"][0]["content"].split())
        assert row["source"] == "documents"
    done = await run(
        making, "datasets", "from-documents", "shell", "--questions", "rules", "--held-out", "0.3"
    )
    assert done.exit_code == 0, done.output
    assert "shell: " in done.output


@pytest.mark.timeout(200)
async def test_rows_are_added_by_a_model_to_the_training_side(making: Gateway) -> None:
    async with await manager(making) as mcp:
        content = "".join(
            json.dumps(
                {
                    "instruction": f"where is box{at} of shelf{at} kept",
                    "output": f"In hall{at} on floor {at}.",
                }
            )
            + "\n"
            for at in range(12)
        )
        await mcp.call_tool("data_add", {"name": "seeds", "content": content})
        wanted = {"name": "more", "sources": ["seeds"], "steps": [{"synthesise": {"rows": 5}}]}
        found = await finished(mcp, await mcp.call_tool("data_build", wanted))
        step = found["facts"]["steps"][0]
        assert (step["step"], step["by"]) == ("synthesise", "loopyard-starter")
        assert step["made"] >= 1
    made = [row for row in await lines(making, "more", "train") if "made" in row]
    assert len(made) == step["made"]
    assert {row["source"] for row in made} == {"synthetic"}
    assert all("made" not in row for row in await lines(making, "more", "held_out"))
