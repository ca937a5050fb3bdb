"""What somebody with a stolen key, or with a key for some of the models, cannot see and cannot do."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from llm_server.adapters.folders import Folders
from llm_server.errors import Forbidden
from llm_server.settings import Settings
from tests.llm_server.adapters.making import WEIGHTS, make_adapter
from tests.llm_server.conftest import ADMIN, USER, serving

LIMITED, HALF_ADMIN = "uses-the-open-one-only", "manages-the-open-one"
KEYS = [
    {"name": "limited", "key": LIMITED, "models": ["tiny:open"]},
    {"name": "half", "key": HALF_ADMIN, "models": ["tiny:open"], "scopes": ["admin"]},
]
HI: Any = [{"role": "user", "content": "hello"}]


class Victim:
    """A server with two adapters in `inside`, of which one is evicted as soon as the other is loaded."""

    def __init__(self, url: str, inside: Path) -> None:
        self.url, self.inside = url, inside

    def send(self, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def load(self, source: str, key: str = ADMIN, name: str = "tried") -> httpx.Response:
        return self.send(key, "POST", "/v1/adapters?wait=true", {"name": name, "source": source})

    def card(self, name: str) -> Any:
        return self.send(ADMIN, "GET", f"/v1/adapters/{name}").json()["versions"][0]


@pytest.fixture(scope="module")
def victim(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    inside, data = tmp_path_factory.mktemp("inside"), tmp_path_factory.mktemp("data") / "models"
    # Some 1.1 MB each: there is room for one.
    secret, opened = (
        make_adapter(inside / name, seed, rank=64) for seed, name in enumerate(("secret", "open"))
    )
    keys = inside.parent / "attacked-keys.yaml"
    keys.write_text(yaml.safe_dump({"keys": KEYS}))
    settings = Settings(
        model=str(models / "tiny"),
        data=data,
        lora=f"secret={secret},open={opened}",
        adapter_mb=1,
        embeddings=False,
        threads=1,
        api_key=USER,
        admin_key=ADMIN,
        keys_file=keys,
    )
    with serving(settings) as url:
        yield Victim(url, inside)


def test_places_outside_the_folders_are_refused(victim: Victim, tmp_path: Path) -> None:
    """All in the same words, whether something lies there or not."""
    outside = make_adapter(tmp_path / "outside", 5)
    (victim.inside / "link").symlink_to(outside)
    half = make_adapter(victim.inside / "half", 6)
    (half / WEIGHTS).unlink()
    (half / WEIGHTS).symlink_to(outside / WEIGHTS)
    (victim.inside / "loop").symlink_to(victim.inside / "loop")
    sources = [
        str(outside),
        str(victim.inside / "link"),
        str(half),
        str(victim.inside / "loop"),
        f"{victim.inside}/../../../../../../etc/passwd",
        os.path.relpath(outside),
        "/etc/passwd",
        "/nowhere",
        "/",
        "",
        "~nobody-of-this-name/x",
        "a\0b",
        "x" * 5000,
        f"{victim.inside}-beside/x",
    ]
    for source in sources:
        refused = victim.load(source)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (403, "path_not_allowed"), (source, refused.text)
        assert error["message"].startswith(f"{source} is outside")
        assert "LLM_ADAPTER_FOLDERS" in error["message"]
        body = {"lora_name": "tried", "lora_path": source}
        assert victim.send(ADMIN, "POST", "/v1/load_lora_adapter", body).status_code == 403
    assert victim.send(ADMIN, "GET", "/v1/adapters/tried").status_code == 404


def test_where_no_key_is_asked_for_any_place_will_do(tmp_path: Path) -> None:
    keys: list[str] = []
    folders = Folders([tmp_path / "in"], list, lambda: not keys)
    assert folders.admit(str(tmp_path / "out")) == tmp_path / "out"
    keys.append("one")
    with pytest.raises(Forbidden):
        folders.admit(str(tmp_path / "out"))
    assert folders.admit(str(tmp_path / "in" / "x")) == tmp_path / "in" / "x"


def test_an_adapter_in_the_root_does_not_open_the_disk() -> None:
    folders = Folders([], lambda: [Path("/polite.gguf"), Path("/srv/loras/kind")], lambda: False)
    assert folders.admit("/polite.gguf") == Path("/polite.gguf")
    assert folders.admit("/srv/loras/other") == Path("/srv/loras/other")
    for place in ("/srv/x", "/etc/passwd", "/srv/loras/../x"):
        with pytest.raises(Forbidden):
            folders.admit(place)


def test_links_within_the_folders_are_followed(victim: Victim) -> None:
    """As the hub's cache has them."""
    blobs, snapshot = make_adapter(victim.inside / "blobs", 7), victim.inside / "snapshot"
    snapshot.mkdir()
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(Path("..") / "blobs" / file.name)
    assert victim.load(str(snapshot), name="linked").status_code == 201
    assert victim.send(ADMIN, "DELETE", "/v1/adapters/linked").status_code == 202


