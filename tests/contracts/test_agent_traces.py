"""An agent of LangGraph on llm_server, watched by Langfuse's callback handler: read back from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langfuse.langchain import CallbackHandler
from pydantic import SecretStr

from tests.contracts.langfuse_sdk import name, observations, quiet
from tests.contracts.langfuse_server import TraceServer
from tests.llm_server.processes import process

pytestmark = quiet


def test_an_agent_on_the_echo_backend(client: Any, server: TraceServer, tmp_path: Path) -> None:
    trace_id, session = client.create_trace_id(), name("session")
    handler = CallbackHandler(public_key=server.public_key, trace_context={"trace_id": trace_id})
    with process({"LLM_BACKEND": "echo", "LLM_DATA": str(tmp_path)}) as (_, url):
        served = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"]
        model = ChatOpenAI(model=served, base_url=f"{url}/v1", api_key=SecretStr("none"), stream_usage=True)
        agent = create_agent(model, tools=[], name="clerk", system_prompt="You are kind.")
        config: Any = {
            "callbacks": [handler],
            "metadata": {"langfuse_session_id": session, "langfuse_user_id": "ada"},
        }
        done = agent.invoke({"messages": [{"role": "user", "content": "How long is the notice?"}]}, config)
    answer = done["messages"][-1].content
    found = observations(client, trace_id)
    (generation,) = [o for o in found if o.type == "GENERATION"]
    assert generation.model == served
    assert "How long is the notice?" in str(generation.input)
    assert "You are kind." in str(generation.input)
    assert answer
    assert answer in str(generation.output)
    assert generation.usage_details["total"] > 0
    assert {(o.session_id, o.user_id) for o in found} == {(session, "ada")}
    parents = {o.id: o.parent_observation_id for o in found}
    (root,) = [o for o in found if o.parent_observation_id not in parents]
    at = generation.id
    while at != root.id:  # every node hangs on the run
        at = parents[at]
    assert root.name == "clerk"
