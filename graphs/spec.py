"""What an agent is: the YAML of one file in agents/, validated."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["tools", "router"]


class Limits(BaseModel):
    """How far one answer may go before it is stopped."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    steps: int = Field(default=8, ge=1, le=50)
    """Model calls in one answer."""
    repairs: int = Field(default=2, ge=0, le=5)
    """Times that the model may correct a call that a tool refused."""
    seconds: float = Field(default=120.0, gt=0, le=3600)
    """Wall clock of one answer."""
    answer_tokens: int = Field(default=400, ge=16, le=8192)
    """Tokens of the answer; kept free in the context."""
    tool_call_tokens: int = Field(default=256, ge=16, le=4096)
    """Tokens of one tool call."""


class AgentSpec(BaseModel):
    """One agent. A YAML file's keys are exactly these fields; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    """What callers ask for; also the model name on /v1. Same as the file's name."""
    title: str = Field(min_length=1, max_length=80)
    """What people read."""
    description: str = Field(default="", max_length=400)
    icon: str = Field(default="sparkles", max_length=40)
    """Name of an icon of the console."""
    persona: str = Field(min_length=1, max_length=4000)
    """The system prompt before the schema of the project's databases."""
    kind: Kind = "tools"
    """`tools`: the model chooses freely; `router`: a route is chosen first and forces the first call."""
    tools: tuple[str, ...] = ()
    """MCP names of the tools that it may call."""
    model: str | None = None
    """Model id at the model server; the gateway's default when left out."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    suggestions: tuple[str, ...] = Field(default=(), max_length=8)
    """Questions that the console offers in an empty chat."""
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _router_has_routes(self) -> AgentSpec:
        if self.kind == "router" and not {"rag_search", "sql_query"} <= set(self.tools):
            raise ValueError("a router needs the tools rag_search and sql_query")
        return self

    @property
    def uses_database(self) -> bool:
        return any(tool.startswith("sql_") for tool in self.tools)
