"""Models from the Hugging Face hub, by name.

They lie in FOLDER/OWNER--NAME/COMMIT. The file `current` beside that names the commit which is whole, so that
a model that was downloaded once needs no network.
"""

import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock

from llm_server.convert.hub_file import HubFile, Report, fetch
from llm_server.errors import PreparationFailed

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt")
CURRENT = "current"
Tell = Callable[[str], None]


def check_name(name: str) -> None:
    """PreparationFailed for what cannot be a name on the hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name.partition(":")[0]):
        raise PreparationFailed(
            f"{name!r} is neither `starter`, nor a file or folder here, nor a hub name like Qwen/Qwen3-0.6B."
        )


def download(name: str, folder: Path, progress: Tell, endpoint: str | None = None) -> Path:
    """`owner/name` as a folder, or `owner/name:file.gguf` as one file. What is there is not fetched again,
    and what arrives before a failure is kept. `endpoint` is HF_ENDPOINT by default.

    PreparationFailed says why it cannot be had and what helps.
    """
    check_name(name)
    repository, _, file = name.partition(":")
    place = folder / repository.replace("/", "--")
    place.mkdir(parents=True, exist_ok=True)
    # Imported here: it takes a second that only a download is worth.
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(endpoint=endpoint)
    progress(f"Downloading {name}")
    try:
        with FileLock(place / "lock"):
            return _fetched(api, repository, file, place, progress)
    except (httpx2.HTTPError, OSError) as error:
        kept = _kept(place, file)
        if kept is not None and not isinstance(error, RepositoryNotFoundError):
            return kept
        why = _remedy(error, api.endpoint, repository)
        raise PreparationFailed(f"{name} could not be downloaded: {why}") from error


def _fetched(api: "HfApi", repository: str, file: str, place: Path, progress: Tell) -> Path:
    """All wanted files of the newest commit."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented there

    commit, files = _listed(api, repository)
    wanted = [one for one in files if one.name == file or (not file and _is_wanted(one.name))]
    if not wanted:
        there = ", ".join(sorted(one.name for one in files)) or "nothing"
        raise PreparationFailed(f"{repository} has no {file or 'weights in safetensors'}; it has {there}.")
    target = place / commit
    report = Report(f"{repository}:{file}" if file else repository, sum(one.size for one in wanted), progress)
    headers = build_hf_headers()
    for one in wanted:
        fetch(one, target, headers, report)
    (place / f"{CURRENT}{_suffix(file)}").write_text(commit)
    return target / file if file else target


def _listed(api: "HfApi", repository: str) -> tuple[str, list[HubFile]]:
    """The newest commit and its files. Names that lead out of a folder are left out."""
    from huggingface_hub import hf_hub_url

    info = api.model_info(repository, files_metadata=True)
    commit = str(info.sha)
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise PreparationFailed(f"{api.endpoint} names no commit of {repository}.")
    files = []
    for sibling in info.siblings or []:
        path = PurePosixPath(sibling.rfilename)
        if path.is_absolute() or ".." in path.parts:
            continue
        url = hf_hub_url(repository, sibling.rfilename, revision=commit, endpoint=api.endpoint)
        sha256 = sibling.lfs.sha256 if sibling.lfs else None
        files.append(HubFile(sibling.rfilename, url, sibling.size or 0, sha256, sibling.blob_id))
    return commit, files


def _is_wanted(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in FILES)


def _kept(place: Path, file: str) -> Path | None:
    """What an earlier download has left whole."""
    current = place / f"{CURRENT}{_suffix(file)}"
    if not current.is_file():
        return None
    found = place / current.read_text() / file
    return found if found.exists() else None


def _suffix(file: str) -> str:
    return f"-{file.replace('/', '--')}" if file else ""


def _remedy(error: Exception, endpoint: str, repository: str) -> str:
    """What happened, and what helps."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return f"accept its terms at {endpoint}/{repository} and set HF_TOKEN to a token of that account."
    if isinstance(error, RepositoryNotFoundError):
        return f"{endpoint} has no such model, or it is private. Check the name, or set HF_TOKEN."
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, HfHubHTTPError):
        return f"{reason} What has arrived is kept: start again later."
    return (
        f"{endpoint}: {reason}. What has arrived is kept: start again when the hub can be reached. Without a "
        f"network, run `hf download {repository} --local-dir FOLDER` elsewhere, bring the folder here and "
        "name it instead."
    )
