"""A YAML file whose values know their line, so that a refusal can point at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llm_server.errors import ConfigRefused

TEXT = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
Loc = Sequence[int | str]
"""Keys and indices from the root of the file to a value, as pydantic names them."""


@dataclass(frozen=True, slots=True)
class Document:
    """Values of a file and the nodes that they were made from."""

    path: Path
    data: Any
    root: yaml.Node

    def refusal(self, loc: Loc, reason: str, *, at_key: bool = False) -> ConfigRefused:
        """An error at a value, at its key where that is what is wrong, or at the nearest thing around it."""
        mark = self._node(loc, at_key).start_mark
        place = ".".join(map(str, loc))
        return ConfigRefused(self.path, mark.line + 1, mark.column + 1, reason, place or None)

    def _node(self, loc: Loc, at_key: bool) -> yaml.Node:
        node = self.root
        for depth, part in enumerate(loc):
            last = depth == len(loc) - 1
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == part), None)
                if pair is None:
                    break
                node = pair[0] if at_key and last else pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                break
        return node


def parse(path: Path, raw: bytes) -> Document:
    """The values of a file, JSON included. ConfigRefused for what is no YAML, empty, or has a key twice."""
    try:
        loader = yaml.SafeLoader(raw.decode())
        root = loader.get_single_node()
        if root is None:
            raise ConfigRefused(path, 1, 1, "The file is empty. It needs a list `models`.")
        _check_keys(path, root, set())
        data = loader.construct_document(root)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = error.start - before.rfind(b"\n")
        raise ConfigRefused(path, before.count(b"\n") + 1, column, "This is no UTF-8.") from None
    except yaml.reader.ReaderError as error:
        before = raw.decode()[: error.position].encode()
        reason = f"The character {error.character!r} is not allowed in YAML."
        raise ConfigRefused(path, before.count(b"\n") + 1, 1, reason) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"This is no YAML: {error.problem or error.context}."
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ConfigRefused(path, line, column, reason) from None
    except (ValueError, RecursionError) as error:
        # A date that does not exist, or brackets without end.
        raise ConfigRefused(path, 1, 1, f"This is no YAML that can be read: {error}.") from None
    return Document(path, data, root)


def _check_keys(path: Path, node: yaml.Node, seen: set[int]) -> None:
    """Keys are text, and each is there once: YAML forbids equal keys, the parser lets the last one win.
    Anchors may repeat a node, and lead in a circle.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                _check_key(path, key, keys)
            _check_keys(path, value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item, seen)


def _check_key(path: Path, key: yaml.ScalarNode, before: set[str]) -> None:
    mark, reason = key.start_mark, None
    if key.tag not in TEXT:
        reason = f"The key `{key.value}` is no text. Put it into quotes, or remove it."
    elif key.value in before:
        reason = f"`{key.value}` is there twice. Remove one of them."
    if reason is not None:
        raise ConfigRefused(path, mark.line + 1, mark.column + 1, reason)
    before.add(key.value)
