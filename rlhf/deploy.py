"""An adapter into the running server: loaded beside what is live, compared with PEFT, tried, promoted.

Whatever goes wrong before the promotion leaves the name as it was.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.errors import DeployError
from rlhf.pairs import Row, completed, templated
from rlhf.recipe import Deploy
from rlhf.registry import Registry, Version
from rlhf.serving import Server

Tell = Callable[[str], None]
MANY = 16
"""Prefixes of one request."""


@dataclass(frozen=True)
class Deployed:
    """What the server serves now."""

    model: str
    digest: str
    was: str | None
    """Digest that the name meant before."""
    parity: float
    positions: int


def candidate_of(name: str) -> str:
    """The name under which a version is examined before it is live."""
    return f"{name}-candidate"


@contextmanager
def loaded(server: Server, version: Version) -> Iterator[str]:
    """Serve a version as a candidate; gives the model's id and takes it out again."""
    name = candidate_of(version.name)
    digest = server.load(name, version.folder)
    try:
        if digest != version.digest:
            raise DeployError(f"the server calls {version.folder} {digest}, the registry {version.digest}")
        yield f"{server.base()}:{name}@{digest}"
    finally:
        with contextlib.suppress(DeployError):
            server.unload(name, digest)


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
    with loaded(server, version) as candidate:
        share, positions = parity(server, candidate, base, version.folder, rows, plan)
        tell(f"server and PEFT choose the same token at {share:.2%} of {positions} positions")
        if share < plan.parity:
            raise DeployError(
                f"the server computes something else than PEFT: the same token at {share:.2%} of {positions} "
                f"positions, at least {plan.parity:.0%} are wanted. {version.name} is as it was."
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
    return Deployed(f"{server.base()}:{version.name}", version.digest, was, share, positions)


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


def parity(
    server: Server, model: str, base: Path, adapter: Path, rows: Sequence[Row], plan: Deploy
) -> tuple[float, int]:
    """Share of positions at which server and PEFT find the same token likeliest, and how many were compared:
    the last `plan.tokens` of the preferred answers to `plan.prompts` prompts.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlhf.adapters import load_adapter

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    reference = load_adapter(plain, adapter).eval()
    same = total = 0
    for row in rows[: plan.prompts]:
        tokens, first = tokenised(tokenizer, row)
        start = max(first, len(tokens) - plan.tokens)
        with torch.no_grad():
            logits = reference(torch.tensor([tokens])).logits[0]
        wanted = logits[start - 1 : len(tokens) - 1].argmax(-1).tolist()
        prefixes = [tokens[:at] for at in range(start, len(tokens))]
        served: list[str] = []
        for at in range(0, len(prefixes), MANY):
            served += server.next_tokens(model, prefixes[at : at + MANY])
        texts = ["" if t == tokenizer.eos_token_id else str(tokenizer.decode([t])) for t in wanted]
        same += sum(one == other for one, other in zip(texts, served, strict=True))
        total += len(texts)
    return (same / total if total else 0.0), total


def tokenised(tokenizer: Any, row: Row) -> tuple[list[int], int]:
    """Tokens of prompt and preferred answer, and where the answer begins."""
    head = templated(tokenizer, row["prompt"], row.get("tools"), True)
    ids = [
        tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (head, completed(tokenizer, row, "chosen"))
    ]
    return list(ids[1]), len(ids[0])
