"""A tiny random base, small preferences for it, and a recipe of seconds."""

import json
from pathlib import Path
from typing import Any

from rlhf.recipe import Recipe, load_recipe
from tests.llm_server.tiny import Sizes, make_tiny

SIZES = Sizes(hidden=256, feed_forward=256, layers=2, heads=4, kv_heads=2, width=32, context=512)
WORDS = ["oak", "elm", "ash", "fir", "yew", "bay", "fig", "nut", "gum", "tea"]


def base(folder: Path) -> Path:
    """A transformers folder."""
    return make_tiny(folder, SIZES)


def rows(count: int) -> list[dict[str, Any]]:
    """Preferences for answers that cite first; every prompt is another one."""
    out = []
    for i in range(count):
        word, other = WORDS[i % 10], WORDS[i // 10 % 10]
        said = f"{word} is {other}"
        prompt = [
            {"role": "user", "content": f"{word} {other} {i}?"},
            {"role": "tool", "content": f"[1] {said}", "tool_call_id": "call_0"},
        ]
        out.append(
            {
                "pair_id": f"pair-{i}",
                "prompt": prompt,
                "chosen": [{"role": "assistant", "content": f"[1] {said}"}],
                "rejected": [{"role": "assistant", "content": f"{said} [1]"}],
                "tools": None,
                "source": "rule",
                "weight": 1.0,
                "session": f"session-{i}",
                "user": f"user-{i % 3}",
                "chosen_trace": {"trace_id": f"trace-{i}", "generation_id": f"gen-{i}", "model": "tiny"},
                "rejected_trace": None,
                "at": "2026-11-21T12:00:00+00:00",
            }
        )
    return out


def dataset(folder: Path, count: int = 24, held: int = 8) -> Path:
    """A dataset folder as training reads it; nobody's rows are on both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    made = rows(count + held)
    made[count:] = [{**row, "user": f"examiner-{i % 3}"} for i, row in enumerate(made[count:])]
    write(folder / "train.jsonl", made[:count])
    write(folder / "held_out.jsonl", made[count:])
    return folder


def write(path: Path, content: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))


def recipe(**changes: Any) -> Recipe:
    """Six steps of four pairs on one thread."""
    plain: dict[str, Any] = {
        "threads": 1,
        "lora": {"rank": 4, "alpha": 8, "layers": "all", "keep": 1.0},
        "replay": {"rows": "none"},
        "train": {
            "epochs": 1,
            "batch": 4,
            "save_steps": 2,
            "max_tokens": 256,
            "learning_rate": 0.01,
            "beta": 0.1,
            "sft_weight": 0.2,
        },
    }
    merged = {**plain, **changes}
    for key, value in plain.items():
        if isinstance(value, dict):
            merged[key] = {**value, **changes.get(key, {})}
    return load_recipe(None, **merged)
