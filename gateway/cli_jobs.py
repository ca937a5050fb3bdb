"""`loopyard jobs | train | datasets`: what the worker does, from a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DATA = Path("data")
DataOption = Annotated[
    Path, typer.Option("--data", envvar="LOOPYARD_DATA", help="Data folder of the installation.")
]
FolderOption = Annotated[
    Path, typer.Option("--data-folder", envvar="LOOPYARD_DATA", help="Data folder of the installation.")
]
ProjectOption = Annotated[str, typer.Option("--project", "-p", help="Whose datasets and jobs.")]
FollowOption = Annotated[bool, typer.Option("--follow/--no-follow", help="Stay until the job has ended.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
JobArgument = Annotated[str, typer.Argument(help="Id of the job.")]

app = typer.Typer()
jobs = typer.Typer(
    no_args_is_help=True, help="Jobs of the worker: list, show, follow, cancel, resume, approve."
)
datasets = typer.Typer(no_args_is_help=True, help="Datasets of a project.")
app.add_typer(jobs, name="jobs")
app.add_typer(datasets, name="datasets")


@jobs.command("list")
def list_jobs(data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show the latest jobs, the newest first.

    Example: [bold]loopyard jobs list[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_jobs, print_json

    with GatewayClient.of(data) as client:
        items = client.items("/api/v1/jobs")
    print_json(items) if as_json else print_jobs(items)


@jobs.command("show")
def show_job(job: JobArgument, data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show one job with its steps and what it gave.

    Example: [bold]loopyard jobs show 019ac1f2-...[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_job, print_json

    with GatewayClient.of(data) as client:
        found = client.request("GET", f"/api/v1/jobs/{job}").json()
    print_json(found) if as_json else print_job(found)


@jobs.command("logs")
def logs(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    data: DataOption = DATA,
) -> None:
    """Print what a job said; with -f also what it says from now on, beside a bar.

    Exit code with -f: 0 if the job is done, 1 if it failed or was cancelled.

    Example: [bold]loopyard jobs logs 019ac1f2-... -f[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import follow_job, print_line

    with GatewayClient.of(data) as client:
        if follow:
            raise typer.Exit(0 if follow_job(client, job) == "done" else 1)
        for line in client.items(f"/api/v1/jobs/{job}/log"):
            print_line(line)


@jobs.command("cancel")
def cancel(job: JobArgument, data: DataOption = DATA) -> None:
    """Stop a job; what it had finished stays.

    Example: [bold]loopyard jobs cancel 019ac1f2-...[/]
    """
    _act(job, "cancel", data)


@jobs.command("resume")
def resume(job: JobArgument, data: DataOption = DATA) -> None:
    """Run a job again that failed or was cancelled; what is done is not done again.

    Example: [bold]loopyard jobs resume 019ac1f2-...[/]
    """
    _act(job, "resume", data)


@jobs.command("approve")
def approve(
    job: JobArgument,
    step: Annotated[
        str, typer.Argument(help="The step that waits; not needed where it is the only one.")
    ] = "",
    refuse: Annotated[bool, typer.Option("--refuse", help="Stop the pipeline instead.")] = False,
    note: Annotated[str, typer.Option(help="Why; kept with the answer.")] = "",
    data: DataOption = DATA,
) -> None:
    """Answer a step of a pipeline that waits for a person.

    Example: [bold]loopyard jobs approve 019ac1f2-... --note "looked at twenty pairs"[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import waiting_step

    with GatewayClient.of(data) as client:
        step = step or waiting_step(client.request("GET", f"/api/v1/jobs/{job}").json())
        body = {"step": step, "approved": not refuse, "note": note}
        client.request("POST", f"/api/v1/jobs/{job}/approve", json=body)
    typer.echo(f"{step} is {'refused' if refuse else 'approved'}")


def _act(job: str, verb: str, data: Path) -> None:
    from gateway.cli_client import GatewayClient

    with GatewayClient.of(data) as client:
        found = client.request("POST", f"/api/v1/jobs/{job}/{verb}").json()
    typer.echo(f"{found['id']} is {found['state']}")


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="sft, dpo, kto, reward, embedding, classifier, or a recipe's YAML file.")
    ],
    rows: Annotated[
        str,
        typer.Option("--data", "-d", help="A dataset of the project, a file of rows, or s3://BUCKET/KEY."),
    ],
    name: Annotated[
        str, typer.Option(help="Of the result in the registry; made of dataset and method by default.")
    ] = "",
    base: Annotated[
        str, typer.Option(help="Folder, or name in DATA/models, of what is trained; each method has its own.")
    ] = "",
    parent: Annotated[
        str, typer.Option(help="NAME, or NAME@VERSION, of the registry: go on from it, under its name.")
    ] = "",
    gpu: Annotated[bool, typer.Option("--gpu", help="On a GPU, where the worker has one.")] = False,
    project: ProjectOption = "demo",
    follow: FollowOption = True,
    folder: FolderOption = DATA,
) -> None:
    """Train on a dataset, in the worker, and register the result: `loopyard models list` shows it.

    A file is uploaded first. Preferences are split, so that the result can be examined on what it never saw.
    Ctrl-C leaves the job running. Exit code 0 if it is done.

    Example: [bold]loopyard train dpo --data feedback.jsonl --name polite --project work[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import follow_job
    from gateway.cli_train import read_recipe, trainable

    method, changes = read_recipe(recipe)
    with GatewayClient.of(folder) as client:
        dataset = trainable(client, project, rows)
        body = {"kind": "train", "dataset": dataset, "method": method, "recipe": changes, "name": name}
        body |= {
            "base": str(Path(base).absolute()) if Path(base).is_dir() and base else base,
            "parent": parent,
        }
        body |= {"resource": "gpu"} if gpu else {}
        headers = {"X-Project": project}
        job = client.request("POST", "/api/v1/jobs", json=body, headers=headers).json()["id"]
        typer.echo(f"job {job}")
        if follow:
            if follow_job(client, job) != "done":
                raise typer.Exit(1)
            made = client.request("GET", f"/api/v1/jobs/{job}").json()["result"]
            typer.echo(f"{made['version']['name']} {made['version']['digest'][7:19]}: {made['next']}")


@datasets.command("add")
def add_dataset(
    file: Annotated[str, typer.Argument(help="JSON lines, CSV or Parquet: a file, or s3://BUCKET/KEY.")],
    project: ProjectOption = "demo",
    name: Annotated[str, typer.Option(help="Its name; that of the file by default.")] = "",
    data: DataOption = DATA,
) -> None:
    """Upload a file of rows, and say what it is and what is wrong with it. The gateway fetches an object
    itself, from a bucket that S3_SOURCES names.

    Exit code 1 if rows have errors. Example: [bold]loopyard datasets add feedback.jsonl --project work[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_findings, print_suggestion
    from gateway.cli_train import upload

    with GatewayClient.of(data) as client:
        item = upload(client, project, file, name)
        typer.echo(f"{item['name']}: {item['rows']} rows, {item['shape']}, {item['format']}, {item['id']}")
        headers = {"X-Project": project}
        print_suggestion(client.request("GET", f"/api/v1/datasets/{item['id']}", headers=headers).json())
        found = client.request("POST", f"/api/v1/datasets/{item['id']}/validate", headers=headers).json()
    print_findings(found)
    raise typer.Exit(1 if found["errors"] else 0)


@datasets.command("build")
def build_dataset(
    name: Annotated[str, typer.Argument(help="Of the new dataset.")],
    sources: Annotated[list[str], typer.Argument(help="Uploaded datasets, by name or id.")],
    kind: Annotated[
        str, typer.Option(help="preference, kto, sft, triplet or label; otherwise their columns say it.")
    ] = "",
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN_OF_ROW=COLUMN_OF_FILE, such as output=reply; repeatable."),
    ] = None,
    steps: Annotated[Path | None, typer.Option(help="YAML list of what is done to rows.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the rows that nobody trains on.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Another seed holds out other rows.")] = 0,
    redact_pii: Annotated[bool, typer.Option("--redact-pii", help="Replace personal data.")] = False,
    project: ProjectOption = "demo",
    follow: FollowOption = True,
    data: DataOption = DATA,
) -> None:
    """Build a dataset that can be trained on, in the worker.

    Example: [bold]loopyard datasets build answers faq --map instruction=question --map output=reply[/]
    """
    from gateway.cli_train import ask_for_dataset, read_mapping, read_steps

    body = {"name": name, "sources": sources, "held_out": held_out, "seed": seed, "redact_pii": redact_pii}
    body |= {"kind": kind or None, "mapping": read_mapping(mapping or [])}
    body |= {"steps": read_steps(steps) if steps else []}
    ask_for_dataset(data, project, "build", body, follow)


@datasets.command("from-documents")
def ask_documents(
    name: Annotated[str, typer.Argument(help="Of the new dataset.")],
    kind: Annotated[
        str, typer.Option(help="sft: answers that quote and cite; triplet: passages for search.")
    ] = "sft",
    document: Annotated[
        list[str] | None, typer.Option(help="By name or id; repeatable; all without it.")
    ] = None,
    questions: Annotated[
        str, typer.Option(help="model, rules, or auto: rules where the model is the embedded one.")
    ] = "auto",
    model: Annotated[str, typer.Option(help="Which model asks; that of the chats by default.")] = "",
    each: Annotated[int, typer.Option(help="Questions a passage, of a model.")] = 1,
    passages: Annotated[int, typer.Option(help="Passages that are asked about, at most.")] = 500,
    held_out: Annotated[float, typer.Option(help="Share of the rows; whole documents.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Another seed draws other passages.")] = 0,
    project: ProjectOption = "demo",
    follow: FollowOption = True,
    data: DataOption = DATA,
) -> None:
    """Build a dataset of questions about a project's documents, each with its passage as the source.

    Example: [bold]loopyard datasets from-documents leave --kind triplet --project handbook[/]
    """
    from gateway.cli_train import ask_for_dataset

    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "documents": document or [],
        "questions": questions,
        "model": model,
    }
    body |= {"each": each, "passages": passages, "held_out": held_out, "seed": seed}
    ask_for_dataset(data, project, "from-documents", body, follow)


@datasets.command("list")
def list_datasets(
    project: ProjectOption = "demo", data: DataOption = DATA, as_json: JsonOption = False
) -> None:
    """Show the datasets of a project.

    Example: [bold]loopyard datasets list --project work[/]
    """
    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_datasets, print_json

    with GatewayClient.of(data) as client:
        items = client.request("GET", "/api/v1/datasets", headers={"X-Project": project}).json()["items"]
    print_json(items) if as_json else print_datasets(items)


@datasets.command("show")
def show_dataset(
    dataset: Annotated[str, typer.Argument(help="Name or id.")],
    project: ProjectOption = "demo",
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Show a dataset's columns, text statistics and lineage.

    Example: [bold]loopyard datasets show feedback --project work[/]
    """
    from urllib.parse import quote

    from gateway.cli_client import GatewayClient
    from gateway.cli_job_view import print_dataset, print_json

    with GatewayClient.of(data) as client:
        path = f"/api/v1/datasets/{quote(dataset, safe='')}"
        found = client.request("GET", path, headers={"X-Project": project}).json()
    print_json(found) if as_json else print_dataset(found)
