"""A Label Studio of our own: how it is started so that it stays on this machine and tells nobody.

Environment variables as in https://labelstud.io/guide/start; serving is Django's development server, so it
belongs on loopback or behind a proxy.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from annotation.errors import ServerError

INSTALLED = Path(__file__).resolve().parents[1] / ".label-studio"
USER = "admin@label-studio.local"
SET_UP = "Set it up with `make label-studio` (about 1 GB, once)."
NOT_INHERITED = ("LABEL_STUDIO_", "DJANGO_", "POSTGRE_", "PYTHON")


@dataclass(frozen=True)
class OwnServer:
    """What a server of our own is started with.

    Attributes:
        folder: its database and files.
        token: of the user `USER`, as its API takes it.
    """

    folder: Path
    port: int
    token: str = field(repr=False)
    password: str = field(repr=False)
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Where it is reached from this machine."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Raises ServerError if it is not installed."""
        program = INSTALLED / "bin" / "label-studio"
        if not program.exists():
            raise ServerError("Label Studio is not installed", SET_UP)
        arguments = ["--no-browser", "--internal-host", self.host, "--port", str(self.port)]
        return [str(program), "start", *arguments]

    def environment(self) -> Mapping[str, str]:
        """Secrets go by the environment, where `ps` does not show them to others."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
        return {
            **inherited,
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "LABEL_STUDIO_HOST": self.url,
            "LABEL_STUDIO_USERNAME": USER,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
            # Acts when the organisation is made; without it the token above would be refused.
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            # Webhooks to this machine are what we want; its other checks of addresses stay on.
            "USE_DEFAULT_BANNED_SUBNETS": "false",
            "WEBHOOK_TIMEOUT": "5",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            # Hugging Face and others look for newer versions of themselves otherwise.
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def wait(self, process: subprocess.Popen[bytes], log: Path, seconds: float = 300) -> None:
        """Wait until it answers; the first start makes its database, which takes a minute.

        Raises:
            ServerError: it has ended, or does not answer in time; names its log.
        """
        until = time.monotonic() + seconds
        with httpx.Client(trust_env=False, timeout=10) as client:
            while time.monotonic() < until:
                if process.poll() is not None:
                    text = f"Label Studio ended with exit code {process.returncode}"
                    raise ServerError(text, f"Its log says why: {log}")
                try:
                    if client.get(f"{self.url}/health").status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                time.sleep(0.2)
        raise ServerError(
            f"Label Studio does not answer after {seconds:.0f} s", f"Its log may say why: {log}"
        )
