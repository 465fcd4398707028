"""What a function may declare: the checks that the real Python worker makes at indexing, with its own messages.

One function that fails here makes the whole app fail, as in Azure.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from azure.functions._thirdparty.typing_inspect import is_generic_type

from localcloud.functions_host import bindings

OUT = 1
INOUT = 2
UNDEFINED = 0


class FunctionLoadError(RuntimeError):
    """A function that the worker refuses to load."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"cannot load the {function} function: {reason}")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One bound parameter (or the return value): the converter's binding type, and the annotation."""

    binding_type: str
    python_type: type | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """How a function is called."""

    inputs: Mapping[str, Parameter]
    outputs: Mapping[str, Parameter]
    returns: Parameter | None
    requires_context: bool


def check(name: str, call: Callable[..., Any], bound: list[Any]) -> Signature:
    """The signature of `call` with the bindings `bound`; raises FunctionLoadError as the worker would."""
    parameters = dict(inspect.signature(call).parameters)
    annotations = typing.get_type_hints(call)
    for binding in bound:
        _check_direction(name, binding)
    by_name = {binding.name: binding for binding in bound if binding.name != "$return"}
    requires_context = _takes_context(name, parameters, by_name, annotations)
    _check_names(name, parameters, by_name)
    inputs: dict[str, Parameter] = {}
    outputs: dict[str, Parameter] = {}
    for parameter in parameters:
        binding = by_name[parameter]
        side = outputs if binding.direction == OUT else inputs
        side[parameter] = _check_parameter(name, binding, annotations)
    return Signature(inputs, outputs, _returns(name, bound, annotations), requires_context)


def _check_direction(name: str, binding: Any) -> None:
    if binding.direction == INOUT:
        raise FunctionLoadError(name, '"inout" bindings are not supported')
    if binding.name == "$return" and binding.direction != OUT:
        raise FunctionLoadError(name, '"$return" binding must have direction set to "out"')


def _takes_context(
    name: str, parameters: dict[str, Any], bound: Mapping[str, Any], annotations: Mapping[str, Any]
) -> bool:
    if "context" not in parameters or "context" in bound:
        return False
    del parameters["context"]
    annotation = annotations.get("context")
    if "context" in annotations and (not isinstance(annotation, type) or annotation.__name__ != "Context"):
        raise FunctionLoadError(
            name,
            f'the "context" parameter is expected to be of type azure.functions.Context, got "{annotation!r}"',
        )
    return True


def _check_names(name: str, parameters: Mapping[str, Any], bound: Mapping[str, Any]) -> None:
    undeclared = set(parameters) - set(bound)
    if undeclared:
        raise FunctionLoadError(
            name,
            "the following parameters are declared in Python but not in the function definition "
            f"(function.json or function decorators):  {undeclared!r}",
        )
    missing = set(bound) - set(parameters)
    if missing:
        raise FunctionLoadError(
            name,
            "Extra parameters in binding definition — the following parameters are declared as bindings but are not "
            f"present in Python: {missing!r}",
        )


def _is_out(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) if is_generic_type(annotation) else None
    candidate = origin or annotation
    return isinstance(candidate, type) and candidate.__name__ == "Out"


def _check_parameter(name: str, binding: Any, annotations: Mapping[str, Any]) -> Parameter:
    annotated = binding.name in annotations
    annotation = annotations.get(binding.name)
    out = annotated and _is_out(annotation)
    python_type = annotation
    if out:
        arguments = typing.get_args(annotation)
        if len(arguments) != 1:
            raise FunctionLoadError(name, f"binding {binding.name} has invalid Out annotation {annotation!r}")
        python_type = arguments[0]
    if annotated and not isinstance(python_type, type) and not is_generic_type(python_type):
        raise FunctionLoadError(name, f"binding {binding.name} has invalid non-type annotation {annotation!r}")
    _check_out(name, binding, annotated=annotated, out=out)
    plain = annotated and python_type in (str, bytes) and not bindings.has_implicit_output(binding.type)
    binding_type = "generic" if plain else binding.type
    if annotated:
        _check_type(name, binding, binding_type, python_type, out=out)
    return Parameter(binding_type, python_type)


def _check_out(name: str, binding: Any, *, annotated: bool, out: bool) -> None:
    if binding.direction == OUT and annotated and not out:
        raise FunctionLoadError(
            name,
            f'binding {binding.name} is declared to have the "out" direction, but its annotation in Python is not '
            "a subclass of azure.functions.Out",
        )
    if binding.direction != OUT and out:
        raise FunctionLoadError(
            name,
            f'binding {binding.name} is declared to have the "in" direction in the binding decorator, but its '
            "annotation is azure.functions.Out in Python",
        )


def _check_type(name: str, binding: Any, binding_type: str, python_type: Any, *, out: bool) -> None:
    converter = bindings.converter(binding_type)
    fits = converter.check_output_type_annotation if out else converter.check_input_type_annotation
    if fits(python_type):
        return
    if binding.data_type != UNDEFINED:
        raise FunctionLoadError(
            name,
            f'binding type "{binding.name!r}" and dataType "{binding.type}" in the binding decorator do not match '
            f"the corresponding function parameter's Python type annotation {python_type.__name__}",
        )
    raise FunctionLoadError(
        name,
        f'type of {binding.name} binding in the binding decorator "{binding.type}" does not match its '
        f'Python annotation "{python_type.__name__}"',
    )


def _returns(name: str, bound: list[Any], annotations: Mapping[str, Any]) -> Parameter | None:
    explicit = next((binding for binding in bound if binding.name == "$return"), None)
    if explicit is None:
        implicit = [binding.type for binding in bound if bindings.has_implicit_output(binding.type)]
        return Parameter(implicit[-1], annotations.get("return")) if implicit else None
    if "return" not in annotations:
        return Parameter(explicit.type, None)
    annotation = annotations["return"]
    if is_generic_type(annotation) and _is_out(annotation):
        raise FunctionLoadError(name, "return annotation should not be azure.functions.Out")
    if not isinstance(annotation, type):
        raise FunctionLoadError(name, f"has invalid non-type return annotation {annotation!r}")
    if not bindings.converter(explicit.type).check_output_type_annotation(annotation):
        raise FunctionLoadError(
            name,
            f'Python return annotation "{annotation.__name__}" does not match binding type "{explicit.type}"',
        )
    return Parameter(explicit.type, annotation)
