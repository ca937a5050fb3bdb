"""`python -m tools serve`, or one server alone: `python -m tools rag | sql | data | training ...`."""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastmcp import FastMCP

from tools import logs
from tools.app import create_app
from tools.context import Database, LocalCaller
from tools.data import server as data
from tools.edge import Edge
from tools.errors import SettingsError, ToolsError
from tools.rag import server as rag
from tools.rag.owner import Owner
from tools.settings import Settings
from tools.sql import server as sql
from tools.training import server as training

logger = logging.getLogger("tools")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that was asked for; 2 where the settings or arguments do not allow it."""
    options = _parser().parse_args(arguments)
    logs.configure()
    try:
        run = {"serve": _serve, "rag": _rag, "sql": _sql, "data": _data, "training": _training}[options.verb]
        run(options)
    except ToolsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve", help="all servers for the gateway; settings from TOOLS_*")
    rag_verb = verbs.add_parser("rag", help="the documents server alone")
    rag_verb.add_argument("--project", default="local", help="name of the project")
    rag_verb.add_argument("--data", type=Path, help="folder of the index (default: TOOLS_DATA)")
    sql_verb = verbs.add_parser("sql", help="the database server alone")
    sql_verb.add_argument("--database", action="append", required=True, metavar="NAME=URL")
    data_verb = verbs.add_parser("data", help="the datasets server alone; needs TOOLS_GATEWAY_KEY")
    training_verb = verbs.add_parser("training", help="training and jobs alone; needs TOOLS_GATEWAY_KEY")
    for verb in (data_verb, training_verb):
        verb.add_argument("--project", required=True, help="name of the project")
    for verb in (rag_verb, sql_verb, data_verb, training_verb):
        verb.add_argument(
            "--http", type=int, metavar="PORT", help="streamable HTTP on loopback instead of stdio"
        )
    return parser


def _serve(_: argparse.Namespace) -> None:
    settings = Settings.from_environment()
    app = create_app(settings)
    Owner(settings.data).release()
    listener = _listen(settings.host, settings.port)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    logger.info("listening on http://%s:%s", settings.host, listener.getsockname()[1])
    server.run(sockets=[listener])
    if not server.started:
        raise SettingsError("The service could not start; the log above says why.")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"{host}:{port} cannot be listened on: {error.strerror}. Choose another with TOOLS_PORT."
        ) from error
    return listener


def _rag(options: argparse.Namespace) -> None:
    settings = Settings.from_environment()
    if options.data is not None:
        settings = settings.model_copy(update={"data": options.data})
    Owner(settings.data).release()
    _run_alone(rag.create_server(settings, LocalCaller(project=options.project)), options.http)


def _sql(options: argparse.Namespace) -> None:
    databases = tuple(_database(given) for given in options.database)
    caller = LocalCaller(databases=databases)
    _run_alone(sql.create_server(Settings.from_environment(), caller), options.http)


def _data(options: argparse.Namespace) -> None:
    settings = Settings.from_environment()
    _run_alone(data.create_server(settings, _through_gateway(settings, options.project)), options.http)


def _training(options: argparse.Namespace) -> None:
    settings = Settings.from_environment()
    caller = _through_gateway(settings, options.project)
    server: FastMCP = FastMCP("training", middleware=[Edge()], mask_error_details=True)
    server.mount(training.create_training(settings, caller), namespace="training")
    server.mount(training.create_jobs(settings, caller), namespace="jobs")
    _run_alone(server, options.http)


def _through_gateway(settings: Settings, project: str) -> LocalCaller:
    if settings.gateway_key is None:
        raise SettingsError(
            "TOOLS_GATEWAY_KEY is not set: an API key of the gateway with the scope manage "
            "(the gateway is at TOOLS_GATEWAY_URL)."
        )
    return LocalCaller(project=project, callback=settings.gateway_key.get_secret_value())


def _database(given: str) -> Database:
    name, equals, url = given.partition("=")
    if not (name and equals and url):
        raise SettingsError(f"--database wants NAME=URL, not {given!r}.")
    return Database(name=name, url=url)


def _run_alone(server: FastMCP, port: int | None) -> None:
    if port is None:
        asyncio.run(server.run_async(transport="stdio", show_banner=False))
    else:
        asyncio.run(
            server.run_async(
                transport="http", host="127.0.0.1", port=port, show_banner=False, stateless_http=True
            )
        )


if __name__ == "__main__":
    sys.exit(main())
