"""Drives an app through azure-functions-runtime, Microsoft's own Python worker library, as the host would.

`python harness.py APP CALLS RESULT`: reads the invocations from the JSON file CALLS, and writes to the JSON file RESULT
what indexing and each invocation gave.  Runs under Python 3.13 in an environment of its own; the host around the worker
is all that is simulated.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import types
import uuid
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime


class Message(types.SimpleNamespace):
    """A stand-in for a protobuf message: a field that was not set is None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)


class TypedData(types.SimpleNamespace):
    """One value; strict, because the runtime probes it for attributes."""

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 (protobuf's name)
        return next(iter(self.__dict__), None)


class ParameterBinding(Message):
    """A named value."""

    def WhichOneof(self, _: str) -> str:  # noqa: N802 (protobuf's name)
        return "data"


class StatusResult(Message):
    """How a request went."""

    Failure, Success, Cancelled = 0, 1, 2


class BindingInfo(Message):
    """A binding of a function."""

    undefined, string, binary, stream = 0, 1, 2, 3
    out, inout = 1, 2


class RpcHttp(types.SimpleNamespace):
    """An HTTP request or response."""


PLAIN = (
    "WorkerInitResponse", "WorkerMetadata", "RpcException", "RpcFunctionMetadata", "RpcRetryOptions",
    "InvocationResponse", "FunctionMetadataResponse", "FunctionLoadResponse",
)  # fmt: skip
PROTOS = types.SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=ParameterBinding,
    StatusResult=StatusResult,
    BindingInfo=BindingInfo,
    RpcHttp=RpcHttp,
    **{name: type(name, (Message,), {}) for name in PLAIN},
)


def request(verb: str, **fields: Any) -> Message:
    """A request as the worker's shell passes it on."""
    inner = Message(**{verb: Message(**fields)})
    return Message(properties={"host": "127.0.0.1", "protos": PROTOS}, request=inner)


def typed(value: dict[str, Any]) -> TypedData:
    """A value of the calls file, `{<type>: <value>}`, as typed data; bytes are written as base64."""
    ((kind, content),) = value.items()
    if kind == "bytes":
        content = base64.b64decode(content)
    elif kind == "collection_bytes":
        content = types.SimpleNamespace(bytes=[base64.b64decode(one) for one in content])
    elif kind == "collection_string":
        content = types.SimpleNamespace(string=content)
    elif kind == "http":
        body = TypedData(bytes=base64.b64decode(content.pop("body", "")))
        content = RpcHttp(**content, body=body)
    return TypedData(**{kind: content})


def plain(value: Any) -> Any:
    """Typed data as JSON can hold it."""
    if isinstance(value, RpcHttp):
        return {"status": value.status_code, "headers": value.headers, "body": plain(value.body)}
    if isinstance(value, TypedData):
        kind = value.WhichOneof("data")
        return None if kind is None else {kind: plain(getattr(value, kind))}
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def outcome(result: Message) -> dict[str, Any]:
    """A status as JSON."""
    ok = result.status == StatusResult.Success
    return {"ok": ok, "error": None if ok else str(result.exception.message)}


async def index(app: str) -> dict[str, Any]:
    """Load the app as the worker does at its start."""
    answer = await runtime.worker_init_request(
        request("worker_init_request", capabilities={}, function_app_directory=app)
    )
    found = outcome(answer.result)
    modules = sorted(sys.modules)
    listed = await runtime.functions_metadata_request(request("functions_metadata_request"))
    functions = [
        {"name": one.name, "id": one.function_id, "bindings": [json.loads(raw) for raw in one.raw_bindings]}
        for one in listed.function_metadata_results or ()
    ]
    return found | {"functions": functions, "modules": modules}


async def invoke(call: dict[str, Any]) -> dict[str, Any]:
    """Invoke one function."""
    context = Message(retry_count=call.get("retry", 0), max_retry_count=call.get("retries", 0))
    answer = await runtime.invocation_request(
        request(
            "invocation_request",
            invocation_id=str(uuid.uuid4()),
            function_id=str(uuid.uuid5(uuid.NAMESPACE_OID, call["function"])),
            input_data=[ParameterBinding(name=call["parameter"], data=typed(call["data"]))],
            trigger_metadata={name: typed(value) for name, value in call.get("metadata", {}).items()},
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=context,
        )
    )
    outputs = {one.name: plain(one.data) for one in answer.output_data or ()}
    return outcome(answer.result) | {"returned": plain(answer.return_value), "outputs": outputs}


async def main() -> None:
    """Index, then invoke one after the other."""
    app, calls, result = sys.argv[1:]
    sys.path.insert(0, app)
    runtime.start_threadpool_executor()
    indexed = await index(app)
    results = []
    if indexed["ok"]:
        results = [await invoke(call) for call in json.loads(Path(calls).read_text(encoding="utf-8"))]
    Path(result).write_text(json.dumps({"index": indexed, "results": results}), encoding="utf-8")


asyncio.run(main())
