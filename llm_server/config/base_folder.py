"""`base_folder`: the transformers folder of a model that is a .gguf file."""

from pathlib import Path

from llm_server.config.marks import Document, Loc
from llm_server.errors import PreparationFailed


def of_entry(document: Document, loc: Loc, text: str, model: str, engine: str) -> Path:
    """That of an entry in a file; relative paths begin there. ConfigRefused with its line."""
    try:
        return check_base_folder(document.path.parent / Path(text).expanduser(), model, engine)
    except (PreparationFailed, RuntimeError) as error:
        raise document.refusal((*loc, "base_folder"), str(error)) from None


def check_base_folder(folder: Path, model: str, engine: str) -> Path:
    """The folder, where it can serve. PreparationFailed says why not."""
    if engine != "llama_cpp" or not Path(model).expanduser().is_file():
        raise PreparationFailed(f"A base folder is for a .gguf file on llama_cpp, not {model} on {engine}.")
    try:
        there = (folder.expanduser() / "config.json").is_file()
    except (OSError, RuntimeError):
        # A name too long, or the home of a user that there is not.
        there = False
    if not there:
        raise PreparationFailed(
            f"{folder} has no config.json: it is not the transformers folder that the base was made from."
        )
    return folder.expanduser()
