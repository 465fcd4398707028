"""What arrives: one frozen type for Event Grid schema and CloudEvents, or a rejection with its reason.

Reading is tolerant, because real payloads differ from their schemas: keys in any case, `data` as a JSON string (the
container registry in 2020), short type names, times with an offset or none.  Unknown types and fields are normal.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import functools
import hashlib
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]

_STORAGE = ("BlobCreated", "BlobDeleted", "BlobRenamed", "DirectoryCreated", "DirectoryRenamed", "DirectoryDeleted")
_REGISTRY = ("ImagePushed", "ImageDeleted", "ChartPushed", "ChartDeleted")
_MACHINE_LEARNING = ("ModelRegistered", "ModelDeployed", "RunCompleted", "DatasetDriftDetected", "RunStatusChanged")

SOURCE_TYPES: tuple[str, ...] = (
    *(f"Microsoft.Storage.{name}" for name in _STORAGE),
    *(f"Microsoft.ContainerRegistry.{name}" for name in _REGISTRY),
    *(f"Microsoft.MachineLearningServices.{name}" for name in _MACHINE_LEARNING),
)
"""The 15 event types of the lake, the container registry and the Azure ML workspace."""

_CANONICAL = {name.lower(): name for name in SOURCE_TYPES} | {
    name.rsplit(".", 1)[1].lower(): name for name in SOURCE_TYPES
}
_FIELDS = {
    "id": "id", "subject": "subject", "source": "source", "topic": "source", "type": "type", "eventtype": "type",
}  # fmt: skip
_MAX_NAME = 1024
_SPACE, _DECODER = re.compile(r"[ \t\n\r]*"), json.JSONDecoder()


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A fact that arrived."""

    id: str
    source: str
    type: str
    subject: str
    time: dt.datetime | None
    data: Mapping[str, Any]
    schema: Schema
    raw: str

    @property
    def identity(self) -> str:
        """32 hexadecimal digits that two deliveries of the same fact share.

        Type and subject are part of it: distinct storage events with one id have been seen (azure-docs#77475).
        """
        parts = "\n".join((self.source, self.id, self.type, self.subject))
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    def value(self, path: str) -> Any:
        """The value at a dotted path such as `subject` or `data.target.tag`, keys in any case; None when absent."""
        return _reader(path)(self)


@functools.lru_cache(maxsize=4096)
def _reader(path: str) -> Callable[[Event], Any]:
    """What reads the value at a path; routes name few, and ask each of them of every event."""
    head, _, rest = path.partition(".")
    head = head.lower()
    if head == "data" and rest:
        return lambda event: lookup(event.data, rest)
    if rest or head not in {*_FIELDS, "data"}:
        return lambda _: None
    return operator.attrgetter(_FIELDS.get(head, "data"))


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    """A delivery that cannot be read as an event, why, and what it was, so that nothing is lost."""

    reason: str
    raw: str
    id: str | None = None


def parse(payload: str | bytes) -> list[Event | Rejection]:
    """Read one delivery: an event, or an array of events.  Each element stands for itself; never raises."""
    try:
        text = payload.decode() if isinstance(payload, bytes) else payload
    except UnicodeDecodeError as error:
        reason = f"the body is not UTF-8 ({error.reason} at byte {error.start}); it is kept here as base64"
        return [Rejection(reason, base64.b64encode(error.object).decode())]
    try:
        body = list(_elements(text)) if text.lstrip(" \t\n\r").startswith("[") else json.loads(text)
    except (ValueError, RecursionError) as error:
        return [Rejection(f"the body is not JSON: {error}", text)]
    if not isinstance(body, list):
        return [_read(body, text)]
    if not body:
        return [Rejection("the body is an empty array: there is no event in it", text)]
    return [_read(item, raw) for item, raw in body]


def _elements(array: str) -> Iterator[tuple[Any, str]]:
    """Each element of a JSON array, read and to the letter.  Raises ValueError."""
    at = _past(array, array.index("[") + 1)
    while array[at : at + 1] != "]":
        item, end = _DECODER.raw_decode(array, at)
        yield item, array[at:end]
        at = _past(array, end)
        if array[at : at + 1] == ",":
            at = _past(array, at + 1)
            if array[at : at + 1] != "]":
                continue
        elif array[at : at + 1] == "]":
            break
        raise json.JSONDecodeError("Expecting ',' delimiter" if at < len(array) else "Unterminated array", array, at)
    if _past(array, at + 1) != len(array):
        raise json.JSONDecodeError("Extra data", array, at + 1)


def _past(text: str, at: int) -> int:
    """The place of what follows after white space."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it also matches nothing


def lookup(data: Any, path: str) -> Any:
    """Walk a dotted path through mappings, keys in any case; None when a part of it is absent."""
    for part in path.split("."):
        if not isinstance(data, (dict, Mapping)):  # the first is quick to tell, and nearly always it
            return None
        data = data[part] if part in data else _fold(data).get(part.lower())
    return data


def _fold(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in mapping.items()}


def _read(body: Any, raw: str) -> Event | Rejection:
    if not isinstance(body, dict):
        return Rejection(f"an event is a JSON object, this is {type(body).__name__}", raw)
    fields = _fold(body)
    cloud = "specversion" in fields
    type_, source = fields.get("type" if cloud else "eventtype"), fields.get("source" if cloud else "topic")
    id_, subject = fields.get("id"), fields.get("subject") or ""
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    known = id_ if isinstance(id_, str) else None
    if not cloud and "eventtype" not in fields:
        return Rejection("the event has neither eventType (Event Grid) nor specversion (CloudEvents)", raw, known)
    for name, value in (("id", id_), ("type" if cloud else "eventType", type_)):
        if not isinstance(value, str) or not value.strip():
            return Rejection(f"the event has no {name}: it must be a string that is not empty", raw, known)
    for name, value in (("id", id_), ("type", type_), ("source", source or ""), ("subject", subject)):
        fault = _unusable(value)
        if fault:
            return Rejection(f"the event's {name} {fault}", raw, known if name != "id" else None)
    try:
        time = _time(fields.get("time" if cloud else "eventtime"))
    except (ValueError, OverflowError) as error:
        return Rejection(f"the event's time cannot be read: {error}", raw, known)
    return Event(
        id=str(id_),
        source=str(source or ""),
        type=_CANONICAL.get(str(type_).lower(), str(type_)),
        subject=str(subject),
        time=time,
        data=_data(fields),
        schema="CloudEventSchemaV1_0" if cloud else "EventGridSchema",
        raw=raw,
    )


def _unusable(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"must be a string, it is {type(value).__name__}"
    if len(value) > _MAX_NAME * (4 if "/" in value else 1):
        return f"is {len(value)} characters long, at most {_MAX_NAME} (a path: {_MAX_NAME * 4}) are kept"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which is not text"
    return None


def _time(value: Any) -> dt.datetime | None:
    """Any ISO 8601 time as UTC; one without an offset is taken as UTC.  Nothing decides on it, so absence is fine."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an ISO 8601 string")
    time = dt.datetime.fromisoformat(value)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _data(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    data = fields.get("data")
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except (ValueError, RecursionError):
            data = {"value": data}
    if data is None:
        return {}
    return data if isinstance(data, dict) else {"value": data}
