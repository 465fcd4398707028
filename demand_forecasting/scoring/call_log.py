"""The scoring log: every call of this deployment goes to an event hub, without the caller waiting for it or failing.

`note` puts a call into a bounded buffer and returns; a thread sends what is there in batches.  While the hub cannot
be reached, calls are written to files within bounds, and sent when it answers again.  What had to be dropped is
counted and said.  Where no hub is named, calls are written to the file MODEL_DATA_LOG, else to standard output.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import datetime as dt
import json
import logging
import math
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

MOST_WAITING = 64 * 1024 * 1024
"""Bytes of calls that may wait in memory."""
MOST_SPOOLED = 64
"""Megabytes of calls that may wait on disk, unless SCORING_SPOOL_MB says otherwise."""
FILE_BYTES = 1024 * 1024
"""A spool file is closed when it is so large: what is sent at once, and lost at once when a disk breaks."""
LARGEST_CALL = 900 * 1024
"""A call that is larger is told without its inputs: an event hub takes messages up to 1 MB."""
PAUSE = (1.0, 60.0)
"""Seconds from one try to reach the hub to the next: at first and at most."""
FAREWELL = 5.0
"""Seconds that the process gives to the last calls when it ends."""

_log = logging.getLogger("scoring.calls")

Send = Callable[[list[bytes]], None]


class CallLog:
    """Calls on their way out: in memory, then through `send`, or on disk while `send` fails."""

    def __init__(self, send: Send, spool: Spool, *, most_waiting: int = MOST_WAITING, pause: float = PAUSE[0]) -> None:
        self._send, self._spool, self._most, self._first_pause = send, spool, most_waiting, pause
        self._waiting: collections.deque[tuple[int, Callable[[], bytes]]] = collections.deque()
        self._on_their_way: list[bytes] = []
        self._bytes = self.dropped = 0
        self._changed = threading.Condition()
        self._pause, self._next_try, self._reached = 0.0, 0.0, True
        self._ended = False
        self._thread: threading.Thread | None = None

    def note(self, size: int, make: Callable[[], bytes]) -> None:
        """Take on a call of about `size` bytes, which `make` writes out later.  Never raises, never waits."""
        with self._changed:
            if self._bytes + size > self._most:
                self._drop("the buffer is full")
                return
            self._bytes += size
            self._waiting.append((size, make))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="call-log", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, seconds: float = FAREWELL) -> None:
        """Send what is there, in at most about `seconds`; spool what was not sent by then."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread is None:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._keep([*self._on_their_way, *self._written()])

    def _run(self) -> None:
        while (calls := self._take()) is not None:
            self._on_their_way = calls
            if not self._deliver(calls):
                self._keep(calls)
            self._on_their_way = []

    def _take(self) -> list[bytes] | None:
        """The calls that are waiting; an empty list when it is time to look after the spool, None at the end."""
        with self._changed:
            while not self._waiting:
                if self._ended:
                    return None
                spooled, left = self._spool.holds_any(), self._next_try - time.monotonic()
                if spooled and left <= 0:
                    return []
                self._changed.wait(left if spooled else None)
        return self._written()

    def _written(self) -> list[bytes]:
        with self._changed:
            taken, self._bytes = list(self._waiting), 0
            self._waiting.clear()
        return [line for _, make in taken if (line := _made(make))]

    def _deliver(self, calls: list[bytes]) -> bool:
        """Send the spool and then `calls`; False when they were not sent."""
        if time.monotonic() < self._next_try:
            return False
        try:
            sent = self._spool.drain(self._send)
            if calls:
                self._send(calls)
        except Exception as error:  # whatever the SDK raises, the service goes on
            self._lost(error)
            return False
        if not self._reached:
            _log.warning("the event hub answers again: %s spooled calls were sent", sent)
        self._reached, self._pause = True, 0.0
        return True

    def _keep(self, calls: list[bytes]) -> None:
        for call in calls:
            if not self._spool.add(call):
                with self._changed:
                    self._drop(f"the spool {self._spool.folder} is full")

    def _lost(self, error: Exception) -> None:
        self._pause = min(max(2 * self._pause, self._first_pause), PAUSE[1])
        self._next_try = time.monotonic() + self._pause
        if self._reached:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            where = f"{self._spool.folder}, at most {self._spool.most // 2**20} MB"
            _log.warning("the event hub cannot be reached (%s): calls are kept in %s", reason, where)
        self._reached = False

    def _drop(self, why: str) -> None:
        """Count a call that is lost, and say so at 1, 2, 4, 8 …"""
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            _log.error("%s: so far %s calls are not in the scoring log", why, self.dropped)


