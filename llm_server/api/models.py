"""GET /v1/models, POST /v1/tokenize and POST /apply-template."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request

from llm_server.api.access import as_chat, find, made_of, permit, visible_cards
from llm_server.api.auth import INFERENCE, require
from llm_server.api.prepare import prompt_of
from llm_server.api.schemas import TemplateRequest, TokenizeRequest
from llm_server.catalog import Catalog, ChatModel, EmbeddingModelEntry
from llm_server.errors import BadRequest

router = APIRouter(dependencies=[Depends(require(INFERENCE))])


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Every model that the key may use; `extensions` names the request fields beyond OpenAI's."""
    return {"object": "list", "data": visible_cards(request)}


@router.get("/v1/models/{model:path}")
async def model(request: Request, model: str) -> dict[str, Any]:
    """One model."""
    entry = permit(request, find(request, model))
    card = entry.card() | made_of(request, entry)
    if isinstance(entry, ChatModel) and entry.selection:
        card |= {"id": entry.served, "parent": entry.id, "root": entry.id}
    return card


def _first_chat(catalog: Catalog) -> str:
    return next((entry.id for entry in catalog.all() if isinstance(entry, ChatModel)), "")


@router.post("/apply-template")
@router.post("/v1/apply-template", include_in_schema=False)
async def apply_template(request: Request, body: TemplateRequest) -> dict[str, str]:
    """The prompt that a model would read for these messages and tools; nothing is computed."""
    entry = permit(request, find(request, body.model or _first_chat(request.app.state.catalog)))
    return {"prompt": await asyncio.to_thread(prompt_of, as_chat(request, entry), body)}


@router.post("/v1/tokenize")
@router.post("/tokenize", include_in_schema=False)
async def tokenize(request: Request, body: TokenizeRequest) -> dict[str, Any]:
    """Token ids of a text, and their number."""
    catalog: Catalog = request.app.state.catalog
    text = body.content if body.content is not None else body.prompt
    if text is None:
        raise BadRequest("content is missing.", param="content")
    entry = find(request, body.model or _first_chat(catalog))
    permit(request, entry)
    if isinstance(entry, EmbeddingModelEntry):
        ids = entry.embedder.model.tokens(text)
        return {
            "model": entry.id,
            "tokens": ids,
            "count": len(ids),
            "max_model_len": entry.embedder.model.max_tokens,
        }
    model = as_chat(request, entry)
    vocabulary = model.engine.backend.vocabulary
    ids = vocabulary.tokenize(text, special=body.parse_special, bos=body.add_special)
    out = {"model": entry.id, "tokens": ids, "count": len(ids), "max_model_len": model.engine.backend.context}
    if body.with_pieces:
        out["pieces"] = [vocabulary.piece(token).decode("utf-8", errors="replace") for token in ids]
    return out
