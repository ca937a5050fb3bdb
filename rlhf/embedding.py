"""Tuning of an embedding model on queries and the texts that answer them, with sentence-transformers.

The loss ranks a query's own text above those of the other rows of its batch and above a hard negative, a text
that is near and no answer (Henderson et al., 2017; Karpukhin et al., 2020). Rows without a negative get one
that the base finds near.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardCallback
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

from rlhf.methods import EmbeddingRecipe
from rlhf.pairs import TOO_LONG, Used, tokens
from rlhf.runs import whole_folder
from rlhf.shapes import TripletRow, read_shape
from rlhf.training import Tell, Trained, arguments, carry_out

Matrix = NDArray[np.float32]
TOP = 10


class Embedding:
    """What the tuning of an embedding model does of its own."""

    name = "embedding"
    logged = ()
    depends = ("method", "seed", "device", "threads", "negatives", "train")

    def __init__(self) -> None:
        self.before: dict[str, float] = {}

    def read(self, file: Path, tokenizer: Any, recipe: EmbeddingRecipe) -> Used:
        """Texts; a longer one would be cut without a word."""
        used = Used()
        for row in read_shape(file, TripletRow):
            texts = [row.query, row.positive, *([row.negative] if row.negative else [])]
            if max(tokens(tokenizer, text) for text in texts) > recipe.train.max_tokens - 2:
                used.leave(TOO_LONG, row.row_id)
            else:
                names = ("anchor", "positive", "negative")
                used.texts.append(dict.fromkeys(names) | dict(zip(names, texts, strict=False)))
        return used

    def prepare(
        self, recipe: EmbeddingRecipe, used: Used, held: Used, out: Path, base: Path, adapter: Path | None
    ) -> SentenceTransformerTrainer:
        """The base, with a negative for every row; how it does before."""
        model = encoder(base, recipe.device)
        model.max_seq_length = recipe.train.max_tokens
        if held.texts:
            self.before = retrieval(model, held.texts)
        rows = (
            with_negatives(model, used.texts, recipe.negatives.margin)
            if recipe.negatives.mine
            else used.texts
        )
        columns = ("anchor", "positive", "negative")
        known = columns if all(row["negative"] for row in rows) else columns[:2]
        made = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                **arguments(recipe, out), batch_sampler="no_duplicates"
            ),
            train_dataset=Dataset.from_list([{name: row[name] for name in known} for row in rows]),
            loss=MultipleNegativesRankingLoss(model, scale=recipe.train.scale),
        )
        # It embeds examples for a page that is not kept.
        made.remove_callback(SentenceTransformerModelCardCallback)
        return made

    def check(self, trainer: Any) -> None:
        """Nothing to compare with."""

    def examine(self, trainer: Any, held: Used) -> dict[str, Any]:
        """Retrieval of the held-out texts by their queries, before and after."""
        if not held.texts:
            return {"rows": 0}
        return {"rows": len(held.texts), "before": self.before, "after": retrieval(trainer.model, held.texts)}

    def save(self, trainer: Any, recipe: EmbeddingRecipe, out: Path, base: Path) -> tuple[str, str]:
        """A folder of sentence-transformers."""
        model = trainer.model
        return "encoder", whole_folder(
            out / "encoder", lambda folder: model.save_pretrained(str(folder), create_model_card=False)
        )


def train(
    recipe: EmbeddingRecipe,
    dataset: Path,
    out: Path,
    base: Path,
    adapter: Path | None = None,
    tell: Tell = print,
) -> Trained:
    """Train on triplets; writes `out`/encoder. TrainingError as `carry_out`."""
    return carry_out(Embedding(), recipe, dataset, out, base, adapter, tell)


def encoder(base: Path, device: str = "cpu") -> SentenceTransformer:
    """A model of a folder, without the network."""
    return SentenceTransformer(str(base), device=device, local_files_only=True)


def vectors(model: SentenceTransformer, texts: Sequence[str]) -> Matrix:
    """[texts, width], of length one."""
    found = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(found, dtype=np.float32)


def with_negatives(
    model: SentenceTransformer, rows: list[dict[str, Any]], margin: float
) -> list[dict[str, Any]]:
    """Rows with a negative each: of the other rows' texts the nearest that is further from the query than its
    own text by `margin` of cosine, so that no unmarked answer is taken; where there is none, the furthest.
    """
    texts = sorted({row["positive"] for row in rows})
    if all(row["negative"] for row in rows) or len(texts) < 2:
        return rows
    at = {text: place for place, text in enumerate(texts)}
    answers: dict[str, set[int]] = {}
    for row in rows:
        answers.setdefault(row["anchor"], set()).add(at[row["positive"]])
    scores = vectors(model, [row["anchor"] for row in rows]) @ vectors(model, texts).T
    found = [
        nearest(line, at[row["positive"]], answers[row["anchor"]], margin)
        for row, line in zip(rows, scores, strict=True)
    ]
    return [
        {**row, "negative": row["negative"] or texts[place]} for row, place in zip(rows, found, strict=True)
    ]


def nearest(scores: Matrix, own: int, answers: set[int], margin: float) -> int:
    """Place of the hard negative among the texts."""
    others = [place for place in np.argsort(-scores, kind="stable").tolist() if place not in answers]
    far = [place for place in others if scores[place] <= scores[own] - margin]
    return int((far or others[-1:] or [own])[0])


def retrieval(model: SentenceTransformer, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of queries whose text comes first and among the first ten, and the mean reciprocal rank, among
    all texts of the rows, negatives too.
    """
    texts = sorted({text for row in rows for text in (row["positive"], row["negative"]) if text})
    at = {text: place for place, text in enumerate(texts)}
    scores = vectors(model, [row["anchor"] for row in rows]) @ vectors(model, texts).T
    own = scores[np.arange(len(rows)), [at[row["positive"]] for row in rows]]
    ranks = 1 + (scores > own[:, None]).sum(axis=1)
    found = np.where(ranks <= TOP, 1 / ranks, 0.0)
    return {
        "recall_at_1": round(float((ranks == 1).mean()), 4),
        "recall_at_10": round(float((ranks <= TOP).mean()), 4),
        "mrr_at_10": round(float(found.mean()), 4),
    }
