"""One table over REST: point reads, ranges, single writes, and transactions as OData batches.

A write that expects a version may be sent twice when its first answer was lost: it then loses to its own first effect,
which reads like a lost race.
(learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions)
"""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from shared.adapters.storage_rest import Answer, Request, StorageRest

Entity = Mapping[str, Any]

_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3})", re.MULTILINE)
_ETAG = re.compile(rb"^ETag: ([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_INDEX = re.compile(rb'"value"\s*:\s*"(\d+):')
_PART = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
_INNER = "Content-Type: application/json\r\nAccept: application/json\r\nDataServiceVersion: 3.0\r\n"
_DATA = {"DataServiceVersion": "3.0", "MaxDataServiceVersion": "3.0;NetFx"}
_BODY = {**_DATA, "Content-Type": "application/json", "Prefer": "return-no-content"}
_NEXT = {"NextPartitionKey": "x-ms-continuation-NextPartitionKey", "NextRowKey": "x-ms-continuation-NextRowKey"}


@dataclasses.dataclass(frozen=True, slots=True)
class Insert:
    """Insert the entity; a row that exists refuses the transaction."""

    entity: Entity


@dataclasses.dataclass(frozen=True, slots=True)
class Merge:
    """Merge the properties into a row, whatever its version; a row that is gone refuses the transaction."""

    entity: Entity


@dataclasses.dataclass(frozen=True, slots=True)
class Replace:
    """Replace a row that is still at this version; any other refuses the transaction."""

    entity: Entity
    version: str


@dataclasses.dataclass(frozen=True, slots=True)
class Delete:
    """Delete a row at this version, or at any; one that is gone refuses the transaction."""

    entity: Entity
    version: str = "*"


Operation = Insert | Merge | Replace | Delete


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing of a transaction was written: HTTP status, Azure's code, and the operation that failed if told."""

    status: int
    code: str
    index: int | None


class RestTable:
    """One table.  What it raises is Unavailable."""

    def __init__(self, service: StorageRest, name: str) -> None:
        self._service, self._name = service, name

    async def make(self) -> None:
        """Make the table where there is none."""
        body = json.dumps({"TableName": self._name}).encode()
        answer = await self._service.send(f"table {self._name}", Request("POST", "/Tables", _BODY, body))
        if answer.status not in (201, 204, 409):
            raise answer.unavailable(f"table {self._name}")

    async def get(self, what: str, partition: str, row: str, *select: str) -> dict[str, Any] | None:
        """The entity, or only its properties `select`; None when there is none."""
        found = await self.versioned(what, partition, row, *select)
        return found[0] if found else None

    async def versioned(self, what: str, partition: str, row: str, *select: str) -> tuple[dict[str, Any], str] | None:
        """`get`, with the row's version."""
        query = f"$select={','.join(select)}" if select else ""
        answer = await self._service.send(what, Request("GET", self._path(partition, row), _DATA, query=query))
        if answer.status == 404 and answer.code != "TableNotFound":
            return None
        if answer.status != 200:
            raise answer.unavailable(what)
        return json.loads(answer.body), answer.headers.get("ETag", "")

    async def page(
        self, what: str, condition: str, select: Sequence[str] = (), after: Mapping[str, str] | None = None
    ) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Some of the entities for which a condition holds, and where the next begin; nothing when these are all."""
        asked = {"$filter": condition} | ({"$select": ",".join(select)} if select else {}) | dict(after or {})
        query = urllib.parse.urlencode(asked, quote_via=urllib.parse.quote)
        answer = await self._service.send(what, Request("GET", f"/{self._name}()", _DATA, query=query))
        if answer.status != 200:
            raise answer.unavailable(what)
        following = {name: answer.headers[header] for name, header in _NEXT.items() if header in answer.headers}
        found: list[dict[str, Any]] = json.loads(answer.body)["value"]
        return found, following

    async def insert(self, what: str, entity: Entity) -> bool:
        """Insert an entity; False when its row exists, be it by its own first effect."""
        answer = await self._service.send(what, Request("POST", f"/{self._name}", _BODY, json.dumps(entity).encode()))
        if answer.status == 409 and answer.code == "EntityAlreadyExists":
            return False
        if answer.status not in (201, 204):
            raise answer.unavailable(what)
        return True

    async def replace(self, what: str, entity: Entity, version: str) -> str | None:
        """Replace a row that is still at this version; its new version, None when it has another."""
        path = self._path(entity["PartitionKey"], entity["RowKey"])
        answer = await self._service.send(
            what, Request("PUT", path, {**_BODY, "If-Match": version}, json.dumps(entity).encode())
        )
        if answer.status == 412:
            return None
        if answer.status != 204:
            raise answer.unavailable(what)
        return answer.headers["ETag"]

    async def delete(self, what: str, partition: str, row: str) -> None:
        """Delete a row; one that is gone is fine."""
        answer = await self._service.send(
            what, Request("DELETE", self._path(partition, row), {**_DATA, "If-Match": "*"})
        )
        if answer.status not in (204, 404) or answer.code == "TableNotFound":
            raise answer.unavailable(what)

    async def transact(self, what: str, operations: Sequence[Operation]) -> Refusal | list[str]:
        """Do all of it or nothing; answers the new version of each row, empty for what is deleted.

        When an answer was lost the transaction may have been sent twice: a conflict, and a row that is gone, can then
        come from its own first effect, or from what others did after it.
        """
        boundary = uuid.uuid4().hex
        headers = {**_DATA, "Content-Type": f"multipart/mixed; boundary=batch_{boundary}"}
        body = encode(f"{self._service.endpoint}/{self._name}", operations, boundary)
        answer = await self._service.send(what, Request("POST", "/$batch", headers, body), decode)
        if answer.status == 202:
            starts = [found.start() for found in _STATUS.finditer(answer.body)]
            if len(starts) != len(operations):
                raise answer.unavailable(what)
            parts = (answer.body[at:end] for at, end in zip(starts, [*starts[1:], None], strict=True))
            return [found[1].decode() if (found := _ETAG.search(part)) else "" for part in parts]
        told = _INDEX.search(answer.body)
        if answer.code == "TableNotFound" or (not _STATUS.match(answer.body) and answer.status != 413):
            raise answer.unavailable(what)
        return Refusal(answer.status, answer.code, int(told[1]) if told else None)

    def _path(self, partition: str, row: str) -> str:
        return f"/{self._name}{address(partition, row)}"


def address(partition: str, row: str) -> str:
    """The keys of an entity as its address has them."""
    keys = (urllib.parse.quote(key.replace("'", "''"), safe="") for key in (partition, row))
    return "(PartitionKey='{}',RowKey='{}')".format(*keys)


def encode(table: str, operations: Sequence[Operation], boundary: str) -> bytes:
    """The body of a batch.  JSON in ASCII holds no line break and no boundary, whatever the values hold."""
    lines = [f"--batch_{boundary}\r\nContent-Type: multipart/mixed; boundary=changeset_{boundary}\r\n\r\n"]
    for operation in operations:
        text = "" if isinstance(operation, Delete) else json.dumps(operation.entity)
        head = _head(table, operation)
        lines.append(f"--changeset_{boundary}\r\n{_PART}{head}Content-Length: {len(text)}\r\n\r\n{text}\r\n")
    lines.append(f"--changeset_{boundary}--\r\n\r\n--batch_{boundary}--\r\n")
    return "".join(lines).encode("ascii")


def _head(table: str, operation: Operation) -> str:
    """The request line and the headers of one operation, but for its length."""
    if isinstance(operation, Insert):
        return f"POST {table} HTTP/1.1\r\n{_INNER}Prefer: return-no-content\r\n"
    place = f"{table}{address(operation.entity['PartitionKey'], operation.entity['RowKey'])}"
    if isinstance(operation, Replace):
        return f"PUT {place} HTTP/1.1\r\n{_INNER}If-Match: {operation.version}\r\n"
    if isinstance(operation, Delete):
        return f"DELETE {place} HTTP/1.1\r\n{_INNER}If-Match: {operation.version}\r\n"
    return f"PATCH {place} HTTP/1.1\r\n{_INNER}If-Match: *\r\n"


def decode(answer: Answer) -> Answer:
    """The answer to a batch; when an operation in it was refused, the answer to that operation."""
    if answer.status == 202:
        for found in _STATUS.finditer(answer.body):
            if found[1] >= b"400":
                return Answer(int(found[1]), answer.headers, answer.body[found.start() :])
    return answer
