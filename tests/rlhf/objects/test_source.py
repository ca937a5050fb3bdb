"""s3:// addresses as a source of rows: what is allowed, how much, and who is contacted."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rlhf.errors import ObjectError, SourceRefused, StoreAway
from rlhf.objects.bucket import open_bucket
from rlhf.objects.settings import Settings
from rlhf.objects.source import fetch, is_address
from tests.rlhf.objects.server import SECRET, fresh, line, put, s3_server, source_of

ROWS = b'{"text": "a", "label": "b"}\n'


def test_an_object_of_an_allowed_bucket_is_read(s3: Settings, tmp_path: Path) -> None:
    bucket = source_of(s3)
    put(s3, bucket, "open/a b/röws.jsonl", ROWS)
    address = f"s3://{bucket}/open/a b/röws.jsonl"
    assert is_address(address)
    assert fetch(address, tmp_path / "rows", s3, 1 << 20) == hashlib.sha256(ROWS).hexdigest()
    assert (tmp_path / "rows").read_bytes() == ROWS


def test_what_the_operator_has_not_named_is_refused_unasked(s3: Settings, tmp_path: Path) -> None:
    own = source_of(s3)
    addresses = [
        f"s3://{s3.datasets}/secret.jsonl",
        "s3://other-bucket/a.jsonl",
        f"s3://{own}/closed/a.jsonl",
        f"s3://{own}/open-too/a.jsonl",
        f"s3://{own}/open/../closed/a.jsonl",
        f"s3://{own}/open//a.jsonl",
        f"s3://{own}/",
        f"s3://{own}",
        "s3://user:password@evil.example/open/a.jsonl",
        "s3://127.0.0.1:8000/open/a.jsonl",
        f"s3://{own}/open/{'a' * 2000}",
        f"s3://{own}/open/a\nb",
        "s3://../../etc/passwd",
    ]
    with line(s3.endpoint, lambda *_: False) as (endpoint, seen):
        watched = s3.model_copy(update={"endpoint": endpoint})
        for address in addresses:
            with pytest.raises(SourceRefused):
                fetch(address, tmp_path / "rows", watched, 1 << 20)
        assert seen == []
    assert not (tmp_path / "rows").exists()
    with pytest.raises(SourceRefused, match="set S3_ENDPOINT"):
        fetch("s3://rows/a.jsonl", tmp_path / "rows", Settings(), 1 << 20)


def test_too_much_is_refused_before_a_byte_of_it(s3: Settings, tmp_path: Path) -> None:
    bucket = source_of(s3)
    put(s3, bucket, "open/big", bytes(3 << 20))
    with pytest.raises(SourceRefused, match=r"has 3\.0 MB, and 2 MB may be read"):
        fetch(f"s3://{bucket}/open/big", tmp_path / "rows", s3, 2 << 20)
    assert not (tmp_path / "rows").exists()
    with pytest.raises(SourceRefused, match="there is no s3://"):
        fetch(f"s3://{bucket}/open/none", tmp_path / "rows", s3, 2 << 20)


class Other(BaseHTTPRequestHandler):
    """Somebody who must not be asked; or who sends others to them."""

    asked: list[str]
    to = ""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302 if self.to else 200)
        if self.to:
            self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the test's terminal."""


def listening(to: str = "") -> tuple[HTTPServer, list[str]]:
    asked: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Other,), {"asked": asked, "to": to}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, asked


def test_neither_a_redirect_nor_a_proxy_of_the_environment_leads_elsewhere(
    s3: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, asked = listening()
    elsewhere = f"http://localhost:{other.server_port}"
    sender, sent = listening(f"{elsewhere}/internal")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, elsewhere)
    try:
        moved = s3.model_copy(update={"endpoint": f"http://127.0.0.1:{sender.server_port}", "seconds": 0.5})
        with pytest.raises(ObjectError):
            fetch(f"s3://{source_of(s3)}/open/a", tmp_path / "rows", moved, 1 << 20)
        assert sent
        put(s3, source_of(s3), "open/a", ROWS)
        fetch(f"s3://{source_of(s3)}/open/a", tmp_path / "rows", s3, 1 << 20)
        assert asked == []
    finally:
        for server in (other, sender):
            server.shutdown()
            server.server_close()


def test_errors_say_what_to_do_and_nothing_secret(s3: Settings, tmp_path: Path) -> None:
    nobody = s3.model_copy(update={"endpoint": "http://127.0.0.1:1", "seconds": 0.3})
    with pytest.raises(StoreAway, match="is the server there, and S3_ENDPOINT its address") as away:
        list(open_bucket(nobody, s3.datasets).entries())
    with pytest.raises(ObjectError, match="there is no such bucket; make it on the server") as missing:
        list(open_bucket(s3, "not-there").entries())
    # Five requests go without a look at the key; then nobody knows ours.
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="5") as endpoint:
        strict = fresh(endpoint)
        with pytest.raises(ObjectError, match="the server does not know S3_ACCESS_KEY") as refused:
            list(open_bucket(strict, strict.datasets).entries())
        with pytest.raises(ObjectError, match="refuses s3://"):
            fetch(f"s3://{source_of(strict)}/open/a", tmp_path / "rows", strict, 1 << 20)
    for error in (away, missing, refused):
        shown = f"{error.value!r} {error.value.__cause__!r}"
        assert SECRET not in shown
        assert "Signature" not in shown
    assert SECRET not in repr(open_bucket(s3, s3.datasets)) + repr(s3)
