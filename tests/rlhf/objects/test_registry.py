"""One registry of several machines: versions, what names mean, deletion."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.errors import ObjectError, RegistryError
from rlhf.objects.depots import open_depots
from rlhf.objects.registry import SharedRegistry, registry_of
from rlhf.objects.settings import Settings
from rlhf.registry import CHATS, LIVE, PAIRS, WEIGHTS, Registry
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.objects.server import put


def machine(s3: Settings, root: Path) -> SharedRegistry:
    """As a process that has just begun."""
    found = registry_of(root, open_depots(s3, root / "objects", root).models)
    assert isinstance(found, SharedRegistry)
    return found


def test_without_an_endpoint_it_is_the_local_one(tmp_path: Path) -> None:
    assert type(registry_of(tmp_path, open_depots(Settings(), tmp_path, tmp_path).models)) is Registry


def test_versions_and_names_are_those_of_all_machines(s3: Settings, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    first = machine(s3, a).add(
        "citing", make_adapter(tmp_path / "m1", 1), {"base": "tiny"}, [{"user": "ann"}]
    )
    machine(s3, a).promote(first)
    seen = machine(s3, b).find("citing", LIVE)
    assert seen.digest == first.digest
    assert seen.folder.is_relative_to(b)
    assert machine(s3, b).check(seen).pairs()[0]["user"] == "ann"
    second = machine(s3, b).add("citing", make_adapter(tmp_path / "m2", 2), {"parent": first.digest}, [])
    machine(s3, b).promote(second)
    assert machine(s3, a).aliases("citing") == {"live": second.digest, "previous": first.digest}
    assert machine(s3, a).rollback("citing").digest == first.digest
    assert machine(s3, b).find("citing").digest == first.digest
    machine(s3, a).choose("tiny:citing")
    late = machine(s3, b)
    late.look()
    assert late.chosen() == "tiny:citing"
    # The same content again is the same version, with what was first said of it.
    again = machine(s3, b).add("citing", make_adapter(tmp_path / "m1", 1), {"base": "other"}, [])
    assert again.lineage()["base"] == "tiny"


def test_a_report_that_comes_later_is_seen_elsewhere(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path / "a")
    version = one.add("citing", make_adapter(tmp_path / "m", 1), {}, [])
    other = machine(s3, tmp_path / "b").find("citing", version.short)
    (version.folder / "report.json").write_text("{}")
    one.changed(version)
    machine(s3, tmp_path / "b").names()
    assert (other.folder / "report.json").is_file()


def test_a_deleted_version_is_gone_everywhere(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path / "a")
    version = one.add("citing", make_adapter(tmp_path / "m", 1), {}, [])
    there = machine(s3, tmp_path / "b").find("citing", version.short)
    machine(s3, tmp_path / "a").delete("citing", version.short)
    assert machine(s3, tmp_path / "b").versions("citing") == []
    assert not there.folder.exists()
    with pytest.raises(RegistryError, match="is no version"):
        machine(s3, tmp_path / "a").find("citing", version.short)


def test_what_cannot_be_kept_is_not_registered(s3: Settings, tmp_path: Path) -> None:
    away = s3.model_copy(update={"endpoint": "http://127.0.0.1:1", "seconds": 0.3})
    one = machine(away, tmp_path / "a")
    with pytest.raises(ObjectError, match="does not answer"):
        one.add("citing", make_adapter(tmp_path / "m", 1), {}, [])
    assert Registry(tmp_path / "a").versions("citing") == []
    assert (
        machine(s3, tmp_path / "a").add("citing", make_adapter(tmp_path / "m", 1), {}, []).kind == "adapter"
    )


def test_without_the_store_what_is_here_still_answers(s3: Settings, tmp_path: Path) -> None:
    version = machine(s3, tmp_path / "a").add("citing", make_adapter(tmp_path / "m", 1), {}, [])
    away = s3.model_copy(update={"endpoint": "http://127.0.0.1:1", "seconds": 0.3})
    assert machine(away, tmp_path / "a").find("citing", version.short).digest == version.digest


def test_altered_weights_are_not_served(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path / "a")
    version = one.add("citing", make_adapter(tmp_path / "m", 1), {}, [])
    # List and objects agree; the name does not.
    weights = version.folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-8] + b"poisoned")
    one.changed(version)
    assert machine(s3, tmp_path / "b").versions("citing") == []
    assert not list((tmp_path / "b" / "adapters").rglob(WEIGHTS))
    put(s3, s3.models, CHATS, b"[1, 2]")
    assert machine(s3, tmp_path / "b").chosen() == ""
    good = machine(s3, tmp_path / "a").add("other", make_adapter(tmp_path / "n", 2), {}, [])
    assert machine(s3, tmp_path / "b").find("other", good.short).digest == good.digest


def test_what_was_there_before_the_bucket_is_taken_along(s3: Settings, tmp_path: Path) -> None:
    local = Registry(tmp_path / "a")
    version = local.add("citing", make_adapter(tmp_path / "m", 1), {}, [{"user": "ann"}])
    local.promote(version)
    machine(s3, tmp_path / "a").adopt()
    seen = machine(s3, tmp_path / "b").find("citing", LIVE)
    assert seen.digest == version.digest
    assert (seen.folder / PAIRS).is_file()
