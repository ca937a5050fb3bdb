"""The file that adapters survive a restart in: names, aliases and validated versions; whole or not there."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_server.adapters.versions import Adapter, State, Version
from llm_server.convert.files import publish
from llm_server.errors import PreparationFailed

FORMAT = 1
KEPT = (State.READY, State.EVICTED)


def adapters_text(adapters: Iterable[Adapter]) -> str:
    """What the file says of them."""
    rows = {adapter.name: _row(adapter) for adapter in adapters}
    return json.dumps({"format": FORMAT, "adapters": rows}, indent=1)


def write_adapters(file: Path, text: str) -> None:
    """PreparationFailed, which names the file, where it cannot be written; then it says what it said."""

    def write(part: Path) -> None:
        part.write_text(text)

    publish(file, write)


def read_adapters(file: Path) -> dict[str, Adapter]:
    """Adapters of an earlier run, their versions on disk and not in the memory. PreparationFailed."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, this is {FORMAT}")
        adapters = [_adapter(file.parent, name, row) for name, row in content["adapters"].items()]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise PreparationFailed(
            f"{file} cannot be read: {error}. Move it away, and load the adapters again."
        ) from error
    return {adapter.name: adapter for adapter in adapters if adapter.versions}


def _row(adapter: Adapter) -> dict[str, Any]:
    versions = [
        {"id": v.id, "source": v.source, "kind": v.kind, "created": v.created, "file": v.file.name}
        for v in adapter.versions.values()
        if v.file is not None and v.state in KEPT
    ]
    own = {"aliases": adapter.aliases, "scale": adapter.scale, "pinned": adapter.pinned}
    return {**own, "versions": versions}


def _adapter(folder: Path, name: str, row: dict[str, Any]) -> Adapter:
    adapter = Adapter(name, scale=row["scale"], pinned=row["pinned"])
    for v in row["versions"]:
        if (folder / v["file"]).is_file():
            version = Version(v["id"], name, v["source"], v["kind"], v["created"], State.EVICTED)
            version.file = folder / v["file"]
            adapter.versions[version.id] = version
    adapter.aliases = {alias: v for alias, v in row["aliases"].items() if v in adapter.versions}
    return adapter
