"""What llama.cpp's converter has to be told about a tokenizer that it does not know by itself.

Byte-level BPE is recognised there by a hash over one text, so that a vocabulary of one's own is unknown
however common its split is: here the split has a name. SentencePiece vocabularies are read there from
`tokenizer.model`, which transformers no longer writes: here it is made out of tokenizer.json. (Where the
converter reads tokenizer.json itself, every piece has the same score, and merges come in the wrong order.)
"""

import json
import re
from pathlib import Path
from typing import Any

FILE, MODEL = "tokenizer.json", "tokenizer.model"
SENTENCEPIECE = "sentencepiece"
"""Of `kind`: the converter needs the file that `write_sentencepiece` writes."""
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = _SPLIT % ""
LLAMA3_SPLIT = _SPLIT % "{1,3}"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE_PIECE = range(1, 7)
"""Types of pieces in sentencepiece_model.proto."""


def kind(folder: Path) -> str:
    """llama.cpp's name for how the tokenizer of a transformers folder splits text, `SENTENCEPIECE`, or `auto`
    where the converter is to find out.
    """
    file = folder / FILE
    if not file.is_file():
        return "auto"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE":
        return "auto"
    if model.get("byte_fallback"):
        return "auto" if (folder / MODEL).is_file() else SENTENCEPIECE
    return _split_name(tokenizer.get("pre_tokenizer") or {}, whole_words=bool(model.get("ignore_merges")))


def _split_name(pre_tokenizer: dict[str, Any], *, whole_words: bool) -> str:
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    splits = {step.get("pattern", {}).get("Regex") for step in steps if step.get("type") == "Split"}
    if splits == {QWEN2_SPLIT}:
        return "qwen2"
    if splits == {LLAMA3_SPLIT}:
        # The same regular expression: with the first, llama.cpp takes words that are in the vocabulary whole.
        return "llama-bpe" if whole_words else "dbrx"
    plain = not splits and [step.get("type") for step in steps] == ["ByteLevel"]
    return "gpt-2" if plain and steps[0].get("use_regex", True) else "auto"


def write_sentencepiece(folder: Path, target: Path) -> None:
    """Write `tokenizer.model` out of a tokenizer.json of BPE with byte fallback. A piece's score is the rank
    of the merge that makes it, negated: the first merge has the best.
    """
    # Imported here: few models need it.
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2  # its classes are made at import
    tokenizer = json.loads((folder / FILE).read_text(encoding="utf-8"))
    model, added = tokenizer["model"], {token["id"]: token for token in tokenizer.get("added_tokens", [])}
    ranks = _ranks(model["merges"])
    names = {index: name for name, index in model["vocab"].items()}
    names |= {index: token["content"] for index, token in added.items()}
    out = proto.ModelProto()
    out.trainer_spec.model_type = proto.TrainerSpec.BPE
    out.trainer_spec.byte_fallback = True
    out.normalizer_spec.add_dummy_prefix = prefixes_space(tokenizer)
    out.normalizer_spec.remove_extra_whitespaces = False
    for index in range(max(names) + 1):
        name = names.get(index, f"[PAD{index}]")
        kind = _piece_type(name, added.get(index), unknown=model.get("unk_token"), there=index in names)
        score = -float(ranks.get(name, len(ranks) + index)) if kind == NORMAL else 0.0
        out.pieces.add(piece=name, score=score, type=kind)
    target.write_bytes(out.SerializeToString())


def prefixes_space(tokenizer: dict[str, Any]) -> bool:
    """Whether a tokenizer.json puts a space before a text."""
    steps = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    flat = [part for step in steps if step for part in (step.get("normalizers") or [step])]
    return any(
        step.get("type") == "Prepend" or step.get("prepend_scheme", "never") != "never" for step in flat
    )


def _ranks(merges: list[Any]) -> dict[str, int]:
    """Piece to the first merge that makes it; merges are pairs, or two words in one string."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), rank)
    return ranks


def _piece_type(name: str, added: dict[str, Any] | None, *, unknown: str | None, there: bool) -> int:
    if not there:
        return UNUSED
    if name == unknown:
        return UNKNOWN
    if added is not None:
        return CONTROL if added["special"] else USER_DEFINED
    return BYTE_PIECE if BYTE.fullmatch(name) else NORMAL
