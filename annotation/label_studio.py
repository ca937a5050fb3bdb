"""Label Studio's REST API, as far as pairs need it (https://api.labelstud.io).

Its SDK is left out: it brings some hundred packages for seven requests.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from annotation.errors import LabelStudioError, WrongToken

Json = dict[str, Any]
TEMPLATE = Path(__file__).with_name("projects") / "pairwise.xml"
PAGE = 500
TITLE_LIMIT = 50
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
WHERE_IT_IS = (
    "Take the token from Account & Settings in Label Studio and give it as LABEL_STUDIO_API_KEY. "
    "If only personal access tokens are shown there, one of those does as well."
)


@dataclass(frozen=True)
class Card:
    """A task of a project as Label Studio counts it."""

    id: int
    task_id: str
    annotations: int


class LabelStudio:
    """One server. Every method raises LabelStudioError; no error and no log holds the token.

    Args:
        token: a legacy token, or a personal access token (a JWT that is traded for short-lived ones).
    """

    def __init__(self, url: str, token: str, timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise WrongToken("the token for Label Studio is empty, or no token at all", WHERE_IT_IS)
        self._token = token
        self._personal = token.count(".") == 2
        self._authorization = "" if self._personal else f"Token {token}"
        try:
            self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            remedy = "Give one such as http://127.0.0.1:8091."
            raise LabelStudioError(f"{url!r} is no address: {error}", remedy) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def check(self) -> str:
        """Who the token belongs to; the cheapest way to learn that address and token are right."""
        return str(self._get("/api/current-user/whoami")["email"])

    def project(self, title: str, *, make: bool = True) -> int:
        """The id of the project with this title, made from the pairwise template where there is none."""
        if not title.strip() or len(title) > TITLE_LIMIT:
            text = f"the project's name {title!r} has {len(title)} characters"
            raise LabelStudioError(text, f"Label Studio takes 1 to {TITLE_LIMIT}.")
        for found in self._projects(title):
            if 'name="verdict"' not in found["label_config"]:
                text = f"the project {title!r} in Label Studio was not made for pairs"
                raise LabelStudioError(text, "Choose another name with --project.")
            return int(found["id"])
        if not make:
            text = f"Label Studio at {self.url} has no project {title!r}"
            raise LabelStudioError(text, "Push pairs to it first: `loopyard annotate push`.")
        body = {"title": title, "label_config": TEMPLATE.read_text(), "show_collab_predictions": False}
        return int(self._call("POST", "/api/projects/", json=body)["id"])

    def titles(self) -> dict[int, str]:
        """Every project that the token sees, by id."""
        return {int(one["id"]): str(one["title"]) for one in self._projects("")}

    def cards(self, project: int) -> list[Card]:
        """Every task that we pushed to a project, whoever did."""
        found: list[Card] = []
        seen, page = 0, 1
        while True:
            query = {"project": project, "page": page, "page_size": PAGE, "fields": "task_only"}
            answer = self._get("/api/tasks/", params=query)
            for task in answer["tasks"]:
                if name := task["data"].get("task_id"):
                    found.append(Card(task["id"], name, task["total_annotations"]))
            seen, page = seen + len(answer["tasks"]), page + 1
            if seen >= answer["total"] or not answer["tasks"]:
                return found

    def add(self, project: int, tasks: Sequence[Json]) -> None:
        """Import tasks, each the object that the template's variables name."""
        self._call("POST", f"/api/projects/{project}/import", json=[{"data": data} for data in tasks])

    def remove(self, task: int) -> None:
        """Delete one task by Label Studio's own id."""
        self._call("DELETE", f"/api/tasks/{task}/")

    def annotated(self, project: int) -> list[Json]:
        """Tasks with annotations, in the JSON format of Label Studio's export."""
        query = {"exportType": "JSON", "download_all_tasks": "false"}
        found: list[Json] = self._call("GET", f"/api/projects/{project}/export", params=query)
        return found

    def people(self) -> dict[int, str]:
        """User ids to e-mail addresses."""
        return {user["id"]: user["email"] for user in self._call("GET", "/api/users/")}

    def set_webhook(self, project: int, url: str, secret: str) -> None:
        """Have a URL told of every change of annotations; replaces our earlier ones of this project."""
        self.drop_webhooks(project, httpx.URL(url).path)
        headers = {"X-Loopyard-Secret": secret}
        body = {"url": url, "project": project, "send_payload": False, "headers": headers}
        body |= {"send_for_all_actions": False, "actions": list(ACTIONS)}
        self._call("POST", "/api/webhooks/", json=body)

    def drop_webhooks(self, project: int, path: str) -> None:
        """Take webhooks of a project out whose address ends with a path."""
        for hook in self._call("GET", "/api/webhooks/", params={"project": project}):
            if hook["project"] == project and httpx.URL(hook["url"]).path == path:
                self._call("DELETE", f"/api/webhooks/{hook['id']}/")

    def _projects(self, title: str) -> Iterator[Json]:
        """Those of a title; all of them where it is empty."""
        page = 1
        while True:
            query = {"title": title, "page": page, "page_size": 100, "include": "id,title,label_config"}
            answer = self._get("/api/projects/", params=query)
            yield from (one for one in answer["results"] if title in ("", one["title"]))
            if not answer["next"]:
                return
            page += 1

    def _get(self, path: str, **given: Any) -> Json:
        return dict(self._call("GET", path, **given))

    def _call(self, method: str, path: str, **given: Any) -> Any:
        answer = self._send(method, path, **given)
        if answer.status_code == 401 and self._personal:
            # Access tokens live for minutes; the personal one buys another.
            self._authorization = ""
            answer = self._send(method, path, **given)
        if answer.is_error:
            raise self._refusal(answer)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            text = f"{self.url} answers {method} {path} with something that is not JSON"
            raise LabelStudioError(text, "Is this the address of Label Studio?") from None

    def _send(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            if not self._authorization:
                self._authorization = f"Bearer {self._access()}"
            return self._http.request(method, path, headers={"Authorization": self._authorization}, **given)
        except httpx.TimeoutException:
            text = f"Label Studio at {self.url} does not answer in {self._http.timeout.read:g} s"
            raise LabelStudioError(text, "Run the command again: nothing is lost or done twice.") from None
        except httpx.HTTPError as error:
            text = f"no Label Studio answers at {self.url}: {error or type(error).__name__}"
            remedy = "Start one with `loopyard annotate serve`, or name yours with LABEL_STUDIO_URL."
            raise LabelStudioError(text, remedy) from None

    def _access(self) -> str:
        answer = self._http.post("/api/token/refresh", json={"refresh": self._token})
        if answer.is_error:
            raise self._refusal(answer)
        return str(answer.json()["access"])

    def _refusal(self, answer: httpx.Response) -> LabelStudioError:
        request = answer.request
        try:
            told = answer.json()
            reason = str(told.get("validation_errors") or told["detail"])
        except (ValueError, KeyError, TypeError, AttributeError):
            reason = answer.reason_phrase or answer.text
        reason = reason.replace(self._token, "[token]")[:300]
        if answer.status_code in (401, 403):
            text = f"Label Studio at {self.url} does not take the token: {reason}"
            return WrongToken(text, WHERE_IT_IS)
        text = f"{request.method} {self.url}{request.url.path} answers {answer.status_code}: {reason}"
        return LabelStudioError(text)
