"""Checkpoints whose layers llama.cpp would take for others."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm_server.convert.attention import check_attention
from llm_server.convert.prepare import folder_to_gguf
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
