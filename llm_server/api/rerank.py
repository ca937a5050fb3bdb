"""POST /v1/rerank: documents in the order of their relevance to a query."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.access import as_embedding, permit
from llm_server.api.auth import INFERENCE, require
from llm_server.api.forward import route
from llm_server.api.schemas import RerankRequest
from llm_server.catalog import Entry, RerankModel
from llm_server.errors import BadRequest
from llm_server.reranker import BiEncoder, CrossEncoder, Reranker

router = APIRouter(dependencies=[Depends(require(INFERENCE))])
MAX_DOCUMENTS = 1024


@router.post("/v1/rerank")
@router.post("/v2/rerank", include_in_schema=False)
@router.post("/rerank", include_in_schema=False)
async def rerank(request: Request, body: RerankRequest) -> Response:
    """`results` as Jina, Cohere and vLLM have it, the same again as `data`, which Continue reads.

    `relevance_score` is a cross-encoder's score from 0 to 1; of an embedding model it is the cosine of the
    vectors of query and document.
    """
    model = await route(request, body.model, "rerank")
    if isinstance(model, Response):
        return model
    reranker = _reranker(request, model)
    texts = [_text(document) for document in body.documents]
    if not 1 <= len(texts) <= MAX_DOCUMENTS:
        raise BadRequest(f"Between 1 and {MAX_DOCUMENTS} documents, please.", param="documents")
    relevance = await reranker.score(body.query, texts)
    request.app.state.metrics.embeddings.inc(relevance.tokens)
    order = sorted(range(len(texts)), key=lambda i: -relevance.scores[i])[: body.top_n]
    results = [_result(i, relevance.scores[i], texts[i] if body.return_documents else None) for i in order]
    usage = {"prompt_tokens": relevance.tokens, "total_tokens": relevance.tokens}
    return JSONResponse(
        {"object": "list", "model": model.id, "results": results, "data": results, "usage": usage}
    )


def _reranker(request: Request, model: Entry) -> Reranker:
    if isinstance(model, RerankModel):
        permit(request, model)
        return CrossEncoder(model.classifier)
    return BiEncoder(as_embedding(request, model).embedder)


def _text(document: str | dict[str, Any]) -> str:
    text = document if isinstance(document, str) else document.get("text")
    if not isinstance(text, str):
        raise BadRequest("A document is a string, or an object with `text`.", param="documents")
    return text


def _result(index: int, score: float, text: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {"index": index, "relevance_score": score}
    return result if text is None else {**result, "document": {"text": text}}
