"""A second server and, in front of it, one whose file of models names it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_server.settings import Settings
from tests.llm_server.config.conftest import edited
from tests.llm_server.conftest import serving

KEY = "key-of-the-other-server"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second server, on the echo, that asks for a key."""
    data = tmp_path_factory.mktemp("other")
    with serving(Settings(backend="echo", data=data, api_key=KEY)) as url:
        yield f"{url}/v1"


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A server with the given entries in its file."""
    monkeypatch.setenv("OTHER_KEY", KEY)

    def opened(*entries: dict[str, Any]) -> Any:
        content = {"models": list(entries), "embeddings": False}
        return edited(tmp_path / "models.yaml", tmp_path / "data", content)

    return opened
