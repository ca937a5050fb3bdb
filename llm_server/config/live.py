"""Settings that change while the server runs: edits of LLM_ENV_FILE are followed where that can be."""

import logging
import threading
from typing import Any

from pydantic import ValidationError

from llm_server.config.reload import Reloader
from llm_server.config.source import SettingsSource
from llm_server.errors import LlmServerError
from llm_server.keys import Keys
from llm_server.settings import PREFIX, Settings

log = logging.getLogger(__name__)
AT_START = frozenset(
    {"host", "port", "data", "config", "keys_file", "env_file", "adapters", "adapter_folders", "max_body_mb"}
    | {"upload_mb", "uploads_mb", "responses", "responses_mb", "drain_seconds", "retire_seconds"}
    | {"langfuse_host", "langfuse_public_key", "langfuse_secret_key"}
)
"""What is read once: sockets, folders, stores and limits of bodies are made with it."""
OF_KEYS = ("api_key", "admin_key")


class LiveSettings:
    """The settings in force. Any thread may follow an edit; one is followed at a time."""

    def __init__(
        self, settings: Settings, source: SettingsSource | None, keys: Keys, reloader: Reloader
    ) -> None:
        """`source`: where they are read again; None where they never change."""
        self._started, self._now = settings, settings
        self._source, self._keys, self._reloader = source, keys, reloader
        self._values = source.values if source else {}
        self._lock = threading.Lock()
        self.refused: str | None = None
        """Why the last edit was not followed."""
        self.waiting: list[str] = []
        """Variables whose new value waits for a restart."""

    def follow(self) -> None:
        """Use what is there now: keys at once, models at the reloader's next load. LlmServerError or
        ValueError: all is as it was.
        """
        if self._source is None:
            return
        with self._lock:
            try:
                self._use(self._source.read())
            except (LlmServerError, ValueError) as error:
                self._source.put(self._values)
                self.refused = _told(error)
                raise
            self.refused = None

    def card(self) -> dict[str, Any]:
        """For people."""
        file = self._started.env_file
        return {
            "env_file": None if file is None else str(file),
            "env_refused": self.refused,
            "needs_restart": self.waiting,
        }

    def _use(self, wanted: Settings) -> None:
        later = sorted(name for name in AT_START if getattr(wanted, name) != getattr(self._started, name))
        fixed = {name: getattr(self._started, name) for name in AT_START}
        # Checked again: a key that may go where only loopback listens may not go from where this listens.
        now = Settings(**{**wanted.model_dump(), **fixed})
        values = self._source.values if self._source else {}
        if (now, values) != (self._now, self._values):
            self._keys.reload(now)
            own = {name: getattr(self._started, name) for name in OF_KEYS}
            self._reloader.use(now.model_copy(update=own))
        self._now, self._values = now, values
        self.waiting = [f"{PREFIX}{name.upper()}" for name in later]
        if later:
            log.warning("needs a restart: %s", ", ".join(self.waiting))


def _told(error: Exception) -> str:
    """Without values: they may be keys."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return " ".join((*(f"{PREFIX}{str(part).upper()}" for part in first["loc"]), first["msg"]))
    return error.message if isinstance(error, LlmServerError) else str(error)