def test_a_stolen_key_learns_nothing_of_the_disk(victim: Victim) -> None:
    for key in (USER, LIMITED):
        for source in ("/etc/passwd", "/nowhere", str(victim.inside / "open")):
            refused = victim.load(source, key)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
            assert source not in refused.text


def test_a_limited_key_sees_its_adapters_only(victim: Victim) -> None:
    paths = ("/v1/adapters", "/lora-adapters", "/v1/models")
    for path in paths:
        assert "secret" in victim.send(ADMIN, "GET", path).text
        assert "secret" not in victim.send(LIMITED, "GET", path).text
        assert "open" in victim.send(LIMITED, "GET", path).text
    assert victim.send(LIMITED, "GET", "/v1/adapters/open").status_code == 200
    assert victim.send(LIMITED, "GET", "/v1/adapters/tiny:open").json()["name"] == "open"
    assert victim.send(LIMITED, "GET", "/v1/adapters/secret").status_code == 403
    for path, model in (("/v1/adapters/nobody", ""), ("/v1/chat/completions", "tiny:nobody")):
        method, body = ("POST", {"model": model, "messages": HI}) if model else ("GET", None)
        assert "secret" not in victim.send(LIMITED, method, path, body).text
    unknown = victim.send(LIMITED, "GET", "/v1/adapters/events?base=nothing")
    assert (unknown.status_code, "secret" in unknown.text) == (404, False)


def test_events_of_other_adapters_are_not_told(victim: Victim) -> None:
    heard = {key: first_events(victim, key) for key in (ADMIN, LIMITED)}
    assert heard[ADMIN][0] == "secret"
    assert set(heard[LIMITED]) == {"open"}


def first_events(victim: Victim, key: str) -> list[str]:
    """Names of adapters, up to the first event of `open`."""
    headers = {"Authorization": f"Bearer {key}"}
    names: list[str] = []
    with httpx.stream("GET", f"{victim.url}/v1/adapters/events", headers=headers, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                names.append(json.loads(line[6:])["adapter"])
                if names[-1] == "open":
                    return names
    return names


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/responses/input_tokens", {"input": "x"}),
        ("/v1/fim/completions", {"prompt": "x"}),
        ("/infill", {"input_prefix": "x", "input_suffix": "y"}),
    ],
)
def test_nothing_is_loaded_for_a_key_that_may_not_use_it(
    victim: Victim, path: str, body: dict[str, Any]
) -> None:
    """Otherwise it would push out what others use."""
    assert (victim.card("secret")["state"], victim.card("open")["state"]) == ("evicted", "ready")
    ways: list[dict[str, Any]] = [
        {"model": "tiny:secret"},
        {"model": "secret"},
        {"model": "tiny:open", "adapters": [{"name": "secret"}]},
        {"model": "tiny:open", "adapters": [{"name": "open"}, {"name": "secret@stable"}]},
        {"model": "tiny:open", "lora": [{"id": 0}]},
    ]
    for way in ways:
        refused = victim.send(LIMITED, "POST", path, {**body, **way, "max_tokens": 2})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed"), way
    guessed = victim.send(LIMITED, "POST", path, {**body, "model": "tiny", "adapters": [{"name": "nobody"}]})
    assert guessed.status_code == 403
    assert (victim.card("secret")["state"], victim.card("open")["state"]) == ("evicted", "ready")


def test_an_admin_of_some_models_manages_those_only(victim: Victim) -> None:
    for method, path, body in (
        ("DELETE", "/v1/adapters/secret", None),
        ("PATCH", "/v1/adapters/tiny:secret", {"pinned": True}),
        ("POST", "/v1/adapters/secret:promote", {"version": "stable"}),
        ("POST", "/v1/adapters/secret:rollback", None),
        ("POST", "/v1/unload_lora_adapter", {"lora_name": "secret"}),
        ("POST", "/lora-adapters", [{"id": 0, "scale": 2}]),
    ):
        assert victim.send(HALF_ADMIN, method, path, body).status_code == 403, path
    assert victim.load(str(victim.inside / "open"), HALF_ADMIN, "other").status_code == 403
    assert victim.send(HALF_ADMIN, "PATCH", "/v1/adapters/open", {"scale": 0.5}).json()["scale"] == 0.5
    assert victim.send(ADMIN, "PATCH", "/v1/adapters/tiny:open", {"scale": 1}).json()["scale"] == 1
