"""What can go wrong, and how a client hears of it.

LlmServerError 500
|- BadRequest 400 (invalid_value)
|  |- ContextLengthExceeded (context_length_exceeded)
|  |- UnsupportedSchema (unsupported_schema)
|  |- ConfigRefused (config_refused): an edit of LLM_CONFIG, with its line; what runs goes on
|  '- BodyTooLarge 413 (body_too_large)
|- Unauthorized 401 (invalid_api_key)
|- Forbidden 403 (insufficient_scope)
|  '- ModelForbidden (model_not_allowed)
|- NotFound 404 (not_found)
|  |- ModelNotFound (model_not_found)
|  '- ResponseNotFound (response_not_found)
|- Conflict 409 (conflict): somebody was faster, or it is in use
|- AdapterRefused 422 (adapter_refused; the code says why): it does not fit, or cannot be trusted
|- TooManyRequests 429 (rate_limit_exceeded, concurrency_limit), with Retry-After
|- QueueFull 429 (queue_full), with Retry-After
|- Unavailable 503
|  |- ModelLoading (model_loading), with Retry-After
|  |- ModelReplaced (model_replaced), with Retry-After: an edit has put another in its place
|  '- ShuttingDown (shutting_down), with Retry-After
|- UpstreamFailed 502 (upstream_failed): the server that computes this model does not answer
|- EngineFailure 500 (engine_failure): this sequence failed, others go on
|- Interrupted: a step that somebody has ended (the engine takes it again without who has left)
|- CacheExhausted: no room for a batch in the KV cache (the engine answers it, clients never see it)
'- PreparationFailed: a model cannot be made ready; the text says what to do

The HTTP shape is OpenAI's: {"error": {"message", "type", "param", "code"}}; openai-python turns the status
into its own typed exception and honours Retry-After.
"""

from pathlib import Path


class LlmServerError(Exception):
    """Base of the room; `message` is for the client."""

    status = 500
    type = "server_error"
    code: str | None = "internal_error"
    retry_after: float | None = None
    """Seconds after which a client may try again; without them, what failed here would fail again."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    def headers(self) -> dict[str, str]:
        """When to try again, in the two forms that openai-python reads; or that it is of no use.

        It retries 408, 409, 429 and 5xx by itself, unless x-should-retry says no.
        """
        if self.retry_after is not None:
            seconds = max(1, round(self.retry_after))
            return {"retry-after": str(seconds), "retry-after-ms": str(round(self.retry_after * 1000))}
        final = self.status == 409 or self.status >= 500
        return {"x-should-retry": "false"} if final else {}

    def body(self) -> dict[str, dict[str, str | None]]:
        """The OpenAI error body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(LlmServerError):
    """The request cannot be served as it stands."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class ContextLengthExceeded(BadRequest):
    """The prompt does not fit the context."""

    code = "context_length_exceeded"

    def __init__(self, tokens: int, limit: int, what: str = "This model's maximum context length") -> None:
        super().__init__(
            f"{what} is {limit} tokens, but the request has {tokens} tokens. Shorten the messages.",
            param="messages",
        )


class UnsupportedSchema(BadRequest):
    """A JSON schema that cannot become a grammar."""

    code = "unsupported_schema"


class BodyTooLarge(BadRequest):
    """More bytes than LLM_MAX_BODY_MB allows."""

    status = 413
    code = "body_too_large"


class ConfigRefused(BadRequest):
    """The file LLM_CONFIG cannot be followed as it stands; `line` and `column` count from one."""

    code = "config_refused"

    def __init__(self, path: Path, line: int, column: int, reason: str, param: str | None = None) -> None:
        super().__init__(f"{path}:{line}:{column}: {reason}", param=param)
        self.line, self.column, self.reason = line, column, reason


class Unauthorized(LlmServerError):
    """No key, or a wrong one."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(LlmServerError):
    """The key lacks the scope."""

    status = 403
    type = "permission_error"
    code = "insufficient_scope"


class ModelForbidden(Forbidden):
    """The model is not on the key's list."""

    code = "model_not_allowed"

    def __init__(self, name: str) -> None:
        super().__init__(f"This API key may not use the model `{name}`.", param="model")


class NotFound(LlmServerError):
    """No such route or thing."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    """No such model here."""

    code = "model_not_found"

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"The model `{name}` does not exist. Available: {', '.join(known)}.", param="model")


class ResponseNotFound(NotFound):
    """No such response for this key: never stored, deleted, or out of its quota."""

    code = "response_not_found"

    def __init__(self, identity: str, param: str | None = None) -> None:
        super().__init__(f"There is no response {identity!r} for this key.", param=param)


class Conflict(LlmServerError):
    """The thing is not as the request expects it."""

    status = 409
    type = "conflict_error"
    code = "conflict"


class AdapterRefused(LlmServerError):
    """An adapter that will not be served; `code` is the reason in one word."""

    status = 422
    type = "adapter_error"
    code = "adapter_refused"


class TooManyRequests(LlmServerError):
    """The key is at its limit."""

    status = 429
    type = "rate_limit_exceeded"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class QueueFull(LlmServerError):
    """Too many requests wait already."""

    status = 429
    type = "rate_limit_exceeded"
    code = "queue_full"

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} requests are waiting already. Try again in {retry_after:.0f} s.")
        self.retry_after = retry_after


class Unavailable(LlmServerError):
    """Not now."""

    status = 503
    retry_after = 2.0


class ModelLoading(Unavailable):
    """The model is being prepared or loaded."""

    code = "model_loading"


class ModelReplaced(Unavailable):
    """The model was replaced, and this answer had not ended in the time that was left to it."""

    code = "model_replaced"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The model `{name}` was replaced, and LLM_RETIRE_SECONDS are over. Try again.",
            param="model",
        )


class ShuttingDown(Unavailable):
    """The server finishes what runs and takes nothing new."""

    code = "shutting_down"


class UpstreamFailed(LlmServerError):
    """Another server was asked, and does not answer; the text names no address and no key."""

    status = 502
    code = "upstream_failed"


class EngineFailure(LlmServerError):
    """The engine could not go on with this sequence."""

    code = "engine_failure"


class Interrupted(LlmServerError):
    """The running `decode` was told to end; nothing of it was computed."""


class CacheExhausted(LlmServerError):
    """No room in the KV cache for this batch; nothing of it was computed."""


class PreparationFailed(LlmServerError):
    """A model, or what is needed to convert one, is missing or broken."""

    code = "preparation_failed"
