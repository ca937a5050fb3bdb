"""POST /v1/adapters/upload: an adapter for who has no access to the server's disk."""

import asyncio
from functools import partial

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response

from llm_server.adapters.uploads import Uploads
from llm_server.api.access import permit_adapter
from llm_server.api.adapters import LoadOptions, adaptable, admin, begun, chat_models

router = APIRouter()
MAX_FIELDS = 16


@router.post("/v1/adapters/upload", dependencies=admin)
async def upload(request: Request, wait: bool = False) -> Response:
    """As POST /v1/adapters, with the fields of its body but `source` as fields of a form (multipart), and the
    adapter as `file`: an archive (.tar, .tar.gz) or a .gguf file, or both files of a PEFT folder.
    """
    uploads: Uploads = request.app.state.adapter_uploads
    async with request.form(max_files=2, max_fields=MAX_FIELDS) as form:
        files = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        try:
            body = LoadOptions.model_validate(fields)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        model, manager = adaptable(request, body.base)
        permit_adapter(request, model, body.name)
        given = [(part.filename or "", part.file) for part in files]
        path = await asyncio.to_thread(uploads.take, body.name, given, partial(_needed, request))
    try:
        return await begun(model, manager, body, path, wait)
    finally:
        uploads.settled(path)


def _needed(request: Request) -> set[str]:
    """Where the versions come from that can be served, or will be."""
    managers = [model.adapters for model in chat_models(request) if model.adapters is not None]
    return {
        version.source
        for manager in managers
        for adapter in manager.store.adapters()
        for version in list(adapter.versions.values())
        if version.error is None
    }
