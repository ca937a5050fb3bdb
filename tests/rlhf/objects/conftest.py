"""One server for all tests of the object store; each has buckets of its own."""

from collections.abc import Iterator

import pytest

from rlhf.objects.settings import Settings
from tests.rlhf.objects.server import fresh, s3_server


@pytest.fixture(scope="package")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def s3(endpoint: str) -> Settings:
    return fresh(endpoint)
