"""What a pipeline job means: its steps, what each is bound to, their order, their commands.  Nothing here runs.

A step is a command component with its inputs bound; pipeline components are expanded into their steps.
"""

from __future__ import annotations

import dataclasses
import graphlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localcloud.documents import Document

_PARENT_INPUT = re.compile(r"\$\{\{\s*parent\.inputs\.([\w.]+)\s*\}\}")
_PARENT_OUTPUT = re.compile(r"\$\{\{\s*parent\.outputs\.([\w.]+)\s*\}\}")
_STEP_OUTPUT = re.compile(r"\$\{\{\s*parent\.jobs\.([\w-]+)\.outputs\.([\w.]+)\s*\}\}")
_OWN = re.compile(r"\$\{\{\s*(inputs|outputs)\.([\w.]+)\s*\}\}")
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_FOLDERS = ("uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model")


class Invalid(Exception):
    """The pipeline job cannot be run; the message names step and binding."""


@dataclasses.dataclass(frozen=True)
class Literal:
    """A value."""

    value: str


@dataclasses.dataclass(frozen=True)
class Output:
    """What a step, or a pipeline component until it is resolved, writes."""

    step: str
    name: str


@dataclasses.dataclass(frozen=True)
class Stored:
    """Data at a URI."""

    uri: str


Binding = Literal | Output | Stored


@dataclasses.dataclass(frozen=True)
class Step:
    """One command to be run."""

    name: str
    component: Document
    inputs: Mapping[str, Binding]
    environment_variables: Mapping[str, str]

    @property
    def after(self) -> set[str]:
        """The names of the steps whose outputs it reads."""
        return {binding.step for binding in self.inputs.values() if isinstance(binding, Output)}

    @property
    def outputs(self) -> Sequence[str]:
        """The names of its outputs."""
        return tuple(self.component.get("outputs") or {})


Lookup = Callable[[str], Document | None]
"""Component id -> component spec."""


def steps(job: Document, component: Lookup) -> list[Step]:
    """The steps of the pipeline job with these properties, each after those that it depends on."""
    inputs = {name: _given(name, value, {}) for name, value in (job.get("inputs") or {}).items()}
    expansion = _Expansion(component)
    if job.get("componentId"):
        node = {"componentId": job["componentId"], "inputs": {}, "outputs": {}}
        expansion.pipeline("", _spec(component, node, "the job"), inputs)
    else:
        expansion.jobs("", job.get("jobs") or {}, inputs)
    return _ordered(expansion.resolved())


class _Expansion:
    def __init__(self, component: Lookup) -> None:
        self._component = component
        self._steps: list[Step] = []
        self._exports: dict[Output, Output] = {}

    def pipeline(self, prefix: str, spec: Document, given: Mapping[str, Binding]) -> None:
        self.jobs(prefix, spec.get("jobs") or {}, _with_defaults(prefix, spec, given))

    def jobs(self, prefix: str, nodes: Mapping[str, Document], parent: Mapping[str, Binding]) -> None:
        for name, node in nodes.items():
            path = f"{prefix}{name}"
            spec = _spec(self._component, node, path)
            bound = {key: _bound(path, prefix, key, value, parent) for key, value in (node.get("inputs") or {}).items()}
            self._export(prefix, path, node)
            if spec.get("type") == "pipeline" or "jobs" in spec:
                self.pipeline(f"{path}.", spec, {key: value for key, value in bound.items() if value is not None})
            else:
                given = {key: value for key, value in bound.items() if value is not None}
                variables = {**(spec.get("environment_variables") or {}), **(node.get("environment_variables") or {})}
                self._steps.append(Step(path, spec, _with_defaults(path, spec, given), variables))

    def _export(self, prefix: str, path: str, node: Document) -> None:
        """Note which outputs of the surrounding pipeline component this node writes."""
        for name, value in (node.get("outputs") or {}).items():
            text = value.get("value") if isinstance(value, dict) else value
            found = _PARENT_OUTPUT.fullmatch(str(text).strip()) if prefix else None
            if found is not None:
                self._exports[Output(prefix.removesuffix("."), found[1])] = Output(path, name)

    def resolved(self) -> list[Step]:
        return [
            dataclasses.replace(step, inputs={name: self._follow(value) for name, value in step.inputs.items()})
            for step in self._steps
        ]

    def _follow(self, binding: Binding) -> Binding:
        while isinstance(binding, Output) and binding in self._exports:
            binding = self._exports[binding]
        return binding


