"""Projects: found by id or name, always within the caller's account."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from gateway.databases.store import count_databases
from gateway.db.database import Database, unbroken
from gateway.documents.store import count_documents
from gateway.errors import Conflict, Forbidden, NotFound
from gateway.policy import Caller, ProjectFacts, may_enter
from gateway.projects import store
from gateway.projects.schemas import ProjectIn, ProjectOut
from gateway.projects.store import Project


class Projects:
    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def ensure(self, account_id: str, name: str) -> None:
        """Makes the default project where it is missing."""
        async with self._database.write() as session:
            if await store.find(session, account_id, name) is None:
                session.add(_row(account_id, ProjectIn(name=name)))

    @unbroken
    async def get(self, caller: Caller, reference: str) -> Project:
        """Raises NotFound naming the projects that exist, or Forbidden for a key bound to another one."""
        async with self._database.read() as session:
            project = await store.find(session, caller.account_id, reference)
            if project is None:
                names = [p.name for p in await store.of_account(session, caller.account_id)]
                raise NotFound(
                    f"No project {reference!r}. Projects: {', '.join(names) or 'none'}.",
                    code="project_not_found",
                )
        decision = may_enter(caller, ProjectFacts(project.id, project.account_id))
        if not decision:
            raise Forbidden(decision.reason)
        return project

    @unbroken
    async def all(self, caller: Caller) -> list[ProjectOut]:
        async with self._database.read() as session:
            rows = await store.of_account(session, caller.account_id)
            documents, databases = await count_documents(session), await count_databases(session)
        seen = [row for row in rows if may_enter(caller, ProjectFacts(row.id, row.account_id))]
        return [_out(row, documents.get(row.id, 0), databases.get(row.id, 0)) for row in seen]

    @unbroken
    async def view(self, project: Project) -> ProjectOut:
        async with self._database.read() as session:
            documents, databases = await count_documents(session), await count_databases(session)
        return _out(project, documents.get(project.id, 0), databases.get(project.id, 0))

    @unbroken
    async def create(self, caller: Caller, wanted: ProjectIn) -> ProjectOut:
        try:
            async with self._database.write() as session:
                session.add(row := _row(caller.account_id, wanted))
        except IntegrityError as error:
            raise Conflict(f"A project {wanted.name!r} exists already.", param="name") from error
        return _out(row, 0, 0)

    @unbroken
    async def delete(self, project: Project) -> None:
        async with self._database.write() as session:
            await session.delete(await session.merge(project))


def _row(account_id: str, wanted: ProjectIn) -> Project:
    return Project(
        account_id=account_id,
        name=wanted.name,
        title=wanted.title or wanted.name.replace("-", " ").replace("_", " ").capitalize(),
        icon=wanted.icon,
        colour=wanted.colour,
    )


def _out(row: Project, documents: int, databases: int) -> ProjectOut:
    return ProjectOut(
        id=row.id,
        name=row.name,
        title=row.title,
        icon=row.icon,
        colour=row.colour,
        created_at=row.created_at,
        documents=documents,
        databases=databases,
    )
