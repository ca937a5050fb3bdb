"""The application: wiring, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route

from gateway import health
from gateway.accounts import endpoints as accounts
from gateway.agents import endpoints as agents
from gateway.annotation import endpoints as annotation
from gateway.audit import endpoints as audit
from gateway.chat import endpoints as chat
from gateway.chat_model import endpoints as chat_model
from gateway.conversations import endpoints as conversations
from gateway.databases import endpoints as databases
from gateway.datasets import endpoints as datasets
from gateway.documents import endpoints as documents
from gateway.errors import GatewayError, handle
from gateway.feedback import endpoints as feedback
from gateway.jobs import endpoints as jobs
from gateway.mcp import endpoints as tool_call
from gateway.mcp.server import mcp_app
from gateway.metrics import Metrics
from gateway.middleware import BodyLimit, RequestFrame
from gateway.models import endpoints as models
from gateway.pipelines import endpoints as pipelines
from gateway.projects import endpoints as projects
from gateway.quality import endpoints as quality
from gateway.settings import Settings
from gateway.static import Console
from gateway.trace_view import endpoints as trace_view
from gateway.traces import relay_endpoint
from gateway.v1 import endpoints as v1
from gateway.wiring import Services, open_services
from graphs.errors import GraphsError, RunStopped
from rlhf.errors import ObjectError

DOMAINS = (
    accounts,
    agents,
    projects,
    documents,
    databases,
    conversations,
    chat,
    feedback,
    trace_view,
    annotation,
    audit,
    datasets,
    jobs,
    pipelines,
    models,
    quality,
    chat_model,
)


def create_app(settings: Settings) -> FastAPI:
    """The gateway. Opens its database and pools when its lifespan begins."""
    metrics = Metrics()

    def services() -> Services:
        found: Services = app.state.services
        return found

    mcp = mcp_app(services)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as opened, mcp.router.lifespan_context(mcp):
            app.state.services = opened
            metrics.watch(lambda: opened.chats.records.running, lambda: opened.outbox.dropped)
            metrics.watch_quality(lambda: opened.quality.latest)
            yield

    # No /docs: its page loads scripts from another host, which an offline product cannot do.
    app = FastAPI(
        title="Loopyard",
        version="1",
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = metrics
    ours = (GatewayError, GraphsError, RunStopped, ObjectError)
    for kind in (*ours, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)
    app.add_middleware(BodyLimit, upload_bytes=settings.upload_megabytes << 20)
    app.add_middleware(RequestFrame, metrics=metrics)
    api = APIRouter(prefix="/api/v1")
    for domain in DOMAINS:
        api.include_router(domain.router)
    for router in (api, v1.router, tool_call.router, health.router, relay_endpoint.router):
        app.include_router(router)
    # As a route and not a mount: the path stays /mcp, without a redirect to /mcp/.
    app.router.routes.append(Route("/mcp", endpoint=mcp))
    app.router.routes.append(Mount("/", Console(), name="console"))
    return app
