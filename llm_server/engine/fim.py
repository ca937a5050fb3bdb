"""Tokens that models for code were trained with to fill in the middle (Bavarian et al., 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = (
    "<|fim_prefix|>",
    "<fim_prefix>",
    "<fim-prefix>",
    "<｜fim▁begin｜>",
    "<|code_prefix|>",
    "▁<PRE>",
    "<PRE>",
)
SUFFIX = (
    "<|fim_suffix|>",
    "<fim_suffix>",
    "<fim-suffix>",
    "<｜fim▁hole｜>",
    "<|code_suffix|>",
    "▁<SUF>",
    "<SUF>",
)
MIDDLE = (
    "<|fim_middle|>",
    "<fim_middle>",
    "<fim-middle>",
    "<｜fim▁end｜>",
    "<|code_middle|>",
    "▁<MID>",
    "<MID>",
)
REPOSITORY = ("<|repo_name|>", "<reponame>", "<repo_name>")
FILE = ("<|file_sep|>", "<file_sep>", "<filename>")


@dataclass(frozen=True, slots=True)
class FimTokens:
    """Token ids; None where the model has no token for other files."""

    prefix: int
    suffix: int
    middle: int
    repository: int | None = None
    file: int | None = None


def find_fim(specials: Mapping[str, int]) -> FimTokens | None:
    """The tokens by their well-known names; None where one of the three is missing."""
    prefix, suffix, middle = (_first(specials, names) for names in (PREFIX, SUFFIX, MIDDLE))
    if prefix is None or suffix is None or middle is None:
        return None
    return FimTokens(prefix, suffix, middle, _first(specials, REPOSITORY), _first(specials, FILE))


def _first(specials: Mapping[str, int], names: tuple[str, ...]) -> int | None:
    return next((specials[name] for name in names if name in specials), None)
