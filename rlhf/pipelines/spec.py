"""A pipeline as written and as checked: a graph of steps, in an order that can be run.

name: retrain
parameters: {rows: null}            # null: has to be given
steps:
  dataset:
    kind: dataset
    with: {held_out: 0.2}           # the kind's parameters; ${rows} stands for a parameter
    from: {rows: collect.rows}      # port: step.port, or the step alone where it has one output
    after: [approval]               # order without data
    retry: {times: 2, seconds: 5, factor: 2}
    resource: gpu
    memory_mb: 8000
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from rlhf.errors import PipelineError
from rlhf.jobs import WAITING
from rlhf.pipelines.document import Lines, line_of
from rlhf.pipelines.kinds import ANY, Kind, Kinds, near
from rlhf.pipelines.trigger import NAME, Model, Trigger

PARAMETER = re.compile(r"\$\{([^}]*)\}")


class Retry(Model):
    """What follows a failure that may pass."""

    times: Annotated[int, Field(ge=0, le=20)] = 2
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    """Before the first repetition."""
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    """Of each pause to the one before."""

    def pause(self, attempt: int) -> float:
        """Seconds after attempt 1, 2, …"""
        return float(self.seconds * self.factor ** (attempt - 1))


class StepSpec(Model):
    """A step as written."""

    kind: str
    given: dict[str, Any] = Field(default_factory=dict, alias="with")
    inputs: dict[str, str] = Field(default_factory=dict, alias="from")
    after: list[str] = Field(default_factory=list)
    retry: Retry = Retry()
    resource: Literal["cpu", "gpu"] | None = None
    """The kind's own by default."""
    memory_mb: Annotated[int, Field(ge=64)] | None = None
    """Limit of the step's process."""


