"""One registry of several machines: versions, what names mean, deletion."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rlhf.errors import ObjectError, RegistryError
from rlhf.objects.bucket import Bucket
from rlhf.objects.depot import BucketDepot
from rlhf.objects.depots import anything, open_depots
from rlhf.objects.registry import SharedRegistry, registry_of
from rlhf.objects.settings import Settings
from rlhf.registry import ALIASES, CHATS, LIVE, PAIRS, WEIGHTS, Registry
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.objects.server import line, put
from tests.rlhf.working import until


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


class Slow(Bucket):
    """Its answers about aliases take until somebody lets them go."""

    reached, go = threading.Event(), threading.Event()

    def read(self, key: str, limit: int) -> tuple[bytes, str] | None:
        found = super().read(key, limit)
        if key.endswith(ALIASES):
            self.reached.set()
            self.go.wait(20)
        return found


def test_a_look_does_not_put_back_what_was_promoted_meanwhile(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path)
    first = one.add("citing", make_adapter(tmp_path / "m1", 1), {}, [])
    second = one.add("citing", make_adapter(tmp_path / "m2", 2), {}, [])
    one.promote(first)
    bucket = open_depots(s3, tmp_path / "objects", tmp_path).models
    assert isinstance(bucket, BucketDepot)
    slow = Slow(bucket.bucket.name, bucket.bucket.store, bucket.bucket.endpoint)
    late = SharedRegistry(tmp_path, BucketDepot(bucket.root, slow, bucket.marks, anything))
    looking = threading.Thread(target=late.look)
    promoting = threading.Thread(target=one.promote, args=(second,))
    looking.start()
    assert slow.reached.wait(20)
    promoting.start()
    promoting.join(1)
    slow.go.set()
    looking.join()
    promoting.join()
    assert Registry(tmp_path).aliases("citing")[LIVE] == second.digest


def test_a_file_that_cannot_be_replaced_keeps_no_version_away(s3: Settings, tmp_path: Path) -> None:
    one = machine(s3, tmp_path / "a")
    version = one.add("citing", make_adapter(tmp_path / "m", 1), {}, [])
    one.choose("tiny:citing")
    (tmp_path / "b" / "adapters" / CHATS).mkdir(parents=True)
    assert machine(s3, tmp_path / "b").find("citing", version.short).digest == version.digest
    # Nor does a text that is none.
    put(s3, s3.models, f"citing/{ALIASES}", b'{"live": "\\ud800"}')
    assert machine(s3, tmp_path / "c").versions("citing") != []
    assert machine(s3, tmp_path / "c").aliases("citing") == {}


def test_chats_wait_for_no_store_and_start_one_look_at_a_time(s3: Settings, tmp_path: Path) -> None:
    machine(s3, tmp_path / "a").choose("tiny:citing")
    back = threading.Event()

    def hangs(method: str, path: str) -> bool:
        back.wait(20)
        return False

    with line(s3.endpoint, hangs) as (hanging, _):
        chats = machine(s3.model_copy(update={"endpoint": hanging}), tmp_path / "b")
        before = set(threading.enumerate())
        assert {chats.chosen() for _ in range(20)} == {""}
        assert sum("look" in thread.name for thread in set(threading.enumerate()) - before) == 1
        back.set()
        until(lambda: chats.chosen() == "tiny:citing")
        # And later again.
        machine(s3, tmp_path / "a").choose("tiny:polite")
        until(lambda: chats.chosen() == "tiny:polite")
