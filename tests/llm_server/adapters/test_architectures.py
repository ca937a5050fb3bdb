"""PEFT adapters of families of models, converted for llama.cpp, have the logits of transformers and PEFT."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from numpy.typing import NDArray

from llm_server.adapters.base import read_base
from llm_server.adapters.base_config import check_folder, told_config
from llm_server.adapters.check_gguf import check_gguf
from llm_server.adapters.check_peft import check_peft
from llm_server.adapters.convert import Converter
from llm_server.backends.llama_cpp import LlamaBackend
from llm_server.convert.prepare import folder_to_gguf
from llm_server.engine.backend import Chunk
from llm_server.engine.blend import BASE, Blend, blend
from tests.llm_server.architectures import ARCHITECTURES, TEXTS, Checkpoint
from tests.llm_server.test_convert_architectures import HALF, open_model

CASES: dict[str, dict[str, Any]] = {
    **{architecture: {} for architecture in ARCHITECTURES},
    "qwen3 with ranks of their own": {
        "rank_pattern": {"v_proj": 2, "down_proj": 8},
        "use_rslora": True,
        "lora_alpha": 3,
    },
}


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    opened = Converter()
    yield opened
    opened.close()


class Adapted:
    """A checkpoint with a random adapter on every linear layer, as PEFT computes and saves it."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, **config: Any) -> None:
        with warnings.catch_warnings():
            # Deprecations inside these libraries are not ours.
            warnings.simplefilter("ignore")
            import torch
            from peft import LoraConfig, get_peft_model

            torch.manual_seed(11)
            self._torch = torch
            values = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **config}
            wanted = LoraConfig(task_type="CAUSAL_LM", **values)
            model: Any = get_peft_model(checkpoint._model, wanted)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if ".lora_" in name:
                        # 16 bits hold them, as the GGUF file does.
                        parameter.copy_((torch.randn_like(parameter) * 0.15).half())
            model.save_pretrained(folder)
        self._model = model.eval()

    def logits(self, tokens: Sequence[int], *, adapted: bool = True) -> NDArray[np.float32]:
        """[tokens, vocabulary]."""
        ids = self._torch.tensor([list(tokens)])
        with self._torch.no_grad():
            if adapted:
                return np.asarray(self._model(ids).logits[0])
            with self._model.disable_adapter():
                return np.asarray(self._model(ids).logits[0])


def by_position(backend: LlamaBackend, tokens: Sequence[int], adapters: Blend) -> NDArray[np.float32]:
    """Logits after each token: [tokens, vocabulary]."""
    out = []
    for at, token in enumerate(tokens):
        (row,) = backend.decode([Chunk(0, at, [token], True, adapters)])
        out.append(backend.logits(row).copy())
    backend.trim(0, 0)
    return np.stack(out)


@pytest.mark.parametrize("case", CASES)
def test_adapted_logits_are_those_of_peft(tmp_path: Path, converter: Converter, case: str) -> None:
    """Turned rows of queries and keys, joint modules, and what the .gguf base tells of itself."""
    architecture = case.split()[0]
    checkpoint = Checkpoint(tmp_path / architecture, architecture)
    base, peft = tmp_path / "base.gguf", tmp_path / "peft"
    folder_to_gguf(checkpoint.folder, base, "f16")
    adapted = Adapted(checkpoint, peft, **CASES[case])
    with_folder, alone = tmp_path / "with-folder.gguf", tmp_path / "alone.gguf"
    check_folder(base, checkpoint.folder)
    converter.convert(peft, checkpoint.folder, with_folder)
    (tmp_path / "told").mkdir()
    (tmp_path / "told" / "config.json").write_text(told_config(base))
    converter.convert(peft, tmp_path / "told", alone)
    assert tensors(alone).keys() == tensors(with_folder).keys()
    assert all(np.array_equal(values, tensors(alone)[name]) for name, values in tensors(with_folder).items())
    known = read_base(base)
    assert check_peft(peft, known).tensors == check_gguf(alone, known).tensors

    backend = open_model(base)
    adapters = blend([(backend.load_adapter(alone), 1.0)])
    prompts = [checkpoint.tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS[:3]]
    expected = np.concatenate([adapted.logits(tokens) for tokens in prompts])
    plain = np.concatenate([adapted.logits(tokens, adapted=False) for tokens in prompts])
    found = np.concatenate([by_position(backend, tokens, adapters) for tokens in prompts])
    spread = expected.std()
    # It changes much more than what is let through.
    assert np.abs(expected - plain).max() > 20 * HALF * spread
    assert np.abs(found - expected).max() < HALF * spread
    # Where another token comes first it is as good: what 16 bits can tell.
    first = found.argmax(1)
    assert (first == expected.argmax(1)).mean() >= 0.95
    assert (expected.max(1) - expected[range(len(first)), first]).max() < HALF * spread
    again = np.concatenate([by_position(backend, tokens, BASE) for tokens in prompts])
    assert np.abs(again - plain).max() < HALF * plain.std()
    backend.close()


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    return {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
