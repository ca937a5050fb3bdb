"""Prefixes that go to the disk when the memory is full, and come back, also after a restart."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_server.backends.echo import EchoBackend
from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.backends.onnx import OnnxBackend, OnnxOptions
from llm_server.engine.backend import Backend
from llm_server.engine.engine import Engine, Limits
from llm_server.engine.prefix_disk import SUFFIX, PrefixDisk
from tests.llm_server.adapters.test_life import wait_for
from tests.llm_server.onnx_models import prepared
from tests.llm_server.running import Run, say, start

WORDS = [f"a question that is long enough to be worth a file of its own, number {n}" for n in range(5)]
MEMORY = 1000
"""Bytes: one of these prefixes of the echo, four bytes a token, and not two."""
ROOM = 1 << 20


@contextmanager
def engine_on(
    folder: Path,
    room: int = ROOM,
    backend: Backend | None = None,
    memory: int = MEMORY,
) -> Iterator[Engine]:
    """One slot, little memory, a disk."""
    backend = backend or EchoBackend(slots=1)
    disk = PrefixDisk(folder, room, backend.blob_form)
    engine = Engine(backend, Limits(running=1, prefix_bytes=memory), disk=disk)
    engine.start()
    yield engine
    engine.close()


def ask(engine: Engine, words: str, tokens: int = 90) -> Run:
    run = start(engine, say(words), max_tokens=tokens).wait()
    assert run.reason
    return run


def cached(run: Run) -> int:
    return run.sequence.usage().cached


def whole(run: Run) -> int:
    """All of a prompt but its last token."""
    return run.sequence.prompt_length - 1


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_what_the_memory_has_no_room_for_comes_back_from_the_disk(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        for words in WORDS:
            assert ask(engine, words).text == words
        wait_for(lambda: len(files(tmp_path)) >= 2)
        assert len(engine.scheduler.cache) == len(WORDS)
        again = ask(engine, WORDS[0])
        assert (again.text, cached(again)) == (WORDS[0], whole(again))


def test_a_later_run_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        for words in WORDS:
            ask(engine, words)
    # Those in the slot and in the memory too.
    assert len(files(tmp_path)) == len(WORDS)
    assert not list(tmp_path.glob(".*"))
    with engine_on(tmp_path) as engine:
        for words in WORDS:
            again = ask(engine, words)
            assert (again.text, cached(again)) == (words, whole(again))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def nonsense(file: Path) -> None:
    file.write_bytes(b"loopyard prefix 1\n" + b'{"shape": [99999999999]}\n')


@pytest.mark.parametrize("damage", [flip, cut, empty, nonsense])
def test_a_damaged_file_is_removed_and_computed_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    with engine_on(tmp_path) as engine:
        ask(engine, WORDS[0])
    (file,) = files(tmp_path)
    damage(file)
    with engine_on(tmp_path) as engine:
        again = ask(engine, WORDS[0])
        assert (again.text, cached(again)) == (WORDS[0], 0)
        assert not file.exists()
    # What is written in its place is whole.
    with engine_on(tmp_path) as engine:
        assert cached(ask(engine, WORDS[0])) > 0


def test_a_file_that_somebody_removed_is_computed_again(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        ask(engine, WORDS[0])
    with engine_on(tmp_path) as engine:
        for file in files(tmp_path):
            file.unlink()
        again = ask(engine, WORDS[0])
        assert (again.text, cached(again)) == (WORDS[0], 0)


def test_the_files_stay_within_their_bytes(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine:
        ask(engine, WORDS[0])
    (file,) = files(tmp_path)
    # Three, with what they differ in, and not four.
    room = 7 * file.stat().st_size // 2
    with engine_on(tmp_path, room) as engine:
        for words in WORDS:
            ask(engine, words)
    assert sum(file.stat().st_size for file in files(tmp_path)) <= room
    assert len(files(tmp_path)) == 3
    with engine_on(tmp_path, room) as engine:
        assert cached(ask(engine, WORDS[-1])) > 0


def test_a_disk_that_takes_nothing_harms_nobody(tmp_path: Path) -> None:
    """A file where the folder should be, and a folder that has gone meanwhile."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "gone"):
        with engine_on(folder) as engine:
            if folder.is_dir():
                shutil.rmtree(folder)
            for words in (*WORDS, *WORDS):
                assert ask(engine, words).text == words


def test_prefixes_of_other_models_are_left_alone(tmp_path: Path) -> None:
    class Other(EchoBackend):
        """Another base."""

        digest = b"other"

    class Newer(EchoBackend):
        """Writes blobs in another form."""

        blob_form = "echo 2"

    with engine_on(tmp_path) as engine:
        ask(engine, WORDS[0])
    (file,) = files(tmp_path)
    before = file.read_bytes()
    for stranger in (Other(slots=1), Newer(slots=1)):
        with engine_on(tmp_path, backend=stranger) as engine:
            assert cached(ask(engine, "something else")) == 0
            assert len(engine.scheduler.cache) == 1
    assert file.read_bytes() == before


def test_fine_tunes_of_one_size_do_not_take_each_others_prefixes(
    tmp_path: Path, tiny: Callable[[str], Path]
) -> None:
    """Two files that differ in the middle only, where weights are."""
    other = tmp_path / "other.gguf"
    content = bytearray(tiny("f32").read_bytes())
    middle = len(content) // 2 // 4 * 4
    content[middle + 2] ^= 0x40
    other.write_bytes(content)
    options = LlamaOptions(running=1, threads=1, context=512)
    prompt = WORDS[0]
    for path, there in ((tiny("f32"), False), (other, False), (tiny("f32"), True), (other, True)):
        with engine_on(tmp_path / "prefixes", 64 << 20, LlamaBackend(path, options), 32 << 20) as engine:
            run = ask(engine, prompt, 20)
            assert cached(run) == (whole(run) if there else 0)


@pytest.mark.parametrize("kind", ["llama_cpp", "onnx"])
def test_real_keys_and_values_come_back(
    tmp_path: Path, tiny: Callable[[str], Path], models: Path, kind: str
) -> None:
    def opened() -> Any:
        if kind == "onnx":
            return OnnxBackend(prepared(models, "fp32"), OnnxOptions(running=1, threads=1, context=512))
        return LlamaBackend(tiny("f32"), LlamaOptions(running=1, threads=1, context=512, float32_cache=True))

    with engine_on(tmp_path, 64 << 20, opened(), memory=32 << 20) as engine:
        first = ask(engine, WORDS[0], 20)
    assert files(tmp_path)
    with engine_on(tmp_path, 64 << 20, opened(), memory=32 << 20) as engine:
        again = ask(engine, WORDS[0], 20)
        assert cached(again) == whole(again)
        assert again.sequence.tokens == first.sequence.tokens