def _spec(component: Lookup, node: Document, path: str) -> Document:
    if node.get("type") not in (None, "command", "pipeline"):
        raise Invalid(f"step {path}: steps of type {node['type']} are not supported here, only command and pipeline")
    identity = node.get("componentId") or node.get("component")
    spec = component(identity) if isinstance(identity, str) else None
    if spec is None:
        raise Invalid(f"step {path}: the component {identity} does not exist")
    return spec


def _bound(path: str, prefix: str, name: str, value: Any, parent: Mapping[str, Binding]) -> Binding | None:
    """What input `name` of the node at `path` is bound to; None for an optional parent input that is not given."""
    text = value.get("value") if isinstance(value, dict) and "uri" not in value else value
    if isinstance(text, str):
        if found := _STEP_OUTPUT.fullmatch(text.strip()):
            return Output(f"{prefix}{found[1]}", found[2])
        if found := _PARENT_INPUT.fullmatch(text.strip()):
            return parent.get(found[1])
        if isinstance(value, dict):
            value = value | {"value": _PARENT_INPUT.sub(lambda match: _text(path, match[1], parent), text)}
        else:
            value = _PARENT_INPUT.sub(lambda match: _text(path, match[1], parent), text)
    return _given(f"{path}.{name}", value, {})


def _text(path: str, name: str, parent: Mapping[str, Binding]) -> str:
    binding = parent.get(name)
    if not isinstance(binding, Literal):
        raise Invalid(f"step {path}: the input {name} of the pipeline has no value that can be part of a text")
    return binding.value


def _given(name: str, value: Any, declared: Document) -> Binding:
    if not isinstance(value, dict):
        kind = declared.get("type", "string")
        return Stored(str(value)) if kind in _FOLDERS else Literal(_literal(value))
    uri = value.get("uri") or value.get("path")
    if uri:
        return Stored(uri)
    if "value" not in value:
        raise Invalid(f"the input {name} has neither a value nor a uri")
    return Literal(_literal(value["value"]))


def _literal(value: Any) -> str:
    return str(value)


def _with_defaults(path: str, spec: Document, given: Mapping[str, Binding]) -> dict[str, Binding]:
    """The inputs that `spec` declares: as given, else by default."""
    bound: dict[str, Binding] = {}
    for name, declared in (spec.get("inputs") or {}).items():
        if name in given:
            bound[name] = given[name]
        elif declared.get("default") is not None:
            bound[name] = _given(name, declared["default"], declared)
        elif str(declared.get("optional", False)).lower() != "true":
            raise Invalid(f"step {path.removesuffix('.') or 'pipeline'}: the input {name} is not given")
    return bound


def _ordered(found: Sequence[Step]) -> list[Step]:
    by_name = {step.name: step for step in found}
    for step in found:
        for name in step.after - set(by_name):
            raise Invalid(f"step {step.name} reads an output of {name}, which is not a step")
    try:
        order = list(graphlib.TopologicalSorter({step.name: sorted(step.after) for step in found}).static_order())
    except graphlib.CycleError as error:
        raise Invalid(f"the steps depend on each other in a circle: {error.args[1]}") from error
    return [by_name[name] for name in order]


def command(step: Step, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """The command line of `step` with the values and paths of its inputs and outputs put in."""
    values = {f"inputs.{name}": value for name, value in inputs.items()}
    values |= {f"outputs.{name}": value for name, value in outputs.items()}
    template = step.component.get("command") or ""

    def optional(match: re.Match[str]) -> str:
        return match[1] if all(f"{kind}.{name}" in values for kind, name in _OWN.findall(match[1])) else ""

    def value(match: re.Match[str]) -> str:
        found = values.get(f"{match[1]}.{match[2]}")
        if found is None:
            raise Invalid(f"step {step.name}: its command names {match[0]}, which has no value")
        return found

    return _OWN.sub(value, _OPTIONAL.sub(optional, template))
