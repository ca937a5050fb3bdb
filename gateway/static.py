"""The console: static files, and index.html for every address that is a page of it."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST = Path(__file__).parent / "console" / "dist"
API = ("api/", "v1/", "mcp", "tool_call", "health", "metrics")
HINT = "The console is not built. Run `make console`, or use the API and the `loopyard` command.\n"


class Console(StaticFiles):
    """Files of a built console at `folder`, which may appear later."""

    def __init__(self, folder: Path = DIST) -> None:
        # Python's own table lacks it, and nosniff makes a font of the wrong type useless.
        mimetypes.add_type("font/woff2", ".woff2")
        super().__init__(directory=folder, html=True, check_dir=False)
        # The check at the first request would raise; here a missing build is answered with a hint.
        self.config_checked = True
        self._folder = folder

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path.startswith(API):
            raise HTTPException(404, f"No route {scope['method']} /{path}.")
        if not (self._folder / "index.html").exists():
            return PlainTextResponse(HINT, 200 if path == "." else 404)
        try:
            answer = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or "." in Path(path).name:
                raise
            answer = FileResponse(self._folder / "index.html")
        # Built files carry their hash in their name; pages must be asked for again after an update.
        fixed = path.startswith("assets/")
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if fixed else "no-cache"
        return answer
