"""Takes records to a Langfuse server, or to the embedded trace store, as OpenTelemetry's OTLP over HTTP.

A thread of its own reads them, makes spans and sends them. It has a bounded queue: where the trace host is
slow, refuses or is not there, records are dropped and counted, and no request waits or fails.
"""

import base64
import contextlib
import logging
import queue
import threading
from importlib.util import find_spec
from typing import Any

from llm_server.settings import Settings, is_loopback_url
from llm_server.tracing.generation import span_of
from llm_server.tracing.record import Record

log = logging.getLogger(__name__)

QUEUE, QUEUE_BYTES = 1024, 64 << 20
"""Records that may wait, and the bytes that they may hold."""
BATCH, BATCH_BYTES = 64, 4 << 20
"""Records of one request to the trace host, and their bytes."""
PATIENCE = 10.0
"""Seconds for a batch, the exporter's own tries again included."""
FAREWELL = 2.0
"""Seconds that the end of the server waits for what is left."""
LIBRARY = "opentelemetry.exporter.otlp.proto.http"


class Tracer:
    """One trace host. `offer` is for any thread and never waits."""

    def __init__(self, host: str, public_key: str, secret_key: str) -> None:
        self.public_key = public_key
        self.dropped = 0
        """Records that are in no trace."""
        self.sent = 0
        self._queue: queue.Queue[Record | None] = queue.Queue(QUEUE)
        self._bytes = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._exporter = _exporter(host, public_key, secret_key)
        self._thread = threading.Thread(target=self._run, name="tracer", daemon=True)
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Send it when there is time; drop it where there is no room."""
        with self._lock:
            room = self._bytes + record.size <= QUEUE_BYTES and not self._queue.full()
            if room:
                self._bytes += record.size
                self._queue.put_nowait(record)
        if not room:
            self._drop(1)

    def close(self) -> None:
        """Send what is left, within FAREWELL seconds."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=FAREWELL / 2)
        self._thread.join(FAREWELL)
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._send(self._batch())
        self._exporter.shutdown()

    def _batch(self) -> list[Record]:
        """What waits, up to a bound; waits for the first."""
        batch: list[Record] = []
        while len(batch) < BATCH and sum(record.size for record in batch) < BATCH_BYTES:
            try:
                record = self._queue.get(block=not batch)
            except queue.Empty:
                break
            if record is None:
                self._ended.set()
                break
            batch.append(record)
        return batch

    def _send(self, records: list[Record]) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        with self._lock:
            self._bytes -= sum(record.size for record in records)
        spans = [span for record in records if (span := _made(record)) is not None]
        self._drop(len(records) - len(spans))
        if not spans:
            return
        if self._exporter.export(spans) is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        else:
            self._drop(len(spans))

    def _drop(self, count: int) -> None:
        if count:
            with self._lock:
                self.dropped += count
            log.warning("requests go untraced", extra={"records": count, "dropped": self.dropped})


def open_tracer(settings: Settings) -> Tracer | None:
    """The tracer of the settings; None where no trace host is set, or the library for it is not installed."""
    if not settings.langfuse_host:
        return None
    try:
        installed = find_spec(LIBRARY) is not None
    except ModuleNotFoundError:
        installed = False
    if not installed:
        log.error("requests go untraced: install opentelemetry-exporter-otlp-proto-http for LANGFUSE_HOST")
        return None
    return Tracer(settings.langfuse_host, settings.langfuse_public_key, settings.langfuse_secret_key)


def _exporter(host: str, public_key: str, secret_key: str) -> Any:
    import requests
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    pair = base64.b64encode(f"{public_key}:{secret_key}".encode()).decode()
    session = requests.Session()
    # No proxy of the environment comes between this server and one on the same machine.
    session.trust_env = not is_loopback_url(host)
    return OTLPSpanExporter(
        endpoint=f"{host}/api/public/otel/v1/traces",
        headers={"Authorization": f"Basic {pair}", "x-langfuse-ingestion-version": "4"},
        timeout=PATIENCE,
        compression=Compression.Gzip,
        session=session,
    )


def _made(record: Record) -> Any:
    """A span; None where a record cannot be read, which is our fault and nobody's error."""
    try:
        return span_of(record)
    except Exception:
        log.warning("a request goes untraced", exc_info=True)
        return None
