"""How a checkpoint makes one vector of a text: what sentence-transformers writes beside the weights.

`modules.json` lists the steps: Transformer, Pooling, at times Normalize (Reimers and Gurevych, 2019).
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from llm_server.errors import PreparationFailed

Pooling = Literal["mean", "cls", "last", "max"]
MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
    "lasttoken": "last",
}
"""Names of sentence-transformers, in older files a key each, and what they are called here."""
PASSAGE = ("passage", "document", "corpus")
QUERY = ("query",)


@dataclass(frozen=True, slots=True)
class Sentence:
    """What differs from the checkpoint's own; None is as the checkpoint says."""

    pooling: Pooling | None = None
    """What is made of the tokens' vectors: their mean or maximum, the first or the last one."""
    max_tokens: int | None = None
    normalise: bool | None = None
    """Bring vectors to length 1; None does."""
    query_prefix: str | None = None
    passage_prefix: str | None = None
    """Written before a text that a request calls a query, or a passage."""
    prefix: str | None = None
    """Written before other texts."""

    @property
    def head(self) -> str:
        """What the graph ends in, in one word."""
        return f"{self.pooling or 'mean'}{'-raw' if self.normalise is False else ''}"


def read_sentence(folder: Path, wanted: Sentence) -> Sentence:
    """Everything said: `wanted` first, then the folder, then the mean over the tokens, without prefixes.
    PreparationFailed for steps that are not computed here.
    """
    modules = _read(folder / "modules.json") or []
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    odd = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if odd:
        raise PreparationFailed(
            f"{folder.name} goes through {odd[0]} after its layers, which is not computed here. Take a model "
            "of Transformer, Pooling and Normalize."
        )
    said = _read(folder / "config_sentence_transformers.json") or {}
    prompts = said.get("prompts") or {}
    own = Sentence(
        pooling=wanted.pooling or _pooling(folder, modules),
        max_tokens=(_read(folder / "sentence_bert_config.json") or {}).get("max_seq_length"),
        query_prefix=_first(prompts, QUERY),
        passage_prefix=_first(prompts, PASSAGE),
        prefix=prompts.get(said.get("default_prompt_name") or "") or None,
    )
    given = {f.name: getattr(wanted, f.name) for f in fields(wanted)}
    return Sentence(**{name: getattr(own, name) if value is None else value for name, value in given.items()})


def _pooling(folder: Path, modules: list[dict[str, Any]]) -> Pooling:
    place = next((str(m.get("path")) for m in modules if str(m.get("type")).endswith("Pooling")), None)
    config = _read(folder / place / "config.json") if place is not None else None
    if config is None:
        return "mean"
    modes = [name for name in MODES if config.get(name)] + [
        key for key, on in config.items() if key.startswith("pooling_mode_") and on and key not in MODES
    ]
    named = config.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or modes)
    found = [MODES.get(mode, mode) for mode in modes]
    if len(found) != 1 or found[0] not in get_args(Pooling) or config.get("include_prompt") is False:
        raise PreparationFailed(
            f"{folder.name} pools by {', '.join(modes) or 'nothing'}; one of {', '.join(get_args(Pooling))} "
            "over all tokens is computed here. Name another model, or its `pooling`."
        )
    return cast(Pooling, found[0])


def _first(prompts: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((prompts[name] for name in names if name in prompts), None)


def _read(path: Path) -> Any:
    """A JSON file, None where there is none. PreparationFailed for a broken one."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise PreparationFailed(f"{path} cannot be read: {error}.") from error
