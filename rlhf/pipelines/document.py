"""A YAML file of a pipeline, and on which line each of its keys is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rlhf.errors import PipelineError

Place = tuple[str, ...]
Lines = Mapping[Place, int]


def read(path: Path) -> tuple[dict[str, Any], Lines]:
    """Content and lines. PipelineError where it cannot be read, or says a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """The same of a text; `name` is what errors call it."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{name}:{mark.line + 1}" if mark else name
        raise PipelineError(f"{at}: no YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise PipelineError(f"{name}:1: a pipeline is a mapping with `name` and `steps`")
    lines: dict[Place, int] = {}
    _walk(node, (), lines, name)
    return content, lines


def line_of(lines: Lines, place: Place) -> int | None:
    """The line of a key, or of the nearest one above it."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place)


def _walk(node: Any, place: Place, lines: dict[Place, int], file: str) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, str(key.value))
            line = key.start_mark.line + 1
            if below in lines:
                raise PipelineError(
                    f"{file}:{line}: `{'.'.join(below)}` is there already, on line {lines[below]}; "
                    "give one of them another name"
                )
            lines[below] = line
            _walk(value, below, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for at, value in enumerate(node.value):
            lines[(*place, str(at))] = value.start_mark.line + 1
            _walk(value, (*place, str(at)), lines, file)
