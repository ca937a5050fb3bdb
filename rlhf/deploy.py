"""An adapter into the running server: loaded beside what is live, compared with PEFT, tried, promoted.

Whatever goes wrong before the promotion leaves the name as it was.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlhf.errors import DeployError
from rlhf.methods import starter
from rlhf.pairs import Row
from rlhf.parity import parity
from rlhf.products import refusal
from rlhf.recipe import Deploy
from rlhf.registry import Registry, Version
from rlhf.serving import Served, Server

Tell = Callable[[str], None]
STARTER = "starter"
"""The server's name of the embedded model."""


@dataclass(frozen=True)
class Deployed:
    """What the server serves now."""

    model: str
    digest: str
    was: str | None
    """Digest that the name meant before."""
    parity: float
    positions: int
    floor: float
    """What `parity` had to be for the weights that the server has."""


def candidate_of(name: str) -> str:
    """The name under which a version is examined before it is live."""
    return f"{name}-candidate"


@contextmanager
def loaded(server: Server, version: Version) -> Iterator[str]:
    """Serve a version as a candidate; gives the model's id and takes it out again. DeployError."""
    if why := refusal(version.kind):
        raise DeployError(f"`{version.name}` {version.short} is {why}")
    name = candidate_of(version.name)
    with _alone(version):
        digest = server.load(name, version.folder)
        try:
            if digest != version.digest:
                raise DeployError(
                    f"the server calls {version.folder} {digest}, the registry {version.digest}"
                )
            yield f"{server.base()}:{name}@{digest}"
        finally:
            with contextlib.suppress(DeployError):
                server.unload(name, digest)


@contextmanager
def _alone(version: Version) -> Iterator[None]:
    """Wait until no other process examines this version: the first one to end would take it out."""
    with (version.folder.parent / f".{version.short}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def deploy(
    server: Server,
    registry: Registry,
    version: Version,
    base: Path,
    rows: Sequence[Row],
    plan: Deploy,
    tell: Tell,
) -> Deployed:
    """Make a version live. DeployError, with the name as it was, where it cannot be or must not be."""
    registry.check(version)
    weights = server.served().weights
    floor = plan.floor(weights)
    with loaded(server, version) as candidate:
        share, positions = parity(server, candidate, base, version.folder, rows, plan)
        tell(f"server ({weights}) and PEFT choose the same token at {share:.2%} of {positions} positions")
        if share < floor:
            raise DeployError(
                f"the server computes something else than PEFT: the same token at {share:.2%} of {positions} "
                f"positions, at least {floor:.0%} are wanted of {weights}. {version.name} is as it was."
            )
        smoke(server, candidate, rows[0])
        was = server.stable(version.name)
        known = server.versions(version.name)
        digest = server.load(version.name, version.folder)
        try:
            if was is not None and was != digest:
                server.promote(version.name, digest, was)
            now = server.stable(version.name)
            if now != version.digest:
                raise DeployError(f"{version.name} means {now} although {version.digest} was promoted")
        except DeployError:
            if version.digest not in known:
                with contextlib.suppress(DeployError):
                    server.unload(version.name, version.digest)
            raise
    registry.promote(version)
    return Deployed(f"{server.base()}:{version.name}", version.digest, was, share, positions, floor)


def rollback(server: Server, registry: Registry, name: str) -> Version:
    """One call back to what was live before, in the server and in the registry."""
    aliases = registry.aliases(name)
    server.rollback(name)
    now = server.stable(name)
    version = registry.find(name, str(now))
    if aliases.get("previous") == now:
        return registry.rollback(name)
    registry.promote(version)
    return version


def smoke(server: Server, model: str, row: Row) -> None:
    """One whole answer. DeployError where it is empty or another model's."""
    answer = server.chat(model, row, temperature=0, max_tokens=64)
    message = answer["choices"][0]["message"]
    if not (message.get("content") or message.get("tool_calls")):
        raise DeployError(f"{model} answers nothing")
    if not model.startswith(str(answer["model"])):
        raise DeployError(f"{model} was asked and {answer['model']} answered")


def base_of(version: Version, served: Served, chosen: Path | None = None) -> Path:
    """The transformers folder that PEFT puts the adapter on: `chosen`, else what the server serves, else what
    the version was trained on. DeployError where none of them is on this machine.
    """
    if chosen:
        return chosen
    trained = version.lineage().get("base")
    named = [starter() if served.model == STARTER else Path(served.model)]
    named += [Path(trained["path"])] if isinstance(trained, dict) else []
    for folder in named:
        if (folder / "config.json").is_file():
            return folder
    raise DeployError(
        f"the server serves {served.model}, which is no transformers folder here, so {version.name} cannot "
        "be compared with PEFT: name the folder in RLHF_SERVER_BASE. The name is as it was."
    )
