"""The worker's half of an invocation: decode, call, encode.

It is a thread with the one event loop that all async functions share, and the pool in which sync functions run, so that
a function that blocks its loop stalls the functions, as in Azure, and not the host.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import inspect
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from azure.functions.meta import Datum

from localcloud.functions_host import bindings
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.crossing import Crossing
from localcloud.functions_host.payloads import Payload

current: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar("invocation", default=None)
_thread_local = threading.local()


@dataclasses.dataclass(frozen=True)
class TraceContext:
    """Trace headers of the invocation; the local host starts none."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RetryContext:
    """Which try of a retry policy this is."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: BaseException | None = None


@dataclasses.dataclass(frozen=True)
class Context:
    """What a parameter `context: func.Context` gets."""

    invocation_id: str
    function_name: str
    function_directory: str
    retry_context: RetryContext = RetryContext()
    trace_context: TraceContext = TraceContext()
    thread_local_storage: threading.local = _thread_local


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an invocation ended: the encoded results, or the error."""

    returned: Datum | None = None
    outputs: tuple[tuple[str, Datum], ...] = ()
    error: BaseException | None = None

    @property
    def ok(self) -> bool:
        """Whether the function returned and its results could be encoded."""
        return self.error is None


class Out:
    """The value behind a `func.Out` parameter; the last `set` counts."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, value: Any) -> None:
        """Give the output its value."""
        self._value = value

    def get(self) -> Any:
        """The value that was set last, or None."""
        return self._value


class Worker:
    """Runs functions. `start` it once, then `run` from the host's loop."""

    def __init__(self, threads: int | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")
        self._thread = threading.Thread(target=self._serve, name="worker", daemon=True)
        self._to_worker = Crossing(self._loop)
        self._host: asyncio.AbstractEventLoop | None = None
        self._to_host: Crossing | None = None
        self._invocations: set[asyncio.Task[None]] = set()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self) -> None:
        """Start the worker's event loop in its own thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the loop and the pool; call it when nothing runs any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=2)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def run(self, function: Function, payload: Payload, context: Context) -> asyncio.Future[Outcome]:
        """Invoke `function`; the future belongs to the host's loop, and is never an error of the function's."""
        host = asyncio.get_running_loop()
        if self._to_host is None or self._host is not host:
            self._host, self._to_host = host, Crossing(host)
        answer, back = host.create_future(), self._to_host

        async def invoke() -> None:
            outcome = await self._invoke(function, payload, context)
            back.call(lambda: answer.done() or answer.set_result(outcome))

        self._to_worker.call(lambda: self._begin(invoke()))
        return answer

    def _begin(self, invocation: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(invocation)
        self._invocations.add(task)
        task.add_done_callback(self._invocations.discard)

    async def _invoke(self, function: Function, payload: Payload, context: Context) -> Outcome:
        current.set((function.name, context.invocation_id))
        try:
            arguments = _arguments(function, payload, context)
            if function.is_async:
                _thread_local.invocation_id = context.invocation_id
                result = await function.call(**arguments)
            else:
                run = contextvars.copy_context().run
                result = await self._loop.run_in_executor(self._pool, run, _call, function, arguments, context)
            return _encode(function, arguments, result)
        except asyncio.CancelledError as error:
            return Outcome(error=RuntimeError(f"the invocation was cancelled: {error!r}"))
        except BaseException as error:
            return Outcome(error=error)


def thread_count(environ: dict[str, str] | os._Environ[str]) -> int | None:
    """`PYTHON_THREADPOOL_THREAD_COUNT` when it is a number from 1 up, else None: Python's own default."""
    text = environ.get("PYTHON_THREADPOOL_THREAD_COUNT", "")
    return int(text) if text.isdecimal() and int(text) >= 1 else None


def _arguments(function: Function, payload: Payload, context: Context) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        name: bindings.decode(parameter.binding_type, payload.data, payload.metadata)
        for name, parameter in function.signature.inputs.items()
    }
    if function.signature.requires_context:
        arguments["context"] = context
    return arguments | {name: Out() for name in function.signature.outputs}


def _call(function: Function, arguments: dict[str, Any], context: Context) -> Any:
    _thread_local.invocation_id = context.invocation_id
    return function.call(**arguments)


def _encode(function: Function, arguments: dict[str, Any], result: Any) -> Outcome:
    returns = function.signature.returns
    if result is not None and returns is None:
        if inspect.iscoroutine(result):
            result.close()
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
    outputs = tuple(
        (name, bindings.encode(parameter.binding_type, arguments[name].get(), parameter.python_type))
        for name, parameter in function.signature.outputs.items()
        if arguments[name].get() is not None
    )
    returned = bindings.encode(returns.binding_type, result, returns.python_type) if returns else None
    return Outcome(returned, outputs)
