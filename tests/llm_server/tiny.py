"""A Qwen3 of a few layers with random weights and a tokenizer of its own, as a transformers folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
FIM = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"]
THOUGHTS = ["<think>", "</think>"]
CONTEXT = 1024
TEMPLATE = """{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content -}}
{%- if loop.first and tools -%}{%- for tool in tools -%}
{{- '\\n' + tool.function.name + ' ' + (tool.function.parameters | tojson) -}}
{%- endfor -%}{%- endif -%}
{%- for call in message.tool_calls or [] -%}
{%- generation -%}
{{- '<tool_call>\\n' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) -}}
{{- '\\n</tool_call>' -}}
{%- endgeneration -%}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Sizes:
    """Of the network. Hidden sizes are multiples of 256, which k-quants need."""

    hidden: int = 256
    feed_forward: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    width: int = 32
    context: int = CONTEXT


def make_tiny(folder: Path, sizes: Sizes = Sizes(), specials: Sequence[str] = SPECIALS) -> Path:
    """Write the folder; without torch, whose import takes longer than everything else here."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(specials)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    save_file(_weights(tokenizer.get_vocab_size(), sizes), folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.feed_forward,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.width,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": sizes.context,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _tokenizer(specials: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    split = pre_tokenizers.Split(Regex(QWEN2), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=507, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([json.dumps({"name": "search", "arguments": {"query": TEMPLATE}})], trainer)
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


def _weights(vocabulary: int, sizes: Sizes) -> dict[str, NDArray[np.float32]]:
    """Random weights; layers matter more than the last token does, or it would be repeated for ever."""
    rng = np.random.default_rng(7)
    hidden, inner, kv = sizes.hidden, sizes.heads * sizes.width, sizes.kv_heads * sizes.width

    def random(*shape: int, scale: float = 0.1) -> NDArray[np.float32]:
        return rng.normal(0, scale, shape).astype(np.float32)

    out = {"model.embed_tokens.weight": random(vocabulary, hidden, scale=0.02)}
    out["model.norm.weight"] = np.ones(hidden, np.float32)
    for layer in range(sizes.layers):
        at = f"model.layers.{layer}."
        for name, size in (("q", inner), ("k", kv), ("v", kv)):
            out[f"{at}self_attn.{name}_proj.weight"] = random(size, hidden)
        out[f"{at}self_attn.o_proj.weight"] = random(hidden, inner)
        out[f"{at}mlp.gate_proj.weight"] = random(sizes.feed_forward, hidden)
        out[f"{at}mlp.up_proj.weight"] = random(sizes.feed_forward, hidden)
        out[f"{at}mlp.down_proj.weight"] = random(hidden, sizes.feed_forward)
        for name in ("input_layernorm", "post_attention_layernorm"):
            out[f"{at}{name}.weight"] = np.ones(hidden, np.float32)
        for name in "qk":
            out[f"{at}self_attn.{name}_norm.weight"] = np.ones(sizes.width, np.float32)
    return out
