"""The SDK under test, whichever version is installed: what differs between its lines, in one place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, TypeVar

import langfuse
import pytest

from tests.contracts.langfuse_server import TraceServer

os.environ.setdefault("LANGFUSE_MEDIA_UPLOAD_ENABLED", "false")
VERSION = version("langfuse")
MAJOR = int(VERSION.split(".")[0])
only_5 = pytest.mark.skipif(MAJOR < 5, reason="SDK 5 only: older ones have no such call")
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
Test = TypeVar("Test", bound=Callable[..., Any])


def call(*names: str) -> Callable[[Test], Test]:
    """The calls of the SDK whose outcome a test asserts, by their names in its newest line."""

    def mark(test: Test) -> Test:
        test.__dict__["sdk_calls"] = (*test.__dict__.get("sdk_calls", ()), *names)
        return test

    return mark


def name(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


def span(client: Any, kind: str = "span", **given: Any) -> Any:
    """A current observation; SDK 3.15 and later have one call for all kinds."""
    return client.start_as_current_observation(as_type=kind, **given)


def observations(client: Any, trace_id: str, **asked: Any) -> list[Any]:
    """What was written of a trace, the oldest first, through the API that the SDK has for it."""
    client.flush()
    if MAJOR >= 5:
        fields = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
        found = client.api.observations.get_many(trace_id=trace_id, fields=fields, **asked).data
    else:
        found = client.api.trace.get(trace_id).observations
    return sorted(found, key=lambda o: o.start_time)


def page_of(client: Any, **asked: Any) -> tuple[list[Any], str | None]:
    """Observations of any trace by the newer of the two APIs for them, and the cursor to the next ones."""
    client.flush()
    api = client.api.observations_v_2 if MAJOR == 3 else client.api.observations
    page = api.get_many(**asked)
    found = [SimpleNamespace(**entry) for entry in page.data] if MAJOR == 3 else page.data
    return found, page.meta.cursor


def listed(client: Any, **asked: Any) -> list[Any]:
    return page_of(client, **asked)[0]


def output_of(observation: Any) -> Any:
    """Older lines decode it, SDK 5 hands the text over."""
    found = observation.output
    return json.loads(found) if isinstance(found, str) and found[:1] in "{[" else found


@dataclass(frozen=True)
class Trace:
    """What all lines say of a trace: the older ones as a trace, SDK 5 on its root observation."""

    name: str | None
    user: str | None
    session: str | None
    tags: list[str]
    version: str | None
    release: str | None
    environment: str | None
    metadata: dict[str, Any]


def trace(client: Any, trace_id: str) -> Trace:
    client.flush()
    if MAJOR >= 5:
        (found,) = (o for o in observations(client, trace_id) if o.is_root_observation)
        title = found.trace_name or found.name
    else:
        found = client.api.trace.get(trace_id)
        title = found.name
    about = (title, found.user_id, found.session_id, list(found.tags or []), found.version, found.release)
    return Trace(*about, found.environment, found.metadata or {})


@dataclass(frozen=True)
class Score:
    """`value` is of the score's own type; `about` is the id of an observation, a trace or a session."""

    id: str
    kind: str
    value: Any
    about: str
    comment: str | None
    metadata: Any


def scores(client: Any, **asked: Any) -> list[Score]:
    client.flush()
    if MAJOR >= 5:
        found = client.api.scores.get_many(fields="details,subject", **asked).data
        return [Score(s.id, s.data_type, s.value, s.subject.id, s.comment, s.metadata) for s in found]
    found = (client.api.score_v_2.get if MAJOR == 3 else client.api.scores.get_many)(**asked).data
    return [_older(score) for score in found]


def _older(s: Any) -> Score:
    """In the older shape a word or a truth value stands in `string_value`."""
    value, text = s.value, getattr(s, "string_value", None)
    if text is not None:
        value = text == "True" if s.data_type == "BOOLEAN" else text
    about = s.observation_id or s.trace_id or s.session_id or s.dataset_run_id
    return Score(s.id, s.data_type, value, about, s.comment, s.metadata)


def put_score(client: Any, **given: Any) -> Any:
    """`api.scores.create`: one score, in the words of each line."""
    if MAJOR == 3:
        return client.api.score.create(request=langfuse.api.CreateScoreRequest(**given))
    if MAJOR == 4:
        return client.api.scores.create(**given)
    return client.api.scores.create(request=[langfuse.api.ScoreBody(**given)])


def delete_score(client: Any, score_id: str) -> None:
    older = {3: lambda: client.api.score, 4: lambda: client.api.legacy.score_v1}
    older.get(MAJOR, lambda: client.api.scores)().delete(score_id)


def asked(function: Callable[..., Any], model: str, **given: Any) -> Any:
    """SDK 3 takes a request as one model, later ones its fields."""
    return function(request=getattr(langfuse.api, model)(**given)) if MAJOR == 3 else function(**given)


def program(server: TraceServer, code: str, **settings: str) -> Any:
    """Runs a program that has a client of its own, `client`; gives the JSON that it prints."""
    keys = {"LANGFUSE_PUBLIC_KEY": server.public_key, "LANGFUSE_SECRET_KEY": server.secret_key}
    env = {**os.environ, "LANGFUSE_HOST": server.host, **keys, **settings}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def item_of(client: Any) -> Any:
    """An item of a new dataset."""
    dataset = name("set")
    client.create_dataset(name=dataset)
    return client.create_dataset_item(dataset_name=dataset, input={"q": 1})


def prompt_of(client: Any) -> str:
    """The name of a new prompt."""
    prompt = name("prompt")
    client.create_prompt(name=prompt, prompt="Hello {{who}}", labels=["production"])
    return prompt
