"""OpenTelemetry's trace export (OTLP 1.x) as observations.

Two encodings of one message, ExportTraceServiceRequest: protobuf, and JSON with ids in hexadecimal
(https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.traces.attributes import apply
from gateway.traces.errors import BadTrace
from gateway.traces.observations import Observation
from gateway.traces.values import dumped, now, of_nanoseconds

SDK_SCOPE = "langfuse-sdk"
IDS = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}


def read(body: bytes, media_type: str, public_key: str) -> list[Observation]:
    """The observations of an export. Spans that the SDK made for another project's key are left out.

    Raises BadTrace, also where a single span lacks its ids: the client must not send such a batch again.
    """
    message = _of_json(body) if "json" in media_type else _of_protobuf(body)
    found = []
    for group in message.resource_spans:
        resource = _mapping(group.resource.attributes)
        for scoped in group.scope_spans:
            if _is_of_another(scoped.scope, public_key):
                continue
            found += [_observation(span, resource) for span in scoped.spans]
    return found


def _of_protobuf(body: bytes) -> ExportTraceServiceRequest:
    try:
        message: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadTrace(f"This is no ExportTraceServiceRequest: {error}") from error
    return message


def _of_json(body: bytes) -> ExportTraceServiceRequest:
    try:
        message = ExportTraceServiceRequest()
        ParseDict(_with_ids(json.loads(body)), message, ignore_unknown_fields=True)
    except (ValueError, ParseError, RecursionError, AttributeError, TypeError) as error:
        raise BadTrace(f"This is no ExportTraceServiceRequest in JSON: {str(error)[:200]}") from error
    return message


def _with_ids(node: Any) -> Any:
    """OTLP writes ids in hexadecimal where protobuf's own JSON has base64."""
    if isinstance(node, list):
        return [_with_ids(item) for item in node]
    if isinstance(node, dict):
        return {
            name: base64.b64encode(bytes.fromhex(value)).decode()
            if name in IDS and isinstance(value, str)
            else _with_ids(value)
            for name, value in node.items()
        }
    return node


def _is_of_another(scope: InstrumentationScope, public_key: str) -> bool:
    made_for = _mapping(scope.attributes).get("public_key")
    return scope.name == SDK_SCOPE and made_for not in (None, public_key)


def _observation(span: Span, resource: dict[str, Any]) -> Observation:
    if not span.trace_id.strip(b"\0") or not span.span_id.strip(b"\0"):
        raise BadTrace(f"The span {span.name!r} has no trace id or no span id.")
    found = Observation(
        id=span.span_id.hex(),
        trace=span.trace_id.hex(),
        parent=span.parent_span_id.hex() or None,
        name=span.name or None,
        started=of_nanoseconds(span.start_time_unix_nano) or now(),
        ended=of_nanoseconds(span.end_time_unix_nano) or None,
    )
    if span.status.code == Status.STATUS_CODE_ERROR:
        found.level = "ERROR"
        if span.status.message:
            found.body["statusMessage"] = span.status.message
    apply(found, _mapping(span.attributes), resource)
    return found


def _mapping(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":  # nearly always
        return value.string_value
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return dumped(_mapping(value.kvlist_value.values))
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
