"""Prepared files are whole, named by content, and made once."""

import errno
import tarfile
from pathlib import Path

import pytest

from llm_server.convert import converter
from llm_server.convert.files import content_hash, publish
from llm_server.convert.hub import download
from llm_server.convert.minilm import WEIGHTS_SHA256, minilm_folder
from llm_server.convert.prepare import STARTER_FOLDER, STARTER_ID, prepare_chat
from llm_server.errors import PreparationFailed


def test_a_name_follows_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    first = content_hash([file], "f16")
    assert first == content_hash([file], "f16") != content_hash([file], "q8_0")
    file.write_text("two")
    assert content_hash([file], "f16") != first


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path) -> None:
    def make(part: Path) -> None:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(PreparationFailed, match="No space left"):
        publish(tmp_path / "model.gguf", make)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_conversion_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Odd"], "model_type": "odd"}')
    with pytest.raises(PreparationFailed, match="conversion failed"):
        prepare_chat(str(folder), tmp_path / "out", "f16")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_same_content_is_converted_once(models: Path) -> None:
    said: list[str] = []
    first = prepare_chat(str(models / "tiny"), models, "f32", said.append)
    stamp = first.path.stat().st_mtime_ns
    again = prepare_chat(str(models / "tiny"), models, "f32", said.append)
    assert (again, again.path.stat().st_mtime_ns) == (first, stamp)
    assert len(said) <= 1


def test_a_gguf_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "Some-Model.Q4.gguf"
    file.write_bytes(b"GGUF")
    prepared = prepare_chat(str(file), tmp_path, "q8_0")
    assert (prepared.id, prepared.path) == ("some-model.q4", file)


@pytest.mark.parametrize("model", ["/nowhere/model", "missing.gguf", "no such name", "a/b/c"])
def test_what_is_not_there_is_named(tmp_path: Path, model: str) -> None:
    with pytest.raises(PreparationFailed):
        prepare_chat(model, tmp_path, "q8_0")


def test_a_hub_without_a_network_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PreparationFailed, match="could not be downloaded"):
        download("owner/model", tmp_path, lambda text: None)


def test_the_starter_is_where_it_is_looked_for() -> None:
    assert (STARTER_FOLDER / "config.json").is_file()
    assert STARTER_ID == "loopyard-starter"


def test_the_embedding_model_is_the_known_one() -> None:
    assert (minilm_folder() / "tokenizer.json").is_file()
    assert len(WEIGHTS_SHA256) == 64


def test_the_converter_comes_out_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPYARD_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "llama_cpp_python-1" / "vendor" / "llama.cpp"
    (tree / "conversion").mkdir(parents=True)
    (tree / "src").mkdir()
    for name in ("convert_hf_to_gguf.py", "conversion/base.py", "src/llama.cpp", "LICENSE"):
        (tree / name).write_text(name)
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "llama_cpp_python-1", "llama_cpp_python-1")
    assert not converter.has_converter()
    folder = converter.fetch_converter(archive)
    assert sorted(p.name for p in folder.iterdir()) == ["LICENSE", "conversion", "convert_hf_to_gguf.py"]
    assert converter.has_converter()
    assert converter.fetch_converter(archive) == folder
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_an_archive_without_a_converter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPYARD_CACHE", str(tmp_path / "cache"))
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(PreparationFailed, match=r"no llama\.cpp converter"):
        converter.fetch_converter(archive)
    assert not converter.has_converter()
