"""Kinds of steps: what one takes, gives and does. A plugin is a callable that receives `Kinds.add`.

Plugins are found by the entry point group `loopyard.steps`, or named in RLHF_STEPS as `module:function`; a
specification cannot name one, so that whoever may start a pipeline cannot choose what code runs.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from rlhf.errors import SettingsError
from rlhf.sources import PACKAGE, sources_sha256

if TYPE_CHECKING:
    from rlhf.objects.depots import Depots
    from rlhf.registry import Registry

GROUP = "loopyard.steps"
ANY = "any"
Value = Any
"""What a port carries: JSON. `{"path": …}` is a file or folder, with the digest of its content beside it."""


class Parameters(BaseModel):
    """Base of a kind's parameters; also that of a kind without any."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Work:
    """What a step is given, in a process of its own.

    Attributes:
        inputs: by port; paths are absolute.
        folder: empty, or as it was left where the kind resumes. What is in it becomes the output; a path of
            an output is relative to it.
        objects: DATA/objects.
        registry: the folder above `adapters`.
        device: `cuda` where the step has a lease on a GPU.
        tell: says a line; `advance(done, text, rate, left_s)` says how far it is.
    """

    parameters: Any
    inputs: Mapping[str, Value]
    folder: Path
    objects: Path
    registry: Path
    device: Literal["cpu", "cuda"]
    tell: Callable[[str], None]
    advance: Callable[[float, str, float | None, float | None], None]

    @property
    def depots(self) -> Depots:
        """Where datasets, versions and outputs are kept."""
        from rlhf.objects.depots import open_depots
        from rlhf.objects.settings import Settings

        return open_depots(Settings.from_environment(), self.objects, self.registry)

    @property
    def versions(self) -> Registry:
        """The registry."""
        from rlhf.objects.registry import registry_of

        return registry_of(self.registry, self.depots.models)

    def path(self, port: str) -> Path:
        """The file or folder at a port."""
        return Path(self.inputs[port]["path"])


@dataclass(frozen=True)
class Kind:
    """A kind of step.

    Attributes:
        run: gives the outputs by port. An RlhfError is final; anything else is tried again as the
            specification says.
        inputs: port to type; those in `optional` may be left open. Types are words that have to agree.
        depends: what the result depends on beside parameters and inputs, such as the hash of a file that a
            parameter names.
        cached: the same inputs give the same outputs, and nothing else happens.
        resumes: it goes on from what it left in its folder when it was killed.
        packages: distributions whose version counts as part of the code.
    """

    name: str
    run: Callable[[Work], Mapping[str, Value]]
    parameters: type[Parameters] = Parameters
    inputs: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    outputs: Mapping[str, str] = field(default_factory=dict)
    depends: Callable[[Any], Value] | None = None
    resource: Literal["cpu", "gpu"] = "cpu"
    cached: bool = True
    resumes: bool = False
    packages: tuple[str, ...] = ()

    def code(self) -> str:
        """Hash of our sources, of the file that `run` is in where that is a plugin's, and of the packages'
        versions.
        """
        own = Path(inspect.getfile(self.run))
        plugin = b"" if own.is_relative_to(PACKAGE) else own.read_bytes()
        known = [sources_sha256(), hashlib.sha256(plugin).hexdigest(), *_versions(self.packages)]
        return hashlib.sha256(repr(known).encode()).hexdigest()


class Kinds:
    """Those that are known, by name."""

    def __init__(self) -> None:
        self._known: dict[str, Kind] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Kind:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._known))

    def add(self, kind: Kind) -> None:
        """Make a kind known. SettingsError where another one has its name."""
        if kind.name in self._known:
            raise SettingsError(f"two plugins bring a kind of step named `{kind.name}`; remove one of them")
        self._known[kind.name] = kind

    def near(self, name: str) -> str:
        """A remedy for a name that is not known."""
        return near(name, list(self))


def load(plugins: str = "") -> Kinds:
    """Our own kinds, those of installed plugins and those of `plugins` (comma-separated `module:function`).

    Raises:
        SettingsError: a plugin that cannot be loaded.
    """
    kinds = Kinds()
    # By name: whoever reads schedules must not come to depend on trainers.
    for kind in importlib.import_module("rlhf.pipelines.standard").KINDS:
        kinds.add(kind)
    for point in entry_points(group=GROUP):
        point.load()(kinds.add)
    for name in filter(None, (part.strip() for part in plugins.split(","))):
        module, _, function = name.partition(":")
        try:
            getattr(importlib.import_module(module), function or "register")(kinds.add)
        except (ImportError, AttributeError) as error:
            raise SettingsError(f"RLHF_STEPS names {name}, which cannot be loaded: {error}") from error
    return kinds


def near(name: str, known: list[str]) -> str:
    """`did you mean x?`, or all that are known."""
    found = difflib.get_close_matches(name, known, 1)
    return f"did you mean `{found[0]}`?" if found else f"known are {', '.join(known) or 'none'}"


@cache
def _versions(packages: tuple[str, ...]) -> list[str]:
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
