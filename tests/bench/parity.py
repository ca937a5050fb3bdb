"""What fewer bits cost: `python -m tests.bench.parity [--source DIR] [--adapter FOLDER] [--only NAME]`.

The starter as each engine computes it in each of its kinds of weights. Measured are the share of positions
of 32 chats with tools at which engine and transformers (32 bits; with an adapter: PEFT) find the same next
token likeliest, and how many of the cases that the starter is examined on (without `--source`: of those that
were written by hand) are answered as expected through a server. Figures are kept in `--out`, so that kinds
may be measured one after another (`--only onnx-int4`). The Markdown table of all that are there is printed;
exit status 1 where a kind of full precision agrees at less than 99 % of the positions, or one with fewer bits
loses more than 2 points of score.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from llm_server.convert.prepare import STARTER_FOLDER
from llm_server.engine.blend import BASE, Blend
from rlhf.starter.__main__ import WRITTEN
from rlhf.starter.answering import ServerAnswerer
from rlhf.starter.cases import Case, all_cases, handwritten
from rlhf.starter.evaluate import mean, score
from rlhf.starter.mixture import split
from tests.bench.server import serving
from tests.llm_server.adapters.making import STARTER as SIZES
from tests.llm_server.adapters.making import make_adapter
from tests.llm_server.onnx_models import Reference
from tests.llm_server.positions import agreement, chats, computed, decoded, in_answers, opened
from tests.trial.tables import table

KINDS = {
    "llama_cpp-f16": ("llama_cpp", "f16"),
    "llama_cpp-q8_0": ("llama_cpp", "q8_0"),
    "llama_cpp-q4_k_m": ("llama_cpp", "q4_k_m"),
    "onnx-fp32": ("onnx", "fp32"),
    "onnx-int8": ("onnx", "int8"),
    "onnx-int4": ("onnx", "int4"),
}
FULL = {"llama_cpp": "llama_cpp-f16", "onnx": "onnx-fp32"}
"""What a kind's loss is counted from: the same engine without quantisation."""
ALIKE, LOST = 0.99, 0.02


@dataclass(frozen=True, slots=True)
class Alike:
    """Shares of positions."""

    every: float
    answers: float
    """Of those of the answers alone, which is all that the starter was trained on."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of one kind of weights."""

    base: Alike
    """Positions that agree with transformers."""
    adapted: Alike
    """The same with an adapter, with PEFT."""
    valid: float
    """Answers that are well-formed."""
    tool: float
    """Right tools, of the cases that want one."""
    exact: float
    """Answers that are the expected one."""
    cases: int


def agreements(kind: str, data: Path, adapter: Path, cases: Sequence[Case]) -> list[Alike]:
    """Without the adapter and with it."""
    reference = Reference(STARTER_FOLDER, {"own": adapter})
    prompts, starts = chats(cases)
    found: list[Alike] = []
    with opened(STARTER_FOLDER, KINDS[kind][1], data, adapter) as (backend, own):
        runs: list[tuple[Blend, tuple[str, ...]]] = [(BASE, ()), (own, ("own",))]
        for blend, names in runs:
            ours, theirs = decoded(backend, prompts, blend), computed(reference.every, prompts, *names)
            answers = agreement(in_answers(ours, starts), in_answers(theirs, starts))
            found.append(Alike(agreement(ours, theirs), answers))
    print(f"{kind}: {sum(map(len, prompts))} positions, {sum(map(len, in_answers(ours, starts)))} in answers")
    print(found)
    return found


def examined(kind: str, data: Path, cases: Sequence[Case]) -> tuple[float, float, float]:
    """Shares of valid answers, right tools and exact answers through a server."""
    engine, weights = KINDS[kind]
    chosen = {"quantisation": weights} if engine == "llama_cpp" else {"precision": weights}
    with serving(data, backend=engine, embeddings="true", **chosen) as server:
        figures, _ = score(cases, ServerAnswerer(f"{server.url}/v1", "none"), print)
    rows = list(figures.values())
    return mean(rows, "valid"), mean([row for row in rows if "tool" in row], "tool"), mean(rows, "exact")


def examination(source: Path | None, count: int) -> list[Case]:
    """Cases that the starter was never trained on."""
    if source is None:
        return list(handwritten(WRITTEN))
    words, _, held = split(source)
    return all_cases(words, held, WRITTEN, count)


def measure(kind: str, options: argparse.Namespace, data: Path) -> Figures:
    """All of one kind."""
    cases = examination(options.source, options.count)
    chatting = [case for case in cases if case.tools]
    step = len(chatting) / options.prompts
    chosen = [chatting[int(step * number)] for number in range(options.prompts)]
    adapter = options.adapter or make_adapter(data / "adapter", 0, rank=8, size=0.05, sizes=SIZES)
    base, adapted = agreements(kind, data, adapter, chosen)
    valid, tool, exact = examined(kind, data, cases)
    return Figures(base, adapted, valid, tool, exact, len(cases))


def read(figures: dict[str, Any]) -> Figures:
    """As they were written."""
    alike = {name: Alike(**figures[name]) for name in ("base", "adapted")}
    return Figures(**{**figures, **alike})


def lost(found: dict[str, Figures], kind: str) -> float | None:
    """The larger loss of right tools and of exact answers, None where there is nothing to compare with."""
    full = found.get(FULL[KINDS[kind][0]])
    own = found[kind]
    return None if full is None else max(full.tool - own.tool, full.exact - own.exact)


def show(found: dict[str, Figures]) -> int:
    """Print the table; 1 where something is not as it is meant to be."""
    head = (
        "weights",
        "same token",
        "in answers",
        "with an adapter",
        "in answers",
        "right tool",
        "exact",
        "lost",
    )
    rows, failed = [], False
    for kind in (kind for kind in KINDS if kind in found):
        own, loss = found[kind], lost(found, kind)
        every = (*astuple(own.base), *astuple(own.adapted), own.tool, own.exact)
        points = "" if loss is None else f"{100 * loss:.1f}"
        rows.append((kind.replace("-", " "), *(f"{100 * share:.1f} %" for share in every), points))
        low = kind in FULL.values() and min(own.base.every, own.adapted.every) < ALIKE
        failed = failed or low or (loss or 0) > LOST
    sys.stdout.write(table(head, rows))
    return int(failed)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="Folder with dialogues/ and questions/.")
    parser.add_argument("--adapter", type=Path, help="A PEFT folder of the starter; a random one by default.")
    parser.add_argument("--only", choices=KINDS, nargs="*", default=list(KINDS))
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--count", type=int, default=100, help="Cases of each kind.")
    parser.add_argument("--out", type=Path, default=Path("data/parity.json"))
    options = parser.parse_args()
    said = json.loads(options.out.read_text()) if options.out.is_file() else {}
    found = {kind: read(figures) for kind, figures in said.items()}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in options.only:
            found[kind] = measure(kind, options, Path(scratch))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps({k: asdict(v) for k, v in found.items()}, indent=1) + "\n")
    return show(found)


if __name__ == "__main__":
    sys.exit(main())
