"""Versions are their content, aliases move, lineage is answered both ways, and what is live stays."""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_server.adapters.source import read_source
from rlhf.errors import RegistryError
from rlhf.registry import CANDIDATE, CONFIG, LIVE, PREVIOUS, WEIGHTS, Registry, Version, write
from tests.llm_server.adapters.making import make_adapter
from tests.rlhf.preferring import rows


def test_contracts_are_free_of_torch() -> None:
    code = (
        "import sys, rlhf.registry, rlhf.recipe, rlhf.pairs, rlhf.steps, rlhf.report, rlhf.cli_train\n"
        "print({'torch', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def added(root: Path, seed: int, parent: Version | None = None, users: int = 2) -> Version:
    lineage: dict[str, Any] = {"dataset_digest": f"data-{seed}", "parent": parent.digest if parent else None}
    folder = make_adapter(root / f"peft-{seed}", seed)
    return Registry(root).add("polite", folder, lineage, rows(4)[:users])


def test_a_version_has_the_name_that_the_server_gives_it(tmp_path: Path) -> None:
    version = added(tmp_path, 1)
    assert version.digest == read_source(version.folder).digest
    assert version.folder == tmp_path / "adapters" / "polite" / version.digest[7:19]


def test_the_same_content_is_the_same_version(tmp_path: Path) -> None:
    first, again, other = added(tmp_path, 1), added(tmp_path, 1), added(tmp_path, 2)
    assert first == again
    assert {v.digest for v in Registry(tmp_path).versions("polite")} == {first.digest, other.digest}


def test_aliases_move_and_go_back(tmp_path: Path) -> None:
    registry, first, second = Registry(tmp_path), added(tmp_path, 1), added(tmp_path, 2)
    registry.promote(first)
    registry.propose(second)
    assert registry.find("polite", CANDIDATE) == second
    registry.promote(second)
    assert registry.aliases("polite") == {LIVE: second.digest, PREVIOUS: first.digest}
    assert registry.rollback("polite") == first
    assert registry.aliases("polite") == {LIVE: first.digest, PREVIOUS: second.digest}


def test_two_writers_lose_nothing_of_each_other(tmp_path: Path) -> None:
    first, second = added(tmp_path, 1), added(tmp_path, 2)
    Registry(tmp_path).promote(first)
    Registry(tmp_path).promote(second)
    script = (
        "import sys, pathlib; from rlhf.registry import Registry\n"
        "registry = Registry(pathlib.Path(sys.argv[1])); version = registry.find('polite', sys.argv[2])\n"
        "change = {'swap': lambda: registry.rollback(version.name),"
        "          'propose': lambda: registry.propose(version)}\n"
        "for _ in range(100): change[sys.argv[3]]()"
    )
    refs = {"swap": first.short, "propose": second.short}
    running = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path, ref, what]) for what, ref in refs.items()
    ]
    assert [one.wait() for one in running] == [0, 0]
    # An even number of swaps: a proposal that wrote back what it had read before one would leave them odd.
    expected = {LIVE: second.digest, PREVIOUS: first.digest, CANDIDATE: second.digest}
    assert Registry(tmp_path).aliases("polite") == expected


def test_without_a_previous_version_there_is_no_way_back(tmp_path: Path) -> None:
    Registry(tmp_path).promote(added(tmp_path, 1))
    with pytest.raises(RegistryError, match="no previous version"):
        Registry(tmp_path).rollback("polite")


def test_what_is_live_or_previous_is_not_deleted(tmp_path: Path) -> None:
    registry, first, second, third = Registry(tmp_path), *(added(tmp_path, seed) for seed in (1, 2, 3))
    registry.promote(first)
    registry.promote(second)
    registry.propose(third)
    for version, alias in ((second, LIVE), (first, PREVIOUS)):
        with pytest.raises(RegistryError, match=f"is {alias}"):
            registry.delete("polite", version.short)
        assert version.folder.is_dir()
    registry.delete("polite", third.short)
    assert not third.folder.exists()
    assert CANDIDATE not in registry.aliases("polite")


