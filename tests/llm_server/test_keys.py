"""Keys from settings and from a file, and what is refused about them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from llm_server.api.quota import Quota
from llm_server.errors import PreparationFailed, TooManyRequests
from llm_server.keys import ADMIN, INFERENCE, Caller, Keys, digest
from llm_server.settings import Settings

LONG = "a-random-key-of-the-team"
Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: Any) -> Path:
        path = tmp_path / "keys.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return written


def test_keys_of_a_file_beside_those_of_the_settings(write: Write) -> None:
    entries = [
        {"name": "team", "key": LONG, "models": ["echo"], "max_concurrent": 2, "requests_per_minute": 60},
        {"name": "hashed", "sha256": digest("another"), "scopes": ["admin"]},
    ]
    keys = Keys(Settings(keys_file=write({"keys": entries}), api_key="one, two", admin_key="root"))
    team = keys.caller(LONG)
    assert team == Caller("team", digest(LONG), frozenset({INFERENCE}), ("echo",), 2, 60)
    hashed = keys.caller("another")
    assert hashed is not None
    assert hashed.scopes == {INFERENCE, ADMIN}
    assert [caller and caller.name for caller in map(keys.caller, ("one", "two", "root", "x", ""))] == [
        "api",
        "api",
        "admin",
        None,
        None,
    ]


def test_json_and_a_bare_list_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"name": "a", "key": "b"}]))
    keys = Keys(Settings(keys_file=path))
    assert keys.asked_for
    assert keys.caller("b") is not None
    assert not Keys(Settings()).asked_for


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([{"name": "a"}], "either `key` or `sha256`"),
        ([{"name": "a", "key": "b", "sha256": "0" * 64}], "either `key` or `sha256`"),
        ([{"name": "a", "sha256": "short"}], "sha256"),
        ([{"name": "a", "key": "b", "scopes": ["root"]}], "scopes"),
        ([{"name": "a", "key": "b", "max_concurrent": 0}], "max_concurrent"),
        ([{"name": "a", "key": "b", "modles": []}], "modles"),
        ([{"name": "a", "key": "b"}, {"name": "a", "key": "c"}], "twice"),
        ({"key": []}, "list `keys`"),
        ([], "no key in it"),
        ("[1, 2", "list `keys`"),
        ("", "list `keys`"),
    ],
)
def test_a_wrong_file_is_refused_by_name(write: Write, content: Any, match: str) -> None:
    with pytest.raises(PreparationFailed, match=match) as refused:
        Keys(Settings(keys_file=write(content)))
    assert "keys.yaml" in refused.value.message


def test_an_edit_is_followed_and_a_broken_one_is_not(write: Write) -> None:
    keys = Keys(Settings(keys_file=write([{"name": "a", "key": "old"}]), api_key="fixed"))
    write([{"name": "a", "key": "new"}])
    keys.reload()
    assert [keys.caller(key) is not None for key in ("old", "new", "fixed")] == [False, True, True]
    for broken in ("[1, 2", [{"name": "a"}], [{"name": "a", "key": "b"}] * 2):
        path = write(broken)
        with pytest.raises(PreparationFailed):
            keys.reload()
        assert str(path) in (keys.refused or "")
        assert keys.caller("new") is not None
    write([])
    keys.reload()
    assert (keys.refused, keys.caller("new")) == (None, None)
    assert keys.caller("fixed") is not None


def test_an_edit_cannot_open_the_server_to_everybody(write: Write) -> None:
    """Without any key nobody is asked for one."""
    keys = Keys(Settings(keys_file=write([{"name": "a", "key": "b"}])))
    write([])
    with pytest.raises(PreparationFailed, match="no key in it"):
        keys.reload()
    assert keys.caller("b") is not None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PreparationFailed, match="No such file"):
        Keys(Settings(keys_file=tmp_path / "none"))


@pytest.mark.parametrize(
    "content",
    ["- {name: a, key: s3cret-of-ann, extra: s3cret-of-ann}", "{s3cret-of-ann"],
    ids=["extra", "broken"],
)
def test_no_key_is_told(write: Write, content: str) -> None:
    with pytest.raises(PreparationFailed) as refused:
        Keys(Settings(keys_file=write(content)))
    assert "s3cret" not in refused.value.message


def test_beyond_loopback_keys_of_a_file_must_be_random(write: Write) -> None:
    weak = write([{"name": "a", "key": "guessable"}])
    assert Keys(Settings(keys_file=weak)).asked_for
    with pytest.raises(PreparationFailed, match="guessed"):
        Keys(Settings(host="0.0.0.0", keys_file=weak))
    strong = write([{"name": "a", "key": LONG}])
    assert Keys(Settings(host="0.0.0.0", keys_file=strong)).caller(LONG)
    with pytest.raises(ValidationError, match="LLM_API_KEY"):
        Settings(host="0.0.0.0", keys_file=strong, api_key="changeme")


@pytest.mark.parametrize(
    ("models", "model", "allowed"),
    [
        (None, "anything", True),
        ((), "anything", False),
        (("echo",), "echo", True),
        (("Echo",), "eCHO", True),
        (("echo",), "echo:polite", False),
        (("echo:polite",), "echo:polite", True),
        (("echo:polite",), "echo", False),
        (("echo*",), "echo:polite", True),
        (("*:polite",), "echo:polite", True),
        (("all-*", "echo"), "all-minilm-l6-v2", True),
    ],
)
def test_models_of_a_key(models: tuple[str, ...] | None, model: str, allowed: bool) -> None:
    assert Caller("a", "", frozenset(), models).may_use(model) is allowed


def test_requests_at_a_time() -> None:
    quota, caller = Quota(), Caller("a", "1", frozenset(), max_concurrent=2)
    with quota.admit(caller), quota.admit(caller):
        with pytest.raises(TooManyRequests) as refused, quota.admit(caller):
            pytest.fail("admitted")
        with quota.admit(Caller("b", "2", frozenset(), max_concurrent=1)):
            pass
    assert refused.value.code == "concurrency_limit"
    with pytest.raises(KeyError), quota.admit(caller):
        raise KeyError("a failure gives its place back")
    with quota.admit(caller), quota.admit(caller):
        pass


def test_requests_a_minute() -> None:
    quota, caller = Quota(), Caller("a", "1", frozenset(), requests_per_minute=3)
    for _ in range(3):
        with quota.admit(caller):
            pass
    with pytest.raises(TooManyRequests, match="3 requests a minute") as refused, quota.admit(caller):
        pytest.fail("admitted")
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 60
    with quota.admit(Caller("b", "2", frozenset(), requests_per_minute=3)):
        pass
