"""The gateway's HTTP API as the command line uses it, with errors that name the remedy."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from gateway.cli_errors import CommandError

Item = dict[str, Any]

DEFAULT_URL = "http://127.0.0.1:8080"
START_IT = "start it with `loopyard up`"


def gateway_url(data: Path) -> str:
    """Where the gateway of a data folder listens; the default address if it does not run."""
    try:
        return str(json.loads((data / "run" / "gateway.json").read_text())["url"])
    except (OSError, ValueError, KeyError):
        return DEFAULT_URL


def read_admin_key(data: Path) -> str:
    """The first admin key.

    Raises:
        CommandError: there is none, or it belongs to another user.
    """
    file = data.absolute() / "admin-key"
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        raise CommandError(
            f"{file} does not exist", f"{START_IT}, or name its data folder with --data or LOOPYARD_DATA"
        ) from None
    except PermissionError:
        raise CommandError(
            f"{file} may not be read", "run the command as the user who runs Loopyard"
        ) from None


class GatewayClient:
    """Speaks with one gateway.

    Every method raises CommandError when the gateway cannot be reached or refuses.
    """

    def __init__(self, url: str, key: str, timeout: float = 120.0) -> None:
        self.url = url
        # No total limit on an answer: a slow machine may think long between two tokens.
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout, connect=5.0),
            trust_env=False,
        )

    @classmethod
    def of(cls, data: Path) -> Self:
        """The client for a data folder."""
        return cls(gateway_url(data), read_admin_key(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._http.close()

    def ensure_project(self, name: str) -> bool:
        """Make a project unless there is one of this name; says whether it made one."""
        if any(name in (item["name"], item["id"]) for item in self.items("/api/v1/projects")):
            return False
        self.request("POST", "/api/v1/projects", json={"name": name})
        return True

    def documents(self, project: str) -> list[Item]:
        """All documents of a project with their states."""
        return self.items(f"{_project(project)}/documents")

    def upload(self, project: str, path: Path, name: str) -> tuple[Item, bool]:
        """Send one file; gives its document and whether the project had this content already."""
        with path.open("rb") as source:
            files = {"file": (name, source, "application/octet-stream")}
            response = self.request("POST", f"{_project(project)}/documents", files=files)
        return response.json(), response.status_code == 200

    def databases(self, project: str) -> list[Item]:
        """The databases of a project, without their addresses."""
        return self.items(f"{_project(project)}/databases")

    def add_database(self, project: str, name: str, url: str) -> Item:
        """Connect a database."""
        body = {"name": name, "url": url}
        item: Item = self.request("POST", f"{_project(project)}/databases", json=body).json()
        return item

    def items(self, path: str) -> list[Item]:
        """The items of a list."""
        found: list[Item] = self.request("GET", path).json()["items"]
        return found

    def chat(self, project: str, agent: str, message: str) -> Iterator[tuple[str, Item]]:
        """Ask an agent; yields (event, data) as they happen. Ending the iteration cancels the run."""
        body = {"agent": agent, "message": message}
        with self._reach(), self._http.stream("POST", f"{_project(project)}/chat", json=body) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield from read_events(response.iter_lines())

    def events(self, path: str, after: int) -> Iterator[tuple[str, Item]]:
        """Server-sent events (name, data) behind the one numbered `after`, until the server ends them."""
        headers = {"Last-Event-ID": str(after)}
        with self._reach(), self._http.stream("GET", path, headers=headers) as response:
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield from read_events(response.iter_lines())

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request; arguments as for httpx."""
        with self._reach():
            response = self._http.request(method, path, **arguments)
        if response.is_error:
            raise _refusal(response)
        return response

    @contextmanager
    def _reach(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise CommandError(f"No gateway answers at {self.url}", START_IT) from None
        except httpx.TimeoutException:
            raise CommandError(f"The gateway at {self.url} does not answer in time", "try again") from None
        except httpx.HTTPError as error:
            text = f"The connection to the gateway at {self.url} broke: {error}"
            raise CommandError(text, "`loopyard status` tells whether it runs") from error


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, Item]]:
    """Server-sent events (WHATWG HTML, section 9.2) whose data is JSON."""
    name = "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield name, json.loads("\n".join(data))
            name, data = "message", []
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))


def _project(name: str) -> str:
    return f"/api/v1/projects/{quote(name, safe='')}"


def _refusal(response: httpx.Response) -> CommandError:
    try:
        text = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        text = f"The gateway answered {response.status_code} to {response.request.url.path}"
    if response.status_code == 401:
        return CommandError(str(text), "the key in DATA/admin-key is not known to this gateway; check --data")
    return CommandError(str(text))
