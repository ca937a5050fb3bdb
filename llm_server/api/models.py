"""GET /v1/models and POST /v1/tokenize."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from llm_server.api.auth import INFERENCE, require
from llm_server.api.schemas import TokenizeRequest
from llm_server.catalog import Catalog, ChatModel
from llm_server.errors import BadRequest

router = APIRouter(dependencies=[Depends(require(INFERENCE))])


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Every model with its capabilities; `extensions` names the request fields beyond OpenAI's."""
    catalog: Catalog = request.app.state.catalog
    return {"object": "list", "data": [entry.card() for entry in catalog.all()]}


@router.get("/v1/models/{model:path}")
async def model(request: Request, model: str) -> dict[str, Any]:
    """One model."""
    catalog: Catalog = request.app.state.catalog
    return dict(catalog.get(model).card())


@router.post("/v1/tokenize")
@router.post("/tokenize", include_in_schema=False)
async def tokenize(request: Request, body: TokenizeRequest) -> dict[str, Any]:
    """Token ids of a text, and their number."""
    catalog: Catalog = request.app.state.catalog
    text = body.content if body.content is not None else body.prompt
    if text is None:
        raise BadRequest("content is missing.", param="content")
    entry = (
        catalog.get(body.model) if body.model else next(e for e in catalog.all() if isinstance(e, ChatModel))
    )
    if not isinstance(entry, ChatModel):
        ids = entry.embedder.model.tokens(text)
        return {
            "model": entry.id,
            "tokens": ids,
            "count": len(ids),
            "max_model_len": entry.embedder.model.max_tokens,
        }
    vocabulary = entry.engine.backend.vocabulary
    ids = vocabulary.tokenize(text, special=body.parse_special, bos=body.add_special)
    out = {"model": entry.id, "tokens": ids, "count": len(ids), "max_model_len": entry.engine.backend.context}
    if body.with_pieces:
        out["pieces"] = [vocabulary.piece(token).decode("utf-8", errors="replace") for token in ids]
    return out
