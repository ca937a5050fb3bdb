"""/admin/config: what is served and why an edit was refused; /admin/reload: follow the files now."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from llm_server.api.auth import ADMIN, require
from llm_server.config.live import LiveSettings
from llm_server.config.reload import Reloader
from llm_server.errors import BadRequest, ConfigRefused, PreparationFailed
from llm_server.keys import Keys

router = APIRouter(prefix="/admin", dependencies=[Depends(require(ADMIN))])


@router.get("/config")
async def config(request: Request) -> dict[str, Any]:
    """Models with every value that is in force, when they were loaded, and the last refusals."""
    reloader: Reloader = request.app.state.reloader
    keys: Keys = request.app.state.keys
    live: LiveSettings = request.app.state.live
    return {**reloader.card(), "keys_refused": keys.refused, **live.card()}


@router.post("/reload")
async def reload(request: Request) -> Response:
    """Read the settings, the keys and the models again. 200 with what changed when all of it is served; 400
    with line and reason where something is refused, and then nothing of that file has changed.
    """
    reloader: Reloader = request.app.state.reloader
    keys: Keys = request.app.state.keys
    live: LiveSettings = request.app.state.live
    try:
        await asyncio.to_thread(live.follow)
        await asyncio.to_thread(keys.reload)
        change = await asyncio.to_thread(reloader.load)
    except ConfigRefused as error:
        place = {"line": error.line, "column": error.column}
        return JSONResponse({"error": {**error.body()["error"], **place}}, error.status)
    except PreparationFailed as error:
        return JSONResponse(error.body(), ConfigRefused.status)
    except ValueError:
        return JSONResponse(BadRequest(live.refused or "", code="config_refused").body(), BadRequest.status)
    return JSONResponse(change.card())
