"""`loopyard status`: what runs, where, since when."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli_client import GatewayClient, gateway_url, read_admin_key
from gateway.cli_errors import CommandError
from gateway.cli_models import MODELS, said
from gateway.crew import CREW
from gateway.probes import BEAT_LIMIT

Facts = dict[str, Any]
SERVICES = ("llm_server", "tools", "traces", "gateway", "worker")


def collect_status(data: Path) -> Facts:
    """`{"running", "data", "pid", "services": [{"name", "ok", "state", "url", "pid", "restarts"}], "chats"}`;
    the last is what /api/v1/models/chats says, None where the gateway does not; `crew`: the workers beside
    the first, with `--workers`."""
    run = data.absolute() / "run"
    up = _read(run / "up.json")
    alive = "pid" in up and psutil.pid_exists(up["pid"])
    services = [_service(run, name, alive) for name in SERVICES]
    return {
        "running": alive and all(s["ok"] for s in services),
        "data": str(data.absolute()),
        "pid": up["pid"] if alive else None,
        "up_seconds": round(time.time() - up["started_at"]) if alive else None,
        "services": services,
        "chats": _chats(data) if alive else None,
        "crew": (_read(run / CREW) or None) if alive else None,
    }


def print_status(status: Facts, console: Console) -> None:
    """A table, and how to start where nothing runs."""
    if status["pid"] is None:
        console.print(f"Nothing runs on {status['data']}. Start it with [bold]loopyard up[/].")
        return
    console.print(f"{status['data']}: process {status['pid']}, up for {status['up_seconds']} s")
    table = Table("service", "state", "address", "pid", "restarts")
    for s in status["services"]:
        state = Text(s["state"], style="green" if s["ok"] else "red")
        table.add_row(s["name"], state, s["url"] or "", str(s["pid"] or ""), str(s["restarts"]))
    crew = status["crew"]
    for s in crew["workers"] if crew else []:
        doing = "ending" if s["ending"] else str(s["state"])
        shown = Text(doing, style="green" if doing == "ready" else "yellow")
        table.add_row(s["service"], shown, "", str(s["pid"] or ""), str(s["restarts"]))
    console.print(table)
    if crew:
        waiting = ", ".join(f"{count} for {queue}" for queue, count in crew["waiting"].items()) or "none"
        held = f"; the next one starts in {crew['held_seconds']} s" if crew["held_seconds"] else ""
        console.print(f"workers {crew['least']} to {crew['most']}; steps that wait: {waiting}{held}")
    if chats := status["chats"]:
        console.print(Text(said(chats), style="yellow" if chats["problem"] else ""))


def _chats(data: Path) -> Facts | None:
    try:
        with GatewayClient(gateway_url(data), read_admin_key(data), timeout=5) as client:
            return dict(client.request("GET", f"{MODELS}/chats").json())
    except CommandError:
        return None


def _service(run: Path, name: str, alive: bool) -> Facts:
    facts = _read(run / f"{name}.json") if alive else {}
    url = facts.get("url")
    if not facts:
        state = "starting" if alive else "stopped"
    elif url is None:
        state = "ready" if time.time() - facts.get("time", 0) < BEAT_LIMIT else "not answering"
    else:
        state = _ask(url) if facts.get("state") == "ready" else str(facts.get("state"))
    return {
        "name": name,
        "ok": state == "ready",
        "state": state,
        "url": url,
        "pid": facts.get("pid"),
        "restarts": facts.get("restarts", 0),
    }


def _ask(url: str) -> str:
    try:
        response = httpx.get(f"{url}/health", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return "not answering"
    return "ready" if response.status_code == 200 else f"unwell (HTTP {response.status_code})"


def _read(path: Path) -> Facts:
    try:
        found: Facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found
