"""Attention that an engine would compute otherwise than a checkpoint says, without a word."""

from typing import Any

from llm_server.errors import PreparationFailed

PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}
"""Every so many layers one attends to everything and the others to a window: fixed in llama.cpp for these."""


WINDOWED = {"mistral": True, "qwen2": False, "qwen3": False}
"""Kinds that may attend to a window, and whether they do where their configuration does not say."""


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


def check_window(config: dict[str, Any], context: int | None) -> None:
    """PreparationFailed where a sequence may be longer than the window that a checkpoint's layers attend to:
    the graphs for ONNX Runtime attend to everything. `context` is the setting, None for the model's own.
    """
    kind, window = str(config.get("model_type")), config.get("sliding_window")
    used = config.get("use_sliding_window", WINDOWED.get(kind, False))
    own = int(config.get("max_position_embeddings") or 0)
    longest = min(context or own, own)
    if kind in WINDOWED and used and window and longest > int(window):
        raise PreparationFailed(
            f"This {kind} attends to the last {window} tokens only, which graphs for ONNX Runtime do not, "
            f"and its context is {longest} tokens. Set LLM_CONTEXT to at most {window}, or use llama_cpp."
        )
