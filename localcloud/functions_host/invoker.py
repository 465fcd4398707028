"""One invocation from payload to sent outputs: its id, its time limit, its log line, its retries."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Callable

from azure.functions.meta import Datum

from localcloud.functions_host import logs
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.outputs import Outputs
from localcloud.functions_host.payloads import Payload
from localcloud.functions_host.worker import Context, Outcome, RetryContext, Worker

_WORKER_MODULES = ("localcloud.functions_host.", "concurrent.futures.")


class Invoker:
    """Invokes functions and knows what is still running."""

    def __init__(
        self, worker: Worker, outputs: Outputs, timeout: float | None, timed_out: Callable[[str], None]
    ) -> None:
        self._worker = worker
        self._outputs = outputs
        self._timeout = timeout
        self._timed_out = timed_out
        self._running: set[asyncio.Task[Outcome]] = set()
        self._limits: dict[asyncio.Future[Outcome], float] = {}
        self._watch: asyncio.TimerHandle | None = None

    def start(self, function: Function, payload: Payload, retry: RetryContext | None = None) -> asyncio.Task[Outcome]:
        """Invoke `function` once; the outcome is ok only when its outputs were sent too.

        Nothing can cancel it, once the function runs: a caller that may be cancelled shields it.
        """
        task = asyncio.create_task(self._run(function, payload, retry or RetryContext()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, function: Function, payload: Payload, retry: RetryContext | None = None) -> Outcome:
        """Invoke `function` once, also when the caller is cancelled meanwhile."""
        return await asyncio.shield(self.start(function, payload, retry))

    async def run_with_retries(self, function: Function, payload: Payload) -> Outcome:
        """Invoke `function` as often as its retry policy says, until it succeeds; the last outcome."""
        policy = function.retry
        outcome = await self.run(function, payload)
        retries = 0
        while policy and not outcome.ok and (policy.max_retries < 0 or retries < policy.max_retries):
            retries += 1
            await asyncio.sleep(policy.pause(retries))
            outcome = await self.run(function, payload, RetryContext(retries, policy.max_retries, outcome.error))
        return outcome

    async def reject(self, function: Function, error: Exception) -> Outcome:
        """Report an invocation that failed while its input was bound, before the app's code."""
        context = Context(str(uuid.uuid4()), function.name, function.directory)
        outcome = Outcome(error=error)
        _report(function, Payload(Datum(None, None)), context, outcome, 0.0)
        return outcome

    async def drain(self, seconds: float) -> int:
        """Wait for what is running; returns how many invocations did not end in time."""
        if not self._running:
            return 0
        _, late = await asyncio.wait(set(self._running), timeout=seconds)
        return len(late)

    async def _run(self, function: Function, payload: Payload, retry: RetryContext) -> Outcome:
        context = Context(str(uuid.uuid4()), function.name, function.directory, retry)
        started = time.monotonic()
        outcome = await self._within_limit(function, payload, context)
        if outcome.ok:
            try:
                await self._outputs.send(function, outcome)
            except Exception as error:
                outcome = Outcome(error=error)
        _report(function, payload, context, outcome, time.monotonic() - started)
        return outcome

    async def _within_limit(self, function: Function, payload: Payload, context: Context) -> Outcome:
        answer = self._worker.run(function, payload, context)
        if self._timeout is not None:
            self._limits[answer] = time.monotonic() + self._timeout
            if self._watch is None:
                self._end_late()
        try:
            return await answer
        except TimeoutError as error:
            self._timed_out(function.name)
            return Outcome(error=error)
        finally:
            self._limits.pop(answer, None)

    def _end_late(self) -> None:
        """End what has run too long, and come again when the next may have: one timer for all, the oldest first."""
        self._watch = None
        for answer, limit in list(self._limits.items()):
            left = limit - time.monotonic()
            if left > 0:
                self._watch = asyncio.get_running_loop().call_later(left, self._end_late)
                return
            answer.set_exception(TimeoutError(f"ran longer than functionTimeout ({self._timeout:g} s)"))
            del self._limits[answer]


def _report(function: Function, payload: Payload, context: Context, outcome: Outcome, seconds: float) -> None:
    result = "succeeded" if outcome.ok else "failed"
    origin = f" ({payload.origin})" if payload.origin else ""
    line = f"{function.name} {context.invocation_id} {result} in {seconds * 1000:.0f} ms{origin}"
    if outcome.error is None:
        logs.invocation(function.name, line)
        return
    logs.invocation(function.name, f"{line}: {outcome.error!r}\n{_trace(outcome.error)}", level=logging.ERROR)


def _trace(error: BaseException) -> str:
    """The traceback from the app's first frame on; the worker's own frames in front of it help nobody."""
    here = error.__traceback__
    while here and here.tb_next and here.tb_frame.f_globals.get("__name__", "").startswith(_WORKER_MODULES):
        here = here.tb_next
    return "".join(traceback.format_exception(type(error), error, here)).rstrip()
