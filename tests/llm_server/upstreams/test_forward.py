"""Models that other servers compute: passed on, retried, given up, answered by others."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.llm_server.config.conftest import Edited
from tests.llm_server.upstreams.conftest import KEY
from tests.llm_server.upstreams.scripted import nobody, scripted

HELLO: Any = [{"role": "user", "content": "hello there"}]


def far(*servers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "far", "upstream": list(servers), **more}


def wait_for(true: Callable[[], object]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it never came to that")


def states(server: Edited) -> list[str]:
    found: list[str] = server.http.get("/health").json()["upstreams"]["far"]
    return found


def test_the_openai_client_notices_nothing(front: Callable[..., Any], other: str) -> None:
    entry = far({"url": other, "key_env": "OTHER_KEY", "model": "echo"}, aliases=["away"])
    with front(entry) as server:
        with openai.OpenAI(base_url=f"{server.http.base_url}/v1", api_key="mine", max_retries=0) as client:
            whole = client.chat.completions.create(model="away", messages=HELLO)
            assert whole.choices[0].message.content == "hello there"
            stream = client.chat.completions.create(model="far", messages=HELLO, stream=True)
            parts = [chunk.choices[0].delta.content or "" for chunk in stream]
            assert len(parts) >= 3, "the role, the words in one piece or more, the end"
            assert "".join(parts) == "hello there"
            text = client.completions.create(model="far", prompt="abc", max_tokens=3)
            assert text.object == "text_completion"
            with pytest.raises(openai.NotFoundError):
                # The entry's model name is sent, and the other server makes embeddings under another.
                client.embeddings.create(model="nowhere", input="text")
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(model="far", messages=HELLO, max_tokens=-1)
        assert "max_tokens" in refused.value.message
        assert server.names() == ["far"]
        refused_here = server.http.post("/v1/tokenize", json={"model": "far", "content": "x"})
        assert refused_here.status_code == 400
        assert "/v1/tokenize is for models of this server" in refused_here.json()["error"]["message"]
        assert KEY not in server.http.get("/admin/config").text
        assert (
            'llm_upstream_requests_total{model="far",outcome="200",server="0"}'
            in server.http.get("/metrics").text
        )


def test_embeddings(front: Callable[..., Any], other: str) -> None:
    entry = far({"url": other, "key_env": "OTHER_KEY", "model": "all-minilm-l6-v2"})
    with front(entry) as server:
        answer = server.http.post("/v1/embeddings", json={"model": "far", "input": "text"})
        assert len(answer.json()["data"][0]["embedding"]) == 384


def test_headers_are_ours_alone(front: Callable[..., Any]) -> None:
    with scripted() as there, front(far({"url": there.url, "key_env": "OTHER_KEY", "model": "m"})) as server:
        body = {"model": "far", "messages": HELLO, "user": "ann", "top_k": 3}
        headers = {"authorization": "Bearer secret-of-ann", "cookie": "c=d", "x-custom": "1"}
        answer = server.http.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.json() == {"object": "scripted"}
        assert "set-cookie" not in answer.headers
        assert there.asked == [{**body, "model": "m"}]
        assert there.headers[0]["authorization"] == f"Bearer {KEY}"
        assert not {"cookie", "x-custom"} & set(there.headers[0])
        assert "secret-of-ann" not in str(there.headers)


@pytest.mark.parametrize("status", [429, 502, 503, 504, None])
def test_another_server_is_asked(front: Callable[..., Any], status: int | None) -> None:
    """The heavy one is down, or cannot; None: nobody listens there."""
    with scripted(status=status or 500) as bad, scripted() as good:
        servers = [
            {"url": nobody() if status is None else bad.url, "weight": 1e6},
            {"url": good.url, "weight": 1e-6},
        ]
        with front(far(*servers)) as server:
            for _ in range(8):
                assert server.say("far").json() == {"object": "scripted"}
            assert len(good.asked) == 8
            resting = ["closed" if status == 429 else "open", "closed"]
            assert states(server) == resting
            assert len(bad.asked) == {None: 0, 429: 8}.get(status, 5)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_what_a_server_has_answered_is_not_asked_again(front: Callable[..., Any], status: int) -> None:
    with scripted(status=status) as there, front(far({"url": there.url})) as server:
        answer = server.say("far")
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == "upstream_failed"
        assert len(there.asked) == 1


def test_a_full_server_is_asked_again_and_its_advice_passed_on(front: Callable[..., Any]) -> None:
    with scripted(status=429) as there, front(far({"url": there.url}, retries=2)) as server:
        answer = server.say("far")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert len(there.asked) == 3


def test_where_nobody_answers(front: Callable[..., Any]) -> None:
    with front(far({"url": nobody()}, retries=0)) as server:
        for _ in range(6):
            answer = server.say("far")
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
        assert states(server) == ["open"]


def test_fallbacks_answer(front: Callable[..., Any]) -> None:
    """First another upstream, which is down too, then a model of this process."""
    near = {"id": "near", "engine": "echo"}
    second = {"id": "second", "upstream": [{"url": nobody()}], "retries": 0}
    with scripted(status=503) as there:
        entry = far({"url": there.url}, retries=0, fallbacks=["second", "near"])
        with front(entry, second, near) as server:
            answer = server.say("far").json()
            assert (answer["model"], answer["choices"][0]["message"]["content"]) == ("near", "hello there")
            assert server.say("second").status_code == 502


def test_a_stream_that_breaks_ends_with_an_error(front: Callable[..., Any]) -> None:
    with scripted(breaks=True) as there, front(far({"url": there.url})) as server:
        text = server.say("far", stream=True).text
    lines = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]
    assert lines[0] == {"n": 1}
    assert lines[-1]["error"]["code"] == "upstream_failed"
    assert len(there.asked) == 1


def test_a_client_that_leaves_is_heard_of_there(front: Callable[..., Any]) -> None:
    with scripted(endless=True) as there, front(far({"url": there.url})) as server:
        body = {"model": "far", "messages": HELLO, "stream": True}
        url = f"{server.http.base_url}/v1/chat/completions"
        with httpx.stream("POST", url, json=body) as answer:
            assert next(answer.iter_lines()) == 'data: {"n": 1}'
        wait_for(lambda: there.left == 1)
        server.edit({"models": [{"id": "near", "engine": "echo"}], "embeddings": False})
        wait_for(lambda: not server.config()["draining"])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (far({"url": "ftp://x"}), "`url` string should match"),
        (far({}), "`url` or `preset` is missing"),
        (far({"preset": "nobody"}), "'openai', 'anthropic'"),
        (far({"preset": "vllm", "key_env": "NOT_SET_ANYWHERE"}), "NOT_SET_ANYWHERE is not set"),
        (far({"preset": "vllm", "wieght": 1}), "Did you mean `weight`?"),
        (far({"preset": "vllm"}, fallback=["x"]), "Did you mean `fallbacks`?"),
        (far({"preset": "vllm"}, fallbacks=["x"]), "There is no other model `x`"),
        (far({"preset": "vllm"}, fallbacks=["far"]), "There is no other model `far`"),
        (far(), "at least 1 item"),
        ({**far(), "upstream": ["x"]}, "A mapping belongs here: url"),
    ],
)
def test_entries_that_are_refused(front: Callable[..., Any], entry: dict[str, Any], said: str) -> None:
    with front({"id": "near", "engine": "echo"}) as server:
        answer = server.edit({"models": [entry]})
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["error"]["message"]
        assert server.names() == ["near"]
