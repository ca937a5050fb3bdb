"""llm_server as training sees it: answers, adapters and their aliases, over HTTP alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from rlhf.errors import DeployError
from rlhf.pairs import Row

STABLE = "stable"


@dataclass(frozen=True)
class Served:
    """What the base is served from.

    Attributes:
        model: as the server's settings have it: `starter`, a folder, a .gguf file, a name on the hub.
        weights: what they are kept in, such as `f16`, `q8_0` or `int8`; `gguf` for a file that the server has
            not made itself.
    """

    model: str
    weights: str


class Server:
    """One server; `url` ends in /v1, the key needs the scope admin."""

    def __init__(self, url: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self.key = url.rstrip("/"), key
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=600, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """One request. DeployError with the server's own words where it refuses or is not there."""
        try:
            answer = self._http.request(method, path, **given)
        except httpx.TransportError as error:
            raise DeployError(f"no answer from {self.url}: {error or type(error).__name__}") from error
        if answer.is_error:
            at = answer.url.copy_with(query=None)
            raise DeployError(f"{at} answers {answer.status_code}: {_reason(answer)}")
        return dict(answer.json())

    def base(self) -> str:
        """The model that adapters go on. DeployError where there are several or none."""
        models = [m for m in self.call("GET", "/models")["data"] if "parent" not in m or m["parent"] is None]
        chat = [str(m["id"]) for m in models if "chat" in m.get("capabilities", ["chat"])]
        if len(chat) != 1:
            raise DeployError(
                f"{self.url} serves {len(chat)} models that could be the base: {', '.join(chat)}"
            )
        return chat[0]

    def served(self) -> Served:
        """What the base is served from. DeployError where the server does not say."""
        base = self.base()
        models = self.call("GET", f"{self.url.removesuffix('/v1')}/admin/config")["models"]
        cards = [card for card in models if card["id"] == base and "model" in card]
        if not cards:
            raise DeployError(f"{self.url} does not say what it serves {base} from")
        model = str(cards[0]["model"])
        kept = cards[0]["precision" if cards[0]["engine"] == "onnx" else "quantisation"]
        return Served(model, "gguf" if model.endswith(".gguf") else str(kept))

    def chat(self, model: str, row: Row, **options: Any) -> dict[str, Any]:
        """The whole completion of a row's prompt."""
        body = {"model": model, "messages": row["prompt"], **options}
        if row.get("tools"):
            body["tools"] = _tools(row["tools"])
        return self.call("POST", "/chat/completions", json=body)

    def next_tokens(self, model: str, prefixes: Sequence[Sequence[int]]) -> list[str]:
        """The likeliest next token after each prefix, spelt out; empty where the turn ends."""
        body = {"model": model, "prompt": list(map(list, prefixes)), "max_tokens": 1, "temperature": 0}
        # With its probability, because special tokens such as <tool_call> are no part of a choice's text.
        choices = self.call("POST", "/completions", json={**body, "logprobs": 1})["choices"]
        scores = [c["logprobs"] for c in sorted(choices, key=lambda choice: int(choice["index"]))]
        return [str(score["tokens"][0]) if score else "" for score in scores]

    # Adapters

    def stable(self, name: str) -> str | None:
        """Digest of the version that a name means now, None where the server does not know the name."""
        cards = {card["name"]: card for card in self.call("GET", "/adapters")["data"]}
        return cards[name]["aliases"].get(STABLE) if name in cards else None

    def versions(self, name: str) -> list[str]:
        """Digests of all versions that can be served."""
        cards = {card["name"]: card for card in self.call("GET", "/adapters")["data"]}
        return [v["id"] for v in cards[name]["versions"] if v["state"] in READY] if name in cards else []

    def load(self, name: str, folder: Path) -> str:
        """Load a PEFT folder that the server can read, wait until it is ready; its digest."""
        body = {"name": name, "source": {"path": str(folder.absolute())}}
        return str(self.call("POST", "/adapters", params={"wait": "true"}, json=body)["id"])

    def promote(self, name: str, digest: str, was: str | None) -> None:
        """Let the name mean a version, if it still means `was`."""
        body = {"version": digest} | ({"if_match": was} if was else {})
        self.call("POST", f"/adapters/{quote(name)}:promote", json=body)

    def rollback(self, name: str) -> None:
        """Let the name mean what it meant before."""
        self.call("POST", f"/adapters/{quote(name)}:rollback")

    def unload(self, name: str, digest: str = "") -> None:
        """Take a name, or one version of it, out."""
        at = f"@{digest}" if digest else ""
        self.call("DELETE", f"/adapters/{quote(name)}{at}")


READY = ("ready", "evicted")


def _tools(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _reason(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return f"{error['message']} ({error.get('code')})"
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
