"""What `serve` needs, looked at one by one."""

import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path

import psutil

from llm_server.config.resolve import read_config
from llm_server.convert.converter import converter_folder, has_converter
from llm_server.convert.minilm import minilm_folder
from llm_server.convert.prepare import STARTER_FOLDER
from llm_server.errors import LlmServerError
from llm_server.settings import STARTER, Settings

GIGABYTE = 1 << 30
ROOM = GIGABYTE
"""Free space that a conversion of the embedded models never needs more than."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Every finding; nothing is changed."""
    looks: list[tuple[str, Callable[[], str]]] = [
        ("llama.cpp", _llama),
        ("converter", _converter),
        ("model", lambda: _models(settings)),
        ("embedding model", lambda: str(minilm_folder())),
        ("data folder", lambda: _data(settings.data)),
        ("memory", lambda: f"{psutil.virtual_memory().available / GIGABYTE:.1f} GB free"),
        ("port", lambda: _port(settings.host, settings.port)),
    ]
    if settings.backend == "onnx" or len(onnxruntimes()) > 1:
        looks.insert(1, ("ONNX Runtime", lambda: _onnx(settings.provider)))
    return [_look(what, look) for what, look in looks]


def onnxruntimes() -> list[str]:
    """The packages that bring ONNX Runtime; more than one have written over each other's files."""
    named = (one.name.lower().replace("_", "-") for one in distributions())
    return sorted({name for name in named if name in ("onnxruntime", "onnxruntime-gpu")})


def _onnx(provider: str) -> str:
    packages = onnxruntimes()
    if len(packages) > 1:
        remedy = f"`pip uninstall -y {' '.join(packages)}`, then install the one that is wanted"
        raise OSError(f"{' and '.join(packages)} lie in the same folder: {remedy}")
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if not any(provider in name.lower() for name in there):
        raise OSError(
            f"it has no provider for {provider}: `pip uninstall -y onnxruntime && pip install --no-deps "
            f"onnxruntime-gpu=={onnxruntime.__version__}`, or set LLM_PROVIDER=cpu"
        )
    return f"{onnxruntime.__version__}; {', '.join(there)}"


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except LlmServerError as error:
        return Finding(what, False, error.message)
    except (OSError, ImportError) as error:
        return Finding(what, False, str(error))


def _llama() -> str:
    # Imported here: that it cannot be loaded (another processor's build) is a finding.
    import llama_cpp.llama_cpp as llama

    features = llama.llama_print_system_info().decode()
    return f"llama-cpp-python {version('llama-cpp-python')}; {features.strip(' |')[:90]}"


def _converter() -> str:
    if not has_converter():
        raise OSError(f"not at {converter_folder()}: run `python -m llm_server prepare --converter`")
    return str(converter_folder())


def _models(settings: Settings) -> str:
    if settings.config is None:
        return _model(settings.model)
    return f"{', '.join(spec.id for spec in read_config(settings).models)}, in {settings.config}"


def _model(model: str) -> str:
    if model == STARTER and not (STARTER_FOLDER / "config.json").is_file():
        raise OSError(f"the starter is not at {STARTER_FOLDER}: set LLM_MODEL")
    path = STARTER_FOLDER if model == STARTER else Path(model).expanduser()
    return str(path) if path.exists() else f"{model}, from the Hugging Face hub"


def _data(folder: Path) -> str:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < ROOM:
        raise OSError(f"{folder}: only {free / GIGABYTE:.1f} GB are free")
    return f"{folder}, {free / GIGABYTE:.0f} GB free"


def _port(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(f"{host}:{port} is taken: stop what uses it or set LLM_PORT") from error
    return f"{host}:{port} is free"
