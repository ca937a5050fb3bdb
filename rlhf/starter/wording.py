"""The word lists and phrase grammars of `wording/*.yaml`, read once."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("wording")


@cache
def wording(name: str) -> dict[str, Any]:
    """One file of wording: names to lists of phrases or words."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded
