"""Servers are looked at whether anybody asks for their models or not."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from llm_server.upstreams.breaker import Breaker
from llm_server.upstreams.pool import Pool, ServerSpec
from tests.llm_server.upstreams.scripted import Scripted, scripted
from tests.llm_server.upstreams.test_forward import far, states, wait_for


def test_two_looks_open_and_one_closes() -> None:
    now = 0.0
    breaker = Breaker(failures=3, rest_seconds=10, clock=lambda: now)
    breaker.found_down()
    breaker.found_up()
    breaker.found_down()
    assert breaker.state == "closed", "only looks in a row count"
    breaker.found_down()
    assert (breaker.state, breaker.lets_pass) == ("open", False)
    now = 9.0
    breaker.found_down()
    now = 11.0
    assert not breaker.lets_pass, "as long as it is found down no request is spent on it"
    breaker.found_up()
    assert (breaker.state, breaker.lets_pass) == ("closed", True)


def test_a_look_says_nothing_of_a_server_that_fails_requests() -> None:
    breaker = Breaker(failures=2, rest_seconds=10, clock=lambda: 0.0)
    breaker.failed()
    breaker.found_up()
    breaker.failed()
    breaker.found_up()
    assert breaker.state == "open"
    unreached = Breaker(failures=1)
    unreached.failed(reached=False)
    unreached.found_up()
    assert unreached.state == "closed"


def test_an_answer_between_two_looks_counts() -> None:
    breaker = Breaker()
    breaker.found_down()
    breaker.succeeded()
    breaker.found_down()
    assert breaker.state == "closed"


async def test_a_server_full_of_streams_is_found_up() -> None:
    """With as many streams open as there are connections."""
    with scripted(endless=True) as app:
        pool = Pool((ServerSpec(app.url, "m"),), retries=0, timeout_s=30)
        (server,) = pool.servers
        streams = await asyncio.gather(*(pool.open("chat/completions", {}) for _ in range(100)))
        await pool.probe(server)
        await pool.probe(server)
        assert (server.breaker.state, server.probes) == ("closed", {"up": 2})
        await asyncio.gather(*(stream.aclose() for stream in streams))
        await asyncio.to_thread(pool.close)


@pytest.mark.parametrize(("status", "state"), [(500, "closed"), (503, "open"), (404, "closed")])
async def test_a_server_without_a_list_is_not_down(status: int, state: str) -> None:
    with scripted(status=status) as app:
        pool = Pool((ServerSpec(app.url, "m"),), retries=0, timeout_s=30)
        for _ in range(2):
            await pool.probe(pool.servers[0])
        assert pool.servers[0].breaker.state == state
        await asyncio.to_thread(pool.close)


@contextmanager
def listening(app: Scripted, port: int) -> Iterator[None]:
    """At a given port: the server is back."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()


def test_a_server_that_goes_and_comes_back_is_noticed(front: Callable[..., Any]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    entry = far({"url": f"http://127.0.0.1:{port}/v1"}, retries=0, probe_seconds=0.2)
    with front(entry) as server:
        wait_for(lambda: states(server) == ["open"])
        app = Scripted()
        with listening(app, port):
            wait_for(lambda: states(server) == ["closed"])
            assert server.say("far").json() == {"object": "scripted"}
            assert set(app.looks) == {"/v1/models"}
        wait_for(lambda: states(server) == ["open"])
        text = server.http.get("/metrics").text
        assert 'llm_upstream_probes_total{found="up",model="far",server="0"}' in text
        assert 'llm_upstream_probes_total{found="down",model="far",server="0"}' in text


def test_looks_come_at_their_interval_and_not_at_all_where_none_are_wanted(
    front: Callable[..., Any],
) -> None:
    with scripted() as often, scripted() as never:
        entries = [
            far({"url": often.url}, probe_seconds=0.3),
            {"id": "quiet", "upstream": [{"url": never.url}], "probe_seconds": 0},
        ]
        with front(*entries) as server:
            wait_for(lambda: len(often.looks) >= 3)
            assert not never.looks
            assert server.config()["models"][0]["probe_seconds"] == 0.3
            assert not often.asked
        looked = len(often.looks)
        time.sleep(0.8)
        assert len(often.looks) == looked, "a server that has ended looks no more"
        assert httpx.get(f"{often.url}/models").status_code == 200
