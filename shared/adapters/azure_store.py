"""The whole store on Azure Storage: tables, queues and the container, made on first use."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableClient
from azure.storage.blob import ContainerClient

from shared.adapters.azure_errors import translated
from shared.adapters.blob_rest import RestContainer
from shared.adapters.due_table import TableDue
from shared.adapters.evidence_blobs import BlobEvidence
from shared.adapters.fresh_lanes import FreshLanes
from shared.adapters.index_blobs import BlobIndex
from shared.adapters.intake_table import TableLaneIntake
from shared.adapters.journal_blob import BlobJournal
from shared.adapters.lane_table import TableLanes
from shared.adapters.limit_table import TableLimits
from shared.adapters.queues import QueueBells, RestQueue
from shared.adapters.scoring_table import TableScoringLog
from shared.adapters.set_blobs import BlobSets
from shared.adapters.storage_rest import StorageRest, open_service
from shared.adapters.table_rest import RestTable
from shared.adapters.waiting_table import WaitingTable
from shared.event_loop import EventLoop
from shared.ports import Clock
from shared.settings import Storage

CONTAINER, LANES, DUE, LIMITS, SCORING = "sluice", "sluicelanes", "sluicedue", "sluicelimits", "sluicescoring"
LANE_QUEUE, RUN_QUEUE = "sluice-lane", "sluice-run"

Credentials = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class AzureStore:
    """Every port of the store, on one storage account."""

    journal: BlobJournal
    lanes: TableLanes
    lane_intake: TableLaneIntake
    due: TableDue
    limits: TableLimits
    bells: QueueBells
    sets: BlobSets
    index: BlobIndex
    services: tuple[StorageRest, ...]

    async def close(self) -> None:
        """Let go of the connections."""
        for service in self.services:
            await service.close()


def open_store(
    storage: Storage, clock: Clock, loop: EventLoop, credential: Credentials, async_credential: Credentials
) -> AzureStore:
    """The store of an account, with its connections on the loop; what is missing in it is made.  Raises Unavailable."""
    tables, blobs, messages = (open_service(storage, name, async_credential) for name in ("table", "blob", "queue"))
    lanes, due, limits = (RestTable(tables, name) for name in (LANES, DUE, LIMITS))
    lane_queue, run_queue = (RestQueue(messages, name) for name in (LANE_QUEUE, RUN_QUEUE))
    fresh = FreshLanes()
    rest, container = RestContainer(blobs, CONTAINER), _container(storage, credential)
    for part in (lanes, due, limits, lane_queue, run_queue, rest):
        loop.wait(part.make())
    return AzureStore(
        journal=BlobJournal(container, rest, loop, clock),
        lanes=TableLanes(WaitingTable(lanes, loop), fresh),
        lane_intake=TableLaneIntake(lanes, clock, fresh),
        due=TableDue(WaitingTable(due, loop)),
        limits=TableLimits(WaitingTable(limits, loop)),
        bells=QueueBells(lane_queue, run_queue, loop),
        sets=BlobSets(rest, loop),
        index=BlobIndex(container),
        services=(tables, blobs, messages),
    )


def open_scoring_log(storage: Storage, credential: Credentials) -> TableScoringLog:
    """The scoring log's minutes in an account; the table is made when it is missing.  Raises Unavailable."""
    table = _table(storage, SCORING, credential)
    with translated("the scoring log"), contextlib.suppress(ResourceExistsError):
        table.create_table()
    return TableScoringLog(table)


def open_evidence(storage: Storage, credential: Credentials) -> BlobEvidence:
    """The evidence of releases on an account; the container is made with the store."""
    return BlobEvidence(_container(storage, credential))


def _table(storage: Storage, name: str, credential: Credentials) -> TableClient:
    if storage.connection:
        return TableClient.from_connection_string(storage.connection, table_name=name)
    return TableClient(storage.url("table"), name, credential=credential())


def _container(storage: Storage, credential: Credentials) -> ContainerClient:
    if storage.connection:
        return ContainerClient.from_connection_string(storage.connection, CONTAINER)
    return ContainerClient(storage.url("blob"), CONTAINER, credential=credential())
