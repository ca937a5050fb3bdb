"""Every run as a trace, by Langfuse's own SDK: a Langfuse server or the embedded store takes it.

The SDK's client is made with a tracer provider and an exporter of ours: nothing global is set, and spans go
to the spool instead of the network.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig
from langfuse import Langfuse, propagate_attributes
from langfuse.langchain import CallbackHandler
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from graphs.logprobs import Logprobs
from graphs.model_call import ModelCall, hash_of, lineage, write
from graphs.prices import Prices
from graphs.spool import SCORES, WITHDRAWN, Courier, Sink, Spool

FLUSH_SECONDS = 1.0
SCOPE = "langfuse-sdk"
FREE_OF_CHARGE = Prices()

_log = logging.getLogger(__name__)


class SpoolExporter(SpanExporter):
    """OpenTelemetry's side of the spool."""

    def __init__(self, spool: Spool, courier: Courier) -> None:
        self._spool = spool
        self._courier = courier

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            self._spool.put(encode_spans(spans).SerializeToString())
        except OSError as error:
            _log.warning("spans could not be written", extra={"error": str(error)})
            return SpanExportResult.FAILURE
        self._courier.wake()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._courier.wake()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


class RunHandler(CallbackHandler):
    """Langfuse's handler; knows in the end which generation was the last, and by which exact model.

    `run_inline`: it only notes things down, which costs less than a thread for every token.
    """

    run_inline = True

    def __init__(self, public_key: str, trace_id: str, prices: Prices) -> None:
        super().__init__(public_key=public_key, trace_context={"trace_id": trace_id})
        self._prices = prices
        self.generation_id: str | None = None

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        generation = self._runs.get(run_id)
        if generation is not None:
            self.generation_id = generation.id
            if message := _message(response):
                generation.update(**_facts(message, self._prices))
        return super().on_llm_end(response, run_id=run_id, parent_run_id=parent_run_id, **kwargs)


class RunTrace:
    """The trace of one run. `config` goes into the graph's own; `generation_id` is that of the answer."""

    def __init__(self, handler: RunHandler | None, metadata: Mapping[str, Any]) -> None:
        self._handler = handler
        self._metadata = dict(metadata)

    @property
    def generation_id(self) -> str | None:
        return self._handler.generation_id if self._handler else None

    def config(self, prompt: str, model: str, missing: str = "") -> RunnableConfig:
        """Callbacks and metadata of a run with this system prompt, on the model that is asked for; in the
        place of one that is `missing`."""
        if self._handler is None:
            return {}
        facts = {"prompt_hash": hash_of(prompt), "model": model}
        facts |= {"missing_model": missing} if missing else {}
        return {"callbacks": [self._handler], "metadata": {**self._metadata, **facts}}


UNTRACED = RunTrace(None, {})
"""For runs that nobody asked to trace."""


class Tracing:
    """Makes the traces of all runs of this process, until `close`."""

    def __init__(self, sink: Sink, spool: Path, prices: Prices = FREE_OF_CHARGE) -> None:
        self._sink = sink
        self._prices = prices
        self._spool = Spool(spool)
        self._courier = Courier(self._spool, sink)
        self._courier.start()
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "loopyard"}), shutdown_on_exit=False
        )
        self._client = Langfuse(
            public_key=sink.public_key,
            secret_key=sink.secret_key,
            host=sink.host,
            flush_interval=FLUSH_SECONDS,
            tracer_provider=self._provider,
            span_exporter=SpoolExporter(self._spool, self._courier),
        )
        # The SDK's own scope: its processor passes over spans of others.
        self._tracer = self._provider.get_tracer(SCOPE, attributes={"public_key": sink.public_key})

    def begin(
        self, trace_id: str, *, session: str, user: str, tags: Sequence[str], metadata: Mapping[str, Any]
    ) -> RunTrace:
        """The trace of one run; `trace_id` has 32 hexadecimal digits. Tracing never breaks what it watches:
        where a trace cannot be made the run goes untraced."""
        own = {"langfuse_session_id": session, "langfuse_user_id": user, "langfuse_tags": list(tags)}
        try:
            return RunTrace(RunHandler(self._sink.public_key, trace_id, self._prices), {**metadata, **own})
        except Exception:
            _log.warning("a run goes untraced", exc_info=True)
            return UNTRACED

    def passed_through(
        self,
        trace_id: str,
        call: ModelCall,
        *,
        session: str,
        user: str,
        agent: str,
        metadata: Mapping[str, Any],
    ) -> str | None:
        """The trace of a client's own model call, once it has ended; the id of its generation, None where it
        could not be made."""
        facts = {**metadata, "prompt_hash": call.prompt_hash, "model": call.asked["model"]}
        try:
            with propagate_attributes(user_id=user, session_id=session, tags=[agent], metadata=facts):
                cost = self._prices.cost(
                    call.model, *(call.tokens.get(kind, 0) for kind in ("input", "output"))
                )
                return write(self._client, self._tracer, trace_id, agent, call, cost)
        except Exception:
            _log.warning("a call goes untraced", extra={"trace_id": trace_id}, exc_info=True)
            return None

    def score(self, scores: Sequence[Mapping[str, Any]], gone: Sequence[str] = ()) -> bool:
        """Sends scores as Langfuse's API has them, after the spans that are on their way already, and takes
        those back whose ids are in `gone`.

        Whether they are safe on disk; False where it is full.
        """
        self._provider.force_flush(2000)
        try:
            for batch, kind in ((scores, SCORES), (gone, WITHDRAWN)):
                if batch:
                    self._spool.put(json.dumps(batch).encode(), kind)
        except OSError as error:
            _log.warning("scores could not be written", extra={"error": str(error)})
            return False
        self._courier.wake()
        return True

    @property
    def dropped(self) -> int:
        """Batches that the spool had no room for since the start."""
        return self._spool.dropped

    def close(self) -> None:
        """Writes what is left to disk, and takes to the sink what it takes within moments."""
        self._provider.force_flush(2000)
        self._courier.close()
        self._provider.shutdown()


def _message(response: LLMResult) -> BaseMessage | None:
    last = response.generations[-1][-1] if response.generations and response.generations[-1] else None
    return last.message if isinstance(last, ChatGeneration) else None


def _facts(message: BaseMessage, prices: Prices) -> dict[str, Any]:
    """What a generation's span says of the message that came of it: the model, its lineage, the cost and the
    log-probabilities. Those are taken off the message, since every span around it would repeat them."""
    model, scored = exact_model(message), Logprobs()
    scored.add(message.response_metadata.pop("logprobs", None))
    metadata: dict[str, Any] = (lineage(model) if model else None) or {}
    if kept := scored.plain():
        metadata = {**metadata, "logprobs": kept}
    facts: dict[str, Any] = {"metadata": metadata} if metadata else {}
    facts |= {"model": model} if model else {}
    if used := getattr(message, "usage_metadata", None):
        facts["cost_details"] = prices.cost(model or "", used["input_tokens"], used["output_tokens"])
    return facts


def exact_model(message: BaseMessage) -> str | None:
    """The model that wrote a message, as the server named it; None where it did not."""
    named = message.response_metadata.get("model_name")
    return named if isinstance(named, str) else None
