"""What datasets may be called."""

from pathlib import PurePosixPath
from re import fullmatch, sub

from gateway.datasets.schemas import NAME
from gateway.errors import BadRequest


def checked_name(name: str) -> str:
    """The name as it is. Raises BadRequest for one that a folder could not have."""
    if not fullmatch(NAME, name):
        raise BadRequest(f"{name!r} is no name for a dataset: letters, digits, - . _", param="name")
    return name


def name_of_file(filename: str | None) -> str:
    """A name for what came as a file: its stem, with nothing in it that a folder could not have."""
    stem = PurePosixPath((filename or "").replace("\\", "/")).stem
    return sub(r"[^\w. -]", "-", stem).strip(". -_")[:100] or "dataset"
