"""An object on its way to the disk, as an upload of it would be."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.documents.upload import Stored
from gateway.errors import BadRequest, StorageFull, is_full
from gateway.ids import new_id
from rlhf.objects.settings import Settings
from rlhf.objects.source import fetch


async def receive_object(address: str, folder: Path, settings: Settings, limit: int) -> Stored:
    """Copy `s3://BUCKET/KEY` into a temporary file of `folder`.

    Raises SourceRefused, ObjectError, BadRequest for an empty object, StorageFull; nothing is left then.
    """
    path = folder / f".{new_id()}.part"
    try:
        sha256 = await asyncio.to_thread(fetch, address, path, settings, limit)
        size = path.stat().st_size
        if not size:
            raise BadRequest(f"{address} is empty.", param="source")
    except BaseException as error:
        path.unlink(missing_ok=True)
        if is_full(error):
            raise StorageFull("The disk is full. Free some space and try again.") from error
        raise
    return Stored(path, sha256, size)