class Spool:
    """Calls in files of this process, within a bound; files of processes that are gone are taken over."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._open: Path | None = None
        self._files = collections.deque(self._left_behind())
        self._bytes = sum(path.stat().st_size for path in self._files)

    def holds_any(self) -> bool:
        """Whether anything waits here."""
        return bool(self._files or self._open)

    def add(self, call: bytes) -> bool:
        """Write a call down; False when the bound is reached or the disk refuses."""
        if self._bytes + len(call) + 1 > self.most:
            return False
        try:
            if self._open is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._open = self.folder / f"{os.getpid()}-{time.time_ns()}.jsonl"
            with self._open.open("ab") as file:
                file.write(call + b"\n")
            self._bytes += len(call) + 1
            if self._open.stat().st_size >= FILE_BYTES:
                self.roll()
        except OSError as error:
            _log.error("the spool %s cannot be written: %s", self.folder, error)
            return False
        return True

    def roll(self) -> None:
        """Begin a new file with the next call."""
        if self._open is not None:
            self._files.append(self._open)
            self._open = None

    def drain(self, send: Send) -> int:
        """Send every file, the oldest first, each deleted when it was sent; how many calls.

        Raises what `send` raises.
        """
        self.roll()
        count = 0
        while self._files:
            content = self._files[0].read_bytes() if self._files[0].exists() else b""
            # What a process was writing when it died has no end of line.
            calls = [line[:-1] for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
            if calls:
                send(calls)
            self._files.popleft().unlink(missing_ok=True)
            self._bytes -= len(content)
            count += len(calls)
        return count

    def _left_behind(self) -> list[Path]:
        found = sorted(self.folder.glob("*.jsonl")) if self.folder.exists() else []
        mine = f"{os.getpid()}-"
        return [_taken_over(path, mine) for path in found if path.name.startswith(mine) or not _alive(path)]


def record(
    *, at: dt.datetime, request_id: str, status: int, latency_ms: float, body: bytes, answer: Mapping[str, Any],
    levels: Mapping[str, float], shadow: bool,
) -> bytes:  # fmt: skip
    """One call as a line of JSON: who answered, how it ended, what was asked and answered, and the series' levels."""
    facts = {
        "id": request_id or uuid.uuid4().hex,
        "at": at.isoformat(),
        "endpoint": os.environ.get("ENDPOINT_NAME") or os.environ.get("MODEL_NAME") or "unnamed",
        "deployment": os.environ.get("DEPLOYMENT_NAME") or f"v{os.environ.get('MODEL_VERSION', '0')}",
        "model_name": os.environ.get("MODEL_NAME", ""),
        "model_version": os.environ.get("MODEL_VERSION", ""),
        "status": status,
        "latency_ms": round(latency_ms, 3),
        "shadow": shadow,
        "levels": dict(levels),
        "outputs": _finite(answer),
    }
    # The inputs are the request's own bytes: they were read as JSON already, when the answer is a good one.
    inputs = body.replace(b"\n", b" ").replace(b"\r", b" ") if status == 200 and len(body) < LARGEST_CALL else b"null"
    return json.dumps(facts, allow_nan=False).encode()[:-1] + b', "inputs": ' + inputs + b"}"


def to_hub(connection: str, namespace: str, hub: str) -> Send:
    """What sends to an event hub: with a connection string, or to a namespace with the workload's identity."""
    producer: Any = None

    def send(calls: list[bytes]) -> None:
        nonlocal producer
        from azure.eventhub import EventData, EventHubProducerClient

        try:
            if producer is None:
                options = {"eventhub_name": hub, "retry_total": 1, "socket_timeout": 10}
                if connection:
                    producer = EventHubProducerClient.from_connection_string(connection, **options)
                else:
                    from azure.identity import DefaultAzureCredential

                    producer = EventHubProducerClient(namespace, credential=DefaultAzureCredential(), **options)
            for batch in batches(producer.create_batch, map(EventData, calls)):
                producer.send_batch(batch)
        except Exception:
            broken, producer = producer, None
            if broken is not None:
                with contextlib.suppress(Exception):
                    broken.close()
            raise

    return send


def batches(create: Callable[[], Any], events: Iterable[Any]) -> Iterator[Any]:
    """Batches, each as full as it gets; an event that fits into none is left out, and it is said."""
    batch = create()
    for event in events:
        try:
            batch.add(event)
        except ValueError:
            if len(batch):
                yield batch
            batch = create()
            try:
                batch.add(event)
            except ValueError as error:
                _log.error("a call is not in the scoring log: %s", error)
    if len(batch):
        yield batch


def open_log() -> CallLog | None:
    """The log to the hub that the environment names (SCORING_HUB and so on), None where none is named."""
    hub = os.environ.get("SCORING_HUB", "")
    connection, namespace = os.environ.get("SCORING_HUB_CONNECTION", ""), os.environ.get("SCORING_HUB_NAMESPACE", "")
    if not hub or not (connection or namespace):
        return None
    logging.getLogger("azure.eventhub").setLevel(logging.CRITICAL)  # what matters of it is said here
    folder = Path(os.environ.get("SCORING_SPOOL") or "scoring-spool")
    most = int(float(os.environ.get("SCORING_SPOOL_MB") or MOST_SPOOLED) * 2**20)
    log = CallLog(to_hub(connection, namespace, hub), Spool(folder, most))
    atexit.register(log.close)
    return log


def write(line: bytes) -> None:
    """Write a call to the file MODEL_DATA_LOG, or to standard output."""
    path = os.environ.get("MODEL_DATA_LOG")
    if not path:
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
        return
    with Path(path).open("ab") as file:
        file.write(line + b"\n")


def _made(make: Callable[[], bytes]) -> bytes:
    try:
        return make()
    except Exception as error:  # a call that cannot be told must not stop those that can
        _log.error("a call is not in the scoring log: %r", error)
        return b""


def _finite(value: Any) -> Any:
    """`value` with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _alive(path: Path) -> bool:
    """Whether the process that wrote a spool file still runs."""
    number = path.name.partition("-")[0]
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return True


def _taken_over(path: Path, mine: str) -> Path:
    """The file under a name of this process, so that no other takes it too."""
    own = path.with_name(mine + path.name.partition("-")[2])
    with contextlib.suppress(OSError):
        path.rename(own)
    return own
