"""Addresses of databases as people type them."""

from pathlib import Path

from gateway.cli_errors import CommandError

SQLITE = "sqlite:///"


def absolute_url(url: str, folder: Path) -> str:
    """Make the file of an SQLite address absolute: the services run in a folder of their own.

    Raises:
        CommandError: the address is none, or its file does not exist.
    """
    if "://" not in url:
        if not (folder / url).is_file():
            example = "sqlite:///shop.sqlite or postgresql://user:password@host/name"
            raise CommandError(f"{url!r} is not the address of a database", f"it looks like {example}")
        url = SQLITE + url
    if not url.startswith(SQLITE):
        return url
    name, _, options = url[len(SQLITE) :].partition("?")
    file = (folder / name).resolve()
    if not file.is_file():
        raise CommandError(f"There is no file {file}", "check the path; it starts at the current folder")
    return f"{SQLITE}{file}{'?' + options if options else ''}"
