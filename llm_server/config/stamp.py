"""Has what lies at a path changed since it was loaded?"""

from pathlib import Path

Stamp = tuple[tuple[str, int, int], ...]
"""Name, bytes and time of change of each file: another stamp is other content."""


def stamp(path: Path) -> Stamp:
    """Of a file, or of the files right in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = ((file.name, file.stat()) for file in files if file.is_file())
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)
