"""POST /tool_call: one tool call for callers that speak plain HTTP."""

from __future__ import annotations

import time

from fastapi import APIRouter

from gateway.deps import CallerDep, RequestId, ServicesDep, project_named
from gateway.errors import BadRequest
from gateway.hop import result_text
from gateway.mcp.schemas import ToolCallIn, ToolCallOut

router = APIRouter(tags=["tools"])


@router.post("/tool_call")
async def tool_call(
    body: ToolCallIn,
    services: ServicesDep,
    caller: CallerDep,
    request_id: RequestId,
    header: project_named = None,
) -> ToolCallOut:
    """Runs one tool. What the tool refuses is a 400 with its reason."""
    reference = body.project or header or caller.project_id or services.settings.default_project
    project = await services.projects.get(caller, reference)
    started = time.perf_counter()
    result = await services.tools.call(caller, project, body.name, body.arguments, request_id)
    if result.is_error:
        raise BadRequest(result_text(result), param="arguments", code="tool_error")
    ms = round((time.perf_counter() - started) * 1000, 2)
    return ToolCallOut(
        name=body.name, ok=True, content=result_text(result), structured=result.structured_content, ms=ms
    )
