"""From the items of /v1/responses to a chat request."""

import uuid
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from llm_server.api.responses.schemas import Item, ResponseRequest
from llm_server.api.schemas import ChatRequest
from llm_server.errors import BadRequest

Message = dict[str, Any]
EXTENSIONS = (
    "adapters",
    "lora",
    "seed",
    "stop",
    "top_k",
    "min_p",
    "ignore_eos",
    "grounding",
    "chat_template_kwargs",
)
"""Fields of chat that this route takes too."""
UNSUPPORTED = ("background", "conversation", "prompt")


def identity(prefix: str) -> str:
    """A fresh id."""
    return f"{prefix}_{uuid.uuid4().hex}"


def normalised(given: str | list[Item]) -> list[Item]:
    """Items with a type and an id, content as parts. BadRequest for kinds that this server has not."""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_normal(item) for item in items]


def chat_request(body: ResponseRequest, items: Iterable[Item]) -> ChatRequest:
    """The chat request that says the same. BadRequest names the field that is wrong."""
    for name in UNSUPPORTED:
        if getattr(body, name):
            raise BadRequest(f"{name} is not supported here.", param=name, code="unsupported_parameter")
    messages = [{"role": "system", "content": body.instructions}] if body.instructions else []
    wanted = body.text.format
    fields: dict[str, Any] = {
        "model": body.model,
        "messages": messages + _messages(items),
        "tools": [_tool(tool) for tool in body.tools] or None,
        "tool_choice": body.tool_choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "max_completion_tokens": body.max_output_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "reasoning_effort": (body.reasoning or {}).get("effort"),
        "logprobs": body.logprobs,
        "top_logprobs": body.top_logprobs,
        "response_format": {
            "type": wanted.type,
            "json_schema": {"name": wanted.name, "schema": wanted.schema_},
        },
        **{name: value for name, value in (body.model_extra or {}).items() if name in EXTENSIONS},
    }
    try:
        return ChatRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])).replace("messages", "input", 1)
        raise BadRequest(f"Invalid value for '{place}': {first['msg']}.", param=place) from error


def without_oldest(request: ChatRequest) -> ChatRequest | None:
    """The request without its oldest message and the tool messages that answered it; None where only one is
    left.
    """
    start = next((i for i, m in enumerate(request.messages) if m.role not in {"system", "developer"}), 0)
    rest = request.messages[start + 1 :]
    while rest and rest[0].role == "tool":
        rest = rest[1:]
    if not rest:
        return None
    return request.model_copy(update={"messages": request.messages[:start] + rest})


def _normal(item: Item) -> Item:
    kind = item.get("type") or "message"
    item = {name: value for name, value in item.items() if value is not None}
    match kind:
        case "message":
            role = item.get("role")
            content = item.get("content")
            if isinstance(content, str):
                part = "output_text" if role == "assistant" else "input_text"
                content = [{"type": part, "text": content}]
            return {"id": identity("msg"), "status": "completed", **item, "type": kind, "content": content}
        case "function_call":
            return {"id": identity("fc"), "status": "completed", **item}
        case "function_call_output":
            return {"id": identity("fco"), "status": "completed", **item}
        case "reasoning":
            return {"id": identity("rs"), **item}
    raise BadRequest(
        f"Items of type {kind!r} are not supported. Send messages, function_call, function_call_output "
        "and reasoning.",
        param="input",
        code="unsupported_content",
    )


def _messages(items: Iterable[Item]) -> list[Message]:
    """Calls belong to the assistant's message before them; thoughts to the one after."""
    out: list[Message] = []
    thought = ""
    for item in items:
        if item["type"] == "reasoning":
            parts = item.get("content") or ()
            thought += "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))
            continue
        if item["type"] == "function_call_output":
            output = _content(item.get("output"))
            out.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
            continue
        called = item["type"] == "function_call"
        if not called or not out or out[-1]["role"] != "assistant":
            role = "assistant" if called else item.get("role")
            out.append({"role": role, "content": "" if called else _content(item["content"])})
            if role == "assistant" and thought:
                out[-1]["reasoning_content"] = thought
            thought = ""
        if called:
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            out[-1].setdefault("tool_calls", []).append(call)
    return out


def _content(content: Any) -> Any:
    """Text parts under the name that chat has for them."""
    if not isinstance(content, list):
        return content
    texts = {"input_text", "output_text", "refusal"}
    return [
        {"type": "text", "text": part.get("text") or part.get("refusal")}
        if isinstance(part, dict) and part.get("type") in texts
        else part
        for part in content
    ]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise BadRequest(
            f"Tools of type {tool.get('type')!r} are not supported; function tools are.",
            param="tools",
            code="unsupported_parameter",
        )
    names = ("name", "description", "parameters")
    return {
        "type": "function",
        "function": {name: tool[name] for name in names if tool.get(name) is not None},
    }
