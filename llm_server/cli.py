"""The commands of the room."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_server.config.encoders import MINILM
from llm_server.config.resolve import read_config
from llm_server.config.source import SettingsSource
from llm_server.convert.converter import fetch_converter
from llm_server.convert.export import EVERY, Export, export
from llm_server.convert.prepare import (
    Prepared,
    prepare_chat,
    prepare_classifier,
    prepare_embedder,
    prepare_onnx_chat,
    prepare_sentence,
    transformers_folder,
)
from llm_server.doctor import examine
from llm_server.errors import LlmServerError
from llm_server.settings import Settings

app = typer.Typer(
    help="Serve language models over the OpenAI API. Settings: the environment (LLM_...), then options.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)
Model = Annotated[
    str | None, typer.Option(help="`starter`, a .gguf file, a transformers folder, or a hub name.")
]
Data = Annotated[Path | None, typer.Option(help="Folder for prepared models (LLM_DATA).")]


def _settings(**overrides: object) -> Settings:
    return _read(SettingsSource(overrides))


def _read(source: SettingsSource) -> Settings:
    try:
        return source.read()
    except (ValidationError, ValueError) as error:
        console.print(f"[red]Settings:[/] {error}")
        raise typer.Exit(2) from error


def _settings_help() -> str:
    """Every setting with its default, for --help."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" Default: {field.default}."
        lines.append(f"LLM_{name.upper()}: {' '.join((field.description or '').split())}{default}")
    return "\n\n".join(["Settings from the environment:", *lines])


@app.command(epilog=_settings_help())
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (LLM_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (LLM_PORT).")] = None,
    model: Model = None,
    data: Data = None,
    backend: Annotated[str | None, typer.Option(help="llama_cpp, onnx or echo (LLM_BACKEND).")] = None,
    lora: Annotated[
        str | None, typer.Option(help="Adapters: `name=path` or paths, separated by commas (LLM_LORA).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of several models, followed while serving (LLM_CONFIG).")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run are finished first."""
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = {"host": host, "port": port, "model": model, "data": data, "backend": backend, "lora": lora}
    source = SettingsSource({**options, "config": config})
    settings = _read(source)
    from llm_server.serve import run

    sys.exit(run(settings, source))


def _prepared(settings: Settings, tell: Callable[[str], None]) -> Iterator[Prepared]:
    """Every model of the settings or of their file."""
    wanted = read_config(settings)
    for spec in wanted.models:
        one = spec.settings
        if one.backend == "onnx":
            yield prepare_onnx_chat(one.model, one.data, one.precision, tell, one.context)
        elif one.backend == "llama_cpp":
            yield prepare_chat(one.model, one.data, one.quantisation, tell)
    for encoder in wanted.encoders:
        if encoder.task != "embed":
            yield prepare_classifier(encoder.model, settings.data, tell)
        elif encoder == MINILM and settings.backend != "onnx":
            yield prepare_embedder(settings.data, tell)
        else:
            yield prepare_sentence(encoder.model, settings.data, encoder.sentence, tell)[0]


@app.command()
def prepare(
    model: Model = None,
    data: Data = None,
    quantisation: Annotated[
        str | None, typer.Option(help="f32, f16, q8_0 or q4_k_m (LLM_QUANTISATION).")
    ] = None,
    converter: Annotated[
        bool, typer.Option("--converter", help="Only fetch llama.cpp's converter scripts.")
    ] = False,
    archive: Annotated[
        Path | None, typer.Option(help="Take them out of this llama-cpp-python source archive.")
    ] = None,
) -> None:
    """Make the files that `serve` loads, so that it starts at once. Does nothing where they are there
    already.
    """
    settings = _settings(model=model, data=data, quantisation=quantisation)
    try:
        with console.status("Fetching llama.cpp's converter") as status:
            folder = fetch_converter(archive)
            console.print(f"Converter: {folder}")
            if converter:
                return
            tell = status.update
            for prepared in _prepared(settings, tell):
                console.print(f"{prepared.id}: {prepared.path}")
    except LlmServerError as error:
        console.print(f"[red]{error.message}[/]")
        raise typer.Exit(1) from error


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A transformers folder, a LoRA, `starter`, a hub name.")],
    target: Annotated[Path, typer.Argument(help="The file to write; a folder for ONNX and transformers.")],
    kind: Annotated[
        str | None, typer.Option("--to", help=f"{', '.join(EVERY)}. Default: q8_0; of a LoRA f16.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="For a LoRA: its base, like SOURCE; for a bank the ONNX folder that it is to fit."),
    ] = None,
    merge: Annotated[
        Path | None, typer.Option(help="A PEFT LoRA folder to add to the weights before.", exists=True)
    ] = None,
    modelfile: Annotated[
        bool, typer.Option("--modelfile", help="Write a Modelfile for Ollama beside the GGUF file.")
    ] = False,
    data: Data = None,
) -> None:
    """Write a model as GGUF or for ONNX Runtime, or a LoRA adapter for either (f16, bank). Nothing half-made
    is left behind.

    Examples: [bold]convert starter out --to onnx-int4[/], [bold]convert MODEL out.gguf --merge LORA --to
    q4_k_m --modelfile[/], [bold]convert MODEL merged --merge LORA --to transformers[/], [bold]convert LORA
    lora.gguf --base MODEL[/], [bold]convert LORA lora.safetensors --base out --to bank[/]
    """
    folder = _settings(data=data).data
    try:
        with console.status(f"Converting {source}") as status:
            found = _placed(source, folder, status.update)
            under = None if base is None else _placed(base, folder, status.update)
            written = export(Export(found, target, kind, under, merge, modelfile), status.update)
    except LlmServerError as error:
        console.print(f"[red]{escape(error.message)}[/]", soft_wrap=True)
        raise typer.Exit(1) from error
    for path in written:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        console.print(f"{path}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB", soft_wrap=True)


def _placed(name: str, data: Path, tell: Callable[[str], None]) -> Path:
    """What is there as it is; what is not is the starter, or fetched from the hub."""
    return Path(name) if Path(name).exists() else transformers_folder(name, data, tell)


@app.command()
def doctor(model: Model = None, data: Data = None) -> None:
    """Look at everything that `serve` needs and say what is missing (exit status 1)."""
    settings = _settings(model=model, data=data)
    findings = examine(settings)
    table = Table("", "what", "finding", box=None)
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.good else "[red]no[/]", finding.what, finding.text)
    console.print(table)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
