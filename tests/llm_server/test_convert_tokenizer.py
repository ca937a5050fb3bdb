"""Tokenizers that llama.cpp's converter does not know: named, rewritten, or refused with the reason."""

import json
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from llm_server.backends.llama_cpp import LlamaBackend, LlamaOptions
from llm_server.convert.gguf import convert_folder, quantise
from llm_server.convert.prepare import folder_to_gguf
from llm_server.convert.tokenizer import MODEL, kind, write_sentencepiece
from llm_server.engine.backend import Chunk
from llm_server.errors import PreparationFailed
from tests.llm_server.architectures import TEXTS, make_tokenizer, save_tokenizer
from tests.llm_server.tiny import Sizes, make_tiny


def saved(folder: Path, tokenizer: Tokenizer) -> Path:
    folder.mkdir()
    save_tokenizer(folder, tokenizer)
    return folder


@pytest.mark.parametrize(
    ("tokenizer", "name"),
    [
        ("qwen2", "qwen2"),
        ("llama3", "llama-bpe"),
        ("gpt2", "gpt-2"),
        ("odd", "auto"),
        ("gemma", "sentencepiece"),
        ("metaspace", "sentencepiece"),
    ],
)
def test_a_tokenizer_is_named_after_its_split(tmp_path: Path, tokenizer: str, name: str) -> None:
    assert kind(saved(tmp_path / "model", make_tokenizer(tokenizer))) == name


def test_a_folder_with_its_own_sentencepiece_file_is_left_to_the_converter(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", make_tokenizer("gemma"))
    (folder / MODEL).touch()
    assert kind(folder) == "auto"
    assert kind(tmp_path) == "auto"


def test_without_whole_words_the_split_of_llama_3_has_another_name(tmp_path: Path) -> None:
    whole = json.loads(make_tokenizer("llama3").to_str())
    whole["model"]["ignore_merges"] = False
    assert kind(saved(tmp_path / "model", Tokenizer.from_str(json.dumps(whole)))) == "dbrx"


@pytest.mark.parametrize("family", ["gemma", "metaspace"])
def test_the_sentencepiece_file_cuts_text_as_the_tokenizer_does(tmp_path: Path, family: str) -> None:
    tokenizer = make_tokenizer(family)
    folder = saved(tmp_path / "model", tokenizer)
    write_sentencepiece(folder, folder / MODEL)
    pieces = SentencePieceProcessor(model_file=str(folder / MODEL))
    assert pieces.vocab_size() == tokenizer.get_vocab_size()
    for text in TEXTS:
        assert pieces.encode(text) == tokenizer.encode(text, add_special_tokens=False).ids
    assert pieces.is_control(pieces.piece_to_id("</s>"))


def test_an_unknown_split_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder, tokenizer = make_tiny(tmp_path / "tiny"), make_tokenizer("odd")
    save_tokenizer(folder, tokenizer)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": tokenizer.get_vocab_size()}))
    with pytest.raises(PreparationFailed, match="tokenizer splits text"):
        folder_to_gguf(folder, tmp_path / "out" / "odd.gguf", "f16")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_tokenizer_that_is_larger_than_the_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] - 8}))
    with pytest.raises(PreparationFailed, match="vocab_size"):
        folder_to_gguf(folder, tmp_path / "odd.gguf", "f16")


def test_nothing_is_left_beside_a_converted_file_or_in_its_source(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "tiny")
    save_tokenizer(folder, make_tokenizer("gemma"))
    before = sorted(folder.iterdir())
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PreparationFailed, match="conversion failed"):
        folder_to_gguf(folder, tmp_path / "out" / "odd.gguf", "f16")  # its norms on queries are not Mistral's
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("hidden", [288, 80])
def test_sizes_that_k_quants_do_not_divide_are_quantised_otherwise(tmp_path: Path, hidden: int) -> None:
    """llama.cpp takes a type of 32 weights a block, or 16 bits, where 256 weights do not fit a row."""
    folder = make_tiny(tmp_path / "tiny", Sizes(hidden=hidden, feed_forward=hidden))
    convert_folder(folder, tmp_path / "f16", "f16")
    quantise(tmp_path / "f16", tmp_path / "q4", "q4_k_m")
    backend = LlamaBackend(tmp_path / "q4", LlamaOptions(running=1, threads=1, context=64))
    assert backend.decode([Chunk(0, 0, list(range(16)), True)]) == [15]
    backend.close()
