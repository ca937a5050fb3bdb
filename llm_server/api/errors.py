"""Every error leaves as OpenAI's body, whatever raised it."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from llm_server.errors import BadRequest, BodyTooLarge, LlmServerError, NotFound

log = logging.getLogger(__name__)


def error_response(error: LlmServerError) -> JSONResponse:
    """Status, body and headers of an error."""
    return JSONResponse(error.body(), error.status, error.headers())


def install(app: FastAPI) -> None:
    """Register the translators."""

    @app.exception_handler(LlmServerError)
    async def ours(request: Request, error: LlmServerError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body")
        text = f"Invalid value for '{place}': {first['msg']}." if place else f"Invalid body: {first['msg']}."
        return error_response(BadRequest(text, param=place or None))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == NotFound.status:
            return error_response(NotFound(f"There is no {request.method} {request.url.path} here."))
        if error.status_code == BodyTooLarge.status:
            return error_response(BodyTooLarge(error.detail))
        other = BadRequest(f"{error.detail}: {request.method} {request.url.path}.", code="invalid_request")
        other.status = error.status_code
        return error_response(other)

    @app.exception_handler(UnicodeEncodeError)
    async def unsound(request: Request, error: UnicodeEncodeError) -> Response:
        half = error.object[error.start]
        text = f"The text holds {half!r}, which is half of a surrogate pair and no character."
        return error_response(BadRequest(text, code="invalid_unicode"))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("request failed", exc_info=error)
        return error_response(LlmServerError("The server failed on this request. Its log has the details."))
