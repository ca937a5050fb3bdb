"""A small value of a JSON schema, for a backend that follows scripts instead of grammars."""

from collections.abc import Mapping
from typing import Any

from llm_server.constraints.references import resolve

Schema = Mapping[str, Any]
DEEP = 8
"""From here on `null` is preferred, which ends schemas that refer to themselves."""


def example(schema: Schema, root: Schema | None = None, depth: int = 0) -> Any:
    """The first enum value, the smallest number, the required properties only."""
    root = root or schema
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return example(_option(schema[word], depth), root, depth + 1)
    if "$ref" in schema:
        return example(resolve(str(schema["$ref"]), root), root, depth + 1) if depth < 4 * DEEP else None
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _typed(kind[0] if isinstance(kind, list) else kind, schema, root, depth + 1)


def _option(options: list[Schema], depth: int) -> Schema:
    simple = [option for option in options if option.get("type") == "null"] if depth > DEEP else []
    return simple[0] if simple else options[0]


def _typed(kind: str, schema: Schema, root: Schema, depth: int) -> Any:
    match kind:
        case "object":
            properties: Schema = schema.get("properties") or {}
            wanted = [name for name in properties if name in schema.get("required", ())]
            return {name: example(properties[name], root, depth) for name in wanted}
        case "array":
            return [example(schema.get("items", {}), root, depth)] * int(schema.get("minItems", 0))
        case "integer" | "number":
            return schema.get("minimum", min(0, schema.get("maximum", 0)))
        case "boolean":
            return False
        case "null":
            return None
    return "x" * int(schema.get("minLength", min(1, schema.get("maxLength", 1))))
