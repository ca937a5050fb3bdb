"""Local references of JSON schemas."""

from collections.abc import Mapping
from typing import Any

from llm_server.errors import UnsupportedSchema

Schema = Mapping[str, Any]


def resolve(pointer: str, root: Schema) -> Schema:
    """What a local `$ref` (RFC 6901 pointer after `#`) points at."""
    node: Any = root
    if not pointer.startswith("#"):
        raise UnsupportedSchema(f"Only local references are known, not {pointer!r}.")
    for part in pointer.removeprefix("#").strip("/").split("/") if pointer != "#" else ():
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or key not in node:
            raise UnsupportedSchema(f"The reference {pointer!r} leads nowhere.")
        node = node[key]
    if not isinstance(node, Mapping):
        raise UnsupportedSchema(f"The reference {pointer!r} is not a schema.")
    return node
