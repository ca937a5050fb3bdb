"""The openai client, sync or async, called in one way."""

import asyncio
from dataclasses import dataclass
from typing import Any

import openai


@dataclass(frozen=True, slots=True)
class Server:
    """Where it is, and a key for it."""

    url: str
    key: str

    @property
    def base(self) -> str:
        """Base URL of the OpenAI API."""
        return f"{self.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """For requests without a client."""
        return {"authorization": f"Bearer {self.key}"}


@dataclass(frozen=True, slots=True)
class Calls:
    """`do("chat.completions.create", ...)` with a client of its own; retries are off unless asked for."""

    server: Server
    asynchronous: bool

    def do(self, method: str, *args: Any, options: dict[str, Any] | None = None, **fields: Any) -> Any:
        """The result; of a stream the list of its events, of a list all of its items."""
        settings: dict[str, Any] = {
            "base_url": self.server.base,
            "api_key": self.server.key,
            "max_retries": 0,
        }
        settings |= options or {}
        if self.asynchronous:
            return asyncio.run(self._later(settings, method, args, fields))
        with openai.OpenAI(**settings) as client:
            result = _method(client, method)(*args, **fields)
            return list(result) if _many(method, fields) else result

    async def _later(
        self, settings: dict[str, Any], method: str, args: tuple[Any, ...], fields: dict[str, Any]
    ) -> Any:
        async with openai.AsyncOpenAI(**settings) as client:
            result = _method(client, method)(*args, **fields)
            if method.endswith(".list"):
                return [item async for item in result]
            result = await result
            return [event async for event in result] if _many(method, fields) else result


def _many(method: str, fields: dict[str, Any]) -> bool:
    return method.endswith(".list") or bool(fields.get("stream"))


def _method(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client
