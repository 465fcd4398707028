"""One table for those who wait: the control plane's side of `table_rest`, on the process's event loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.adapters.table_rest import Entity, Operation, Refusal, RestTable
from shared.errors import Conflict, Unavailable
from shared.event_loop import EventLoop

_LOST = (404, 409, 412)


class WaitingTable:
    """Each call waits in its own thread.  A write that expects what is not so any more raises Conflict."""

    def __init__(self, table: RestTable, loop: EventLoop) -> None:
        self._table, self._loop = table, loop

    def get(self, what: str, partition: str, row: str) -> tuple[dict[str, Any], str] | None:
        """The entity and its version, None when there is none."""
        return self._loop.wait(self._table.versioned(what, partition, row))

    def query(self, what: str, condition: str, select: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Every entity for which a condition holds, page by page, in the order of their keys."""
        after: dict[str, str] = {}
        while True:
            found, after = self._loop.wait(self._table.page(what, condition, select, after))
            yield from found
            if not after:
                return

    def insert(self, what: str, entity: Entity) -> bool:
        """Insert an entity; False when its row exists."""
        return self._loop.wait(self._table.insert(what, entity))

    def replace(self, what: str, entity: Entity, version: str) -> str:
        """Replace a row that is still at this version; answers its new one."""
        saved = self._loop.wait(self._table.replace(what, entity, version))
        if saved is None:
            raise _lost(what)
        return saved

    def delete(self, what: str, partition: str, row: str) -> None:
        """Delete a row; one that is gone is fine."""
        self._loop.wait(self._table.delete(what, partition, row))

    def transact(self, what: str, operations: Sequence[Operation]) -> list[str]:
        """Do all of it or nothing; answers the new version of each row."""
        done = self._loop.wait(self._table.transact(what, operations))
        if not isinstance(done, Refusal):
            return done
        if done.status in _LOST:
            raise _lost(what)
        raise Unavailable(f"the store could not answer for {what}: {done.status} {done.code}")


def _lost(what: str) -> Conflict:
    return Conflict(f"{what} has changed since it was read")


def text(value: str) -> str:
    """A value as a condition has it."""
    return "'{}'".format(value.replace("'", "''"))
