"""The transformers configuration of a base model that is a .gguf file.

The converter of adapters needs no weights, and architecture, sizes and heads are in the file's own metadata.
"""

import json
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from llm_server.errors import AdapterRefused

CONFIG = "config.json"
FAMILIES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "phi3": ("phi3", "Phi3ForCausalLM"),
    "gemma": ("gemma", "GemmaForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
}
"""llama.cpp's name of an architecture to transformers' type and class. Mistral is Llama to llama.cpp."""
SIZES = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
}
"""transformers' names of sizes to GGUF's."""
COMPARED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


def told_config(model: Path) -> str:
    """`config.json` for a GGUF model. AdapterRefused (not_convertible) names the option that helps."""
    sizes = read_sizes(model)
    family = FAMILIES.get(sizes.pop("architecture"))
    if family is None or "num_attention_heads" not in sizes:
        raise AdapterRefused(
            f"A PEFT folder is converted with the configuration of the base, which {model.name} does not "
            "tell for this architecture. Name the base's transformers folder (its config.json is "
            "enough) in LLM_BASE_FOLDER, or as `base_folder` in the file of models; or give a .gguf adapter.",
            code="not_convertible",
        )
    kind, name = family
    # The identifiers of special tokens that transformers has by default may lie beyond a small vocabulary.
    tokens = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    content = {"architectures": [name], "model_type": kind, **sizes, **tokens}
    return json.dumps(content)


def read_sizes(model: Path) -> dict[str, Any]:
    """Architecture and sizes of a GGUF model; without those that differ between its layers, and without any
    where experts share them.
    """
    reader = GGUFReader(model)

    def said(key: str) -> Any:
        field = reader.fields.get(key)
        return None if field is None else field.contents()

    architecture = str(said("general.architecture"))
    found: dict[str, Any] = {"architecture": architecture}
    if said(f"{architecture}.expert_count"):
        return found
    for name, key in SIZES.items():
        value = said(f"{architecture}.{key}")
        if isinstance(value, int):
            found[name] = value
    if "num_attention_heads" in found and "hidden_size" in found:
        found.setdefault("num_key_value_heads", found["num_attention_heads"])
        found.setdefault("head_dim", found["hidden_size"] // found["num_attention_heads"])
    for tensor in reader.tensors:
        if tensor.name == "token_embd.weight":
            found["vocab_size"] = int(tensor.shape[1])
    return found


def check_folder(model: Path, folder: Path) -> None:
    """AdapterRefused (base_mismatch) where a folder's configuration is of another model: what is converted
    with it would be applied to the wrong heads.
    """
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        given = {**content, **(content.get("text_config") or {})}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AdapterRefused(f"{folder / CONFIG} cannot be read: {error}.", code="bad_config") from error
    sizes = read_sizes(model)
    if sizes["architecture"] not in FAMILIES:
        # Others count layers of their own, such as those that predict several tokens.
        return
    for name in COMPARED:
        if name in given and name in sizes and given[name] != sizes[name]:
            raise AdapterRefused(
                f"{folder} is of another model than {model.name}: {name} is {given[name]} there and "
                f"{sizes[name]} in the file. Set LLM_BASE_FOLDER, or `base_folder`, to its own folder.",
                code="base_mismatch",
            )
