"""`data`: from the corpora's folder and a seed to a tokenizer and shards of tokens."""

import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rlhf.starter.dialogues import HELD_OUT
from rlhf.starter.mixture import samples, split
from rlhf.starter.sample import Sample
from rlhf.starter.shards import write_shard
from rlhf.starter.template import segments
from rlhf.starter.tokenizer import VOCABULARY, load_tokenizer, train_tokenizer

TOKENIZER_SAMPLES = 6000
SPLITS = {
    "dialogues": f"whole services: {', '.join(HELD_OUT)}, and every dialogue that has one of them",
    "questions": "one table in ten, by blake2b of its sorted columns",
    "own tools": "one phrasing in ten by blake2b of its words, one name or word in ten likewise",
    "databases": "one phrasing in ten by blake2b, likewise",
}


def sample_texts(stream: Iterator[Sample], count: int) -> Iterator[str]:
    for sample in islice(stream, count):
        yield "".join(text for text, _ in segments(sample.messages, sample.tools))


def make_data(
    source: Path, out: Path, count: int, seed: int, shards: int = 2, vocabulary: int = VOCABULARY
) -> dict[str, int]:
    """Write `out`/tokenizer.json (if there is none), splits.json and the shards; returns counts by kind.

    The first shard has a fifth of the samples, all with small prompts: the run begins with it.
    """
    words, kept, _ = split(source)
    out.mkdir(parents=True, exist_ok=True)
    (out / "splits.json").write_text(json.dumps(SPLITS, indent=1) + "\n")
    if not (out / "tokenizer.json").exists():
        stream = samples(random.Random(f"{seed} tokenizer"), words, kept)
        train_tokenizer(sample_texts(stream, TOKENIZER_SAMPLES), vocabulary).save_pretrained(out)
    tokenizer = load_tokenizer(out)
    counts: dict[str, int] = {}
    for shard in range(shards):
        size = count // 5 if shard == 0 else (count - count // 5) // (shards - 1)
        stream = samples(random.Random(f"{seed} {shard}"), words, kept, short=shard == 0)
        for kind, made in write_shard(out / f"shard-{shard:02}", tokenizer, islice(stream, size)).items():
            counts[kind] = counts.get(kind, 0) + made
    (out / "counts.json").write_text(json.dumps(counts, indent=1) + "\n")
    return counts
