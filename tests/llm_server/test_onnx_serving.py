"""The server on ONNX Runtime: chats, tool calls, adapters that come while others are served."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from llm_server.convert.prepare import prepare_onnx_chat
from llm_server.errors import PreparationFailed
from llm_server.settings import Settings
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving
from tests.llm_server.onnx_models import prepared

ASK: Any = [{"role": "user", "content": "what is the weather in Rome"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "x-span": True}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    prepared(models, "fp32")
    early = make_adapter(tmp_path_factory.mktemp("adapters") / "early", 50)
    settings = Settings(
        backend="onnx",
        precision="fp32",
        model=str(models / "tiny"),
        data=models,
        lora=f"first={early}",
        adapter_folders=str(tmp_path_factory.getbasetemp()),
        embeddings=False,
        threads=1,
        temperature=0,
        api_key=USER,
        admin_key=ADMIN,
    )
    with serving(settings) as base:
        yield base


def test_a_tool_call_fits_its_schema(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=USER, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="tiny", messages=ASK, tools=[TOOL], tool_choice="required", max_tokens=200
        )
    calls: Any = answer.choices[0].message.tool_calls
    (call,) = calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in str(ASK[0]["content"])


async def test_chats_of_several_adapters_side_by_side(url: str, tmp_path: Path) -> None:
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60
    ) as admin:
        for seed, name in enumerate(("kind", "curt")):
            body = {"name": name, "source": {"path": str(make_adapter(tmp_path / name, seed))}}
            answer = await admin.post("/v1/adapters", params={"wait": "true"}, json=body)
            assert answer.status_code == 201, answer.text

        async def say(model: str) -> str:
            body = {"model": model, "messages": ASK, "max_tokens": 12}
            answer = await admin.post("/v1/chat/completions", json=body)
            return str(answer.json()["choices"][0]["message"]["content"])

        names = ["tiny", "tiny:first", "tiny:kind", "tiny:curt"]
        alone = [await say(name) for name in names]
        assert len(set(alone)) == len(names)
        assert await asyncio.gather(*(say(name) for name in names * 3)) == alone * 3


async def test_adapters_that_do_not_fit_are_refused(url: str, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "other", 3, targets=("q_proj",), size=0.0)
    (tmp_path / "lora.gguf").write_bytes(b"GGUF")
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60
    ) as admin:
        for path, code in ((folder, "no_effect"), (tmp_path / "lora.gguf", "truncated")):
            body = {"name": "bad", "source": {"path": str(path)}}
            answer = await admin.post("/v1/adapters", params={"wait": "true"}, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


def test_a_gguf_file_is_not_for_this_engine(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(PreparationFailed, match="transformers folder"):
        prepare_onnx_chat(str(file), tmp_path, "int8")
