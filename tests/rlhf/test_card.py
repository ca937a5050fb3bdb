"""The card of the starter says what the report and the run say, and names every target that was missed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from rlhf.starter.card import write_card

SHAPE = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "intermediate_size": 16,
    "vocab_size": 32,
}


def card(folder: Path, all_kinds: dict[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(SHAPE))
    save_file({"model.embed_tokens.weight": np.zeros((32, 8), np.float16)}, folder / "model.safetensors")
    (folder / "report.json").write_text(json.dumps({"served": {"all": all_kinds}}))
    (folder / "recipe.json").write_text(json.dumps({"seed": 71}))
    last = {"minutes": 50.0, "tokens": 5_400_000, "step": 903, "loss": 0.1269}
    (folder / "log.jsonl").write_text(json.dumps({"step": 1}) + "\n" + json.dumps(last) + "\n")
    write_card(folder, folder / "report.json", folder)
    return (folder / "README.md").read_text()


def test_it_says_what_was_measured(tmp_path: Path) -> None:
    text = card(tmp_path, {"count": 560, "valid": 1.0, "tool": 0.9536})
    assert "the last: 50 minutes, 5.4 M tokens" in text
    assert "last seed 71" in text
    assert "| all | 560 | valid 100%, tool 95% | valid 100.0%, tool 95.4% |" in text
    assert "All were met." in text


def test_a_missed_target_is_named(tmp_path: Path) -> None:
    assert "Missed: all: tool 94.6% instead of 95%." in card(
        tmp_path, {"count": 9, "valid": 1.0, "tool": 0.946}
    )
