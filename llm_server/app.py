"""The application: `create_app(settings)` is where everything is wired."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from llm_server.adapters.folders import Folders
from llm_server.adapters.manager import AdapterManager
from llm_server.adapters.metrics import AdapterCollector
from llm_server.adapters.uploads import Uploads
from llm_server.adapters.watch import make_folder, watch
from llm_server.api import (
    adapters,
    adapters_compat,
    adapters_upload,
    chat,
    classify,
    completions,
    config,
    embeddings,
    errors,
    fim,
    models,
    operations,
    rerank,
)
from llm_server.api.middleware import BodyLimit, Held, RequestId
from llm_server.api.quota import Quota
from llm_server.api.responses import endpoints as responses
from llm_server.api.traced import Traced
from llm_server.catalog import Catalog, ChatModel, UpstreamModel
from llm_server.config.follow import follow_files
from llm_server.config.live import LiveSettings
from llm_server.config.reload import Reloader
from llm_server.config.source import SettingsSource
from llm_server.errors import LlmServerError
from llm_server.keys import Keys
from llm_server.machine_metrics import MachineCollector
from llm_server.metrics import Metrics
from llm_server.model_metrics import ModelCollector
from llm_server.response_store import ResponseStore
from llm_server.settings import Settings
from llm_server.tracing.metrics import TraceCollector
from llm_server.tracing.tracer import open_tracer
from llm_server.upstreams.metrics import UpstreamCollector
from llm_server.upstreams.pool import Pool
from llm_server.upstreams.prober import probe

log = logging.getLogger(__name__)


class Status:
    """`loading`, `ok`, `draining` or `failed`."""

    def __init__(self) -> None:
        self.now = "loading"
        self.error: Exception | None = None

    def __call__(self) -> str:
        return self.now


async def follow(
    settings: Settings,
    loading: "asyncio.Future[None]",
    catalog: Catalog,
    reload: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Watch the files and the folder of the settings, once the models are there."""
    await asyncio.wait([loading])
    if not catalog.ready:
        return
    files = [settings.config, settings.keys_file, settings.env_file]
    watched: list[Awaitable[None]] = [follow_files(files, reload, stop)]
    if settings.adapters is not None:
        watched.append(watch(settings.adapters.expanduser(), partial(_first_manager, catalog), stop))
    await asyncio.gather(*map(_told, watched))


async def _told(watching: Awaitable[None]) -> None:
    """A watcher that ends for a reason that nobody has thought of is heard of; the others go on."""
    try:
        await watching
    except Exception:
        log.exception("a file or folder is no longer followed; what is loaded is served on")


def managers(catalog: Catalog) -> list[tuple[str, AdapterManager]]:
    """Those of the models that take adapters, with the models' ids."""
    models = (entry for entry in catalog.all() if isinstance(entry, ChatModel))
    return [(model.id, model.adapters) for model in models if model.adapters is not None]


def _first_manager(catalog: Catalog) -> AdapterManager | None:
    return next((manager for _, manager in managers(catalog)), None)


def _pools(catalog: Catalog) -> list[Pool]:
    return [entry.pool for entry in catalog.all() if isinstance(entry, UpstreamModel)]


def _computing(catalog: Catalog, reloader: Reloader) -> list[ChatModel]:
    """Models that are served, and those that still finish what they began."""
    return [entry for entry in (*catalog.all(), *reloader.retiring) if isinstance(entry, ChatModel)]


def _adapter_folders(settings: Settings) -> list[Path]:
    """Those that the operator has named for adapters, and the one of the models."""
    more = [Path(part.strip()) for part in settings.adapter_folders.split(",") if part.strip()]
    return [settings.data, *([settings.adapters] if settings.adapters else []), *more]


def create_app(
    settings: Settings,
    *,
    progress: Callable[[str], None] = log.info,
    on_failure: Callable[[Exception], None] | None = None,
    source: SettingsSource | None = None,
) -> FastAPI:
    """The server; PreparationFailed where its key file or LLM_ADAPTERS is wrong. Models load in the
    background: /health tells when they are there, `on_failure` when they never will. `source`: where the
    settings come from, for edits.
    """
    if settings.adapters is not None:
        make_folder(settings.adapters)
    catalog, metrics, status = Catalog(), Metrics(), Status()
    store = ResponseStore(
        settings.data / "responses.sqlite3", count=settings.responses, size=settings.responses_mb << 20
    )

    tracer = open_tracer(settings)
    keys, reloader = Keys(settings), Reloader(settings, catalog, metrics, progress)

    live = LiveSettings(settings, source, keys, reloader)

    async def load() -> None:
        try:
            await asyncio.to_thread(reloader.load)
            status.now = "ok"
        except Exception as error:
            log.exception("loading failed") if on_failure is None else on_failure(error)
            status.now, status.error = "failed", error

    def reload(*, unless_seen: bool = False) -> None:
        """What is refused is in the log and in GET /admin/config."""
        for one in (live.follow, keys.reload, partial(reloader.load, unless_seen=unless_seen)):
            try:
                one()
            except LlmServerError as error:
                log.error("an edit is not followed: %s", error.message)
            except ValueError:
                log.error("an edit is not followed: %s", live.refused)
            except Exception:
                # A file that breaks its reader shall not end the watching of the others, of keys above all.
                log.exception("an edit is not followed")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading, stop = asyncio.ensure_future(load()), asyncio.Event()
        watching = asyncio.ensure_future(
            follow(settings, loading, catalog, partial(reload, unless_seen=True), stop)
        )
        probing = asyncio.ensure_future(probe(partial(_pools, catalog), stop))
        yield
        status.now = "draining"
        stop.set()
        await asyncio.gather(loading, watching, probing, return_exceptions=True)
        await asyncio.to_thread(reloader.close)
        await asyncio.to_thread(catalog.close)
        store.close()
        if tracer is not None:
            await asyncio.to_thread(tracer.close)

    app = FastAPI(title="Loopyard llm_server", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    app.state.catalog, app.state.metrics, app.state.status = catalog, metrics, status
    app.state.keys, app.state.quota = keys, Quota()
    app.state.reloader, app.state.follow, app.state.live = reloader, reload, live
    app.state.responses = store
    app.state.adapter_folders = Folders(
        _adapter_folders(settings),
        reloader.adapter_paths,
        lambda: not (keys.asked_for or settings.adapter_folders),
    )
    app.state.adapter_uploads = Uploads(
        settings.data.absolute() / "uploads", settings.upload_mb << 20, settings.uploads_mb << 20
    )
    app.add_middleware(
        BodyLimit, megabytes=settings.max_body_mb, uploads={"/v1/adapters/upload": settings.upload_mb}
    )
    metrics.registry.register(MachineCollector(settings.data))
    metrics.registry.register(ModelCollector(lambda: _computing(catalog, reloader)))
    metrics.registry.register(AdapterCollector(lambda: managers(catalog)))
    metrics.registry.register(
        UpstreamCollector(lambda: [e for e in catalog.all() if isinstance(e, UpstreamModel)])
    )
    app.add_middleware(RequestId, metrics=metrics)
    app.add_middleware(Held)
    if tracer is not None:
        metrics.registry.register(TraceCollector(tracer))
        app.add_middleware(Traced, tracer=tracer)
    errors.install(app)
    for room in (
        chat,
        completions,
        fim,
        embeddings,
        rerank,
        classify,
        responses,
        adapters_upload,
        adapters,
        adapters_compat,
        models,
        operations,
        config,
    ):
        app.include_router(room.router)
    return app
