"""The unmodified Langfuse SDK, any line of it: lists, deletion, and what this store says that it has not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import langfuse
import pytest

from tests.contracts.langfuse_sdk import (
    MAJOR,
    asked,
    call,
    listed,
    name,
    observations,
    page_of,
    quiet,
    scores,
    span,
)

pytestmark = quiet


@call("api.observations.get_many", "api.observations.get_many(cursor)")
def test_pages_by_cursor(client: Any) -> None:
    user = name("user")
    with langfuse.propagate_attributes(user_id=user):
        for n in range(5):
            with span(client, name=f"n{n}"):
                pass
    seen: list[list[str]] = []
    cursor: str | None = None
    for _ in range(3):
        found, cursor = page_of(client, user_id=user, limit=2, cursor=cursor)
        seen.append([o.name for o in found])
    assert (seen, cursor) == ([["n4", "n3"], ["n2", "n1"], ["n0"]], None)


@call("api.observations.get_many(filters)")
def test_observations_by_their_properties(client: Any) -> None:
    user = name("user")
    with langfuse.propagate_attributes(user_id=user, version="v1"), span(client, name="root") as root:
        with span(client, "generation", name="llm", model="m"):
            pass
        with span(client, "tool", name="failed") as failed:
            failed.update(level="ERROR")

    def names(**wanted: Any) -> set[str]:
        return {o.name for o in listed(client, user_id=user, **wanted)}

    assert names() == {"root", "llm", "failed"}
    assert names(type="GENERATION") == {"llm"}
    assert names(name="failed") == {"failed"}
    assert names(level="ERROR") == {"failed"}
    assert names(trace_id=root.trace_id, parent_observation_id=root.id) == {"llm", "failed"}
    assert names(version="v1") == {"root", "llm", "failed"}
    assert names(version="v2") == names(environment="nowhere") == set()
    now = datetime.now(UTC)
    assert names(from_start_time=now - timedelta(minutes=5)) == {"root", "llm", "failed"}
    assert names(to_start_time=now - timedelta(minutes=5)) == set()


@call("api.observations.get_many(filter)")
def test_observations_by_a_filter(client: Any) -> None:
    session = name("session")
    with (
        langfuse.propagate_attributes(session_id=session),
        span(client, name="root"),
        span(client, name="in"),
    ):
        pass
    wanted = f'[{{"type":"string","column":"sessionId","operator":"=","value":"{session}"}},'
    wanted += '{"type":"stringOptions","column":"name","operator":"any of","value":["in","x"]}]'
    assert [o.name for o in listed(client, filter=wanted)] == ["in"]
    with pytest.raises(Exception, match="nothing"):
        listed(client, filter='[{"type":"string","column":"nothing","operator":"=","value":"x"}]')


@call("api.observations.get_many(fields)")
def test_only_the_fields_that_were_asked_for(client: Any) -> None:
    with span(client, "generation", name="llm", input="q", model="m") as made:
        pass
    (bare,) = listed(client, trace_id=made.trace_id, fields="core")
    (whole,) = listed(client, trace_id=made.trace_id, fields="core,basic,io,model")

    def told(found: Any) -> dict[str, Any]:
        return {key: getattr(found, key, None) for key in ("name", "input")}

    assert told(bare) == {"name": None, "input": None}
    assert told(whole) == {"name": "llm", "input": "q"}


@call("api.trace.delete", "api.trace.delete_multiple")
@pytest.mark.parametrize("together", [False, True])
def test_a_trace_is_deleted_with_its_scores(client: Any, together: bool) -> None:
    score = name("score")
    with span(client, name="o") as made:
        client.score_current_trace(name=score, value=1.0)
    assert len(observations(client, made.trace_id)) == len(scores(client, name=score)) == 1
    if together:
        client.api.trace.delete_multiple(trace_ids=[made.trace_id, "nothing"])
    else:
        client.api.trace.delete(made.trace_id)
    assert listed(client, trace_id=made.trace_id) == scores(client, name=score) == []


@call("api.media.get_upload_url")
def test_media_are_said_to_be_there(client: Any) -> None:
    wanted = {"trace_id": "ab" * 16, "content_type": "image/png", "content_length": 3}
    wanted |= {"sha256hash" if MAJOR > 3 else "sha_256_hash": "x" * 44, "field": "input"}
    found = asked(client.api.media.get_upload_url, "GetMediaUploadUrlRequest", **wanted)
    assert (found.upload_url, found.media_id) == (None, "x" * 22)


@call("api.media.patch")
def test_an_upload_that_is_reported_is_taken(client: Any) -> None:
    told: Any = {"uploaded_at": datetime.now(UTC), "upload_http_status": 200}
    if MAJOR == 3:
        client.api.media.patch("m", request=langfuse.api.PatchMediaBody(**told))
    else:
        client.api.media.patch("m", **told)
    with pytest.raises(Exception, match="Attachments are not kept"):
        client.api.media.get("m")


@call("resolve_media_references")
def test_what_holds_no_media_stays_as_it_is(client: Any) -> None:
    given = {"messages": ["Hello"]}
    assert client.resolve_media_references(obj=given, resolve_with="base64_data_uri") == given


@call("api.comments.get(unknown)")
def test_a_call_that_this_store_has_not_is_a_404_with_its_route(client: Any) -> None:
    with pytest.raises(Exception, match="No route GET /api/public/comments") as told:
        client.api.comments.get()
    assert getattr(told.value, "status_code", None) == 404


@call("get_trace_url")
def test_a_trace_has_an_address(client: Any) -> None:
    with span(client, name="s") as made:
        url = client.get_trace_url(trace_id=made.trace_id)
    assert url.endswith(made.trace_id)
