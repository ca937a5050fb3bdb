"""llama.cpp's own converter scripts, out of the source distribution of the llama-cpp-python that is
installed.

The wheel does not carry them, and the `gguf` package of the index is older than the one that they
need (`AttributeError: DFLASH`). The source distribution (MIT) does; 2 MB of it are unpacked once into
the cache folder.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from llm_server.errors import PreparationFailed

WANTED = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion/", "gguf-py/gguf/", "LICENSE")
MARKER = "/vendor/llama.cpp/"


def cache_folder() -> Path:
    """`LOOPYARD_CACHE`, or `~/.cache/loopyard`."""
    given = os.environ.get("LOOPYARD_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "loopyard"


def converter_folder() -> Path:
    """Where the scripts are, or will be."""
    return cache_folder() / f"llama.cpp-{version('llama-cpp-python')}"


def has_converter() -> bool:
    """Whether they are there; the folder appears in one step."""
    return (converter_folder() / "convert_hf_to_gguf.py").is_file()


def fetch_converter(archive: Path | None = None) -> Path:
    """Unpack the scripts from `archive`, or download the source distribution first. Idempotent.

    PreparationFailed when there is neither an archive nor a package index.
    """
    folder = converter_folder()
    if has_converter():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converter-") as scratch:
        source = archive or _download(Path(scratch))
        unpacked = Path(scratch) / "tree"
        _unpack(source, unpacked)
        if folder.exists():
            shutil.rmtree(folder)
        unpacked.replace(folder)
    return folder


def _download(into: Path) -> Path:
    requirement = f"llama-cpp-python=={version('llama-cpp-python')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", "llama-cpp-python", "--dest", str(into), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PreparationFailed(
            f"The converter comes with the source of {requirement}, which could not be downloaded: "
            f"{done.stderr.strip()[-400:]}. Download it elsewhere and run `python -m llm_server prepare "
            "--converter --archive llama_cpp_python-....tar.gz`."
        )
    return next(into.glob("*.tar.gz"))


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            _, found, name = member.name.partition(MARKER)
            if not found or not member.isfile() or not name.startswith(WANTED):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content is not None:
                target.write_bytes(content.read())
    if not (folder / "convert_hf_to_gguf.py").is_file():
        raise PreparationFailed(f"{archive} has no llama.cpp converter inside.")