def test_damage_is_found(tmp_path: Path) -> None:
    version = added(tmp_path, 1)
    content = bytearray((version.folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (version.folder / WEIGHTS).write_bytes(content)
    with pytest.raises(RegistryError, match="is damaged"):
        Registry(tmp_path).check(version)


def test_lineage_is_answered_both_ways(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = added(tmp_path, 1, users=1)
    heir = added(tmp_path, 2, parent=first, users=0)
    stranger = added(tmp_path, 3, users=0)
    assert {v.digest for v in registry.of_user("user-0")} == {first.digest, heir.digest}
    assert stranger not in registry.of_user("user-0")
    assert registry.of_user("nobody") == []
    assert [trace["trace_id"] for trace in registry.traces(first)] == ["trace-0"]
    assert first.lineage()["dataset_digest"] == "data-1"


def test_a_user_is_known_by_the_whole_name(tmp_path: Path) -> None:
    folder, names = make_adapter(tmp_path / "peft", 1), ("user-1", 'Zoë "Z" O\\', "line\nbreak")
    pairs = [{**row, "user": name, "session": "user-2"} for row, name in zip(rows(3), names, strict=True)]
    version = Registry(tmp_path).add("polite", folder, {"parent": None}, pairs)
    for name in names:
        assert Registry(tmp_path).of_user(name) == [version]
    for name in ("user", "user-2", "user-10", "Zoë", "", '"'):
        assert Registry(tmp_path).of_user(name) == []


def test_a_folder_that_is_no_adapter_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegistryError, match="no PEFT adapter"):
        Registry(tmp_path).add("polite", tmp_path / "empty", {}, [])
    assert Registry(tmp_path).names() == []


def test_what_is_no_adapter_has_a_kind_and_lies_apart(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "encoder").mkdir(parents=True)
    (made / "encoder" / "config.json").write_text("{}")
    (made / "head.json").write_text("{}")
    registry = Registry(tmp_path)
    version = registry.add("intents", made, {"parent": None}, [{"row_id": "r1", "user": "ann"}], "classifier")
    assert (version.kind, added(tmp_path, 1).kind) == ("classifier", "adapter")
    assert (version.content / "encoder" / "config.json").is_file()
    assert not (version.folder / "head.json").exists()
    assert registry.check(version) == registry.find("intents", version.short)
    assert [pair["pair_id"] for pair in version.pairs()] == ["r1"]
    assert registry.of_user("ann") == [version]
    (version.content / "head.json").write_text("{ }")
    with pytest.raises(RegistryError, match="is damaged"):
        registry.check(version)


def test_a_name_has_one_kind_and_one_owner(tmp_path: Path) -> None:
    registry, folder = Registry(tmp_path), make_adapter(tmp_path / "peft", 1)
    registry.add("tone", folder, {"project": "acme"}, [])
    with pytest.raises(RegistryError, match="the versions of `tone` are of the kind adapter, not reward"):
        registry.add("tone", folder, {}, [], "reward")
    for name in ("", "../tone", "a b", "x" * 65):
        with pytest.raises(RegistryError, match="is no name"):
            registry.add(name, folder, {}, [])
    registry.admit("tone", "adapter", "acme")
    registry.admit("tone", "adapter")
    with pytest.raises(RegistryError, match="`tone` was not trained in this project"):
        registry.admit("tone", "adapter", "other")
    assert registry.names() == ["tone"]


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes, as on a disk that is full."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def everything(root: Path) -> dict[str, bytes]:
    """Each file below a folder."""
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


@pytest.mark.parametrize("largest", ["config", "lineage", "weights", "pairs"])
def test_a_full_disk_registers_nothing(tmp_path: Path, largest: str) -> None:
    """Whichever of the four files is the one that there is no room for."""
    folder, registry = make_adapter(tmp_path / "peft", 1), Registry(tmp_path)
    config, weights = ((folder / name).stat().st_size for name in (CONFIG, WEIGHTS))
    lineage = {"parent": None, "recipe": "x" * (2 * weights if largest == "lineage" else 1)}
    pairs = rows(8) * (weights // 500 if largest == "pairs" else 1)
    limit = {"config": config - 1, "weights": weights - 1}.get(largest, weights)
    with full_disk(limit), pytest.raises(RegistryError, match="cannot be written: File too large; make room"):
        registry.add("polite", folder, lineage, pairs)
    assert registry.names() == []
    assert everything(registry.folder) == {}
    # With room, the same call takes it in whole.
    version = registry.add("polite", folder, lineage, pairs)
    assert registry.versions("polite") == [registry.check(version)]
    assert len(version.pairs()) == len(pairs)


def test_a_full_disk_leaves_other_versions_and_aliases_as_they_were(tmp_path: Path) -> None:
    registry, first, second = Registry(tmp_path), added(tmp_path, 1), added(tmp_path, 2)
    registry.promote(first)
    before, folder = everything(registry.folder), make_adapter(tmp_path / "peft", 3)
    with full_disk(100), pytest.raises(RegistryError, match="cannot be written"):
        registry.add("polite", folder, {"parent": None}, rows(4))
    with full_disk(10), pytest.raises(OSError, match="File too large"):
        registry.propose(second)
    assert everything(registry.folder) == before
    assert registry.find("polite", LIVE) == first


def test_what_answers_chats_is_kept_until_another_is_chosen(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.chosen() == ""
    registry.choose("tiny:polite")
    assert Registry(tmp_path).chosen() == "tiny:polite"
    assert registry.names() == []
    registry.choose("")
    assert registry.chosen() == ""
    (registry.folder / "chats.json").write_text("{")
    with pytest.raises(RegistryError, match=r"chats\.json cannot be read.*loopyard models use"):
        registry.chosen()


def test_several_that_write_one_file_leave_what_one_of_them_wrote(tmp_path: Path) -> None:
    file, contents = tmp_path / "aliases.json", [{"live": "x" * (1 << size)} for size in range(16)]
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda content: write(file, content), contents * 8))
    assert json.loads(file.read_text()) in contents
    assert list(tmp_path.iterdir()) == [file]
