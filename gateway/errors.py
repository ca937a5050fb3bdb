"""What can go wrong at the front door, and the one translator to HTTP.

GatewayError            500  base of the room
 |- BadRequest          400  the request cannot be understood
 |- Unauthenticated     401  no key, or a wrong one
 |- Forbidden           403  the key does not allow this
 |- NotFound            404  no such thing; the text names those that exist
 |- Conflict            409  the name is taken, the thing is busy
 |- TooLarge            413  the body is over its limit
 |- WrongMediaType      415  a file of a type that cannot be read
 |- TooManyRequests     429  too much at once; retryable
 |- UpstreamFailed      502  a neighbour answered with an error, or not at all; retryable
 |- ShuttingDown        503  the gateway is stopping; retryable
 '- StorageFull         507  the disk is full

What rlhf says of the object store is a 502; of an s3:// address that may not be read, a 403.
The body is the OpenAI one on every route: {"error": {"message", "type", "param", "code"}}.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
from typing import Any, TypedDict

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from graphs.errors import GraphsError, RunStopped
from rlhf.errors import ObjectError, SourceRefused, StoreAway

_log = logging.getLogger(__name__)


class GatewayError(Exception):
    """Base of the room. `status` is the HTTP status; `retryable`: the same request can succeed later."""

    status = 500
    code = "internal_error"
    retryable = False

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code or self.code


class BadRequest(GatewayError):
    status = 400
    code = "invalid_request"


class Unauthenticated(GatewayError):
    status = 401
    code = "invalid_api_key"


class Forbidden(GatewayError):
    status = 403
    code = "forbidden"


class NotFound(GatewayError):
    status = 404
    code = "not_found"


class Conflict(GatewayError):
    status = 409
    code = "conflict"


class TooLarge(GatewayError):
    status = 413
    code = "too_large"


class WrongMediaType(GatewayError):
    status = 415
    code = "unsupported_media_type"


class TooManyRequests(GatewayError):
    status = 429
    code = "too_many_requests"
    retryable = True


class UpstreamFailed(GatewayError):
    status = 502
    code = "upstream_failed"
    retryable = True


class ShuttingDown(GatewayError):
    status = 503
    code = "shutting_down"
    retryable = True


class StorageFull(GatewayError):
    status = 507
    code = "storage_full"


class Problem(TypedDict):
    """The inside of an error body."""

    message: str
    type: str
    param: str | None
    code: str


TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error"}
TYPES |= {404: "not_found_error", 409: "conflict_error", 429: "rate_limit_error"}
CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def problem(error: BaseException) -> tuple[int, Problem, bool]:
    """HTTP status, error body and whether a retry makes sense, for any exception."""
    cause = error.__cause__
    if isinstance(error, HTTPException) and cause and (isinstance(cause, GatewayError) or is_full(cause)):
        # FastAPI makes a 400 of whatever stops the reading of a body.
        return problem(cause)
    if isinstance(error, GatewayError | GraphsError | RunStopped):
        param = getattr(error, "param", None)
        return error.status, _body(error.status, str(error), error.code, param), error.retryable
    if isinstance(error, SourceRefused):
        return 403, _body(403, str(error), "source_refused", "source"), False
    if isinstance(error, ObjectError):
        return 502, _body(502, str(error), "object_store_failed"), isinstance(error, StoreAway)
    if isinstance(error, RequestValidationError):
        return 422, _invalid(error), False
    if isinstance(error, HTTPException):
        status = error.status_code
        return status, _body(status, str(error.detail), CODES.get(status, "http_error")), False
    if _is_locked(error):
        return 503, _body(503, "The database is busy. Try again.", "database_busy"), True
    if is_full(error):
        return 507, _body(507, "The disk is full. Free some space and try again.", "storage_full"), True
    _log.exception("unexpected error", exc_info=error)
    return 500, _body(500, "Something went wrong inside. The log has the details.", "internal_error"), True


def failure(error: BaseException) -> dict[str, Any]:
    """The same for an answer that has begun: as its event and its record have it."""
    status, body, retryable = problem(error)
    return {"message": body["message"], "code": body["code"], "retryable": retryable, "status": status}


def is_full(error: BaseException) -> bool:
    """Whether the disk (or a quota on it) is what failed, on a file or below SQLite."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "disk is full" in _from_sqlite(error)


def _is_locked(error: BaseException) -> bool:
    """Another process (a backup, a person with a shell) holds SQLite's write lock."""
    return "locked" in _from_sqlite(error)


def _from_sqlite(error: BaseException) -> str:
    """SQLite's own words, through SQLAlchemy or (the checkpoints) without it; else nothing."""
    cause = error.orig if isinstance(error, OperationalError) else error
    return str(cause) if isinstance(cause, sqlite3.OperationalError) else ""


def _body(status: int, message: str, code: str, param: str | None = None) -> Problem:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"message": message, "type": kind, "param": param, "code": code}


def _invalid(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return _body(422, f"{field}: {first['msg']}", "invalid_request", field)


def response(error: Exception, headers: dict[str, str] | None = None) -> JSONResponse:
    status, body, _ = problem(error)
    extra = {"WWW-Authenticate": 'Bearer realm="loopyard"'} if status == 401 else {}
    return JSONResponse({"error": body}, status, {**extra, **(headers or {})})


async def handle(_: Request, error: Exception) -> JSONResponse:
    """The exception handler of the app."""
    headers: Any = error.headers if isinstance(error, HTTPException) else None
    return response(error, headers)
