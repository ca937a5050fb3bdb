"""Agents on the wire."""

from __future__ import annotations

from pydantic import BaseModel

from graphs.spec import AgentSpec


class AgentOut(BaseModel):
    name: str
    title: str
    description: str
    icon: str
    suggestions: list[str]
    tools: list[str]


def agent_out(spec: AgentSpec) -> AgentOut:
    return AgentOut(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        icon=spec.icon,
        suggestions=list(spec.suggestions),
        tools=list(spec.tools),
    )
