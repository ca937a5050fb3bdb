"""`card`: the model folder's README, written from the report, the recipe and the log."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

TARGETS = (
    ("all", "valid", 1.0),
    ("all", "tool", 0.95),
    ("no tool needed", "exact", 0.90),
    ("own tools, held-out phrasings and entities", "exact", 0.85),
    ("hand-written sentences", "exact", 0.75),
    ("dialogues, held-out services", "exact", 0.45),
    ("SQL, held-out tables", "exact", 0.50),
    ("five passages", "exact", 0.80),
)
"""What was asked of it before training, for the served decoding: kind, measure, share."""
HEADINGS = {"free": "greedy, no grammar", "served": "through llm_server"}

TEMPLATE = Path(__file__).with_name("card.md")


def figures_table(report: dict[str, Any]) -> str:
    """One row a kind; a column pair for each way of decoding that was measured."""
    names = [name for name in HEADINGS if name in report]
    head = "| held out | cases | target | " + " | ".join(HEADINGS[name] for name in names) + " |"
    lines = [head, "| --- | ---: | ---: |" + " --- |" * len(names)]
    kinds = list(dict.fromkeys(kind for name in names for kind in report[name]))
    for kind in kinds:
        goal = ", ".join(f"{measure} {share:.0%}" for one, measure, share in TARGETS if one == kind)
        cells = [cell(report[name].get(kind)) for name in names]
        count = max(report[name].get(kind, {}).get("count", 0) for name in names)
        lines.append(f"| {kind} | {count} | {goal} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: dict[str, Any] | None) -> str:
    if not row:
        return ""
    return ", ".join(f"{name} {row[name]:.1%}" for name in ("valid", "tool", "exact") if name in row)


def missed(report: dict[str, Any]) -> str:
    """The targets that the best measured decoding does not reach, in words."""
    figures = report.get("served") or report.get("free") or {}
    out = [
        f"{kind}: {measure} {figures[kind][measure]:.1%} instead of {share:.0%}"
        for kind, measure, share in TARGETS
        if kind in figures and figures[kind][measure] < share
    ]
    return f"Missed: {'; '.join(out)}." if out else "All were met."


def parameters(model: Path) -> int:
    total = 0
    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="np") as weights:
            for name in weights.keys():  # noqa: SIM118 (not a dict)
                if name != "lm_head.weight":
                    count = 1
                    for size in weights.get_slice(name).get_shape():
                        count *= size
                    total += count
    return total


def write_card(model: Path, report: Path, run: Path) -> None:
    """Write `model`/README.md."""
    found = json.loads(report.read_text())
    recipe = json.loads((run / "recipe.json").read_text())
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    config = json.loads((model / "config.json").read_text())
    shape = (
        f"hidden {config['hidden_size']}, {config['num_hidden_layers']} layers, "
        f"{config['num_attention_heads']} heads ({config['num_key_value_heads']} for keys and values) "
        f"of {config['head_dim']}, feed-forward {config['intermediate_size']}"
    )
    text = TEMPLATE.read_text().format(
        shape=shape,
        parameters=parameters(model) / 1e6,
        vocabulary=config["vocab_size"],
        minutes=last["minutes"],
        tokens=last["tokens"] / 1e6,
        steps=last["step"],
        loss=last["loss"],
        seed=recipe["seed"],
        figures=figures_table(found),
        missed=missed(found),
    )
    (model / "README.md").write_text(text)
