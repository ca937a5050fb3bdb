"""/api/public/*, passed on."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.deps import ServicesDep

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

router = APIRouter(include_in_schema=False)


@router.api_route("/api/public/{path:path}", methods=METHODS)
async def pass_on(request: Request, services: ServicesDep) -> Response:
    return await services.relay.pass_on(request)
