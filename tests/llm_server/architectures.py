"""Small random checkpoints as transformers writes them, with the kinds of tokenizers of their families."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from llm_server.convert.tokenizer import LLAMA3_SPLIT, QWEN2_SPLIT

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's 2026 already.",
    "Refunds are made within 14 days. Orders above 1,250 euros leave the warehouse the same day.",
    "naïve café résumé, größer, Привет мир, 日本語の文章, emoji 🎉🚀 and\ttabs\nnew lines  two spaces",
]
TEXTS = [
    *CORPUS,
    "How many days of leave are left in 2027? We'LL see: 12345678 of them...   ",
    "unseen wörds über ☃ and\n\n\nempty lines\t\tdoubly so" * 2,
]
SIZES = {
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>", "<|endoftext|>"]
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama3", {}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("gpt2", {"tie_word_embeddings": True}),
    "mistral": ("metaspace", {"sliding_window": None}),
    "phi3": ("metaspace", {}),
    "gemma2": ("gemma", {"sliding_window": 16, "query_pre_attn_scalar": 64}),
    "gemma3_text": (
        "gemma",
        {"sliding_window": 16, "query_pre_attn_scalar": 64, "num_hidden_layers": 6},
    ),
}
"""Model type to its kind of tokenizer and what differs from `SIZES`."""


def make_tokenizer(kind: str) -> Tokenizer:
    """A tokenizer of a family, trained on the corpus."""
    if kind in {"metaspace", "gemma"}:
        return _with_byte_fallback(kind)
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    tokenizer.decoder = decoders.ByteLevel()
    if kind == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = LLAMA3_SPLIT if kind == "llama3" else QWEN2_SPLIT if kind == "qwen2" else r"\p{N}|\P{N}+"
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _with_byte_fallback(kind: str) -> Tokenizer:
    """BPE over characters, bytes where a character is unknown, as SentencePiece has it."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    names = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *learnt["vocab"]]
    merges = [tuple(merge) for merge in learnt["merges"]]
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    if kind == "gemma":
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


def save_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """tokenizer.json and its settings."""
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


class Checkpoint:
    """A transformers folder with random weights that 16 bits hold, and the model in single precision."""

    def __init__(self, folder: Path, architecture: str) -> None:
        kind, changes = ARCHITECTURES[architecture]
        self.folder = folder
        self.tokenizer = make_tokenizer(kind)
        with warnings.catch_warnings():
            # Deprecations inside these libraries are not ours.
            warnings.simplefilter("ignore")
            import torch
            from transformers import AutoConfig, AutoModelForCausalLM

            torch.set_num_threads(1)
            torch.manual_seed(5)
            self._torch = torch
            sizes = SIZES | changes | {"vocab_size": self.tokenizer.get_vocab_size()}
            auto: Any = AutoModelForCausalLM
            model = auto.from_config(AutoConfig.for_model(architecture, **sizes))
            with torch.no_grad():
                # Norms and biases too, which begin as ones and zeros: each must find its place.
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
                    parameter.copy_(parameter.half())
            model.save_pretrained(folder)
        self._model = model.eval()
        save_tokenizer(folder, self.tokenizer)

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """[tokens, vocabulary]."""
        with self._torch.no_grad():
            return np.asarray(self._model(self._torch.tensor([list(tokens)])).logits[0])
