"""A training that a user asked for over HTTP is done by the worker, and its log and result are there."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from tests.gateway.service import Gateway
from tests.gateway.test_cli_jobs import run
from tests.gateway.test_jobs import DATASETS, JOBS, SECONDS, ended, upload

REGISTRY = "/api/v1/models-registry"
WORDS = {"leave": ["holiday", "days off", "rest"], "pay": ["salary", "bonus", "wages"]}


def questions() -> bytes:
    """Short questions of two intents."""
    asked = [
        (f"when is my {word} due in {month}", label)
        for label, words in WORDS.items()
        for word in words
        for month in ("May", "June", "July", "August")
    ]
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in asked).encode()


async def test_a_file_of_labels_becomes_a_classifier(working: Gateway) -> None:
    await upload(working, "intents", questions())
    body = {
        "kind": "train",
        "dataset": "intents",
        "method": "classifier",
        "recipe": {"folds": 2, "threads": 1},
    }
    asked = await working.client.post(JOBS, json=body)
    assert asked.status_code == 202, asked.text
    job = await ended(working, asked.json()["id"], 3 * SECONDS)
    lines = (await working.client.get(f"{JOBS}/{job['id']}/log")).json()["items"]
    assert job["state"] == "done", (job["error"], [line["text"] for line in lines])
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert job["result"]["trained"]["method"] == "classifier"
    assert job["progress"]["done"] == 1
    version = job["result"]["version"]
    assert (version["name"], version["kind"]) == ("intents-classifier", "classifier")
    shown = (await working.client.get(f"{REGISTRY}/intents-classifier")).json()["versions"][0]
    assert (shown["digest"], shown["kind"], shown["pairs"]) == (version["digest"], "classifier", 24)
    refused = await working.client.post(
        f"{REGISTRY}/intents-classifier/deploy", json={"version": "candidate"}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_deployable")
    assert "is a classifier of intents, and only adapters are deployed" in refused.json()["error"]["message"]
    assert "classify(texts)" in refused.json()["error"]["message"]
    packed = await working.client.get(f"{REGISTRY}/intents-classifier/versions/{shown['version']}/download")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert f"intents-classifier-{shown['version']}/content/head.json" in archive.namelist()
    listed = await run(working, "models", "list")
    assert "classifier" in listed.output
    # Its name is of one kind now, and this project's.
    body |= {"method": "sft", "recipe": {}, "name": "intents-classifier"}
    other = await working.client.post(JOBS, json=body)
    assert (other.status_code, other.json()["error"]["param"]) == (400, "name")
    assert "are of the kind classifier, not adapter" in other.json()["error"]["message"]
    await working.client.post("/api/v1/projects", json={"name": "beside"})
    await upload(working, "intents", questions(), "beside")
    key = working.key(await working.new_key(scopes=["manage"], project="beside"))
    theirs = await working.client.post(JOBS, json={**body, "method": "classifier"}, headers=key)
    assert theirs.status_code == 403
    assert "was not trained in this project" in theirs.json()["error"]["message"]


async def there(gateway: Gateway) -> None:
    """The dataset, new or not."""
    sent = await gateway.client.post(DATASETS, files={"file": ("intents.jsonl", questions())})
    assert sent.status_code in (200, 201), sent.text


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"name": "../up"}, 422, "name"),
        ({"parent": "a/b"}, 422, "parent"),
        ({"parent": "nobody"}, 400, "`live` is no version of the adapter `nobody`; there are: none"),
        ({"base": "/nowhere"}, 400, "the base /nowhere is no model: it has no config.json"),
        ({"resource": "tpu"}, 422, "resource"),
    ],
)
async def test_a_training_that_cannot_begin_is_refused_before_it_waits(
    working: Gateway, more: dict[str, Any], status: int, said: str
) -> None:
    await there(working)
    asked = await working.client.post(JOBS, json={"kind": "train", "dataset": "intents", **more})
    assert asked.status_code == status, asked.text
    assert said in asked.json()["error"]["message"]


async def test_a_folder_of_the_server_is_for_admins(working: Gateway) -> None:
    await there(working)
    key = working.key(await working.new_key(scopes=["manage"], project="demo"))
    body = {"kind": "train", "dataset": "intents", "base": "/etc"}
    asked = await working.client.post(JOBS, json=body, headers=key)
    assert asked.status_code == 403
    escape = await working.client.post(JOBS, json={**body, "base": "../../etc"}, headers=key)
    assert escape.status_code == 403
    prepared = await working.client.post(JOBS, json={**body, "base": "tiny"}, headers=key)
    assert prepared.status_code == 400
    assert "models/tiny is no model: it has no config.json" in prepared.json()["error"]["message"]
    assert "another one is for admins only" in asked.json()["error"]["message"]


@pytest.mark.parametrize(
    ("recipe", "resource", "queued"),
    [
        ({}, "gpu", "gpu"),
        ({"device": "cpu"}, "gpu", "cpu"),
        ({"device": "cuda"}, "cpu", "gpu"),
        ({}, "cpu", "cpu"),
    ],
)
async def test_a_device_in_the_recipe_goes_before_the_resource(
    working: Gateway, recipe: dict[str, Any], resource: str, queued: str
) -> None:
    await there(working)
    body = {"kind": "train", "dataset": "intents", "method": "sft", "recipe": recipe, "resource": resource}
    asked = await working.client.post(JOBS, json=body)
    assert (asked.status_code, asked.json()["resource"]) == (202, queued), asked.text
    await working.client.post(f"{JOBS}/{asked.json()['id']}/cancel")
