"""`loopyard doctor`: what is wrong on this machine and with this data folder, each with its remedy."""

import importlib.metadata
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from gateway.cli_client import GatewayClient
from gateway.cli_errors import CommandError
from gateway.cli_models import said
from gateway.cli_status import Facts, collect_status
from gateway.data_folder import FORMAT, SECRETS, read_format
from gateway.ports import owner
from gateway.services import Ports, read_environment
from rlhf.errors import ObjectError, SettingsError

ROOMS = ("llm_server", "tools", "graphs", "gateway", "rlhf", "annotation")
STAND_INS = {"onnxruntime": ("onnxruntime-gpu",)}
"""Packages that replace another one, with the same modules."""
SPACE_LOW = 2 * 2**30  # bytes; models, uploads and indexes of a small installation
MEND = "mend the server or the settings S3_*; .env.example explains them"
CONSOLE = Path(__file__).with_name("console") / "dist" / "index.html"


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    level: Level
    name: str
    text: str
    remedy: str = ""


def examine(data: Path, ports: Ports) -> Iterator[Finding]:
    """Run every check; one that fails stops no other."""
    data = data.absolute()
    checks: list[Callable[[], Finding]] = [
        _python,
        _packages,
        lambda: _folder(data),
        lambda: _space(data),
        lambda: _keys(data),
        lambda: _models(data),
        _console,
    ]
    for check in checks:
        yield check()
    yield from _objects()
    yield from _services(data, ports)


def _python() -> Finding:
    return Finding(Level.OK, "python", f"{sys.version.split()[0]} ({sys.executable})")


