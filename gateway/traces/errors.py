"""What can go wrong at the trace store, in the words that Langfuse's clients read.

TraceError           500  InternalServerError
 |- BadTrace         400  InvalidRequestError   the request cannot be understood
 |   '- UnknownColumn    InvalidFilterColumn  a filter on what this store cannot filter by
 |- Unauthorised     401  UnauthorizedError     no key pair, or a wrong one
 |- NoSuch           404  LangfuseNotFoundError no such thing in this project
 |- BodyTooSlow      408  RequestTimeoutError   the body did not come in time
 |- BodyTooLarge     413  PayloadTooLargeError  the body is over its limit
 '- Busy             503  ServiceUnavailable    too much waits to be written; the clients try again

The body is {"message", "error"}.
"""

from __future__ import annotations

import errno
import logging
import sqlite3

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

_log = logging.getLogger(__name__)


class TraceError(Exception):
    status = 500
    name = "InternalServerError"


class BadTrace(TraceError):
    status = 400
    name = "InvalidRequestError"


class UnknownColumn(BadTrace):
    name = "InvalidFilterColumn"


class Unauthorised(TraceError):
    status = 401
    name = "UnauthorizedError"


class NoSuch(TraceError):
    status = 404
    name = "LangfuseNotFoundError"


class BodyTooSlow(TraceError):
    status = 408
    name = "RequestTimeoutError"


class BodyTooLarge(TraceError):
    status = 413
    name = "PayloadTooLargeError"


class Busy(TraceError):
    status = 503
    name = "ServiceUnavailable"


async def handle(_: Request, error: Exception) -> JSONResponse:
    """The exception handler of the app."""
    if isinstance(error, TraceError):
        headers = {"WWW-Authenticate": 'Basic realm="traces"'} if error.status == 401 else {}
        return JSONResponse({"message": str(error), "error": error.name}, error.status, headers)
    if isinstance(error, ValidationError):
        return JSONResponse({"message": _first(error), "error": BadTrace.name}, 400)
    if isinstance(
        error, UnicodeEncodeError
    ):  # half of a surrogate pair, which JSON can carry and UTF-8 cannot
        return JSONResponse({"message": "A text is no valid Unicode.", "error": BadTrace.name}, 400)
    if _is_full(error):
        return JSONResponse({"message": "The disk is full.", "error": "InsufficientStorage"}, 507)
    _log.error("unexpected error", exc_info=error)
    return JSONResponse({"message": "Something went wrong inside.", "error": TraceError.name}, 500)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error)
