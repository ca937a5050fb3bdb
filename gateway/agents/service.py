"""The agents that callers may ask."""

from __future__ import annotations

from collections.abc import Mapping

from graphs.load import find_agent
from graphs.spec import AgentSpec


class AgentList:
    def __init__(self, agents: Mapping[str, AgentSpec]) -> None:
        self._agents = agents

    def all(self) -> list[AgentSpec]:
        """The router first: it is the one to start with."""
        return sorted(self._agents.values(), key=lambda spec: (spec.kind != "router", spec.name))

    def get(self, name: str) -> AgentSpec:
        """Raises UnknownAgent, naming the agents that exist."""
        return find_agent(self._agents, name)
