"""Prompts that say nearly the same: Jaccard similarity of their word pairs, candidates found by MinHash.

MinHash estimates the similarity (Broder 1997); banding finds candidates without comparing all pairs
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3). The banding is set lower than the
threshold, so that few are missed; every candidate is then compared exactly, so that none is found wrongly.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from rlhf.records import Message

THRESHOLD = 0.7
BANDING = 0.5
PERMUTATIONS = 128
SHINGLE = 2
# Written without spaces between words: each character counts as one.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")


def prompt_words(prompt: Iterable[Message]) -> tuple[str, ...]:
    """The words of a conversation, without case, punctuation and system prompt (which many rows share)."""
    said = " ".join(m.content or "" for m in prompt if m.role not in ("system", "developer"))
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", said).casefold()))


def shingles(words: Sequence[str]) -> frozenset[str]:
    """Every run of two words; of a single word, that word."""
    last = max(1, len(words) - SHINGLE + 1)
    return frozenset(" ".join(words[at : at + SHINGLE]) for at in range(last))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared share of two sets."""
    return len(one & other) / len(one | other) if one or other else 1.0


def near_pairs(texts: Sequence[Sequence[str]], threshold: float = THRESHOLD) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, of texts whose similarity reaches the threshold; equal texts are such pairs too.

    Of three equal texts, the first is paired with the second and the third: every group hangs together.
    """
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]  # it has no types

    first: dict[tuple[str, ...], int] = {}
    for at, words in enumerate(texts):
        if (seen := first.setdefault(tuple(words), at)) != at:
            yield seen, at
    index = MinHashLSH(threshold=BANDING, num_perm=PERMUTATIONS)
    sets = {at: shingles(words) for words, at in first.items()}
    for at, own in sets.items():
        signature = MinHash(num_perm=PERMUTATIONS, seed=1)
        signature.update_batch([shingle.encode() for shingle in own])
        for other in sorted(index.query(signature)):
            if jaccard(sets[other], own) >= threshold:
                yield other, at
        index.insert(at, signature)
