"""A training that a user asked for over HTTP is done by the worker, and its log and result are there."""

from __future__ import annotations

import json

from tests.gateway.service import Gateway
from tests.gateway.test_jobs import JOBS, SECONDS, ended, upload

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
