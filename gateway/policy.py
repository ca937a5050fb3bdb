"""The one answer to "may this caller use this tool?".

Lists and calls on every surface (MCP, /tool_call, agents) ask `decide` with the same facts, so that what a
caller can list is what it can call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Scope(StrEnum):
    """What a key may be used for."""

    CHAT = "chat"
    """Ask agents; read conversations."""
    TOOLS = "tools"
    """List and call tools directly."""
    MANAGE = "manage"
    """Change projects, documents and databases."""
    ADMIN = "admin"
    """Everything, the operator's tools and keys included."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `project_id` binds the key to one project; None allows all of the account's."""

    user_id: str
    account_id: str
    name: str
    role: str
    key_id: str
    scopes: frozenset[Scope]
    project_id: str | None = None

    def has(self, scope: Scope) -> bool:
        return bool(self.scopes & {scope, Scope.ADMIN})


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """The project that a call is about."""

    id: str
    account_id: str
    databases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.allowed


MODEL_TOOLS = frozenset({"rag_search", "rag_documents", "sql_query", "sql_describe", "sql_values"})
"""Tools for models and people. Anything else that the tools service has is the operator's."""
MANAGER_TOOLS = frozenset(
    {
        "data_list",
        "data_describe",
        "data_validate",
        "data_add",
        "data_fetch",
        "data_build",
        "data_steps",
        "data_preview",
        "data_from_documents",
        "data_delete",
        "training_methods",
        "training_start",
        "training_evaluate",
        "training_compare",
        "jobs_list",
        "jobs_status",
        "jobs_watch",
        "jobs_log",
        "jobs_cancel",
        "jobs_resume",
    }
)
"""Tools that act on datasets and jobs of a project, for keys that may manage it; agents do not get them."""
YES = Decision(True)


def may_enter(caller: Caller, project: ProjectFacts) -> Decision:
    """May this caller touch this project at all?"""
    if project.account_id != caller.account_id:
        return Decision(False, "The project belongs to another account.")
    if caller.project_id not in (None, project.id):
        return Decision(False, "This key is bound to another project.")
    return YES


def decide(
    caller: Caller,
    tool: str,
    project: ProjectFacts,
    arguments: Mapping[str, Any] | None = None,
    *,
    through: Scope = Scope.TOOLS,
) -> Decision:
    """May this caller use this tool in this project (with these arguments)?

    `arguments` is None for a listing. `through` is the scope of the surface: TOOLS where the caller names the
    tool itself, CHAT where an agent does on its behalf.
    """
    if not (entry := may_enter(caller, project)):
        return entry
    if not caller.has(through):
        return Decision(False, f"This key has no scope {through.value!r}.")
    if tool in MANAGER_TOOLS and through is Scope.TOOLS:
        may = caller.has(Scope.MANAGE)
        return YES if may else Decision(False, f"This key has no scope {Scope.MANAGE.value!r}.")
    if tool not in MODEL_TOOLS and not (through is Scope.TOOLS and caller.has(Scope.ADMIN)):
        return Decision(False, f"The tool {tool!r} is the operator's.")
    return YES
