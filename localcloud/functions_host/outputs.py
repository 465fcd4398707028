"""Output bindings: sent only after the function succeeded, one by one, without a transaction."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.functions.meta import Datum

from localcloud.functions_host.app_index import Function
from localcloud.functions_host.payloads import compact
from localcloud.functions_host.settings import Settings
from localcloud.functions_host.storage import Storages
from localcloud.functions_host.worker import Outcome

SENT = frozenset({"queue", "eventHub", "http"})


def messages(value: Datum) -> list[str | bytes]:
    """The messages in an output value.

    Text that is a JSON array is one message an element, also when the function set a plain string: so does the host.
    """
    if value.type == "bytes":
        return [value.value]
    text = str(value.value)
    if value.type in {"string", "json"} and text.lstrip().startswith("["):
        try:
            elements = json.loads(text)
        except ValueError:
            return [text]
        return [element if isinstance(element, str) else compact(element) for element in elements]
    return [text]


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Sends queue outputs to their queues, and writes event hub outputs to `<folder>/<hub>.jsonl`."""

    settings: Settings
    storages: Storages
    encoding: str
    folder: Path
    notify: Callable[[str], None]

    async def send(self, function: Function, outcome: Outcome) -> None:
        """Send everything; an error here fails the invocation."""
        for name, value in self._values(outcome):
            binding = function.binding(name)
            if value.type is not None and binding["type"] == "queue":
                await self._enqueue(binding, value)
            elif value.type is not None and binding["type"] == "eventHub":
                self._record(binding, value)

    def _values(self, outcome: Outcome) -> list[tuple[str, Datum]]:
        returned = outcome.returned
        if returned is None or returned.type in {None, "http"}:
            return list(outcome.outputs)
        return [*outcome.outputs, ("$return", returned)]

    async def _enqueue(self, binding: Any, value: Datum) -> None:
        name = self.settings.resolve(binding["queueName"])
        queue = self.storages.of(binding.get("connection")).queue(name)
        for message in messages(value):
            body = encode(message, self.encoding)
            try:
                await queue.send_message(body, time_to_live=604800)
            except ResourceNotFoundError:
                await queue.create_queue()
                await queue.send_message(body, time_to_live=604800)
        self.notify(name)

    def _record(self, binding: Any, value: Datum) -> None:
        hub = self.settings.resolve(binding["eventHubName"])
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{hub}.jsonl").open("a", encoding="utf-8") as file:
            for message in messages(value):
                text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
                file.write(json.dumps({"body": text}) + "\n")


def encode(message: str | bytes, encoding: str) -> str:
    """`message` as it stands in a queue with `messageEncoding` `base64` or `none`."""
    body = message.encode("utf-8") if isinstance(message, str) else message
    return base64.b64encode(body).decode("ascii") if encoding == "base64" else body.decode("utf-8")
