"""What the settings refuse, in words that an operator can act on."""

import pytest
from pydantic import ValidationError

from rlhf.errors import SettingsError
from rlhf.objects.settings import Settings
from tests.rlhf.objects.server import ACCESS, SECRET

KEYS = {"access_key": ACCESS, "secret_key": SECRET}


def test_nothing_is_kept_elsewhere_unless_somebody_says_where() -> None:
    found = Settings()
    assert not found.is_on
    assert found.buckets == ("datasets", "models", "checkpoints", "artifacts")
    assert found.readable == ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"endpoint": "http://127.0.0.1:9100"}, "S3_ENDPOINT needs S3_ACCESS_KEY and S3_SECRET_KEY"),
        ({"endpoint": "127.0.0.1:9100", **KEYS}, "S3_ENDPOINT is http:// or https://"),
        ({"endpoint": f"http://me:{SECRET}@host", **KEYS}, "S3_ENDPOINT is http:// or https://"),
        ({"endpoint": "http://host/path", **KEYS}, "S3_ENDPOINT is http:// or https://"),
        ({"endpoint": "file:///etc", **KEYS}, "S3_ENDPOINT is http:// or https://"),
        ({"datasets": "No Bucket"}, "'No Bucket' is no bucket"),
        ({"datasets": "same", "models": "same"}, "each kind needs a bucket of its own"),
        ({"sources": "rows"}, "S3_SOURCES needs S3_ENDPOINT"),
        (
            {"endpoint": "http://h", **KEYS, "sources": "rows, datasets/open"},
            "S3_SOURCES names datasets, which holds rows of every project",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_without_repeating_secrets(given: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as refused:
        Settings(**given)  # type: ignore[arg-type]
    assert SECRET not in str(refused.value)


def test_names_of_the_field_are_read_and_slips_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9100/")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    found = Settings.from_environment(
        {"AWS_SECRET_ACCESS_KEY": "x", "S3_SECRET_KEY": SECRET, "S3_REGION": ""}
    )
    assert (found.endpoint, found.region) == ("http://127.0.0.1:9100", "us-east-1")
    assert found.access_key.get_secret_value() == ACCESS
    assert found.secret_key.get_secret_value() == SECRET
    monkeypatch.setenv("S3_BUKET", "x")
    with pytest.raises(SettingsError, match="unknown settings: S3_BUKET"):
        Settings.from_environment()
