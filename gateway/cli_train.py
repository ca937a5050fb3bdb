"""What `loopyard train` and `loopyard pipeline` do before anything is asked for."""

from pathlib import Path
from typing import Any

import yaml

from gateway.cli_client import GatewayClient, Item
from gateway.cli_errors import CommandError
from gateway.cli_job_view import follow_job
from rlhf.objects.source import is_address

METHODS = ("sft", "dpo", "kto", "reward", "embedding", "classifier")


def read_recipe(recipe: str) -> tuple[str, dict[str, Any]]:
    """Method and changes, from a method's name or a YAML file.

    Raises:
        CommandError: it is neither.
    """
    if recipe in METHODS:
        return recipe, {}
    if not Path(recipe).is_file():
        raise CommandError(f"{recipe!r} is neither a method nor a file", f"methods are {', '.join(METHODS)}")
    changes = read_yaml(Path(recipe))
    return str(changes.pop("method", "dpo")), changes


def read_yaml(file: Path) -> dict[str, Any]:
    """A mapping. CommandError where there is none."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{file} is no mapping of keys to values")
    return content


def pipeline_file(file: Path) -> Path:
    """A pipeline's file; one of ours by its name."""
    from rlhf.recipe import RECIPES

    ours = RECIPES / f"{file}.yaml"
    return ours if not file.exists() and ours.is_file() else file


def read_parameters(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE, values as YAML. CommandError for what is none."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise CommandError(f"{one!r} is no parameter", "write NAME=VALUE")
        found[name] = yaml.safe_load(value)
    return found


def upload(client: GatewayClient, project: str, rows: str, name: str = "") -> Item:
    """Send a file of rows, or let the gateway fetch s3://BUCKET/KEY; gives its dataset, which may be there
    already. CommandError.
    """
    given, headers, file = {"name": name} if name else {}, {"X-Project": project}, Path(rows)
    if is_address(rows):
        client.ensure_project(project)
        sent = {"source": rows, **given}
        fetched: Item = client.request("POST", "/api/v1/datasets", data=sent, headers=headers).json()
        return fetched
    if not file.is_file():
        raise CommandError(f"There is no file {file}", "give JSON lines, CSV or Parquet")
    client.ensure_project(project)
    with file.open("rb") as source:
        files = {"file": (file.name, source, "application/octet-stream")}
        answer = client.request("POST", "/api/v1/datasets", files=files, data=given, headers=headers)
    item: Item = answer.json()
    return item


def trainable(client: GatewayClient, project: str, rows: str) -> str:
    """Id of the dataset that is meant: a file is uploaded, preferences are split.

    Raises:
        CommandError: there is no such dataset, or it cannot be built.
    """
    headers = {"X-Project": project}
    if is_address(rows) or Path(rows).is_file():
        item = upload(client, project, rows)
    else:
        found = client.request("GET", "/api/v1/datasets", headers=headers).json()["items"]
        named = [one for one in found if rows in (one["name"], one["id"])]
        if not named:
            names = ", ".join(one["name"] for one in found) or "none"
            raise CommandError(f"{rows!r} is neither a file nor a dataset of {project}", f"datasets: {names}")
        item = named[0]
    if item["kind"] == "file" and item["shape"] == "preference":
        item = _split(client, item, headers)
    return str(item["id"])


def _split(client: GatewayClient, item: Item, headers: dict[str, str]) -> Item:
    name = f"{item['name']} split"
    listed = client.request("GET", "/api/v1/datasets", headers=headers).json()["items"]
    built: Item | None = next(
        (one for one in listed if one["name"] == name and one["state"] == "ready"), None
    )
    if built is not None:
        return built
    body = {"name": name, "sources": [item["id"]]}
    built = client.request("POST", "/api/v1/datasets/build", json=body, headers=headers).json()
    if follow_job(client, str(built["job_id"])) != "done":
        raise CommandError(f"{item['name']} cannot be made into a dataset", "the job's log says why")
    return built


def read_mapping(given: list[str]) -> dict[str, str]:
    """COLUMN_OF_ROW=COLUMN_OF_FILE. CommandError for what is none."""
    parts = [one.partition("=") for one in given]
    if wrong := [one for one, (to, _, source) in zip(given, parts, strict=True) if not (to and source)]:
        raise CommandError(f"{wrong[0]!r} is no mapping", "write COLUMN_OF_ROW=COLUMN_OF_FILE")
    return {to: source for to, _, source in parts}


def read_steps(file: Path) -> list[Any]:
    """A list of steps. CommandError where there is none."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, list):
        raise CommandError(f"{file} is no list of steps", "write `- clean: {}` and so on")
    return [{one: None} if isinstance(one, str) else one for one in content]


def ask_for_dataset(data: Path, project: str, verb: str, body: Item, follow: bool) -> None:
    """Let the worker build a dataset, and follow it. CommandError where it is not built."""
    with GatewayClient.of(data) as client:
        headers = {"X-Project": project}
        item = client.request("POST", f"/api/v1/datasets/{verb}", json=body, headers=headers).json()
        print(f"job {item['job_id']}")
        if not follow:
            return
        ended = follow_job(client, item["job_id"])
        item = client.request("GET", f"/api/v1/datasets/{item['id']}", headers=headers).json()
        if ended != "done":
            raise CommandError(f"{item['name']} was not built", str(item["error"] or ended))
        print(f"{item['name']}: {item['rows']} rows, {item['kind']}, {item['id']}")
