"""`python -m gateway serve`, `python -m gateway migrate` and `python -m gateway traces`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from types import FrameType

import uvicorn

from gateway.logs import configure
from gateway.serving import serve_app
from gateway.settings import Settings

VERBS = ("serve", "migrate", "traces")
FAREWELL_SECONDS = 2
"""For the last event of answers that were interrupted, and for their record."""
TRACES_FAREWELL_SECONDS = 3
"""For spans that are being written; an answer to their sender means that they are on disk."""


class Server(uvicorn.Server):
    """Tells the application that it is stopping while its answers may still end by themselves."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        services = getattr(self.config.app.state, "services", None)  # type: ignore[union-attr]  # always our FastAPI
        if services:
            services.chats.drain(services.settings.shutdown_seconds)
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    from gateway.app import create_app

    farewell = settings.shutdown_seconds + FAREWELL_SECONDS
    serve_app(create_app(settings), settings.host, settings.port, farewell, Server)


async def _migrate(settings: Settings) -> None:
    from gateway.db.database import Database
    from gateway.db.migrate import migrate

    settings.folder.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        await migrate(database)
    finally:
        await database.close()


def _traces() -> int:
    # The store neither imports what the gateway thinks with nor gets its secrets.
    from gateway.traces.app import create_app
    from gateway.traces.settings import Settings as TraceSettings

    settings = TraceSettings()
    serve_app(create_app(settings), settings.host, settings.port, TRACES_FAREWELL_SECONDS)
    return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway")
    parser.add_argument("verb", choices=VERBS)
    verb = parser.parse_args(arguments).verb
    configure()
    try:
        if verb == "traces":
            return _traces()
        settings = Settings.from_environment()
    except ValueError as error:  # pydantic's own errors are ValueErrors too
        sys.stderr.write(f"{error}\n")
        return 2
    if verb == "migrate":
        asyncio.run(_migrate(settings))
    else:
        serve(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
