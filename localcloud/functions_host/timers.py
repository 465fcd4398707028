"""Timer triggers: on schedule, one host at a time, missed ticks caught up once."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError

from localcloud.functions_host import logs, payloads
from localcloud.functions_host.app_index import Function
from localcloud.functions_host.invoker import Invoker
from localcloud.functions_host.leases import CONTAINER, Lease
from localcloud.functions_host.schedules import Schedule
from localcloud.functions_host.storage import Storage

NEVER = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_LONGEST_SLEEP = 30.0
_REST = 5.0


def utc_now() -> dt.datetime:
    """The time now."""
    return dt.datetime.now(dt.UTC)


@dataclasses.dataclass(frozen=True)
class Status:
    """What the status blob says: the last tick, the next one, and when it was written."""

    last: dt.datetime
    next: dt.datetime
    updated: dt.datetime

    def document(self) -> dict[str, str]:
        """As the blob and the function have it."""
        return {name: payloads.iso(getattr(self, name.lower())) for name in ("Last", "Next")} | {
            "LastUpdated": payloads.iso(self.updated)
        }

    @staticmethod
    def of(document: Mapping[str, Any]) -> Status:
        """Read the blob's JSON."""
        last, following, updated = (
            dt.datetime.fromisoformat(str(document[name])) for name in ("Last", "Next", "LastUpdated")
        )
        return Status(last, following, updated)


def begin(schedule: Schedule, recorded: Status | None, now: dt.datetime) -> tuple[Status, bool]:
    """The status to go on from when a host starts, and whether a tick was missed while no host ran.

    A record that does not fit the schedule was made by another schedule, and is started afresh.
    """
    if recorded is None:
        return Status(NEVER, schedule.after(now), now), False
    base = recorded.updated if recorded.last == NEVER else recorded.last
    if schedule.after(base) != recorded.next:
        return Status(recorded.last, schedule.after(now), now), False
    return recorded, now > recorded.next


def ticked(schedule: Schedule, started: dt.datetime, ended: dt.datetime) -> Status:
    """The status after a run: the next tick is the first one after that run's start.

    So ticks that were missed while it ran collapse into one, which is due at once.
    """
    last = started.replace(microsecond=0)
    return Status(last, schedule.after(last), ended)


class TimerListener:
    """Runs one timer function on schedule while this host holds its lease."""

    def __init__(
        self,
        function: Function,
        schedule: Schedule,
        invoker: Invoker,
        lease: Lease,
        storage: Storage,
        host_id: str,
        now: Callable[[], dt.datetime] = utc_now,
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._invoker = invoker
        self._lease = lease
        self._storage = storage
        self._now = now
        monitored = function.trigger.get("useMonitor") is not False and schedule.seldom()
        name = f"timers/{host_id}/Host.Functions.{function.name}/status"
        self._blob = storage.blob(CONTAINER, name) if monitored else None
        self._run_on_startup = bool(function.trigger.get("runOnStartup"))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start waiting for the lease, then for the next tick."""
        self._task = asyncio.create_task(self._serve(), name=f"timer {self._function.name}")

    async def stop(self) -> None:
        """Stop, and let another host have the timer."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._lease.release()

    async def _serve(self) -> None:
        while True:
            await self._lease.acquire()
            ticks = asyncio.create_task(self._tick())
            kept = asyncio.create_task(self._lease.keep())
            try:
                await asyncio.wait({ticks, kept}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (ticks, kept):
                    task.cancel()
                ended = await asyncio.gather(ticks, kept, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    logs.HOST.error(f"the timer {self._function.name} stumbled and starts again: {error!r}")
                    await asyncio.sleep(_REST)

    async def _tick(self) -> None:
        status, past_due = begin(self._schedule, await self._read(), self._now())
        if past_due or self._run_on_startup:
            self._run_on_startup = False
            status = await self._fire(status, past_due=past_due)
        else:
            await self._write(status)
        while True:
            await self._sleep_until(status.next)
            status = await self._fire(status, past_due=False)

    async def _fire(self, status: Status, *, past_due: bool) -> Status:
        started = self._now()
        document = status.document() if self._blob else None
        await self._invoker.run_with_retries(
            self._function, payloads.timer(self._function.name, document, past_due=past_due)
        )
        after = ticked(self._schedule, started, self._now())
        await self._write(after)
        return after

    async def _sleep_until(self, moment: dt.datetime) -> None:
        while (left := (moment - self._now()).total_seconds()) > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP))

    async def _read(self) -> Status | None:
        if self._blob is None:
            return None
        while True:
            try:
                content = await (await self._blob.download_blob()).readall()
                return Status.of(json.loads(content))
            except (ResourceNotFoundError, ValueError, KeyError):
                return None
            except AzureError as error:
                self._storage.lost(error)
                await asyncio.sleep(1)

    async def _write(self, status: Status) -> None:
        if self._blob is None:
            return
        try:
            await self._blob.upload_blob(json.dumps(status.document()).encode(), overwrite=True)
        except AzureError as error:
            self._storage.lost(error)
