"""Samples as tokens on disk: one flat file of tokens, one of marks, and where each sample begins.

Lengths fall into a few buckets, so that a compiled network sees a few shapes and little padding.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from rlhf.starter.sample import Sample
from rlhf.starter.template import segments

BUCKETS = (128, 192, 256, 320, 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096)
CHUNK = 512


def encode(tokenizer: PreTrainedTokenizerFast, batch: Sequence[Sample]) -> list[tuple[list[int], list[int]]]:
    """(tokens, marks) of each sample; a mark is 1 where the token is trained."""
    cut = [segments(sample.messages, sample.tools) for sample in batch]
    texts = [text for pieces in cut for text, _ in pieces]
    backend = tokenizer.backend_tokenizer
    encoded = iter(backend.encode_batch_fast(texts, add_special_tokens=False))
    out = []
    for pieces in cut:
        tokens: list[int] = []
        marks: list[int] = []
        for _, trained in pieces:
            ids = next(encoded).ids
            tokens += ids
            marks += [int(trained)] * len(ids)
        out.append((tokens, marks))
    return out


def write_shard(path: Path, tokenizer: PreTrainedTokenizerFast, samples: Iterable[Sample]) -> dict[str, int]:
    """Write `path`.tokens, .marks and .index; returns how many samples and tokens of each kind."""
    counts: dict[str, int] = {}
    starts, kinds, total = [0], [], 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".tokens").open("wb") as words, path.with_suffix(".marks").open("wb") as flags:
        for batch in chunked(samples):
            for sample, (tokens, marks) in zip(batch, encode(tokenizer, batch), strict=True):
                if len(tokens) > BUCKETS[-1]:
                    continue
                words.write(np.asarray(tokens, dtype=np.uint16).tobytes())
                flags.write(np.asarray(marks, dtype=np.uint8).tobytes())
                total += len(tokens)
                starts.append(total)
                kinds.append(sample.kind)
                counts[sample.kind] = counts.get(sample.kind, 0) + 1
                counts[sample.kind + ".tokens"] = counts.get(sample.kind + ".tokens", 0) + len(tokens)
                counts[sample.kind + ".trained"] = counts.get(sample.kind + ".trained", 0) + sum(marks)
    path.with_suffix(".index").write_text(json.dumps({"starts": starts, "kinds": kinds}))
    return counts


def chunked(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == CHUNK:
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass
class Shard:
    """A written shard, mapped into memory."""

    tokens: npt.NDArray[np.uint16]
    marks: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    kinds: list[str]

    def __len__(self) -> int:
        return len(self.kinds)

    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.starts)


def read_shard(path: Path) -> Shard:
    index = json.loads(path.with_suffix(".index").read_text())
    return Shard(
        np.memmap(path.with_suffix(".tokens"), dtype=np.uint16, mode="r"),
        np.memmap(path.with_suffix(".marks"), dtype=np.uint8, mode="r"),
        np.asarray(index["starts"], dtype=np.int64),
        index["kinds"],
    )


Batch = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]


class Batches:
    """An endless, seeded stream of equal-cost batches, which can be left and taken up anywhere."""

    def __init__(self, shards: Sequence[Shard], tokens: int, seed: int, pad: int) -> None:
        self.shards, self.budget, self.seed, self.pad = list(shards), tokens, seed, pad
        self.epoch, self.at = 0, 0
        self.plan = self._plan()

    def _plan(self) -> list[tuple[int, list[int]]]:
        """Full batches of one epoch in random order: (shard, samples alike in length).

        Where a small shard fills none, its samples go out in smaller ones.
        """
        rng = np.random.default_rng((self.seed, self.epoch))
        shard = self.epoch % len(self.shards)
        buckets = np.searchsorted(BUCKETS, self.shards[shard].lengths())
        full: list[tuple[int, list[int]]] = []
        rest: list[tuple[int, list[int]]] = []
        for bucket, width in enumerate(BUCKETS):
            members = rng.permutation(np.flatnonzero(buckets == bucket))
            rows = max(1, self.budget // width)
            for i in range(0, len(members), rows):
                part = (shard, members[i : i + rows].tolist())
                (full if len(part[1]) == rows else rest).append(part)
        plan = full or rest
        return [plan[i] for i in rng.permutation(len(plan))]

    def take(self) -> Batch:
        """(tokens, trained): B, T+1 each, padded on the right."""
        while self.at >= len(self.plan):
            self.epoch, self.at = self.epoch + 1, 0
            self.plan = self._plan()
        shard, members = self.plan[self.at]
        self.at += 1
        return collate(self.shards[shard], members, self.pad)

    def state(self) -> dict[str, int]:
        return {"epoch": self.epoch, "at": self.at}

    def restore(self, state: dict[str, int]) -> None:
        self.epoch, self.at = state["epoch"], state["at"]
        self.plan = self._plan()


def collate(shard: Shard, members: Sequence[int], pad: int) -> Batch:
    spans = [(int(shard.starts[i]), int(shard.starts[i + 1])) for i in members]
    width = next(size for size in BUCKETS if size >= max(end - start for start, end in spans))
    tokens = np.full((len(members), width + 1), pad, dtype=np.int64)
    marks = np.zeros((len(members), width + 1), dtype=np.bool_)
    for row, (start, end) in enumerate(spans):
        tokens[row, : end - start] = shard.tokens[start:end]
        marks[row, : end - start] = shard.marks[start:end]
    return tokens, marks
