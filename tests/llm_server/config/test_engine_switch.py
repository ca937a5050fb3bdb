"""An edit that puts another engine in place keeps every adapter, or is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

from llm_server.adapters.convert import Converter
from llm_server.convert.files import file_sha256
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.config.conftest import Edited, Open
from tests.llm_server.config.test_carry import cards, load, text_of
from tests.llm_server.config.test_reload import entry, wait_for
from tests.llm_server.onnx_models import prepared

NAMES = ("moved", "peft", "lora")


def gguf_lora(models: Path, folder: Path, seed: int) -> Path:
    converter = Converter()
    try:
        converter.convert(make_adapter(folder / f"made-{seed}", seed), models / "tiny", folder / "lora.gguf")
    finally:
        converter.close()
    return folder / "lora.gguf"


def kept(models: Path) -> list[str]:
    """Copies of sources."""
    return sorted(path.name for path in (models / "adapters" / "moved--tiny.sources").glob("*"))


def test_adapters_outlive_their_sources_and_their_engine(
    open_server: Open, models: Path, tmp_path: Path
) -> None:
    """A PEFT folder and a GGUF LoRA, both gone after they were loaded."""
    prepared(models, "fp32")
    llama, onnx = (entry(models, engine, id="moved") for engine in ("llama_cpp", "onnx"))
    with open_server(llama, data=models, adapter_folders=str(tmp_path)) as server:
        peft, lora = make_adapter(tmp_path / "peft", 21), gguf_lora(models, tmp_path, 22)
        ids = [load(server, "peft", peft), load(server, "lora", lora)]
        shutil.rmtree(peft)
        lora.unlink()
        before, said = cards(server), [text_of(server, name) for name in NAMES]
        assert len(set(said)) == 3
        for edit in (onnx, llama, onnx):
            assert server.edit(edit).status_code == 200
            assert cards(server) == before
            assert [text_of(server, name) for name in NAMES] == said
            sources = [
                v["source"] for a in server.http.get("/v1/adapters").json()["data"] for v in a["versions"]
            ]
            assert set(sources) == {str(peft), str(lora)}
        first, second = (one.removeprefix("sha256:") for one in ids)
        assert kept(models) == sorted([first, f"{second}.gguf"])
        server.http.delete("/v1/adapters/lora")
        wait_for(lambda: kept(models) == [first])
        server.http.delete("/v1/adapters/peft")
        wait_for(lambda: kept(models) == [])


def origins(server: Edited) -> set[str]:
    """Where adapters came from, as they are listed."""
    found = server.http.get("/v1/adapters").json()["data"]
    return {version["source"] for one in found for version in one["versions"]}


def only_for_llama(folder: Path, models: Path, seed: int) -> Path:
    """An adapter that names the GGUF file as its base, which ONNX Runtime does not serve."""
    (served,) = models.glob("tiny-f32-*.gguf")
    return make_adapter(folder, seed, base_sha256=file_sha256(served))


def test_an_edit_that_would_lose_an_adapter_is_refused(
    open_server: Open, models: Path, tmp_path: Path
) -> None:
    prepared(models, "fp32")
    llama, onnx = (entry(models, engine, id="lossy") for engine in ("llama_cpp", "onnx"))
    with open_server(llama, data=models, adapter_folders=str(tmp_path)) as server:
        load(server, "fine", make_adapter(tmp_path / "fine", 31))
        version = load(server, "words", only_for_llama(tmp_path / "words", models, 32))
        before, said = cards(server), text_of(server, "lossy:words")
        refused = server.edit(onnx)
        message = refused.json()["error"]["message"]
        assert refused.status_code == 400
        assert f"words@{version[:19]}" in message
        assert "it was trained on the base" in message
        assert "fine" not in message
        assert "DELETE /v1/adapters/" in message
        assert (cards(server), text_of(server, "lossy:words")) == (before, said)
        # As the message says.
        assert server.http.delete(f"/v1/adapters/words@{version[:19]}").status_code == 202
        wait_for(lambda: "words" not in cards(server))
        assert server.edit(onnx).status_code == 200
        assert server.config()["models"][0]["engine"] == "onnx"
        assert text_of(server, "lossy:fine")


def test_the_file_may_name_another_version_in_its_place(
    open_server: Open, models: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    """One that the new engine takes."""
    prepared(models, "fp32")
    tiny("f32")
    only_for_llama(tmp_path / "words", models, 32)
    make_adapter(tmp_path / "instead", 41)
    llama, onnx = (
        entry(models, engine, id="replaced", adapters=[{"name": "words", "path": path}])
        for engine, path in (("llama_cpp", "words"), ("onnx", "instead"))
    )
    with open_server(llama, data=models, adapter_folders=str(tmp_path)) as server:
        assert text_of(server, "replaced:words")
        answer = server.edit(onnx)
        assert answer.status_code == 200, answer.text
        versions = server.http.get("/v1/adapters/words").json()["versions"]
        told = {version["state"]: (version["error"] or {}).get("code") for version in versions}
        assert told == {"ready": None, "failed": "base_mismatch"}
        assert text_of(server, "replaced:words")
