"""A byte-level BPE whose merges never cross a letter, digit, space, capital or punctuation boundary.

A word then has one spelling in tokens wherever it stands (`leave`, ` leave`, `"leave`), so that copying an
argument out of a sentence is plain induction. Trained with the strict split below, run with Qwen2's, which
is what llama.cpp calls pre-tokenizer `qwen2`: with these merges both give the same tokens.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rlhf.starter.template import END, END_OF_TEXT, SPECIALS, TEMPLATE

VOCABULARY = 4096
CONTEXT = 4096
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
STRICT = r"\p{Lu}?\p{Ll}+|\p{Lu}+(?!\p{Ll})|\p{L}|\p{N}| |[^\s\p{L}\p{N}]+|\s"
"""CamelCase is cut too: `CustomerId` is `Customer` + `Id`, so schema and question share words."""


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Learn the merges from `texts`; the result has at most `vocabulary` tokens, the specials included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = _split(STRICT)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = _split(QWEN2)
    tokenizer.add_special_tokens(list(SPECIALS))
    return wrap(tokenizer)


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer as transformers knows it, with the chat template."""
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers' own
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END_OF_TEXT,
        bos_token=None,
        unk_token=None,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    fast.chat_template = TEMPLATE.read_text()
    return fast


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read `tokenizer.json` of a model folder."""
    return wrap(Tokenizer.from_file(str(folder / "tokenizer.json")))
