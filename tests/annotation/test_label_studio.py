"""What goes wrong with Label Studio is told with its remedy, and never with the token."""

from __future__ import annotations

import logging
from contextlib import closing

import httpx
import pytest

from annotation.errors import LabelStudioError, WrongToken
from annotation.label_studio import LabelStudio
from annotation.server import USER
from tests.annotation.conftest import Studio
from tests.annotation.proxy import proxy

pytestmark = pytest.mark.timeout(600)


def test_the_token_says_who_it_is(studio: LabelStudio) -> None:
    assert studio.check() == USER


def test_a_wrong_token_is_told_without_itself(server: Studio, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "5ec2e7" * 7
    with closing(LabelStudio(server.url, wrong)) as studio, pytest.raises(WrongToken) as told:
        studio.check()
    assert "LABEL_STUDIO_API_KEY" in told.value.remedy
    said = str(told.value) + told.value.remedy + repr(studio) + caplog.text
    assert wrong not in said
    assert server.url in str(told.value)


def test_the_right_token_is_in_no_log_and_no_error(
    server: Studio, studio: LabelStudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    studio.check()
    with pytest.raises(LabelStudioError) as told:
        studio.annotated(999_999)
    assert "404" in str(told.value)
    assert server.token not in caplog.text + str(told.value) + repr(server.own)
    assert server.own.password not in repr(server.own)


@pytest.mark.parametrize("token", ["", "with space", "line\nbreak", "größer"])
def test_what_is_no_token_is_refused_before_it_is_sent(token: str) -> None:
    with pytest.raises(WrongToken) as told:
        LabelStudio("http://127.0.0.1:9", token)
    assert not token or token not in str(told.value)


def test_a_dead_server_is_named_by_its_address() -> None:
    with (
        closing(LabelStudio("http://127.0.0.1:9", "token")) as studio,
        pytest.raises(LabelStudioError) as told,
    ):
        studio.check()
    assert "http://127.0.0.1:9" in str(told.value)
    assert "loopyard annotate serve" in told.value.remedy
    with pytest.raises(LabelStudioError, match="is no address"):
        LabelStudio("http://127.0.0.1:port", "token")


def test_another_web_server_is_recognised(server: Studio) -> None:
    with (
        closing(LabelStudio(f"{server.url}/user/login?x=", "token")) as studio,
        pytest.raises(LabelStudioError),
    ):
        studio.check()


def test_a_connection_that_breaks_is_told(server: Studio) -> None:
    with (
        proxy(server.url, lambda method, path: "cut") as url,
        closing(LabelStudio(url, server.token)) as studio,
        pytest.raises(LabelStudioError, match="no Label Studio answers"),
    ):
        studio.check()


def test_a_personal_access_token_does_as_well(server: Studio) -> None:
    own = {"Authorization": f"Token {server.token}"}
    with httpx.Client(base_url=server.url, headers=own, trust_env=False, timeout=60) as client:
        client.post("/api/jwt/settings", json={"api_tokens_enabled": True}).raise_for_status()
        made = client.post("/api/token/")
        made.raise_for_status()
    token = made.json()["token"]
    assert token.count(".") == 2
    with closing(LabelStudio(server.url, token)) as studio:
        assert studio.check() == USER
        # An access token that has run out is replaced.
        studio._authorization = "Bearer worn.out.token"
        assert studio.check() == USER
