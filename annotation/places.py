"""Where things of one installation are: records, Label Studio, traces and the model, by data folder."""

import json
import os
import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from annotation.errors import AnnotationError, LabelStudioError, RecordError, TracesError
from annotation.label_studio import LabelStudio
from annotation.record import MEND, Record
from annotation.second import SecondAnswers
from annotation.server import OwnServer
from annotation.settings import Settings
from annotation.traces import KEYS_HELP, Traces

RUNNING = "label-studio.json"
"""In DATA/run: {"url"} of a Label Studio of our own while it runs."""
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Places:
    """The servers and folders of a data folder; the settings win over what stands there."""

    def __init__(self, data: Path, settings: Settings) -> None:
        self.data = data.absolute()
        self._records = self.data / "annotation"
        self._settings = settings

    def record(self, project: str) -> Record:
        """The record of a project, in a folder of its name, or of a digest where that is no file name."""
        return Record(self._records / self._folder(project))

    def records(self) -> list[Record]:
        """Those of all projects."""
        folders = sorted(path for path in self._records.glob("*") if path.is_dir())
        return [Record(folder) for folder in folders]

    def is_of(self, record: Record, project: str) -> bool:
        """Whether a record is that of a project."""
        return record.folder.name == self._folder(project)

    def exports(self) -> list[Path]:
        """What our own Label Studio keeps of each export: it does so by itself, and nobody reads it."""
        return [path for path in (self.data / "label-studio" / "export").glob("*") if path.is_file()]

    def _folder(self, project: str) -> str:
        plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", project)
        return project if plain else sha256(project.encode()).hexdigest()[:16]

    def studio(self) -> LabelStudio:
        """Raises LabelStudioError where none is known."""
        url = self._settings.label_studio_url or self._running(RUNNING)
        token = self._settings.label_studio_token.get_secret_value()
        if not url:
            remedy = "Start one with `loopyard annotate serve`, or give LABEL_STUDIO_URL and its key."
            raise LabelStudioError("no Label Studio is known", remedy)
        if not token and not self._settings.label_studio_url:
            token = self._secret("label-studio-token")
        return LabelStudio(url, token)

    def own_server(self, port: int, host: str) -> OwnServer:
        """What our own Label Studio is started with; its secrets are made at the first start."""
        token = self._secret("label-studio-token", lambda: secrets.token_hex(20))
        password = self._secret("label-studio-password", lambda: secrets.token_hex(8))
        folder = self.data / "label-studio"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            (self.data / "run" / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{folder} cannot be made: {error.strerror}", MEND) from error
        return OwnServer(folder, port, token, password, host)

    def traces(self) -> Traces:
        """Raises TracesError where there are no keys."""
        given, file = self._settings, self.data / "langfuse-keys.json"
        host = given.langfuse_host or self._running("traces.json")
        if not host:
            text = f"no trace store runs on {self.data}"
            raise TracesError(text, "Start it with `loopyard up`, or name another one with LANGFUSE_HOST.")
        public, secret = given.langfuse_public_key, given.langfuse_secret_key.get_secret_value()
        if not (public and secret):
            try:
                entry = json.loads(file.read_text())["keys"][0]
                public, secret = entry["public_key"], entry["secret_key"]
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                raise TracesError(f"{file} holds no keys of a trace store", KEYS_HELP) from None
        return Traces(host, public, secret)

    def model(self, url: str, model: str, temperature: float, traces: Traces) -> SecondAnswers:
        """The server for second answers, each of which becomes a trace; ours where nothing else is named."""
        url, key = url or self._settings.model_url, self._settings.model_key.get_secret_value()
        if not url:
            url = (self._running("llm_server.json") or "http://127.0.0.1:8000") + "/v1"
            key = key or self._secret("llm-api-key")
        return SecondAnswers(url, key, model, temperature, traces)

    def _running(self, name: str) -> str:
        try:
            return str(json.loads((self.data / "run" / name).read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _secret(self, name: str, make: Callable[[], str] | None = None) -> str:
        path = self.data / "secrets" / name
        try:
            if make and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(".partial")
                partial.unlink(missing_ok=True)
                with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
                    sink.write(make() + "\n")
                partial.rename(path)
            return path.read_text().strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise RecordError(f"{path} cannot be used: {error.strerror}", MEND) from error


def since(text: str) -> datetime:
    """A moment: a date such as 2026-11-02, or so long ago, such as 36h, 7d or 2w.

    Raises:
        AnnotationError: it is neither.
    """
    ago = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if ago:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        remedy = "Give a date (2026-11-02) or so long ago: 36h, 7d, 2w."
        raise AnnotationError(f"{text!r} is no time", remedy) from None
    return at if at.tzinfo else at.astimezone()
