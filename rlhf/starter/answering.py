"""Two ways to ask: the folder itself with transformers (greedy, unconstrained), or a server with the OpenAI
API.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import httpx
import torch
from transformers import Qwen3ForCausalLM

from rlhf.starter.cases import Case
from rlhf.starter.judge import Reply, read_reply
from rlhf.starter.template import call_text, prompt
from rlhf.starter.tokenizer import load_tokenizer

NEW_TOKENS = 256
IN_FLIGHT = 8
"""Requests that a server answers at once."""


class Answerer(Protocol):
    """Replies to cases, in their order."""

    def answer(self, cases: Sequence[Case]) -> Iterator[Reply]: ...


class FolderAnswerer:
    """Batched greedy decoding of a model folder, with nothing to hold the model to a grammar."""

    def __init__(self, folder: Path, batch: int = 16) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.tokenizer.padding_side = "left"
        self.model: Any = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.batch = batch

    def answer(self, cases: Sequence[Case]) -> Iterator[Reply]:
        prompts = [prompt(case.messages, case.tools) for case in cases]
        order = sorted(range(len(cases)), key=lambda i: len(prompts[i]))
        replies: dict[int, Reply] = {}
        for at in range(0, len(order), self.batch):
            members = order[at : at + self.batch]
            inputs = self.tokenizer([prompts[i] for i in members], return_tensors="pt", padding=True)
            with torch.no_grad():
                made = self.model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                )
            for i, row in zip(members, made[:, inputs["input_ids"].shape[1] :], strict=True):
                text = str(self.tokenizer.decode(row)).split("<|im_end|>")[0]
                replies[i] = read_reply(text)
        return (replies[i] for i in range(len(cases)))


class ServerAnswerer:
    """A running server; its extensions are used where /models lists them."""

    def __init__(self, url: str, key: str, model: str = "") -> None:
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=300)
        models = self.client.get("/models").raise_for_status().json()["data"]
        chat = [m for m in models if "chat" in m.get("capabilities", ["chat"]) and model in ("", m["id"])]
        self.model, self.extensions = str(chat[0]["id"]), set(chat[0].get("extensions", ()))

    def answer(self, cases: Sequence[Case]) -> Iterator[Reply]:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            yield from pool.map(self._one, cases)

    def request(self, case: Case) -> dict[str, Any]:
        extra = {k: v for k, v in case.extra.items() if k != "grounding" or "grounding" in self.extensions}
        body = {
            "model": self.model,
            "messages": [spoken(m) for m in case.messages],
            "temperature": 0,
            **extra,
        }
        if case.tools:
            body["tools"] = self._tools(case)
        return body | {"max_tokens": NEW_TOKENS}

    def _tools(self, case: Case) -> list[dict[str, Any]]:
        tools = copy.deepcopy(case.tools)
        for one in tools:
            properties = one["function"]["parameters"]["properties"]
            if case.schema and "sql" in properties and "x-sql" in self.extensions:
                properties["sql"]["x-sql"] = case.schema
        return tools

    def _one(self, case: Case) -> Reply:
        message = (
            self.client.post("/chat/completions", json=self.request(case))
            .raise_for_status()
            .json()["choices"][0]["message"]
        )
        made = message.get("tool_calls") or []
        text = message.get("content") or ""
        return read_reply(text + "".join(call_text(call) for call in made))


def spoken(message: dict[str, Any]) -> dict[str, Any]:
    """A message as OpenAI's API wants it: arguments as a string, ids on calls and results."""
    if message["role"] == "tool":
        return {**message, "tool_call_id": "call_0"}
    if not message.get("tool_calls"):
        return {k: v for k, v in message.items() if k != "silent"}
    made = [
        {
            "id": f"call_{i}",
            "type": "function",
            "function": {**c["function"], "arguments": json.dumps(c["function"]["arguments"])},
        }
        for i, c in enumerate(message["tool_calls"])
    ]
    return {"role": "assistant", "content": message.get("content") or None, "tool_calls": made}
