"""Reads agents/*.yaml; every error names the file, the line and the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from graphs.errors import SpecError, UnknownAgent
from graphs.spec import AgentSpec

AGENTS = Path(__file__).parent / "agents"
"""The agents that come with the product."""


def load_agents(folder: Path = AGENTS) -> dict[str, AgentSpec]:
    """Every agent of a folder by name, in file order.

    Raises SpecError for the first file that cannot be used.
    """
    return {spec.name: spec for spec in map(load_agent, sorted(folder.glob("*.yaml")))}


def load_agent(path: Path) -> AgentSpec:
    """One agent. The file's stem must be the agent's name, so that a name is found where one looks."""
    text = path.read_text(encoding="utf-8")
    tree, values = _parse(path, text)
    try:
        spec = AgentSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError("\n".join(_lines(path, tree, error))) from error
    if spec.name != path.stem:
        raise SpecError(f"{path.name}:{_line(tree, ('name',))}: name: {spec.name!r} is not the file's name")
    return spec


def find_agent(agents: Mapping[str, AgentSpec], name: str) -> AgentSpec:
    """Raises UnknownAgent, naming the agents that exist."""
    if name not in agents:
        raise UnknownAgent(f"No agent {name!r}. Agents: {', '.join(sorted(agents))}.")
    return agents[name]


def _parse(path: Path, text: str) -> tuple[yaml.Node | None, Any]:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError(f"{path.name}:{line}: not YAML: {error.problem}") from error


def _lines(path: Path, tree: yaml.Node | None, error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        where = tuple(problem["loc"])
        field = ".".join(map(str, where)) or "file"
        yield f"{path.name}:{_line(tree, where)}: {field}: {problem['msg']}"


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    """Line (from 1) of the deepest node of `where` that the file has."""
    line = node.start_mark.line + 1 if node else 1
    for key in where:
        node = _child(node, key)
        if node is None:
            break
        line = node.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, key: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        child: yaml.Node = node.value[key]
        return child
    return None
