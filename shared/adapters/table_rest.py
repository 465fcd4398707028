"""One table over REST: point reads, and transactions as OData batches.

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
_INDEX = re.compile(rb'"value"\s*:\s*"(\d+):')
_PART = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
_INNER = "Content-Type: application/json\r\nAccept: application/json\r\nDataServiceVersion: 3.0\r\n"
_DATA = {"DataServiceVersion": "3.0", "MaxDataServiceVersion": "3.0;NetFx"}


@dataclasses.dataclass(frozen=True, slots=True)
class Insert:
    """Insert the entity; a row that exists refuses the transaction."""

    entity: Entity


@dataclasses.dataclass(frozen=True, slots=True)
class Merge:
    """Merge the properties into a row, whatever its version; a row that is gone refuses the transaction."""

    entity: Entity


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

    async def get(self, what: str, partition: str, row: str, *select: str) -> dict[str, Any] | None:
        """The entity, or only its properties `select`; None when there is none."""
        query = f"$select={','.join(select)}" if select else ""
        path = f"/{self._name}{address(partition, row)}"
        answer = await self._service.send(what, Request("GET", path, _DATA, query=query))
        if answer.status == 404 and answer.code != "TableNotFound":
            return None
        if answer.status != 200:
            raise answer.unavailable(what)
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def transact(self, what: str, operations: Sequence[Insert | Merge]) -> Refusal | None:
        """Do all of it or nothing; None means done.

        When an answer was lost the transaction may have been sent twice: a conflict, and a row that is gone, can then
        come from its own first effect, or from what others did after it.
        """
        boundary = uuid.uuid4().hex
        headers = {**_DATA, "Content-Type": f"multipart/mixed; boundary=batch_{boundary}"}
        body = encode(f"{self._service.endpoint}/{self._name}", operations, boundary)
        answer = await self._service.send(what, Request("POST", "/$batch", headers, body), decode)
        if answer.status == 202:
            if len(_STATUS.findall(answer.body)) != len(operations):
                raise answer.unavailable(what)
            return None
        told = _INDEX.search(answer.body)
        if answer.code == "TableNotFound" or (not _STATUS.match(answer.body) and answer.status != 413):
            raise answer.unavailable(what)
        return Refusal(answer.status, answer.code, int(told[1]) if told else None)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._service.close()


def address(partition: str, row: str) -> str:
    """The keys of an entity as its address has them."""
    keys = (urllib.parse.quote(key.replace("'", "''"), safe="") for key in (partition, row))
    return "(PartitionKey='{}',RowKey='{}')".format(*keys)


def encode(table: str, operations: Sequence[Insert | Merge], boundary: str) -> bytes:
    """The body of a batch.  JSON in ASCII holds no line break and no boundary, whatever the values hold."""
    lines = [f"--batch_{boundary}\r\nContent-Type: multipart/mixed; boundary=changeset_{boundary}\r\n\r\n"]
    for operation in operations:
        entity = operation.entity
        text = json.dumps(entity)
        if isinstance(operation, Merge):
            head = (
                f"PATCH {table}{address(entity['PartitionKey'], entity['RowKey'])} HTTP/1.1\r\n{_INNER}If-Match: *\r\n"
            )
        else:
            head = f"POST {table} HTTP/1.1\r\n{_INNER}Prefer: return-no-content\r\n"
        lines.append(f"--changeset_{boundary}\r\n{_PART}{head}Content-Length: {len(text)}\r\n\r\n{text}\r\n")
    lines.append(f"--changeset_{boundary}--\r\n\r\n--batch_{boundary}--\r\n")
    return "".join(lines).encode("ascii")


def decode(answer: Answer) -> Answer:
    """The answer to a batch; when an operation in it was refused, the answer to that operation."""
    if answer.status == 202:
        for found in _STATUS.finditer(answer.body):
            if found[1] >= b"400":
                return Answer(int(found[1]), answer.headers, answer.body[found.start() :])
    return answer
