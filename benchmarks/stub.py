"""The backend of every system under measurement: a loopback server that answers at once and remembers its calls.

`POST /call` takes the ids of what a system worked on.  For Sluice it is also a managed identity, and a Databricks
workspace that knows every job, finishes each run at once, and gives one run for one idempotency token.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Call:
    """One call that had an effect: when (`time.perf_counter`), and what it was told."""

    at: float
    told: Mapping[str, Any]


class Stub(threading.Thread):
    """Serves on a port of its own choice until the process ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.calls: list[Call] = []
        self.port = 0
        self._tokens: dict[str, int] = {}
        self._jobs: dict[str, int] = {}
        self._ready = threading.Event()
        self.start()
        self._ready.wait(10)

    @property
    def address(self) -> str:
        """Where a system calls it."""
        return f"http://127.0.0.1:{self.port}/call"

    def run(self) -> None:
        """Serve."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answering(self.answer), "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    def answer(self, path: str, query: str, body: bytes) -> Mapping[str, Any]:
        """The answer to one request."""
        if path == "/call":
            self.calls.append(Call(time.perf_counter(), json.loads(body)))
            return {}
        if path.endswith("/jobs/run-now"):
            return self._run_now(json.loads(body))
        if path == "/msi/token":
            return {"access_token": "local", "expires_on": str(int(time.time()) + 86400), "token_type": "Bearer"}
        asked = dict(urllib.parse.parse_qsl(query))
        if path.endswith("/jobs/runs/get"):
            return {"run_id": int(asked["run_id"]), "run_page_url": "", **_FINISHED}
        if path.endswith("/jobs/list"):
            name = asked["name"]
            return {"jobs": [{"job_id": self._jobs.setdefault(name, len(self._jobs) + 1), "settings": {"name": name}}]}
        return {}

    def _run_now(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        token = asked["idempotency_token"]
        if token not in self._tokens:
            self._tokens[token] = len(self._tokens) + 1
            self.calls.append(Call(time.perf_counter(), asked["job_parameters"]))
        return {"run_id": self._tokens[token]}


_FINISHED = {
    "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"},
    "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS", "type": "SUCCESS"}},
}


class _Answering(asyncio.Protocol):
    def __init__(self, answer: Any) -> None:
        self._answer, self._buffer = answer, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            path, _, query = head.split(b" ", 2)[1].decode().partition("?")
            told = json.dumps(self._answer(path, query, body)).encode()
            start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            self._transport.write(start + str(len(told)).encode() + b"\r\n\r\n" + told)
