"""Kinds of steps that the worker does for whoever keeps datasets: build one, check a file, ask questions.

Datasets go to OBJECTS/datasets/DIGEST12, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from rlhf.data.kinds import Name
from rlhf.data.questions import By
from rlhf.data.questions import Kind as QuestionKind
from rlhf.data.split import KEYS, Key
from rlhf.data.steps import Declared
from rlhf.pipelines.kinds import Kind, Parameters, Work

ROWS = "rows"
DOCUMENTS = "documents.jsonl"


class Build(Parameters):
    """How a dataset is built."""

    files: dict[str, str] = Field(default_factory=dict)
    """Files of rows, by the name that errors call them; beside those at the port."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    redact_pii: bool = False
    split_by: tuple[Key, ...] = KEYS
    kind: Name | None = None
    """What the rows are; otherwise their columns say it."""
    steps: Declared = Field(default_factory=list)
    """What is done to rows first, such as `[{"clean": {}}, {"limit": {"tokens": 512}}]`."""


class Questions(Parameters):
    """What is asked about which passages."""

    file: str
    """JSON lines of passages, as `data.questions.Chunk`."""
    kind: QuestionKind = "sft"
    by: By = "auto"
    """`auto`: by rules where the model is the embedded one, which writes poor questions."""
    model: str = ""
    """Its id in the server; empty: the one that answers chats."""
    each: int = Field(default=1, ge=1, le=5)
    """Questions a passage, of a model; by rules one."""
    passages: int = Field(default=500, ge=1, le=5000)
    """At most; which ones, the seed says."""
    seed: int = Field(default=0, ge=0)


class Check(Parameters):
    """Which file is checked, and what errors call it."""

    file: str
    name: str


def build_dataset(work: Work) -> dict[str, Any]:
    """`dataset`: digest, folder and facts. DatasetError, BadRecords."""
    from rlhf.data.build import Plan, build_below
    from rlhf.data.folder import refuse_withdrawn
    from rlhf.data.steps import steps_of
    from rlhf.errors import BadRecords, DatasetError
    from rlhf.settings import Settings

    given: Build = work.parameters
    steps = steps_of(given.steps)
    asked = work.inputs.get(ROWS)
    origin = asked["origin"] if asked else None
    plan = Plan(
        given.held_out, given.seed, given.redact_pii, given.split_by, given.kind, steps, origin=origin
    )
    work.tell(f"reading {', '.join(given.files) or 'what was asked'}")
    work.advance(0.1, "reading", None, None)
    root = work.objects / "datasets"
    try:
        depots = work.depots
        files = [depots.here(Path(file)) for file in given.files.values()]
        files += [work.path(ROWS)] if asked else []
        limit = Settings.from_environment().rows_megabytes
        manifest, report = build_below(files, root, plan, limit, _watch(work, 0.1))
        if depots.datasets.keep(built := root / manifest["digest"][:12]):
            refuse_withdrawn(built)
    except (BadRecords, DatasetError) as error:
        raise DatasetError(_renamed(str(error), given.files)) from error
    for finding in report.findings:
        work.tell(_renamed(f"{finding.level}: {finding.rule} ({finding.count})", given.files))
    rows = manifest["rows"]
    work.tell(f"{rows['train']} rows to train on, {rows['held_out']} held out")
    digest = str(manifest["digest"])
    facts = {**manifest, "shape": manifest["kind"]}
    return {"dataset": {"digest": digest, "folder": str(root / digest[:12]), "facts": facts}}


def ask_questions(work: Work) -> dict[str, Any]:
    """`rows`: a file of rows about passages, and how they came about. As `build_dataset`, DeployError."""
    from collections import Counter

    from rlhf.data import asking, questions
    from rlhf.errors import DatasetError
    from rlhf.records import scan_shape, write_atomically

    given: Questions = work.parameters
    all_chunks = scan_shape(work.depots.here(Path(given.file)), questions.Chunk).whole()
    chunks = questions.drawn(all_chunks, given.passages, given.seed)
    counts: Counter[str] = Counter(documents=len({c.document for c in chunks}), passages=len(chunks))
    rules = given.by == "rules" or (given.by == "auto" and asking.is_embedded(given.model))
    if rules:
        by, found = questions.RULES, questions.by_rules(chunks, given.kind, given.seed, counts)
    else:
        with asking.from_settings(given.model) as model:
            by = f"model {model.name}"
            work.tell(f"{model.name} is asked about {len(chunks)} passages")
            found = questions.by_model(model, chunks, given.each, given.seed, counts, _watch(work, 0.0))
    rows = [questions.ROWS[given.kind](one) for one in questions.unlike(found, counts)]
    counts["rows"] = len(rows)
    if not rows:
        told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        raise DatasetError(f"no question came of the passages, by {by}: {told}; take others, or `rules`")
    write_atomically(work.folder / DOCUMENTS, (row.line().encode() + b"\n" for row in rows))
    work.tell(f"{len(rows)} rows about {counts['documents']} documents, by {by}")
    settings = {"each": given.each, "passages": given.passages, "seed": given.seed}
    origin = {"by": by, "settings": settings, "counts": {name: n for name, n in counts.items() if n}}
    return {ROWS: {"path": DOCUMENTS, "origin": origin}}


def check_dataset(work: Work) -> dict[str, Any]:
    """`report`: rows, errors, warnings and findings. DatasetError."""
    from rlhf.data.table_check import check_file
    from rlhf.settings import Settings

    given: Check = work.parameters
    work.advance(0.1, "reading", None, None)
    file = work.depots.here(Path(given.file))
    report = check_file(file, given.name, Settings.from_environment().rows_megabytes)
    findings = [asdict(finding) for finding in report.findings]
    counts = {"errors": report.count("error"), "warnings": report.count("warning")}
    return {"report": {"rows": report.rows, **counts, "findings": findings}}


def _watch(work: Work, done: float) -> Callable[[float, str], None]:
    """Tells the worker what is done, behind what was done before."""
    return lambda share, text: work.advance(done + (1 - done) * share, text, None, None)


def _renamed(text: str, files: dict[str, str]) -> str:
    """Where a file lies on the server's disk is nobody's business."""
    for name, file in files.items():
        text = text.replace(file, name)
    return text


# Not cached: what is kept is the dataset, by its content, and it can be deleted.
KEEPING = (
    Kind("dataset-questions", ask_questions, Questions, outputs={ROWS: ROWS}, cached=False),
    Kind(
        "dataset-build",
        build_dataset,
        Build,
        {ROWS: ROWS},
        frozenset({ROWS}),
        {"dataset": "built-dataset"},
        cached=False,
    ),
    Kind("dataset-check", check_dataset, Check, outputs={"report": "check-report"}, cached=False),
)
