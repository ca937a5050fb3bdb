"""What endpoints ask for: the services, the caller, the project of the path."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Request, params

from gateway.callback import PREFIX
from gateway.errors import Forbidden, Unauthenticated
from gateway.policy import Caller, Scope
from gateway.projects.store import Project
from gateway.wiring import Services


def services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


async def caller_of(request: Request, services: Annotated[Services, Depends(services_of)]) -> Caller:
    """Raises Unauthenticated. The key comes in the Authorization header and nowhere else: a cookie would
    open the door to requests that other sites make."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthenticated("Send an API key as `Authorization: Bearer ly_...`.")
    if key.strip().startswith(PREFIX):
        return services.callbacks.open(key.strip())
    return await services.accounts.authenticate(key.strip())


def needs(scope: Scope) -> params.Depends:
    """A dependency that refuses keys without a scope."""

    async def check(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
        if not caller.has(scope):
            raise Forbidden(f"This key has no scope {scope.value!r}.")
        return caller

    found: params.Depends = Depends(check)
    return found


async def project_of(
    project: str,
    services: Annotated[Services, Depends(services_of)],
    caller: Annotated[Caller, Depends(caller_of)],
) -> Project:
    """The project of the path, by id or name."""
    found: Project = await services.projects.get(caller, project)
    return found


async def asked_project_of(
    services: Annotated[Services, Depends(services_of)],
    caller: Annotated[Caller, Depends(caller_of)],
    header: Annotated[str | None, Header(alias="X-Project")] = None,
) -> Project:
    """The project of the header, else that of the key, else the default one."""
    reference = header or caller.project_id or services.settings.default_project
    found: Project = await services.projects.get(caller, reference)
    return found


def request_id_of(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


ServicesDep = Annotated[Services, Depends(services_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
ProjectDep = Annotated[Project, Depends(project_of)]
AskedProjectDep = Annotated[Project, Depends(asked_project_of)]
RequestId = Annotated[str, Depends(request_id_of)]
project_named = Annotated[str | None, Header(alias="X-Project")]
"""A project by id or name; give it the default None."""
