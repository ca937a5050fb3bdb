"""The data folder: its layout, its format, and the secrets that live in it.

    DATA/VERSION         {"format": 1}
    DATA/admin-key       the first admin key, mode 0600; scripts and the `loopyard` command read it
    DATA/langfuse-keys.json  key pairs of the trace store, mode 0600, made by it
    DATA/secrets/        keys that the services share with each other, one file each, mode 0600
    DATA/run/            what runs now: addresses, process ids, logs
    DATA/<room>/         one folder per writing process

A newer format is refused, an older one is migrated after a backup.
"""

import base64
import json
import os
import secrets
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli_errors import CommandError

FORMAT = 1
ROOMS = ("gateway", "gateway/uploads", "tools", "jobs", "traces", "models", "adapters", "objects")
FOLDERS = ("config", "secrets", *ROOMS, "run", "run/logs")
KEY_FILES = ("admin-key", "langfuse-keys.json")
# Models are made again from the checkpoint and run/ describes processes: neither belongs in a backup.
NOT_BACKED_UP = {"models", "run", "backups"}

Migration = Callable[[Path], None]
# Format n -> how a folder of format n becomes one of format n + 1. Empty while 1 is the only format.
MIGRATIONS: Mapping[int, Migration] = {}


@dataclass(frozen=True)
class DataFolder:
    """A data folder of the current format.

    Attributes:
        path: absolute path of the folder.
        admin_key_is_new: whether this opening made the first admin key.
    """

    path: Path
    admin_key_is_new: bool = False

    @property
    def run(self) -> Path:
        """Addresses, process ids and heartbeats of what runs now."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log file per service."""
        return self.run / "logs"

    @property
    def admin_key_file(self) -> Path:
        """The first admin key."""
        return self.path / "admin-key"

    def secret(self, name: str) -> str:
        """The secret in `secrets/<name>`."""
        return (self.path / "secrets" / name).read_text().strip()

    def admin_key(self) -> str:
        """The first admin key, `ly_<id>_<secret>`."""
        return self.admin_key_file.read_text().strip()


def new_admin_key() -> str:
    """An API key `ly_<12 hex>_<32 hex>`: 128 random bits behind a public id."""
    return f"ly_{secrets.token_hex(6)}_{secrets.token_hex(16)}"


# The Fernet key has the format of the `cryptography` package: 32 bytes, URL-safe base64.
SECRETS: Mapping[str, Callable[[], str]] = {
    "context-key": lambda: secrets.token_hex(32),
    "llm-api-key": lambda: secrets.token_hex(24),
    "fernet-key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
}


def open_data_folder(path: Path, *, migrations: Mapping[int, Migration] = MIGRATIONS) -> DataFolder:
    """Make the folder, or bring an older one up to date.

    Raises:
        CommandError: the folder is of a newer format, is something else, or cannot be written.
    """
    path = path.absolute()
    try:
        target = max([FORMAT, *(n + 1 for n in migrations)])
        _migrate(path, target, migrations)
        _make_folders(path)
        for name, make in SECRETS.items():
            write_secret(path / "secrets" / name, make)
        fresh = write_secret(path / "admin-key", new_admin_key)
        _write_format(path, target)
    except OSError as error:
        raise CommandError(
            f"The data folder {path} cannot be written: {error.strerror or error}",
            "choose another one with --data, or change its owner and free some space",
        ) from error
    return DataFolder(path, admin_key_is_new=fresh)


def read_format(path: Path) -> int | None:
    """The format of a data folder, None for a folder that is new or empty.

    Raises:
        CommandError: the folder holds something that Loopyard did not write.
    """
    version = path / "VERSION"
    if not version.exists():
        # A container's volume brings lost+found, an earlier failed start brings our own folders.
        names = {p.name for p in path.iterdir()} if path.exists() else set()
        strangers = {n for n in names - {*FOLDERS, *KEY_FILES, "lost+found"} if not n.startswith(".")}
        if strangers:
            raise CommandError(
                f"{path} is not a data folder of Loopyard: it has no VERSION file but holds {min(strangers)}",
                "choose a new or an empty folder with --data",
            )
        return None
    try:
        return int(json.loads(version.read_text())["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{version} cannot be read: {version.read_text()[:60]!r}",
            f'it should hold {{"format": {FORMAT}}}; restore it from a backup',
        ) from error


def write_secret(path: Path, make: Callable[[], str]) -> bool:
    """Write a new secret with mode 0600 unless there is one; says whether it wrote."""
    if path.exists() and path.stat().st_size:
        path.chmod(0o600)
        return False
    # The file gets its name when it is complete, so that a crash leaves no empty key behind.
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
        sink.write(make() + "\n")
    partial.rename(path)
    return True


def back_up(path: Path, found: int) -> Path:
    """Pack a data folder before it is migrated; gives the archive in `DATA/backups/`."""
    folder = path / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    archive = folder / f"format-{found}-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz"
    partial = archive.with_suffix(".partial")
    with tarfile.open(partial, "w:gz") as tar:
        for entry in sorted(path.iterdir()):
            if entry.name not in NOT_BACKED_UP:
                tar.add(entry, arcname=entry.name)
    partial.chmod(0o600)
    return partial.rename(archive)


def write_json(path: Path, value: object) -> None:
    """Replace a small JSON file in one step, so that a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value))
    partial.rename(path)


def _migrate(path: Path, target: int, migrations: Mapping[int, Migration]) -> None:
    found = read_format(path)
    if found is None or found == target:
        return
    if found > target:
        raise CommandError(
            f"{path} has format {found}, this version of Loopyard reads up to {target}",
            "start it with the newer version that wrote it, or choose another folder with --data",
        )
    back_up(path, found)
    for step in range(found, target):
        if step not in migrations:
            raise CommandError(f"{path} has format {found}, which is too old", "no migration leads from it")
        migrations[step](path)
        _write_format(path, step + 1)


def _make_folders(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        (path / name).mkdir(exist_ok=True)
    (path / "secrets").chmod(0o700)


def _write_format(path: Path, number: int) -> None:
    write_json(path / "VERSION", {"format": number})
