"""Two kinds of steps that the worker does for whoever keeps datasets: build one, check a file.

Datasets go to OBJECTS/datasets/DIGEST12, whole or not at all.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from rlhf.data.kinds import Name
from rlhf.data.split import KEYS, Key
from rlhf.data.steps import Declared
from rlhf.pipelines.kinds import Kind, Parameters, Work


class Build(Parameters):
    """How a dataset is built."""

    files: dict[str, str] = Field(min_length=1)
    """Files of rows, by the name that errors call them."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    redact_pii: bool = False
    split_by: tuple[Key, ...] = KEYS
    kind: Name | None = None
    """What the rows are; otherwise their columns say it."""
    steps: Declared = Field(default_factory=list)
    """What is done to rows first, such as `[{"clean": {}}, {"limit": {"tokens": 512}}]`."""


class Check(Parameters):
    """Which file is checked, and what errors call it."""

    file: str
    name: str


def build_dataset(work: Work) -> dict[str, Any]:
    """`dataset`: digest, folder and facts. DatasetError, BadRecords."""
    from rlhf.data.build import Plan, build_below
    from rlhf.data.steps import steps_of
    from rlhf.errors import BadRecords, DatasetError
    from rlhf.settings import Settings

    given: Build = work.parameters
    steps = steps_of(given.steps)
    plan = Plan(given.held_out, given.seed, given.redact_pii, given.split_by, given.kind, steps)
    work.tell(f"reading {', '.join(given.files)}")
    work.advance(0.1, "reading", None, None)
    root = work.objects / "datasets"
    try:
        files = [Path(file) for file in given.files.values()]
        manifest, report = build_below(files, root, plan, Settings.from_environment().rows_megabytes)
    except (BadRecords, DatasetError) as error:
        raise DatasetError(_renamed(str(error), given.files)) from error
    for finding in report.findings:
        work.tell(_renamed(f"{finding.level}: {finding.rule} ({finding.count})", given.files))
    rows = manifest["rows"]
    work.tell(f"{rows['train']} rows to train on, {rows['held_out']} held out")
    digest = str(manifest["digest"])
    facts = {**manifest, "shape": manifest["kind"]}
    return {"dataset": {"digest": digest, "folder": str(root / digest[:12]), "facts": facts}}


def check_dataset(work: Work) -> dict[str, Any]:
    """`report`: rows, errors, warnings and findings. DatasetError."""
    from rlhf.data.table_check import check_file
    from rlhf.settings import Settings

    given: Check = work.parameters
    work.advance(0.1, "reading", None, None)
    report = check_file(Path(given.file), given.name, Settings.from_environment().rows_megabytes)
    findings = [asdict(finding) for finding in report.findings]
    counts = {"errors": report.count("error"), "warnings": report.count("warning")}
    return {"report": {"rows": report.rows, **counts, "findings": findings}}


def _renamed(text: str, files: dict[str, str]) -> str:
    """Where a file lies on the server's disk is nobody's business."""
    for name, file in files.items():
        text = text.replace(file, name)
    return text


# Not cached: what is kept is the dataset, by its content, and it can be deleted.
KEEPING = (
    Kind("dataset-build", build_dataset, Build, outputs={"dataset": "built-dataset"}, cached=False),
    Kind("dataset-check", check_dataset, Check, outputs={"report": "check-report"}, cached=False),
)
