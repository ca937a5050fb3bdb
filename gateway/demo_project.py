"""The demo project: a small company's documents and its shop's database, loaded once."""

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.cli_client import GatewayClient
from gateway.cli_errors import CommandError
from gateway.data_folder import DataFolder, write_json

PROJECT = "demo"
DATABASE = "shop"
SOURCE = Path(__file__).with_name("demo")


def load_demo_in_background(
    data: DataFolder, url: str, say: Callable[[str], None], source: Path = SOURCE
) -> threading.Thread | None:
    """Load the demo project unless this version of it was loaded before; None if there is nothing to do.

    A demo that the user has deleted stays deleted: the record of it is in DATA/config, not in the gateway.
    """
    record = data.path / "config" / "demo.json"
    version = _version(source)
    if _loaded(record) == version:
        return None

    def load() -> None:
        try:
            with GatewayClient(url, data.admin_key()) as client:
                documents = load_demo(client, data, source)
        except (CommandError, OSError, sqlite3.Error) as error:
            say(f"The demo project could not be loaded and will be tried again at the next start: {error}")
            return
        write_json(record, {"version": version})
        say(f"The demo project is loaded: {documents} documents and the database {DATABASE}.")

    # A daemon: stopping must not wait for it, and whatever it has not done is done at the next start.
    thread = threading.Thread(target=load, name="demo", daemon=True)
    thread.start()
    return thread


def load_demo(client: GatewayClient, data: DataFolder, source: Path = SOURCE) -> int:
    """Make the project, connect the database, send the documents; each step may have been done before."""
    client.ensure_project(PROJECT)
    file = build_database(source / "shop.sql", data.path / "gateway" / "demo" / f"{DATABASE}.sqlite")
    if not any(item["name"] == DATABASE for item in client.databases(PROJECT)):
        client.add_database(PROJECT, DATABASE, f"sqlite:///{file}")
    documents = sorted((source / "documents").glob("*.md"))
    for path in documents:
        client.upload(PROJECT, path, path.name)
    return len(documents)


def build_database(script: Path, target: Path) -> Path:
    """Run an SQL script into an SQLite file; the file appears when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(partial)) as connection:
        connection.executescript(script.read_text())
        connection.commit()
    return partial.replace(target)


def _version(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in source.rglob("*") if p.suffix in {".md", ".sql"}):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _loaded(record: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.loads(record.read_text())["version"])
    return None
