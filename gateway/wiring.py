"""Everything that the gateway is made of, put together once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx2
from langgraph.checkpoint.base import BaseCheckpointSaver

from gateway.accounts.service import Accounts
from gateway.agents.service import AgentList
from gateway.annotation.collect import Collections
from gateway.annotation.places import places_of
from gateway.annotation.service import Annotations
from gateway.audit.service import Audit
from gateway.callback import Callbacks
from gateway.chat.service import Chats
from gateway.chat_model.service import ChatModel
from gateway.context import ContextMinter
from gateway.conversations.service import Conversations
from gateway.databases.service import Databases
from gateway.datasets.files import Files
from gateway.datasets.service import Datasets
from gateway.db.database import Database
from gateway.db.migrate import migrate
from gateway.documents.ingestion import Ingestion
from gateway.documents.service import Documents
from gateway.feedback.comparisons import Comparisons
from gateway.feedback.service import Feedbacks
from gateway.hop import Hop
from gateway.jobs.record import Record
from gateway.jobs.service import JobService
from gateway.mcp.service import ToolCalls
from gateway.models.server import AdapterServer
from gateway.models.service import ModelRegistry
from gateway.models.shelf import Shelf
from gateway.pipelines.service import Pipelines
from gateway.projects.service import Projects
from gateway.quality.service import Quality
from gateway.quality.watch import Watch
from gateway.scores.service import ScoreOutbox
from gateway.settings import Settings
from gateway.trace_view.service import TraceView
from gateway.trace_view.source import open_source
from gateway.traces.relay import Relay, open_relay
from gateway.traces.sink import open_tracing, sink_of
from graphs.agent import Agents
from graphs.checkpoints import erase, kept, open_postgres, open_sqlite
from graphs.llm import Models
from graphs.load import load_agents
from graphs.tracing import Tracing
from rlhf.objects.depots import Depots, open_depots
from rlhf.objects.follow import following
from rlhf.objects.registry import registry_of

MODEL_SECONDS = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database
    hop: Hop
    http: httpx2.AsyncClient
    """Pooled connections to the model server."""
    chat_model: ChatModel
    accounts: Accounts
    projects: Projects
    agents: AgentList
    conversations: Conversations
    documents: Documents
    databases: Databases
    tools: ToolCalls
    chats: Chats
    feedbacks: Feedbacks
    comparisons: Comparisons
    tracing: Tracing | None
    """None where there is no sink for traces."""
    outbox: ScoreOutbox
    relay: Relay
    """To the trace store."""
    traces: TraceView
    annotations: Annotations
    collections: Collections
    callbacks: Callbacks
    audit: Audit
    jobs: JobService
    datasets: Datasets
    depots: Depots
    """Where other machines find datasets, versions and outputs."""
    pipelines: Pipelines
    registry: ModelRegistry
    quality: Quality


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Migrates, wires, takes up what was left unfinished; closes everything in reverse."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        await migrate(database)
        hop = Hop(settings.tools_url, ContextMinter(settings.context_key.get_secret_value()))
        stack.push_async_callback(hop.close)
        http = await stack.enter_async_context(_model_http())
        saver = await stack.enter_async_context(
            open_sqlite(settings.folder / "checkpoints.db")
            if database.is_sqlite
            else open_postgres(database.libpq)
        )
        sink = sink_of(settings)
        models = Models(
            settings.llm_url,
            settings.llm_api_key.get_secret_value(),
            http,
            traced=sink.public_key if sink else "",
        )
        depots = open_depots(settings.s3, settings.objects, settings.data.absolute())
        stack.enter_context(following(depots, settings.s3))
        shelf = Shelf(registry_of(settings.data.absolute(), depots.models))
        chat_model = ChatModel(models, shelf.registry, settings.default_model)
        ingestion = Ingestion(database, hop, settings.uploads)
        projects, conversations = Projects(database), _conversations(database, saver)
        documents = Documents(database, hop, ingestion, settings.uploads, settings.upload_megabytes << 20)
        databases = Databases(database, hop, settings.cipher())
        agents = AgentList(load_agents())
        callbacks = Callbacks(settings.cipher())
        record = Record(settings.jobs, settings.jobs_url, settings.heartbeat)
        stack.push_async_callback(record.close)
        jobs = JobService(database, record, settings.data.absolute() / "models")
        files = Files(settings.objects / "datasets", settings.folder / "exports", depots.datasets)
        admin = AdapterServer(http, settings.llm_url, settings.llm_admin_key.get_secret_value())
        tracing = open_tracing(settings)
        if tracing:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        outbox = ScoreOutbox(database, tracing)
        places = places_of(settings)
        annotations = Annotations(database, outbox, places)
        collections = Collections(database, annotations, places)
        stack.push_async_callback(collections.close)
        source = await stack.enter_async_context(open_source(lambda: sink_of(settings)))
        comparisons = Comparisons(database, outbox, source, models, settings)
        stack.callback(comparisons.close)
        quality = Quality(
            source, shelf, settings.folder / "quality", settings.quality_days, settings.quality_minimum
        )
        services = Services(
            settings=settings,
            database=database,
            hop=hop,
            http=http,
            chat_model=chat_model,
            accounts=Accounts(database),
            projects=projects,
            agents=agents,
            conversations=conversations,
            documents=documents,
            databases=databases,
            tools=ToolCalls(hop, databases, callbacks),
            callbacks=callbacks,
            chats=Chats(
                *(
                    Agents(chat_model.default, saver),
                    agents,
                    conversations,
                    documents,
                    databases,
                    hop,
                    tracing,
                ),
                logprobs=settings.trace_logprobs,
            ),
            feedbacks=Feedbacks(database, outbox),
            comparisons=comparisons,
            tracing=tracing,
            outbox=outbox,
            relay=await stack.enter_async_context(open_relay(settings.traces_url)),
            traces=TraceView(database, source),
            annotations=annotations,
            collections=collections,
            audit=Audit(database),
            jobs=jobs,
            datasets=Datasets(database, jobs, files, settings.upload_megabytes << 20, settings.s3),
            depots=depots,
            pipelines=Pipelines(settings.jobs, settings.steps),
            registry=ModelRegistry(
                shelf,
                admin,
                jobs,
                settings.folder / "incoming",
                settings.upload_megabytes << 20,
            ),
            quality=quality,
        )
        await _prepare(services)
        watch = Watch(quality, services.registry, services.accounts, services.audit, settings)
        await stack.enter_async_context(watch.running())
        await ingestion.start()
        stack.push_async_callback(ingestion.stop)
        stack.push_async_callback(services.chats.records.settle)
        yield services


def _conversations(database: Database, saver: BaseCheckpointSaver[str]) -> Conversations:
    return Conversations(database, partial(erase, saver), partial(kept, saver))


async def _prepare(services: Services) -> None:
    await services.documents.prepare()
    await services.datasets.prepare()
    await asyncio.to_thread(services.registry.prepare)
    account_id = await services.accounts.ensure_admin(services.settings.admin_key.get_secret_value())
    await services.projects.ensure(account_id, services.settings.default_project)
    if count := await services.conversations.interrupt_running():
        _log.warning("answers were interrupted", extra={"count": count})
    if count := await services.conversations.erase_orphans():
        _log.info("steps of answers that are gone were erased", extra={"count": count})
    await services.outbox.spool()


def _model_http() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)
    timeout = httpx2.Timeout(MODEL_SECONDS, connect=5.0)
    # trust_env off: a proxy meant for the internet must not come between two services of one machine.
    return httpx2.AsyncClient(limits=limits, timeout=timeout, trust_env=False)
