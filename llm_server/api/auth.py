"""Who is calling, with which scope, and within which quota."""

from collections.abc import AsyncIterator, Callable

from starlette.requests import Request

from llm_server.api.quota import Quota
from llm_server.errors import Forbidden, Unauthorized
from llm_server.keys import ADMIN, ANYONE, INFERENCE, Caller, Keys

__all__ = ["ADMIN", "INFERENCE", "caller_of", "owner_of", "require"]


def require(scope: str) -> Callable[[Request], AsyncIterator[None]]:
    """A dependency: Unauthorized without a known key, Forbidden without the scope, TooManyRequests beyond
    the key's quota, which counts what computes: POST.
    """

    async def check(request: Request) -> AsyncIterator[None]:
        caller = _known(request)
        if scope not in caller.scopes:
            raise Forbidden(f"This API key lacks the scope {scope}.")
        request.state.caller = caller
        if request.method != "POST":
            yield
            return
        quota: Quota = request.app.state.quota
        with quota.admit(caller):
            yield

    return check


def caller_of(request: Request) -> Caller:
    """Who made a request that `require` has let through."""
    caller: Caller = request.state.caller
    return caller


def owner_of(request: Request) -> str:
    """Whose a stored thing is: a hash of the key, empty where no keys are asked for."""
    return caller_of(request).digest


def _known(request: Request) -> Caller:
    keys: Keys = request.app.state.keys
    if not keys.asked_for:
        return ANYONE
    given = _given(request)
    if not given:
        raise Unauthorized("No API key. Send it as `Authorization: Bearer KEY`.")
    caller = keys.caller(given)
    if caller is None:
        raise Unauthorized("The API key is not known here.")
    return caller


def _given(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return (request.headers.get("x-api-key") or request.headers.get("api-key") or "").strip()
