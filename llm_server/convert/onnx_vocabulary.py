"""A GGUF file with a vocabulary and no weights, so that llama.cpp's samplers and grammars serve other engines
too.

They ask a vocabulary for the bytes of each token and for the ends, nothing else; so every tokenizer can be
written as byte-level BPE without merges.
"""

from pathlib import Path

import gguf

from llm_server.backends.onnx_manifest import VOCABULARY, Manifest
from llm_server.backends.onnx_vocabulary import LETTERS, OnnxVocabulary


def write_vocabulary(folder: Path, manifest: Manifest) -> None:
    """Write `VOCABULARY` into a folder that has its tokenizer already."""
    vocabulary = OnnxVocabulary(folder, manifest.vocabulary, frozenset(manifest.ends))
    names, kinds, taken = [], [], set()
    for token in range(vocabulary.size):
        piece = vocabulary.piece(token)
        control = token in vocabulary.control
        name = piece.decode(errors="replace") if control else "".join(LETTERS[byte] for byte in piece)
        kind = gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL
        if not name or name in taken:
            name, kind = f"[PAD{token}]", gguf.TokenType.UNUSED
        taken.add(name)
        names.append(name)
        kinds.append(kind)
    writer = gguf.GGUFWriter(folder / VOCABULARY, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(names)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{LETTERS[0]} {LETTERS[1]}"])
    ends = sorted(vocabulary.ends)
    if ends:
        writer.add_eos_token_id(ends[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
