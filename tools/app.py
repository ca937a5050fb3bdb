"""The tools service: every MCP server of the room behind one address, guarded by the signed context."""

from fastmcp import FastMCP
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tools.context import ContextVerifier, SignedCallers
from tools.data import server as data
from tools.edge import Edge
from tools.errors import SettingsError
from tools.rag import server as rag
from tools.settings import Settings
from tools.sql import server as sql
from tools.training import server as training

PATH = "/mcp"


def create_app(settings: Settings) -> Starlette:
    """The ASGI app: MCP at /mcp (`rag_*`, `sql_*`, `data_*`, `training_*`, `jobs_*`) and GET /health.

    Its lifespan owns the data folder.
    """
    if settings.context_key is None:
        raise SettingsError(
            "TOOLS_CONTEXT_KEY is not set: 64 hex characters, the same as GATEWAY_CONTEXT_KEY."
        )
    callers = SignedCallers()
    verifier = ContextVerifier(settings.context_key.get_secret_value())
    service: FastMCP = FastMCP("loopyard-tools", auth=verifier, middleware=[Edge()], mask_error_details=True)
    service.mount(rag.create_server(settings, callers), namespace="rag")
    service.mount(sql.create_server(settings, callers), namespace="sql")
    service.mount(data.create_server(settings, callers), namespace="data")
    service.mount(training.create_training(settings, callers), namespace="training")
    service.mount(training.create_jobs(settings, callers), namespace="jobs")

    @service.custom_route("/health", methods=["GET"])
    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    # Stateless: no session that could grow old, and each request is judged by its own context.
    return service.http_app(path=PATH, stateless_http=True)
