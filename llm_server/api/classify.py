"""POST /v1/classify: which of its labels a classifier finds in a text."""

import time
import uuid
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.access import find, permit
from llm_server.api.auth import INFERENCE, require
from llm_server.api.schemas import ClassifyRequest
from llm_server.catalog import ClassifierModel
from llm_server.classifier import probabilities
from llm_server.errors import BadRequest

router = APIRouter(dependencies=[Depends(require(INFERENCE))])
MAX_INPUTS = 1024


@router.post("/v1/classify")
@router.post("/classify", include_in_schema=False)
async def classify(request: Request, body: ClassifyRequest) -> Response:
    """vLLM's shape: the likeliest label of every text and the probability of each; `scores` has them by name.
    Longer texts are cut at the model's limit.
    """
    model = permit(request, find(request, body.model))
    if not isinstance(model, ClassifierModel):
        raise BadRequest(f"The model `{model.id}` is no classifier.", param="model")
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not 1 <= len(texts) <= MAX_INPUTS:
        raise BadRequest(f"Between 1 and {MAX_INPUTS} texts, please.", param="input")
    scored = await model.classifier.classify(texts)
    request.app.state.metrics.embeddings.inc(scored.tokens)
    labels = model.classifier.model.labels
    rows = probabilities(scored.values).tolist()
    usage = {"prompt_tokens": scored.tokens, "total_tokens": scored.tokens}
    head = {"id": f"classify-{uuid.uuid4().hex}", "object": "list", "created": int(time.time())}
    data = [_result(index, labels, row) for index, row in enumerate(rows)]
    return JSONResponse({**head, "model": model.id, "data": data, "usage": usage})


def _result(index: int, labels: tuple[str, ...], shares: list[float]) -> dict[str, Any]:
    best = labels[max(range(len(labels)), key=lambda i: shares[i])]
    scores = dict(zip(labels, shares, strict=True))
    return {"index": index, "label": best, "probs": shares, "num_classes": len(labels), "scores": scores}
