"""Models from the Hugging Face hub, by name."""

import re
from collections.abc import Callable
from pathlib import Path

from llm_server.errors import PreparationFailed

FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt"]


def check_name(name: str) -> None:
    """PreparationFailed for what cannot be a name on the hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name.partition(":")[0]):
        raise PreparationFailed(
            f"{name!r} is neither `starter`, nor a file or folder here, nor a hub name like Qwen/Qwen3-0.6B."
        )


def download(name: str, folder: Path, progress: Callable[[str], None]) -> Path:
    """`owner/name` as a folder, or `owner/name:file.gguf` as one file. PreparationFailed where it cannot
    be had.
    """
    check_name(name)
    repository, _, file = name.partition(":")
    # Imported here: it takes a second that only a download is worth.
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    progress(f"Downloading {name}")
    try:
        if file:
            return Path(hf_hub_download(repository, file, cache_dir=folder))
        return Path(snapshot_download(repository, allow_patterns=FILES, cache_dir=folder))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise PreparationFailed(f"{name} could not be downloaded: {str(error).splitlines()[0]}") from error
