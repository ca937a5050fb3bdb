"""How the gateway and the trace store are served: by uvicorn, with our own log and a bounded farewell."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp


def serve_app(
    app: ASGIApp, host: str, port: int, farewell: int, server: type[uvicorn.Server] = uvicorn.Server
) -> None:
    """Until a signal to stop; then requests have `farewell` seconds to end."""
    config = uvicorn.Config(
        app, host=host, port=port, access_log=False, log_config=None, timeout_graceful_shutdown=farewell
    )
    server(config).run()
