"""What operators look at: health, metrics, slots."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.auth import ADMIN, INFERENCE, caller_of, require
from llm_server.catalog import Catalog, ChatModel, UpstreamModel

router = APIRouter()
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/health")
async def health(request: Request) -> Response:
    """200 when requests can be served; 503 while models load and while the server drains.

    Models of other servers are listed with the breaker of each of their servers.
    """
    status = request.app.state.status()
    body: dict[str, Any] = {"status": status}
    catalog: Catalog = request.app.state.catalog
    upstreams = [entry for entry in catalog.all() if isinstance(entry, UpstreamModel)]
    if upstreams:
        body["upstreams"] = {
            one.id: [server.breaker.state for server in one.pool.servers] for one in upstreams
        }
    return JSONResponse(body, 200 if status == "ok" else 503)


@router.get("/metrics", dependencies=[Depends(require(INFERENCE))])
async def metrics(request: Request) -> Response:
    """Prometheus text; of models and adapters those that the key may use."""
    text = request.app.state.metrics.text(caller_of(request).may_use)
    return Response(text, media_type=PROMETHEUS)


@router.get("/admin/slots", dependencies=[Depends(require(ADMIN))])
async def slots(request: Request) -> dict[str, Any]:
    """Running, waiting and cached sequences of every engine."""
    catalog: Catalog = request.app.state.catalog
    return {entry.id: _slots(entry) for entry in catalog.all() if isinstance(entry, ChatModel)}


def _slots(model: ChatModel) -> dict[str, Any]:
    """A glance at counters that the engine's thread changes; good enough for people."""
    scheduler, backend = model.engine.scheduler, model.engine.backend
    return {
        "running": len(scheduler.running),
        "waiting": len(scheduler.waiting),
        "limit": model.engine.limits.running,
        "slots": backend.slots,
        "context": backend.context,
        "cached_prefixes": len(scheduler.cache),
        "saved_prefix_bytes": scheduler.cache.saved_bytes,
        "prefix_hits": scheduler.cache.hits,
        "prefix_tokens_reused": scheduler.cache.reused_tokens,
    }