class Spec(Model):
    """A pipeline as written."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    steps: dict[str, StepSpec]
    fresh: list[str] = Field(default_factory=list)
    """Steps that are done again although their output is there."""
    schedule: Trigger | None = None


@dataclass(frozen=True)
class Planned:
    """A step as checked. `inputs`: port to (step, port)."""

    name: str
    kind: Kind
    parameters: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, str]]
    before: frozenset[str]
    retry: Retry
    resource: Literal["cpu", "gpu"]
    memory_mb: int | None
    fresh: bool


@dataclass
class Findings:
    """What is wrong, each with its place."""

    file: str
    lines: Lines
    said: list[str] = field(default_factory=list)

    def add(self, place: tuple[str, ...], text: str) -> None:
        """Note a finding; `place` is the path of keys."""
        line = line_of(self.lines, place)
        at = f"{self.file}:{line}" if line else self.file
        step = f"step `{place[1]}`: " if place[:1] == ("steps",) and len(place) > 1 else ""
        self.said.append(f"{at}: {step}{text}")

    def raise_any(self) -> None:
        """PipelineError with all of them."""
        if self.said:
            raise PipelineError("\n".join(self.said))


def plan(
    content: Mapping[str, Any],
    given: Mapping[str, Any],
    kinds: Kinds,
    file: str = "the pipeline",
    lines: Lines | None = None,
) -> list[Planned]:
    """The steps in an order in which each follows what it needs.

    Raises:
        PipelineError: everything that is wrong, a line each, with file, line, step and remedy.
    """
    findings = Findings(file, lines or {})
    spec = _parsed(content, findings)
    values = _parameters(spec, given, findings)
    if not NAME.fullmatch(spec.name):
        findings.add(("name",), f"the name `{spec.name}` is not made of a-z, 0-9, - and _")
    for name in spec.fresh:
        if name not in spec.steps:
            findings.add(("fresh",), f"`fresh` names no step `{name}`; {near(name, list(spec.steps))}")
    for name, step in spec.steps.items():
        if not NAME.fullmatch(name):
            findings.add(("steps", name), "a name is made of a-z, 0-9, - and _, and begins with a letter")
        if step.kind not in kinds:
            findings.add(
                ("steps", name, "kind"), f"there is no kind of step `{step.kind}`; {kinds.near(step.kind)}"
            )
    findings.raise_any()
    planned = [_planned(name, step, spec, values, kinds, findings) for name, step in spec.steps.items()]
    order = _order(planned, findings)
    findings.raise_any()
    by_name = {step.name: step for step in planned}
    return [by_name[name] for name in order]


def _parsed(content: Mapping[str, Any], findings: Findings) -> Spec:
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        for found in error.errors():
            place = tuple(str(part) for part in found["loc"])
            key = ".".join(place)
            if found["type"] == "extra_forbidden":
                models: dict[int, type[Model]] = {0: Spec, 2: StepSpec}
                model = Retry if place[-2:-1] == ("retry",) else models.get(len(place) - 1, Trigger)
                known = [f.alias or n for n, f in model.model_fields.items()]
                findings.add(place, f"`{key}` is no key; {near(place[-1], known)}")
            else:
                findings.add(place, f"`{key}`: {found['msg']}")
        findings.raise_any()
        raise


def _parameters(spec: Spec, given: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    for name in given:
        if name not in spec.parameters:
            hint = near(name, list(spec.parameters))
            findings.add(("parameters",), f"there is no parameter `{name}`; {hint}")
    values = {**spec.parameters, **given}
    for name, value in values.items():
        if value is None:
            findings.add(("parameters", name), f"the parameter `{name}` has to be given: --set {name}=…")
    return values


def _planned(
    name: str, step: StepSpec, spec: Spec, values: Mapping[str, Any], kinds: Kinds, findings: Findings
) -> Planned:
    kind, place = kinds[step.kind], ("steps", name)
    inputs: dict[str, tuple[str, str]] = {}
    for port, source in step.inputs.items():
        if port not in kind.inputs:
            hint = near(port, list(kind.inputs))
            findings.add((*place, "from", port), f"`{kind.name}` has no input `{port}`; {hint}")
        elif found := _source(source, spec, kinds, kind.inputs[port], (*place, "from", port), findings):
            inputs[port] = found
    for port, wanted in kind.inputs.items():
        if port not in step.inputs and port not in kind.optional:
            text = f"the input `{port}` ({wanted}) is missing; add `from: {{{port}: STEP}}`"
            findings.add((*place, "from"), text + _givers(wanted, spec, kinds))
    for other in step.after:
        if other not in spec.steps:
            findings.add(
                (*place, "after"), f"`after` names no step `{other}`; {near(other, list(spec.steps))}"
            )
    return Planned(
        name,
        kind,
        _given(step, kind, values, place, findings),
        inputs,
        frozenset(source for source, _ in inputs.values()) | (set(step.after) & set(spec.steps)),
        step.retry,
        step.resource or kind.resource,
        step.memory_mb,
        name in spec.fresh,
    )


def _source(
    text: str, spec: Spec, kinds: Kinds, wanted: str, place: tuple[str, ...], findings: Findings
) -> tuple[str, str] | None:
    """The step and port that an input names, where its type is right."""
    name, _, port = text.partition(".")
    if name not in spec.steps:
        findings.add(place, f"there is no step `{name}`; {near(name, list(spec.steps))}")
        return None
    outputs = kinds[spec.steps[name].kind].outputs
    if not port:
        fitting = [p for p, given in outputs.items() if ANY in (wanted, given) or given == wanted]
        if len(fitting) != 1:
            ports = ", ".join(f"`{name}.{p}`" for p in outputs) or "none"
            findings.add(
                place, f"`{name}` has {len(fitting)} outputs of the type {wanted}; name one: {ports}"
            )
            return None
        [port] = fitting
    if port not in outputs:
        findings.add(place, f"`{name}` has no output `{port}`; {near(port, list(outputs))}")
        return None
    if ANY not in (wanted, outputs[port]) and outputs[port] != wanted:
        text = f"`{name}.{port}` gives {outputs[port]}, and {wanted} is wanted"
        findings.add(place, text + _givers(wanted, spec, kinds))
        return None
    return name, port


def _givers(wanted: str, spec: Spec, kinds: Kinds) -> str:
    found = [
        f"`{name}.{port}`"
        for name, step in spec.steps.items()
        for port, given in kinds[step.kind].outputs.items()
        if given == wanted
    ]
    return f"; {', '.join(found)} would do" if found else ""


def _given(
    step: StepSpec, kind: Kind, values: Mapping[str, Any], place: tuple[str, ...], findings: Findings
) -> dict[str, Any]:
    """The kind's parameters, substituted and checked."""
    filled = {
        key: _filled(value, values, (*place, "with", key), findings) for key, value in step.given.items()
    }
    try:
        return kind.parameters.model_validate(filled).model_dump(mode="json")
    except ValidationError as error:
        for found in error.errors():
            keys = tuple(str(part) for part in found["loc"])
            at = (*place, "with", *keys)
            if found["type"] == "extra_forbidden":
                hint = near(keys[-1], list(kind.parameters.model_fields))
                findings.add(at, f"`{kind.name}` has no parameter `{'.'.join(keys)}`; {hint}")
            elif found["type"] == "missing":
                findings.add(at, f"`{kind.name}` needs the parameter `{'.'.join(keys)}`; add it under `with`")
            else:
                findings.add(at, f"`{'.'.join(keys)}` is {found['input']!r}: {found['msg']}")
        return {}


def _filled(value: Any, values: Mapping[str, Any], place: tuple[str, ...], findings: Findings) -> Any:
    """`${name}` replaced: the value itself where it stands alone, its text within a text."""
    if isinstance(value, dict):
        return {k: _filled(v, values, (*place, k), findings) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, values, (*place, str(at)), findings) for at, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in PARAMETER.findall(value):
        if name not in values:
            findings.add(place, f"there is no parameter `{name}`; {near(name, list(values))}")
            return value
    whole = PARAMETER.fullmatch(value)
    return values[whole[1]] if whole else PARAMETER.sub(lambda found: str(values[found[1]]), value)


def _order(planned: Sequence[Planned], findings: Findings) -> list[str]:
    try:
        return list(TopologicalSorter({step.name: sorted(step.before) for step in planned}).static_order())
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        text = f"it waits for itself: {' -> '.join(circle)}; remove one of these from `from` or `after`"
        findings.add(("steps", circle[0]), text)
        return []


def waits(step: Planned) -> bool:
    """Whether a step computes nothing and waits for people."""
    return step.kind.name in WAITING
