"""What the attributes of an OpenTelemetry span mean.

The names are those of Langfuse's SDKs 3 to 5 (langfuse/_client/attributes.py); spans of other libraries are
read by OpenTelemetry's semantic conventions for generative AI (`gen_ai.*`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.traces.errors import BadTrace
from gateway.traces.observations import TYPES, Observation
from gateway.traces.values import decoded, dumped, micros

OBSERVATION = "langfuse.observation."
METADATA = "langfuse.observation.metadata"
TRACE_METADATA = "langfuse.trace.metadata"
EXPERIMENT = "langfuse.experiment."
KEPT_WHOLE = (METADATA, TRACE_METADATA, EXPERIMENT)
"""Prefixes of what has keys of its own."""
ADAPTER, BASE, PROMPT_HASH = "adapter_version", "base_model", "prompt_hash"
"""Keys of the metadata that carry the lineage."""
DIGEST = "@sha256:"

Attributes = Mapping[str, Any]


def apply(observation: Observation, span: Attributes, resource: Attributes) -> None:
    """Fills an observation from the attributes of its span and of the span's resource."""

    def either(*names: str) -> str | None:
        for source in (span, resource):
            for name in names:
                if (value := source.get(name)) not in (None, ""):
                    return str(value)
        return None

    o = observation
    o.root = o.parent is None or span.get("langfuse.internal.is_app_root") is True
    environment = either("langfuse.environment", "deployment.environment.name", "deployment.environment")
    o.environment = environment or "default"
    o.release, o.version = either("langfuse.release"), either("langfuse.version")
    o.session, o.user = _text(span, "session.id"), _text(span, "user.id")
    o.trace_name, o.tags = _text(span, "langfuse.trace.name"), _tags(span.get("langfuse.trace.tags"))
    o.public = span.get("langfuse.trace.public") is True
    o.model = either(f"{OBSERVATION}model.name", "gen_ai.response.model", "gen_ai.request.model")
    o.type = _type(span, o.model)
    if level := _text(span, f"{OBSERVATION}level"):
        o.level = level.upper()
    o.body |= _body(span)
    metadata = {**o.body.get("traceMetadata", {}), **o.body["metadata"]}
    o.base, o.adapter = lineage(o.model, metadata)
    o.prompt_hash = _plain(metadata.get(PROMPT_HASH))


def lineage(model: str | None, metadata: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Base model and adapter version: as the metadata has them, else from a model's own exact name,
    `base:adapter@sha256:1a2b3c4d5e6f`."""
    base, _, adapter = (model or "").partition(":") if DIGEST in (model or "") else ("", "", "")
    return _plain(metadata.get(BASE)) or base or None, _plain(metadata.get(ADAPTER)) or adapter or None


def _body(span: Attributes) -> dict[str, Any]:
    metadata, trace_metadata = _metadata(span)
    body: dict[str, Any] = {
        "input": _raw(span, f"{OBSERVATION}input", "input.value", "gen_ai.input.messages"),
        "output": _raw(span, f"{OBSERVATION}output", "output.value", "gen_ai.output.messages"),
        "statusMessage": _text(span, f"{OBSERVATION}status_message"),
        "metadata": metadata,
        "modelParameters": decoded(span.get(f"{OBSERVATION}model.parameters")),
        "usageDetails": decoded(span.get(f"{OBSERVATION}usage_details")) or _usage(span),
        "costDetails": decoded(span.get(f"{OBSERVATION}cost_details")),
        "promptName": _text(span, f"{OBSERVATION}prompt.name"),
        "promptVersion": span.get(f"{OBSERVATION}prompt.version"),
        "completionStart": _completion(span),
        "traceMetadata": trace_metadata,
        "traceInput": _raw(span, "langfuse.trace.input"),
        "traceOutput": _raw(span, "langfuse.trace.output"),
    }
    kept = {name: value for name, value in body.items() if value not in (None, {}, [])}
    return {"metadata": {}, **kept}


def _type(span: Attributes, model: str | None) -> str:
    named = str(span.get(f"{OBSERVATION}type", "")).upper()
    if named in TYPES:
        return named
    tool = span.get("gen_ai.operation.name") == "execute_tool"
    return "TOOL" if tool else "GENERATION" if model else "SPAN"


def _completion(span: Attributes) -> int | None:
    given = decoded(span.get(f"{OBSERVATION}completion_start_time"))
    try:
        return micros(given) if given else None
    except BadTrace:
        return None  # a time that cannot be read costs itself, not its span


def _usage(span: Attributes) -> dict[str, int] | None:
    names = {"input": "gen_ai.usage.input_tokens", "output": "gen_ai.usage.output_tokens"}
    found = {kind: span[name] for kind, name in names.items() if isinstance(span.get(name), int)}
    return found | {"total": sum(found.values())} if found else None


def _metadata(span: Attributes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The observation's and the trace's. An experiment's attributes are kept under their own names: they are
    not the user's metadata."""
    own: dict[str, Any] = {}
    trace: dict[str, Any] = {}
    experiment: dict[str, Any] = {}
    for name, value in span.items():
        if not name.startswith(KEPT_WHOLE):
            continue
        if name.startswith(EXPERIMENT):
            experiment[name] = decoded(value)
        elif name.startswith(METADATA):
            _keep(own, name[len(METADATA) :], decoded(value))
        else:
            _keep(trace, name[len(TRACE_METADATA) :], decoded(value))
    return own | experiment, trace


def _keep(found: dict[str, Any], rest: str, value: Any) -> None:
    """`rest` is what follows the prefix: ".key", or nothing where all of it comes as one value."""
    if rest.startswith("."):
        found[rest[1:]] = value
    elif not rest:
        found |= {**(value if isinstance(value, dict) else {"metadata": value}), **found}


def _raw(span: Attributes, *names: str) -> str | None:
    value = next((span[name] for name in names if name in span), None)
    return value if value is None or isinstance(value, str) else dumped(value)


def _text(span: Attributes, name: str) -> str | None:
    value = span.get(name)
    return None if value is None else str(value)


def _plain(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None


def _tags(value: Any) -> list[str]:
    found = decoded(value)
    return [str(tag) for tag in found] if isinstance(found, list) else [str(found)] if found else []
