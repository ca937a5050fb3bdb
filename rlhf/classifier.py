"""A classifier of intents: sentence vectors, a logistic head, calibrated confidence, and "unknown" below it.

Confidence is calibrated by one temperature (Guo et al., 2017) on rows that the head did not see (out of
fold); the threshold is the lowest at which as many of the accepted rows are right as the recipe asks. It
takes seconds, so a killed run begins again and gives the same.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from rlhf.embedding import Matrix, encoder, vectors
from rlhf.errors import TrainingError
from rlhf.methods import ClassifierRecipe
from rlhf.pairs import TOO_LONG, Used, tokens
from rlhf.runs import data_files, paths, record, whole_folder
from rlhf.shapes import LabelRow, read_shape
from rlhf.training import Tell, Trained, begin, said
from rlhf.troubles import clear_errors, hushed

UNKNOWN = "unknown"
"""The label of rows that are none of the intents: they teach no class, they raise the threshold."""
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """What stands behind the encoder."""

    labels: list[str]
    weights: list[list[float]]
    """[labels, width]."""
    bias: list[float]
    temperature: float
    threshold: float
    """Confidence below which the answer is "unknown"."""

    def logits(self, found: Matrix) -> Scores:
        """[texts, labels]."""
        return np.asarray(found @ np.asarray(self.weights).T + np.asarray(self.bias), dtype=np.float64)

    def sure(self, found: Matrix) -> tuple[NDArray[np.int64], Scores]:
        """The likeliest label of each vector and its calibrated probability."""
        return best(self.logits(found), self.temperature)


class Classifier:
    """A trained one, to ask."""

    def __init__(self, folder: Path) -> None:
        self.head = Head(**json.loads((folder / "head.json").read_text(encoding="utf-8")))
        with hushed():
            self.encoder = encoder(folder / "encoder")

    def classify(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """(label or "unknown", confidence of the likeliest label) of each text."""
        places, sure = self.head.sure(vectors(self.encoder, texts))
        return [
            (self.head.labels[place] if p >= self.head.threshold else UNKNOWN, float(p))
            for place, p in zip(places, sure, strict=True)
        ]


def train(
    recipe: ClassifierRecipe,
    dataset: Path,
    out: Path,
    base: Path,
    adapter: Path | None = None,
    tell: Tell = print,
) -> Trained:
    """Train on labelled texts; writes `out`/classifier, encoder and all.

    Raises:
        BadRecords: rows that cannot be read.
        TrainingError: one intent alone, an intent with one row, or as `carry_out`.
    """
    began = time.monotonic()
    files, tokenizer = data_files(dataset, recipe.method), begin(recipe, base)
    out.mkdir(parents=True, exist_ok=True)
    recipe.save(out / "recipe.yaml")
    used, held = (read(f, tokenizer, recipe) if f in files else Used() for f in paths(dataset))
    tell(said("training", used))
    tell(said("held out", held))
    with hushed(), clear_errors(out):
        model = encoder(base, recipe.device)
        head = fitted(vectors(model, [row["text"] for row in used.texts]), used, recipe)

        def fill(folder: Path) -> None:
            shutil.copytree(base, folder / "encoder", ignore=shutil.ignore_patterns("README.md", ".*"))
            (folder / "head.json").write_text(json.dumps(asdict(head)) + "\n", encoding="utf-8")

        digest = whole_folder(out / "classifier", fill)
        measured = examined(head, vectors(model, [row["text"] for row in held.texts]), held)
    rows = {"train": used.summary(), "held_out": held.summary()}
    made = record("classifier", "classifier", recipe, files, base)
    trained = Trained(digest, 1, round(time.monotonic() - began, 1), rows, measured, [], **made)
    trained.save(out)
    return trained


def read(file: Path, tokenizer: Any, recipe: ClassifierRecipe) -> Used:
    """Texts and labels; a longer text would be cut without a word."""
    used = Used()
    for row in read_shape(file, LabelRow):
        if tokens(tokenizer, row.text) > recipe.max_tokens - 2:
            used.leave(TOO_LONG, row.row_id)
        else:
            used.texts.append({"text": row.text, "label": row.label})
    return used


def fitted(found: Matrix, used: Used, recipe: ClassifierRecipe) -> Head:
    """Head, temperature and threshold. TrainingError where there is too little to tell apart."""
    names = np.asarray([row["label"] for row in used.texts], dtype=object)
    counts = Counter(name for name in names if name != UNKNOWN)
    if len(counts) < 2:
        raise TrainingError(
            f"a classifier needs two intents at least; there are: {', '.join(counts) or 'none'}"
        )
    few, least = min(counts.items(), key=lambda item: item[1])
    if least < 2:
        raise TrainingError(f"the intent `{few}` has one row; two are needed at least to test what is learnt")
    labels = sorted(counts)
    known = names != UNKNOWN
    x, y = found[known], np.asarray([labels.index(name) for name in names[known]])
    unseen = np.zeros((len(y), len(labels)))
    folds = StratifiedKFold(min(recipe.folds, least), shuffle=True, random_state=recipe.seed)
    for seen, rest in folds.split(x, y):
        unseen[rest] = logits_of(head_of(x[seen], y[seen], recipe), x[rest])
    temperature = calibrated(unseen, y)
    places, sure = best(unseen, temperature)
    whole = head_of(x, y, recipe)
    strange = best(logits_of(whole, found[~known]), temperature)[1] if (~known).any() else np.zeros(0)
    right = np.concatenate([places == y, np.zeros(len(strange), dtype=bool)])
    threshold = lowest(np.concatenate([sure, strange]), right, recipe.precision)
    weights, bias = both_classes(whole)
    return Head(labels, weights.tolist(), bias.tolist(), temperature, threshold)


def head_of(x: Matrix, y: NDArray[np.int64], recipe: ClassifierRecipe) -> LogisticRegression:
    """Logistic regression; rare intents weigh as much as frequent ones."""
    return LogisticRegression(C=recipe.c, max_iter=2000, class_weight="balanced").fit(x, y)


def both_classes(head: LogisticRegression) -> tuple[Scores, Scores]:
    """Weights and bias with a row for every class; of two classes scikit-learn keeps one."""
    weights, bias = head.coef_, head.intercept_
    if len(weights) == 1:
        weights, bias = np.vstack([0 * weights, weights]), np.concatenate([0 * bias, bias])
    return weights, bias


def logits_of(head: LogisticRegression, x: Matrix) -> Scores:
    """[texts, classes]."""
    weights, bias = both_classes(head)
    return np.asarray(x @ weights.T + bias)


def best(logits: Scores, temperature: float) -> tuple[NDArray[np.int64], Scores]:
    """Place and probability of the likeliest class."""
    shares = softmax(logits / temperature, axis=1)
    return shares.argmax(axis=1), shares.max(axis=1)


def calibrated(logits: Scores, y: NDArray[np.int64]) -> float:
    """The temperature under which the rows are likeliest."""

    def loss(log_t: float) -> float:
        return float(-log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(y)), y].mean())

    return round(float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)), 6)


def lowest(sure: Scores, right: NDArray[np.bool_], precision: float) -> float:
    """The lowest confidence from which on so many are right; the one with most right where none is."""
    order = np.argsort(-sure, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(shares >= precision)
    place = enough[-1] if len(enough) else int(np.argmax(shares))
    return round(float(sure[order[place]]) - 1e-9, 9)


def examined(head: Head, found: Matrix, held: Used) -> dict[str, Any]:
    """Held-out rows: the share that is right, answered, right of those answered, and how well confidence
    tells (expected calibration error, ten bins).
    """
    if not held.texts:
        return {"rows": 0}
    places, sure = head.sure(found)
    names = np.asarray([row["label"] for row in held.texts], dtype=object)
    known = names != UNKNOWN
    right = np.asarray(head.labels, dtype=object)[places] == names
    answered = sure >= head.threshold
    bins = np.minimum((sure[known] * 10).astype(int), 9)
    gaps = [
        (bins == b).mean() * abs(sure[known][bins == b].mean() - right[known][bins == b].mean())
        for b in np.unique(bins)
    ]
    return {
        "rows": len(held.texts),
        "accuracy": share(right[known]),
        "answered": share(answered[known]),
        "right_of_answered": share(right[answered]),
        "unknown_found": share(~answered[~known]),
        "calibration_error": round(float(sum(gaps)), 4),
    }


def share(flags: NDArray[np.bool_]) -> float | None:
    """Of true ones; None of nothing."""
    return round(float(flags.mean()), 4) if len(flags) else None
