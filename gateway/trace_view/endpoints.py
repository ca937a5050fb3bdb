"""/traces."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gateway.deps import CallerDep, ServicesDep, needs
from gateway.policy import Scope
from gateway.trace_view.schemas import SpanDetail, Trace, TracePage, TraceQuery

router = APIRouter(prefix="/traces", tags=["traces"], dependencies=[needs(Scope.CHAT)])


@router.get("")
async def traces(
    wanted: Annotated[TraceQuery, Query()], services: ServicesDep, caller: CallerDep
) -> TracePage:
    """Those that the caller may see, the newest first."""
    project = await services.projects.get(caller, wanted.project) if wanted.project else None
    return await services.traces.page(caller, wanted, project.id if project else None)


@router.get("/{trace_id}")
async def trace(trace_id: str, services: ServicesDep, caller: CallerDep) -> Trace:
    """Its spans in the order of their tree; what went in and out of one is asked for by itself."""
    return await services.traces.get(caller, trace_id)


@router.get("/{trace_id}/spans/{span_id}")
async def span(trace_id: str, span_id: str, services: ServicesDep, caller: CallerDep) -> SpanDetail:
    return await services.traces.span(caller, trace_id, span_id)
