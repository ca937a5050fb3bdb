"""The registry on the disk as the gateway reads it. Every method blocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from re import fullmatch
from typing import Any, TypeVar

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.models.schemas import NAME, LineageOut, ModelOut, TraceLink, VersionDetail, VersionOut
from rlhf.errors import RegistryError
from rlhf.products import refusal, use
from rlhf.registry import LIVE, Registry, Version, file_sha256

T = TypeVar("T")
REPORT = "report.json"


class Shelf:
    """Adapters below DATA/adapters."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def models(self) -> list[ModelOut]:
        return [self.model(name) for name in self.registry.names() if fullmatch(NAME, name)]

    def model(self, name: str) -> ModelOut:
        """Raises NotFound."""
        versions = self.versions(name)
        return ModelOut(
            name=name, aliases=self.registry.aliases(name), versions=[self.out(one) for one in versions]
        )

    def versions(self, name: str) -> list[Version]:
        """All of a name, oldest first. Raises NotFound."""
        found = self.registry.versions(name) if fullmatch(NAME, name) else []
        if not found:
            known = ", ".join(self.registry.names()) or "none"
            raise NotFound(f"There is no model {name!r} in the registry. Models: {known}.")
        return found

    def find(self, name: str, ref: str) -> Version:
        """What an alias or some digits mean. Raises NotFound."""
        self.versions(name)
        try:
            return self.registry.find(name, ref)
        except RegistryError as error:
            raise NotFound(str(error)) from error

    def whole(self, name: str, ref: str) -> Version:
        """The same, its content verified. Raises Conflict where it is damaged."""
        return refused(Conflict, lambda: self.registry.check(self.find(name, ref)))

    def deployable(self, name: str) -> None:
        """Raises NotFound, Conflict where a name means what no model server answers with."""
        newest = self.versions(name)[-1]
        if why := refusal(newest.kind):
            base = newest.lineage().get("base")
            trained = base["path"] if isinstance(base, dict) else str(base)
            how = use(newest.kind, name, newest.short, newest.content, trained)
            raise Conflict(f"{name!r} is {why}. How it is used: {how}", code="not_deployable")

    def out(self, version: Version) -> VersionOut:
        lineage = version.lineage()
        base = lineage.get("base")
        return VersionOut(
            name=version.name,
            version=version.short,
            kind=version.kind,
            digest=version.digest,
            aliases=self.aliases_of(version),
            created_at=str(lineage.get("created_at", "")),
            base=str(base["path"]) if isinstance(base, dict) else base,
            parent=lineage.get("parent"),
            pairs=len(version.pairs()),
            bytes=sum(file.stat().st_size for file in files(version)),
        )

    def detail(self, version: Version, served: bool | None) -> VersionDetail:
        return VersionDetail(
            **self.out(version).model_dump(),
            lineage=version.lineage(),
            checksums={
                file.relative_to(version.folder).as_posix(): file_sha256(file) for file in files(version)
            },
            report=self.report(version),
            served=served,
        )

    def report(self, version: Version) -> dict[str, Any] | None:
        """What was measured, None where nothing was."""
        file = version.folder / REPORT
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def aliases_of(self, version: Version) -> list[str]:
        """What means this version."""
        aliases = self.registry.aliases(version.name)
        return sorted(alias for alias, digest in aliases.items() if digest == version.digest)

    def lineage(self, version: Version) -> LineageOut:
        """From the version to traces, users and sessions, and to its heirs."""
        pairs = version.pairs()
        everything = [one for name in self.registry.names() for one in self.registry.versions(name)]
        heirs = [one for one in everything if one.lineage().get("parent") == version.digest]
        traces = {trace["trace_id"]: trace for trace in self.registry.traces(version)}
        return LineageOut(
            traces=[TraceLink.model_validate(trace) for trace in traces.values()],
            users=sorted({pair["user"] for pair in pairs if pair["user"]}),
            sessions=sorted({pair["session"] for pair in pairs if pair["session"]}),
            parent=version.lineage().get("parent"),
            children=[f"{one.name}@{one.short}" for one in heirs],
        )

    def of_trace(self, trace_id: str) -> list[VersionOut]:
        """Every version that saw an answer of this trace."""
        everything = [one for name in self.registry.names() for one in self.registry.versions(name)]
        saw = (
            one
            for one in everything
            if any(trace["trace_id"] == trace_id for trace in self.registry.traces(one))
        )
        return [self.out(one) for one in saw]

    def of_user(self, user: str) -> list[VersionOut]:
        """Every version that saw a pair of this user, or that was trained on from one that did."""
        return [self.out(version) for version in self.registry.of_user(user)]

    def take(self, name: str, folder: Path, lineage: dict[str, Any]) -> Version:
        """An adapter that was trained elsewhere. Raises BadRequest where it is none."""
        try:
            return refused(BadRequest, lambda: self.registry.add(name, folder, lineage, []))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def delete(self, name: str, ref: str) -> Version:
        """Raises NotFound, Conflict while `live` or `previous` means it."""
        version = self.find(name, ref)
        return refused(Conflict, lambda: self.registry.delete(name, version.digest))

    def live(self, name: str) -> tuple[str, str | None]:
        """Digests of `live` and `previous`."""
        aliases = self.registry.aliases(name)
        return aliases[LIVE], aliases.get("previous")


def files(version: Version) -> list[Path]:
    """What a version consists of."""
    return sorted(file for file in version.folder.rglob("*") if file.is_file() and not file.is_symlink())


def refused(kind: type[BadRequest | Conflict], work: Callable[[], T]) -> T:
    """What `work` gives; what the registry refuses, as an error of ours."""
    try:
        return work()
    except RegistryError as error:
        raise kind(str(error)) from error
