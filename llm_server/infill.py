"""The prompt of a fill-in-the-middle request."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_server.engine.backend import Vocabulary
from llm_server.errors import BadRequest

REPOSITORY_NAME = "repository"
THIS_FILE = "this_file"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of another file, for context."""

    name: str
    text: str


def infill_prompt(vocabulary: Vocabulary, prefix: str, suffix: str) -> list[int]:
    """Prefix, suffix, middle: the order that most models see in training. Text of special tokens stays text.

    BadRequest where the model has no tokens for it.
    """
    fim = vocabulary.fim
    if fim is None:
        raise BadRequest(
            "This model was not trained to fill in the middle: its vocabulary has no FIM tokens. "
            "Leave suffix out, or serve a model for code.",
            param="suffix",
            code="unsupported_parameter",
        )
    begin = [*vocabulary.tokenize("", bos=True), fim.prefix, *vocabulary.tokenize(prefix)]
    return [*begin, fim.suffix, *vocabulary.tokenize(suffix), fim.middle]


def repository_prompt(
    vocabulary: Vocabulary, prefix: str, suffix: str, excerpts: Sequence[Excerpt], room: int
) -> list[int]:
    """The same with excerpts of other files before it, marked as Qwen2.5-Coder was trained (Hui et al.,
    2024).

    `room` is in tokens: the earliest excerpts are left out where not all of them fit.
    """
    prompt = infill_prompt(vocabulary, prefix, suffix)
    start = len(vocabulary.tokenize("", bos=True))
    head, own = _frame(vocabulary)
    kept: list[list[int]] = []
    left = room - len(prompt) - len(head) - len(own)
    for excerpt in reversed(excerpts):
        tokens = _excerpt(vocabulary, excerpt)
        left -= len(tokens)
        if left < 0:
            break
        kept.insert(0, tokens)
    if not kept:
        return prompt
    others = [token for tokens in kept for token in tokens]
    return [*prompt[:start], *head, *others, *own, *prompt[start:]]


def _frame(vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
    """What comes before all excerpts, and before the file itself."""
    fim = vocabulary.fim
    if fim is None or fim.file is None:
        return [], []
    head = [] if fim.repository is None else [fim.repository, *vocabulary.tokenize(f"{REPOSITORY_NAME}\n")]
    return head, [fim.file, *vocabulary.tokenize(f"{THIS_FILE}\n")]


def _excerpt(vocabulary: Vocabulary, excerpt: Excerpt) -> list[int]:
    fim = vocabulary.fim
    if fim is None or fim.file is None:
        return vocabulary.tokenize(f"{excerpt.text}\n")
    return [fim.file, *vocabulary.tokenize(f"{excerpt.name}\n{excerpt.text}\n")]
