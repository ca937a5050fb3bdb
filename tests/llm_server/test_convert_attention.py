"""Checkpoints whose layers llama.cpp would take for others."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm_server.convert.attention import check_attention, check_window
from llm_server.convert.prepare import folder_to_gguf, prepare_onnx_chat
from llm_server.errors import PreparationFailed

WINDOW, ALL = "sliding_attention", "full_attention"


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gemma2", "layer_types": [WINDOW, ALL, WINDOW]},
        {"model_type": "gemma3_text", "layer_types": [*[WINDOW] * 5, ALL, WINDOW]},
        {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "layer_types": [WINDOW]}},
        {"model_type": "gemma3_text", "sliding_window_pattern": 6},
        {"model_type": "qwen3", "layer_types": [ALL, ALL]},
    ],
)
def test_layers_in_the_usual_order_pass(config: dict[str, Any]) -> None:
    check_attention(config)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "gemma2", "layer_types": [ALL, WINDOW]},
        {"model_type": "gemma3_text", "layer_types": [WINDOW, ALL]},
        {"model_type": "gemma3_text", "sliding_window_pattern": 2},
        {"text_config": {"model_type": "gemma3_text", "layer_types": [ALL]}},
    ],
)
def test_layers_in_another_order_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PreparationFailed, match="others to a window"):
        folder_to_gguf(tmp_path, tmp_path / "out.gguf", "f16")


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 32768}, 4096),
        ({"model_type": "mistral", "sliding_window": None, "max_position_embeddings": 32768}, None),
        ({"model_type": "mistral", "sliding_window": 4096, "max_position_embeddings": 4096}, 32768),
        ({"model_type": "qwen2", "sliding_window": 4096, "max_position_embeddings": 32768}, None),
        ({"model_type": "llama", "max_position_embeddings": 32768}, None),
    ],
)
def test_a_window_that_holds_every_sequence_passes(config: dict[str, Any], context: int | None) -> None:
    check_window(config, context)


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, None),
        ({"model_type": "mistral", "sliding_window": 4096}, 4097),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True}, None),
    ],
)
def test_a_window_that_onnx_would_not_see_is_refused(
    config: dict[str, Any], context: int | None, tmp_path: Path
) -> None:
    whole = {**config, "max_position_embeddings": 32768}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    with pytest.raises(PreparationFailed, match="Set LLM_CONTEXT to at most 4096"):
        prepare_onnx_chat(str(tmp_path), tmp_path / "data", "int8", context=context)
    assert not (tmp_path / "data").exists()
