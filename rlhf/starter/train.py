"""`train`: from shards to a network, by wall-clock, resumable to the same losses.

Muon (Jordan, 2024) for the matrices, AdamW for embeddings and norms. The rate warms up, holds, and falls
linearly to zero over the last part of the minutes (warm-up, stable, decay), so a held run can be prolonged.
"""

import json
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from torch import Tensor

from rlhf.starter.export import export
from rlhf.starter.model import Shape, Starter, from_transformers
from rlhf.starter.muon import Muon
from rlhf.starter.shards import BUCKETS, Batches, read_shard
from rlhf.starter.tokenizer import load_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What a run is; saved beside its checkpoint."""

    shape: Shape = field(default_factory=Shape)
    minutes: float = 80.0
    """Wall-clock of all sessions of the run together."""
    seed: int = 1
    batch_tokens: int = 6144
    """Tokens of a micro-batch, padding included."""
    micro_batches: int = 1
    matrix_rate: float = 6e-3
    rate: float = 5e-3
    weight_decay: float = 0.05
    warm_up_steps: int = 60
    decay_share: float = 0.4
    """Share of the minutes over which the rate falls to zero."""
    clip: float = 1.0
    compiled: bool = True


def optimizers(model: Starter, recipe: Recipe, device: str) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        Muon(
            matrices,
            lr=recipe.matrix_rate,
            weight_decay=recipe.weight_decay,
            precision=torch.bfloat16 if has_bfloat16(device) else torch.float32,
        ),
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def factor(recipe: Recipe, step: int, minutes: float) -> float:
    """The rate's share at a step and a time."""
    start = recipe.minutes * (1 - recipe.decay_share)
    falling = 1.0 if minutes < start else max(0.0, (recipe.minutes - minutes) / (recipe.minutes - start))
    return min(1.0, (step + 1) / recipe.warm_up_steps) * falling


def load_run(out: Path) -> Starter:
    """The network of a run's last state, to be exported or looked at."""
    recipe = json.loads((out / "recipe.json").read_text())
    weights = torch.load(out / "state.pt", map_location="cpu", weights_only=True)["model"]
    model = Starter(Shape(**recipe["shape"]), weights["embed_tokens.weight"].shape[0])
    model.load_state_dict(weights)
    return model


def has_bfloat16(device: str) -> bool:
    """Whether products of bfloat16 are fast here. A processor without them is 25 times slower in them."""
    return device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Trainer:
    """One run in a folder: `state.pt`, `log.jsonl`, `recipe.json`. `begin`: a model folder to begin with."""

    def __init__(
        self, recipe: Recipe, data: Path, out: Path, device: str = "cpu", begin: Path | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.device = recipe, out, device
        self.tokenizer = load_tokenizer(data)
        vocabulary = (len(self.tokenizer) + 31) // 32 * 32
        shards = [read_shard(path.with_suffix("")) for path in sorted(data.glob("shard-*.tokens"))]
        pad = int(self.tokenizer.pad_token_id or 0)
        self.batches = Batches(shards, recipe.batch_tokens, recipe.seed, pad)
        self.model = (from_transformers(begin) if begin else Starter(recipe.shape, vocabulary)).to(device)
        self.optimizers = optimizers(self.model, recipe, device)
        self.step, self.minutes, self.seen, self.stopped = 0, 0.0, 0, False
        out.mkdir(parents=True, exist_ok=True)
        (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
        if (out / "state.pt").exists():
            self.restore()
        if recipe.compiled:
            # one compilation a bucket, shared by the layers
            torch._dynamo.config.recompile_limit = 4 * len(BUCKETS)
            for layer in self.model.layers:
                layer.compile(dynamic=False)

    def save(self) -> None:
        """All that a resumed run needs, replaced in one move."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "batches": self.batches.state(),
            "step": self.step,
            "minutes": self.minutes,
            "seen": self.seen,
        }
        torch.save(state, self.out / "state.tmp")
        (self.out / "state.tmp").replace(self.out / "state.pt")

    def restore(self) -> None:
        state: dict[str, Any] = torch.load(self.out / "state.pt", map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.batches.restore(state["batches"])
        self.step, self.minutes, self.seen = state["step"], state["minutes"], state["seen"]

    def loss(self) -> tuple[Tensor, int]:
        """Loss of one micro-batch and its padded size."""
        tokens, marks = (torch.from_numpy(part).to(self.device) for part in self.batches.take())
        with torch.autocast(self.device, torch.bfloat16, enabled=has_bfloat16(self.device)):
            return self.model.loss(tokens, marks), tokens.numel()

    def advance(self) -> float:
        """One optimizer step; returns its mean loss."""
        share = factor(self.recipe, self.step, self.minutes)
        for optimizer, rate in zip(self.optimizers, (self.recipe.matrix_rate, self.recipe.rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        total = 0.0
        for _ in range(self.recipe.micro_batches):
            loss, size = self.loss()
            (loss / self.recipe.micro_batches).backward()  # type: ignore[no-untyped-call]  # torch's own
            total += float(loss.detach()) / self.recipe.micro_batches
            self.seen += size
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return total

    def run(
        self, every_minutes: float = 4.0, tell: Callable[[str], None] = log.info, stop: int | None = None
    ) -> None:
        """Train until the minutes (or `stop` steps) are over, saving now and then and at the end."""
        began, before, saved, recent = time.monotonic(), self.minutes, self.minutes, 0.0
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))
        while not self.stopped and self.minutes < self.recipe.minutes and (stop is None or self.step < stop):
            loss = self.advance()
            recent = loss if not recent else 0.95 * recent + 0.05 * loss
            self.minutes = before + (time.monotonic() - began) / 60
            if self.step % 25 == 0:
                self.note(recent, tell)
            if self.minutes - saved > every_minutes:
                saved = self.minutes
                self.save()
        self.save()
        self.note(recent, tell)

    def note(self, loss: float, tell: Callable[[str], None]) -> None:
        row = {
            "step": self.step,
            "minutes": round(self.minutes, 2),
            "tokens": self.seen,
            "loss": round(loss, 4),
            "rate": round(factor(self.recipe, self.step, self.minutes), 3),
        }
        with (self.out / "log.jsonl").open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        tell(json.dumps(row))

    def export(self, folder: Path) -> None:
        export(self.model.to("cpu"), self.tokenizer, folder)
