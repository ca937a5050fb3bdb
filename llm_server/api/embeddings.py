"""POST /v1/embeddings."""

import base64
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from numpy.typing import NDArray
from starlette.responses import JSONResponse, Response

from llm_server.api.access import as_embedding
from llm_server.api.auth import INFERENCE, require
from llm_server.api.forward import route
from llm_server.api.schemas import EmbeddingRequest
from llm_server.embedder import Role, shorten
from llm_server.errors import BadRequest

router = APIRouter(dependencies=[Depends(require(INFERENCE))])
MAX_INPUTS = 2048
ROLES: dict[str, Role] = {
    "query": "query",
    "search_query": "query",
    "passage": "passage",
    "document": "passage",
    "search_document": "passage",
}


@router.post("/v1/embeddings")
async def embed(request: Request, body: EmbeddingRequest) -> Response:
    """One vector an input, of length 1 unless its model is served with `normalise: false`. Longer inputs are
    cut at the model's limit. `input_type` says what the texts are, where the model wants to know.
    """
    entry = await route(request, body.model, "embeddings")
    if isinstance(entry, Response):
        return entry
    model = as_embedding(request, entry)
    inputs = _inputs(body)
    full, size = model.embedder.model.dimensions, model.embedder.model.size
    if any(not 0 <= token < size for given in inputs if not isinstance(given, str) for token in given):
        raise BadRequest(f"A token id is outside 0..{size - 1}.", param="input")
    if body.dimensions is not None and body.dimensions > full:
        raise BadRequest(f"{model.id} has {full} dimensions.", param="dimensions")
    result = await model.embedder.embed(inputs, ROLES.get(body.input_type or ""))
    request.app.state.metrics.embeddings.inc(result.tokens)
    vectors = (
        result.vectors
        if body.dimensions in (None, full)
        else shorten(result.vectors, body.dimensions or full)
    )
    data = [
        {"object": "embedding", "index": i, "embedding": _encode(vector, body.encoding_format)}
        for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": result.tokens, "total_tokens": result.tokens}
    return JSONResponse({"object": "list", "data": data, "model": model.id, "usage": usage})


def _inputs(body: EmbeddingRequest) -> list[str | list[int]]:
    given = body.input
    if isinstance(given, str):
        many: list[str | list[int]] = [given]
    elif given and isinstance(given[0], int):
        many = [[token for token in given if isinstance(token, int)]]
    else:
        many = [item for item in given if not isinstance(item, int)]
    if not 1 <= len(many) <= MAX_INPUTS or any(not item for item in many):
        raise BadRequest(f"Between 1 and {MAX_INPUTS} inputs, none of them empty.", param="input")
    return many


def _encode(vector: NDArray[np.float32], form: str) -> Any:
    if form == "base64":
        return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()
    return vector.tolist()
