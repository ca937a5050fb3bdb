"""GET /agents."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.agents.schemas import AgentOut, agent_out
from gateway.deps import CallerDep, ServicesDep
from gateway.wire import Items

router = APIRouter(tags=["agents"])


@router.get("/agents")
async def agents(services: ServicesDep, _: CallerDep) -> Items[AgentOut]:
    return Items(items=[agent_out(spec) for spec in services.agents.all()])
