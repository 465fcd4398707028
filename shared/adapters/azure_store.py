"""The whole store on Azure Storage: tables, queues and the container, made on first use."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableClient
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from shared.adapters.azure_errors import translated
from shared.adapters.blob_rest import RestContainer
from shared.adapters.due_table import TableDue
from shared.adapters.evidence_blobs import BlobEvidence
from shared.adapters.index_blobs import BlobIndex
from shared.adapters.intake_table import TableLaneIntake
from shared.adapters.journal_blob import BlobJournal
from shared.adapters.lane_table import TableLanes
from shared.adapters.limit_table import TableLimits
from shared.adapters.queues import QueueBells
from shared.adapters.scoring_table import TableScoringLog
from shared.adapters.set_blobs import BlobSets
from shared.adapters.storage_rest import open_service
from shared.adapters.table_rest import RestTable
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


def open_store(storage: Storage, clock: Clock, credential: Credentials, async_credential: Credentials) -> AzureStore:
    """The store of an account; what is missing in it is made.  Raises Unavailable."""
    tables = [_table(storage, name, credential) for name in (LANES, DUE, LIMITS)]
    queues = [_queue(storage, name, credential) for name in (LANE_QUEUE, RUN_QUEUE)]
    container = _container(storage, credential)
    with translated("the store"):
        for table in tables:
            with contextlib.suppress(ResourceExistsError):
                table.create_table()
        for queue in queues:
            with contextlib.suppress(ResourceExistsError):
                queue.create_queue()
        with contextlib.suppress(ResourceExistsError):
            container.create_container()
    blobs, rows = (open_service(storage, service, async_credential) for service in ("blob", "table"))
    return AzureStore(
        journal=BlobJournal(container, RestContainer(blobs, CONTAINER), clock),
        lanes=TableLanes(tables[0]),
        lane_intake=TableLaneIntake(RestTable(rows, LANES), clock),
        due=TableDue(tables[1]),
        limits=TableLimits(tables[2]),
        bells=QueueBells(*queues),
        sets=BlobSets(container),
        index=BlobIndex(container),
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


def _queue(storage: Storage, name: str, credential: Credentials) -> QueueClient:
    policy = TextBase64EncodePolicy()
    if storage.connection:
        return QueueClient.from_connection_string(storage.connection, name, message_encode_policy=policy)
    return QueueClient(storage.url("queue"), name, credential=credential(), message_encode_policy=policy)
