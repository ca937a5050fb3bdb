"""`data`: from the corpora's folder and a seed to a tokenizer and shards of tokens."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
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
    source: Path,
    out: Path,
    count: int,
    seed: int,
    shards: int = 2,
    vocabulary: int = VOCABULARY,
    exercises: bool = True,
) -> dict[str, int]:
    """Write `out`/tokenizer.json (if there is none), splits.json and the shards; returns counts by kind.

    With `exercises` the first shard has a fifth of the samples, most of them exercises in copying, with
    which a network that knows nothing begins.
    """
    words, kept, _ = split(source)
    out.mkdir(parents=True, exist_ok=True)
    (out / "splits.json").write_text(json.dumps(SPLITS, indent=1) + "\n")
    if not (out / "tokenizer.json").exists():
        stream = samples(random.Random(f"{seed} tokenizer"), words, kept)
        train_tokenizer(sample_texts(stream, TOKENIZER_SAMPLES), vocabulary).save_pretrained(out)
    counts: Counter[str] = Counter()
    first = count // 5 if exercises else count // shards
    sizes = [first] + [(count - first) // (shards - 1)] * (shards - 1)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for made in pool.map(partial(make_shard, source, out, seed, exercises), range(shards), sizes):
            counts.update(made)
    (out / "counts.json").write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")
    return counts


def make_shard(source: Path, out: Path, seed: int, exercises: bool, shard: int, size: int) -> dict[str, int]:
    """Write one shard from a seed of its own; returns counts by kind."""
    words, kept, _ = split(source)
    stream = samples(random.Random(f"{seed} {shard}"), words, kept, short=exercises and shard == 0)
    return write_shard(out / f"shard-{shard:02}", load_tokenizer(out), islice(stream, size))
