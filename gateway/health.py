"""/health, /health/live, /health/ready and /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from gateway.deps import ServicesDep
from gateway.wiring import Services

SECONDS = 3.0
router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/health/live")
async def live() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/health/ready")
async def ready(services: ServicesDep) -> JSONResponse:
    """503 with the reason where a dependency is missing."""
    checks = {
        "database": services.database.ping(),
        "llm_server": _model_server(services),
        "tools": _tools(services),
    }
    states = dict(zip(checks, await asyncio.gather(*map(_state, checks.values())), strict=True))
    good = all(state["status"] == "ok" for state in states.values()) and not services.chats.draining
    body = {"status": "ok" if good else "degraded", "dependencies": states}
    return JSONResponse(body, 200 if good else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4")


async def _state(check: Awaitable[Any]) -> dict[str, Any]:
    """{"status", "ms", "detail"?} of one dependency."""
    started, failure = time.perf_counter(), None
    try:
        await asyncio.wait_for(check, SECONDS)
    except TimeoutError:
        failure = f"no answer within {SECONDS:g} s"
    except Exception as error:  # whatever a dependency raises is its state, and the answer of this route
        failure = f"{type(error).__name__}: {error}"
    ms = round((time.perf_counter() - started) * 1000, 1)
    return {"status": "failed", "ms": ms, "detail": failure} if failure else {"status": "ok", "ms": ms}


async def _model_server(services: Services) -> None:
    key = services.settings.llm_api_key.get_secret_value()
    url = f"{services.settings.llm_url}/models"
    answer = await services.http.get(url, headers={"Authorization": f"Bearer {key}"})
    answer.raise_for_status()


async def _tools(services: Services) -> None:
    if not await services.hop.healthy():
        raise ConnectionError("not ready")
