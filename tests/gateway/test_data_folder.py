"""The data folder: made, refused, migrated, its secrets closed to others."""

import json
import re
import stat
import tarfile
from pathlib import Path

import pytest

from gateway.cli_errors import CommandError
from gateway.data_folder import FORMAT, SECRETS, open_data_folder, read_format
from gateway.lock import only_one


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(path: Path) -> dict[str, str]:
    return {str(p.relative_to(path)): p.read_text() for p in sorted(path.rglob("*")) if p.is_file()}


def test_a_new_folder_has_its_rooms_and_closed_secrets(tmp_path: Path) -> None:
    data = open_data_folder(tmp_path / "deep" / "data")
    assert data.path.is_absolute()
    for name in ("config", "secrets", "gateway", "tools", "jobs", "traces", "models", "objects", "run/logs"):
        assert (data.path / name).is_dir()
    assert read_format(data.path) == FORMAT
    assert [mode(data.path / "secrets" / name) for name in SECRETS] == [0o600] * len(SECRETS)
    assert mode(data.path / "secrets") == 0o700
    assert mode(data.admin_key_file) == 0o600
    assert re.fullmatch(r"ly_[0-9a-f]{12}_[0-9a-f]{32}", data.admin_key())
    assert data.admin_key_is_new


def test_the_secrets_fit_those_who_use_them(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    data = open_data_folder(tmp_path)
    assert len(bytes.fromhex(data.secret("context-key"))) == 32
    assert Fernet(data.secret("fernet-key")).decrypt(Fernet(data.secret("fernet-key")).encrypt(b"x")) == b"x"


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    before = files(tmp_path)
    again = open_data_folder(tmp_path)
    assert files(tmp_path) == before
    assert not again.admin_key_is_new


def test_a_key_that_others_could_read_is_closed(tmp_path: Path) -> None:
    open_data_folder(tmp_path).admin_key_file.chmod(0o644)
    assert mode(open_data_folder(tmp_path).admin_key_file) == 0o600


def test_an_empty_key_left_by_a_full_disk_is_made_again(tmp_path: Path) -> None:
    data = open_data_folder(tmp_path)
    data.admin_key_file.write_text("")
    assert open_data_folder(tmp_path).admin_key().startswith("ly_")


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    (tmp_path / "VERSION").write_text(json.dumps({"format": FORMAT + 1}))
    before = files(tmp_path)
    with pytest.raises(CommandError, match=f"format {FORMAT + 1}, this version of Loopyard reads up to"):
        open_data_folder(tmp_path)
    assert files(tmp_path) == before


def test_an_older_format_is_migrated_after_a_backup(tmp_path: Path) -> None:
    data = open_data_folder(tmp_path)
    (tmp_path / "gateway" / "gateway.db").write_text("old")
    (tmp_path / "models" / "big.gguf").write_text("can be made again")

    def rename(path: Path) -> None:
        (path / "gateway" / "gateway.db").write_text("new")

    open_data_folder(tmp_path, migrations={FORMAT: rename})
    assert read_format(tmp_path) == FORMAT + 1
    assert (tmp_path / "gateway" / "gateway.db").read_text() == "new"
    (archive,) = (tmp_path / "backups").iterdir()
    assert mode(archive) == 0o600
    with tarfile.open(archive) as tar:
        member = tar.extractfile("gateway/gateway.db")
        assert member
        assert member.read() == b"old"
        assert "secrets/fernet-key" in tar.getnames()
        assert not [name for name in tar.getnames() if name.startswith(("models", "run"))]
    assert data.admin_key() == (tmp_path / "admin-key").read_text().strip()


def test_a_migration_that_fails_leaves_the_old_format_and_the_backup(tmp_path: Path) -> None:
    open_data_folder(tmp_path)

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(CommandError, match="No space left on device"):
        open_data_folder(tmp_path, migrations={FORMAT: fail})
    assert read_format(tmp_path) == FORMAT
    assert len(list((tmp_path / "backups").iterdir())) == 1


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("sea")
    with pytest.raises(CommandError, match=r"no VERSION file but holds holiday\.jpg"):
        open_data_folder(tmp_path)
    assert files(tmp_path) == {"holiday.jpg": "sea"}


def test_a_broken_version_file_is_named(tmp_path: Path) -> None:
    open_data_folder(tmp_path)
    (tmp_path / "VERSION").write_text("eins")
    with pytest.raises(CommandError, match=r"VERSION cannot be read: 'eins'"):
        open_data_folder(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written: Not a directory"):
        open_data_folder(tmp_path / "file" / "data")


def test_the_lock_names_its_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    import os

    with (
        only_one(tmp_path / "lock", "The data folder"),
        pytest.raises(CommandError, match=f"already run by process {os.getpid()}"),
        only_one(tmp_path / "lock", "The data folder"),
    ):
        pass
    with only_one(tmp_path / "lock", "The data folder"):
        pass
