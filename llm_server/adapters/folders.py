"""Which places of the server's disk the API may load adapters from."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from llm_server.errors import Forbidden


class Folders:
    """Everything below some folders, with links followed. A path elsewhere is refused before it is looked at,
    so that nobody finds out over HTTP what lies there.
    """

    def __init__(
        self, named: Iterable[Path], served: Callable[[], Iterable[Path]], trusted: Callable[[], bool]
    ) -> None:
        """Folders that the operator names, the adapters of the settings, beside which others may lie, and
        whether any place will do now.
        """
        self._named, self._served, self._trusted = tuple(named), served, trusted

    def admit(self, text: str) -> Path:
        """The place that a path means. Forbidden (path_not_allowed) where it, or a link in it, leads out."""
        if self._trusted():
            return Path(text)
        allowed = tuple(self._allowed())
        try:
            place = Path(text).expanduser().resolve()
            inside = _below(place, allowed) and all(_below(link, allowed) for link in _links(place))
        except (OSError, ValueError, RuntimeError):
            # A name too long, a byte that no path has, a user or an end of links that does not exist.
            inside = False
        if not inside:
            folders = ", ".join(map(str, allowed)) or "none"
            raise Forbidden(
                f"{text} is outside the folders that adapters may be loaded from ({folders}). Copy it there, "
                "or name its folder in LLM_ADAPTER_FOLDERS.",
                param="source",
                code="path_not_allowed",
            )
        return place

    def _allowed(self) -> Iterator[Path]:
        found = [folder.expanduser().resolve() for folder in self._named]
        for path in self._served():
            place = path.expanduser().absolute()
            # The folder of an adapter that lies right in the root would be the whole disk.
            found.append((place if place.parent == Path(place.anchor) else place.parent).resolve())
        yield from dict.fromkeys(found)


def _below(place: Path, folders: Iterable[Path]) -> bool:
    return any(place.is_relative_to(folder) for folder in folders)


def _links(place: Path) -> Iterator[Path]:
    """Where the links right in a folder lead; an adapter has no folders of its own."""
    if place.is_dir():
        yield from (entry.resolve() for entry in place.iterdir() if entry.is_symlink())
