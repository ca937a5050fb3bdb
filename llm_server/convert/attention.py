"""Attention that llama.cpp would compute otherwise than a checkpoint says, without a word."""

from typing import Any

from llm_server.errors import PreparationFailed

PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}
"""Every so many layers one attends to everything and the others to a window: fixed in llama.cpp for these."""


def check_attention(config: dict[str, Any]) -> None:
    """PreparationFailed where the layers of a config.json are not those that llama.cpp takes them for."""
    text = config.get("text_config") or config
    period = PERIODS.get(str(text.get("model_type")))
    if period is None:
        return
    kinds = text.get("layer_types") or []
    wanted = ["sliding_attention" if (i + 1) % period else "full_attention" for i in range(len(kinds))]
    if kinds != wanted or text.get("sliding_window_pattern", period) != period:
        raise PreparationFailed(
            f"llama.cpp takes one layer in {period} of a {text['model_type']} to attend to everything and "
            "the others to a window; this checkpoint's are others. LLM_BACKEND=onnx may serve it."
        )
