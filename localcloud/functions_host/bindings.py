"""Converters: how a host-shaped value becomes a Python argument, and a Python result a host-shaped value.

The converters are azure-functions' own; only the generic one (plain `str` and `bytes`) is the worker's, and so is here.
"""

from __future__ import annotations

import json
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum


class GenericConverter:
    """What the worker uses for parameters annotated `str` or `bytes`, and for binding types that it does not know."""

    @staticmethod
    def has_trigger_support() -> bool:
        """Generic parameters never get trigger metadata."""
        return False

    @staticmethod
    def check_input_type_annotation(python_type: type) -> bool:
        """Whether an input may be annotated so."""
        return issubclass(python_type, str | bytes)

    @staticmethod
    def check_output_type_annotation(python_type: type) -> bool:
        """Whether an output may be annotated so."""
        return issubclass(python_type, str | bytes | bytearray)

    @staticmethod
    def decode(data: Datum | None, *, trigger_metadata: object) -> Any:
        """The raw value: a `json` value stays text."""
        del trigger_metadata
        if data is None or data.type is None:
            return None
        if data.type not in {"string", "bytes", "json"}:
            raise ValueError('unexpected type of data received for the "generic" binding ', repr(data.type))
        return data.value

    @staticmethod
    def encode(value: Any, *, expected_type: object) -> Datum:
        """Text and bytes as they are, lists and dicts as JSON, numbers as numbers."""
        del expected_type
        if value is None:
            return Datum(None, None)
        if isinstance(value, str):
            return Datum(value, "string")
        if isinstance(value, bytes | bytearray):
            return Datum(bytes(value), "bytes")
        if isinstance(value, dict | list):
            return Datum(json.dumps(value), "json")
        if isinstance(value, int):
            return Datum(int(value), "int")
        if isinstance(value, float):
            return Datum(value, "double")
        raise NotImplementedError


def converter(binding_type: str) -> Any:
    """The converter of a binding type."""
    return func.get_binding_registry().get(binding_type) or GenericConverter


def has_implicit_output(binding_type: str) -> bool:
    """Whether a function with this trigger may return a value without a `$return` binding."""
    found = converter(binding_type)
    if found is GenericConverter:
        return binding_type != "durableClient"
    return bool(getattr(found, "has_implicit_output", lambda: False)())


def decode(binding_type: str, data: Datum, metadata: dict[str, Datum]) -> Any:
    """`data` as the argument of a parameter that is bound to `binding_type`."""
    found = converter(binding_type)
    try:
        return found.decode(data, trigger_metadata=metadata if found.has_trigger_support() else {})
    except NotImplementedError:
        raise TypeError(
            "unable to decode incoming TypedData: unsupported combination of TypedData field "
            f"{data.type!r} and expected binding type {found}"
        ) from None


def encode(binding_type: str, value: Any, python_type: type | None) -> Datum:
    """`value`, which a function set or returned, as the host gets it."""
    try:
        return converter(binding_type).encode(value, expected_type=python_type)
    except NotImplementedError:
        raise TypeError(
            f'unable to encode outgoing TypedData: unsupported type "{binding_type}" for '
            f'Python type "{type(value).__name__}"'
        ) from None