def _packages() -> Finding:
    """Whether what pyproject.toml asks for the services is installed."""
    from packaging.requirements import Requirement

    wrong = []
    for line in importlib.metadata.requires("loopyard") or []:
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": r}) for r in ("", *ROOMS)):
            continue
        version = installed(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, wanted {requirement.specifier}")
    if wrong:
        return Finding(Level.WRONG, "packages", "; ".join(wrong[:5]), "run `make run`, which installs them")
    return Finding(Level.OK, "packages", "all installed")


def installed(name: str) -> str | None:
    """Version of a package, or of the one that stands in its place; None where neither is there."""
    for one in (name, *STAND_INS.get(name, ())):
        try:
            return importlib.metadata.version(one)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _folder(data: Path) -> Finding:
    if not data.exists():
        parent = next(p for p in data.parents if p.exists())
        if not os.access(parent, os.W_OK):
            return Finding(
                Level.WRONG, "data folder", f"{parent} may not be written", "choose --data elsewhere"
            )
        return Finding(Level.OK, "data folder", f"{data} will be made by `loopyard up`")
    try:
        found = read_format(data)
    except CommandError as error:
        return Finding(Level.WRONG, "data folder", str(error.args[0]), error.remedy)
    if found is not None and found > FORMAT:
        text = f"{data} has format {found}, this version reads up to {FORMAT}"
        return Finding(Level.WRONG, "data folder", text, "use the newer version that wrote it")
    closed = [p for p in (data, *data.iterdir()) if not os.access(p, os.R_OK | os.W_OK)]
    if closed:
        remedy = f"chown -R {os.geteuid()} {data}"
        return Finding(Level.WRONG, "data folder", f"{closed[0]} may not be written by this user", remedy)
    return Finding(Level.OK, "data folder", f"{data}, format {found or FORMAT}")


def _space(data: Path) -> Finding:
    place = next(p for p in (data, *data.parents) if p.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / 2**30:.1f} GB free"
    if free < SPACE_LOW:
        return Finding(Level.WARNING, "disk", text, f"make space where {place} lies; 2 GB are needed")
    return Finding(Level.OK, "disk", text)


def _keys(data: Path) -> Finding:
    files = [data / "admin-key", *(data / "secrets" / name for name in SECRETS)]
    present = [f for f in files if f.exists()]
    if not present:
        return Finding(Level.OK, "keys", "will be made by `loopyard up`")
    if missing := [f for f in files if f not in present]:
        remedy = "`loopyard up` makes a new one; what was encrypted with a lost fernet-key is lost"
        return Finding(Level.WARNING, "keys", f"{missing[0]} is missing", remedy)
    for file in files:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            return Finding(Level.WRONG, "keys", f"{file} can be read by others", f"chmod 600 {file}")
    return Finding(Level.OK, "keys", "present, readable by you alone")


def _models(data: Path) -> Finding:
    if os.environ.get("LLM_BACKEND") == "echo":
        return Finding(Level.WARNING, "models", "the echo backend answers", "unset LLM_BACKEND")
    if not list((data / "models").rglob("*.gguf")):
        return Finding(
            Level.WARNING, "models", "not prepared", "`loopyard up` prepares them at its first start"
        )
    return Finding(Level.OK, "models", "prepared")


def _console() -> Finding:
    if not CONSOLE.exists():
        remedy = "run `make run`, or `npm ci && npm run build` in gateway/console"
        return Finding(Level.WARNING, "console", "not built, the page will be empty", remedy)
    return Finding(Level.OK, "console", "built")


def _objects() -> Iterator[Finding]:
    """Whether each bucket can be listed with the key; nothing where artefacts are local files."""
    from rlhf.objects.bucket import open_bucket
    from rlhf.objects.settings import Settings

    try:
        # As `loopyard up` reads it; a server that is not there is told after two seconds.
        s3 = Settings.from_environment(read_environment(Path())).model_copy(update={"seconds": 2.0})
    except ValidationError as error:
        # Only what is wrong: pydantic's whole text quotes more.
        text = "; ".join(one["msg"] for one in error.errors())
        yield Finding(Level.WRONG, "objects", text, MEND)
        return
    except SettingsError as error:
        yield Finding(Level.WRONG, "objects", str(error), MEND)
        return
    sources = sorted({name.partition("/")[0] for name in s3.readable})
    for name in (*s3.buckets, *sources) if s3.is_on else ():
        try:
            next(open_bucket(s3, name).entries(), None)
        except ObjectError as error:
            yield Finding(Level.WRONG, "objects", str(error), MEND)
        else:
            yield Finding(Level.OK, "objects", f"bucket {name} of {s3.endpoint} can be read")


def _services(data: Path, ports: Ports) -> Iterator[Finding]:
    status = collect_status(data)
    if status["pid"] is None:
        yield from _free_ports(ports)
        yield Finding(Level.WARNING, "services", "nothing runs", "start it with `loopyard up`")
        return
    for service in status["services"]:
        level = Level.OK if service["ok"] else Level.WRONG
        remedy = "" if service["ok"] else f"read {data / 'run' / 'logs' / (service['name'] + '.log')}"
        yield Finding(level, service["name"], service["state"], remedy)
    yield _admin_key_works(data)
    yield from _chats(status["chats"])


def _chats(chats: Facts | None) -> Iterator[Finding]:
    """Whether the model answers that was chosen; nothing where the gateway does not say."""
    if chats and chats["model"]:
        level = Level.WARNING if chats["problem"] else Level.OK
        yield Finding(level, "chats", said(chats))
    elif chats:
        yield Finding(Level.WRONG, "chats", said(chats), "`loopyard models use` shows what is served")


def _free_ports(ports: Ports) -> Iterator[Finding]:
    for flag, port in (("gateway", ports.gateway), ("llm", ports.llm), ("tools", ports.tools)):
        if process := owner(port):
            text = f"{port} is taken by process {process.pid}"
            yield Finding(Level.WRONG, "port", text, f"choose another one with --{flag}-port")
        else:
            yield Finding(Level.OK, "port", f"{port} is free")


def _admin_key_works(data: Path) -> Finding:
    try:
        with GatewayClient.of(data) as client:
            name = client.request("GET", "/api/v1/me").json()["name"]
    except CommandError as error:
        return Finding(Level.WRONG, "admin key", str(error.args[0]), error.remedy)
    return Finding(Level.OK, "admin key", f"accepted as {name}")
