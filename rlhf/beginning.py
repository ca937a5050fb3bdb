"""What a training begins with: a base and, where it goes on, a version of the registry. Free of torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.errors import TrainingError
from rlhf.methods import known
from rlhf.products import ADAPTER
from rlhf.registry import BASE_KEY, CONFIG, LIVE, Registry, Version, weights_of

GOES_ON = {"sft": ADAPTER, "dpo": ADAPTER, "kto": ADAPTER, "reward": "reward"}
"""Methods that can go on from a version, and of which kind it has to be. They train models that write."""
WRITING = ("ForCausalLM", "LMHeadModel")
"""How transformers' classes of such models end."""


@dataclass(frozen=True)
class Beginning:
    """`base`: None is what the method trains where nobody names one."""

    base: Path | None
    parent: Version | None

    def plain(self) -> dict[str, Any]:
        """As a job's arguments."""
        base = str(self.base) if self.base else ""
        if self.parent is None:
            return {"base": base, "parent": None}
        parent = {"name": self.parent.name, "digest": self.parent.digest, "path": str(self.parent.content)}
        return {"base": base, "parent": parent}


def begin_with(recipe: dict[str, Any], base: str, parent: str, registry: Registry) -> Beginning:
    """What a resolved recipe is to begin with.

    Args:
        base: transformers folder, empty for the parent's, or else the method's own.
        parent: `NAME`, which is what is live, or `NAME@VERSION`; empty for none.

    Raises:
        TrainingError: no such model, one that does not write, or a parent that does not go on it.
        RegistryError: no such version, or it is damaged.
        RecipeError: the method's own base is not there.
    """
    method = str(recipe["method"])
    folder = _model(Path(base).absolute(), method) if base else None
    if not parent:
        return Beginning(folder, None)
    name, _, ref = parent.partition("@")
    version = registry.check(registry.find(name, ref or LIVE))
    if version.kind != (wanted := GOES_ON.get(method)):
        able = f"one of the kind `{wanted}`" if wanted else "none: name its folder as the base instead"
        raise TrainingError(f"`{parent}` is of the kind `{version.kind}`; {method} goes on from {able}")
    if recipe.get("tuning") == "full":
        raise TrainingError("`tuning: full` changes the base itself: it cannot go on from an adapter")
    return Beginning(_beneath(version, folder, method), version)


def _model(folder: Path, method: str) -> Path:
    """The same folder. TrainingError where it holds no model for the method."""
    try:
        made = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(
            f"the base {folder} is no model: it has no config.json; name a transformers folder"
        ) from error
    if method in GOES_ON and made and not any(str(one).endswith(WRITING) for one in made):
        raise TrainingError(
            f"the base {folder} is a {made[0]}, which does not write; {method} needs one that does"
        )
    return folder


def _beneath(version: Version, chosen: Path | None, method: str) -> Path:
    """The base that a version goes on: the chosen one, what it was trained on, or the method's own."""
    wanted = json.loads((version.content / CONFIG).read_text(encoding="utf-8")).get(BASE_KEY)
    named = f"`{version.name}` {version.short}"
    if chosen:
        if not _fits(chosen, wanted):
            raise TrainingError(
                f"{named} was trained on other weights than those of {chosen}: name its own base"
            )
        return chosen
    trained = version.lineage().get("base")
    places = [Path(trained["path"])] if isinstance(trained, dict) else []
    # Where nobody knows what it was trained on, the method's own would be a guess.
    for folder in [*places, *([known(method).base()] if wanted else [])]:
        if (folder / "config.json").is_file() and _fits(folder, wanted):
            return folder
    raise TrainingError(f"what {named} was trained on is not here, or has changed: name its base's folder")


def _fits(base: Path, wanted: str | None) -> bool:
    """Whether weights may be those with a hash; that of several files is not known."""
    return not wanted or weights_of(base) in ("", wanted)
