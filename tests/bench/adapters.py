"""A server on the starter model whose adapters are loaded over HTTP, and random adapters for it."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from llm_server.adapters.convert import Converter
from llm_server.convert.prepare import prepare_chat
from llm_server.settings import STARTER
from tests.bench.answers import Answer, ask
from tests.bench.server import Server, serving
from tests.llm_server.adapters.making import STARTER as SIZES
from tests.llm_server.adapters.making import make_adapter

NAMES = [f"adapter-{number}" for number in range(8)]
SLOTS = 8
CONTEXT = 1024
BASE = ""
"""The name that stands for no adapter."""


class Adapters:
    """Files of random adapters of rank 16, made once. As PEFT folders, or as GGUF files converted here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._base = prepare_chat(STARTER, folder, "q8_0").folder
        self._converter = Converter()

    def peft(self, seed: int) -> Path:
        """A PEFT folder."""
        path = self._folder / f"peft-{seed}"
        return path if path.exists() else make_adapter(path, seed, rank=16, sizes=SIZES, size=0.1)

    def gguf(self, seed: int) -> Path:
        """A GGUF file of the same. RuntimeError where the starter has no folder."""
        path = self._folder / f"adapter-{seed}.gguf"
        if self._base is None:
            raise RuntimeError("the starter is a transformers folder")
        if not path.exists():
            self._converter.convert(self.peft(seed), self._base, path)
        return path

    def close(self) -> None:
        """End the converter."""
        self._converter.close()


@dataclass(frozen=True, slots=True)
class Service:
    """A running server, its client and files of adapters."""

    server: Server
    http: httpx.AsyncClient
    model: str
    files: Adapters

    async def load(self, name: str, path: Path, activate: bool = False) -> tuple[float, dict[str, Any]]:
        """Seconds until the adapter is ready, and what the server says of the version."""
        body = {"name": name, "source": {"path": str(path)}, "activate": activate}
        began = time.perf_counter()
        answer = await self.http.post("/v1/adapters", params={"wait": "true"}, json=body)
        seconds = time.perf_counter() - began
        return seconds, answer.raise_for_status().json()

    async def promote(self, name: str, version: str) -> None:
        """Let the name mean a version."""
        answer = await self.http.post(f"/v1/adapters/{name}:promote", json={"version": version})
        answer.raise_for_status()

    async def unload(self, name: str) -> None:
        """Unload a name, or `name@version`; it drains by itself."""
        (await self.http.delete(f"/v1/adapters/{name}")).raise_for_status()

    async def names(self) -> None:
        """Load the eight adapters that the measures use."""
        for seed, name in enumerate(NAMES):
            await self.load(name, self.files.gguf(seed))

    async def ask(
        self, name: str, prompt: str | Sequence[int], tokens: int, into: Answer | None = None
    ) -> Answer:
        """Stream a completion under an adapter, or of the base."""
        return await ask(self.http, self.called(name), prompt, tokens, into)

    async def sure(self, name: str, prompt: str | Sequence[int], tokens: int) -> Answer:
        """The same. RuntimeError where it is not whole."""
        answer = await self.ask(name, prompt, tokens)
        if not answer.whole:
            raise RuntimeError(f"an answer is not whole: {answer}")
        return answer

    def called(self, name: str) -> str:
        """`model` of a request."""
        return f"{self.model}:{name}" if name else self.model


@asynccontextmanager
async def service(files: Adapters, data: Path, threads: int, **settings: object) -> AsyncIterator[Service]:
    """A server of its own in a folder of its own."""
    limits = httpx.Limits(max_connections=None)
    with serving(data, threads=threads, slots=SLOTS, context=CONTEXT, **settings) as server:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=120, limits=limits, trust_env=False
        ) as http:
            models = (await http.get("/v1/models")).raise_for_status().json()["data"]
            yield Service(server, http, str(models[0]["id"]), files)
