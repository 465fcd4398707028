"""The due index on a service that closes kept connections, as every service does with idle ones."""

from __future__ import annotations

import datetime as dt
import socket
import threading

import pytest
from azure.data.tables import TableClient

from shared.adapters.due_table import TableDue
from shared.lanes import LaneKey
from shared.ports import Due

KEPT = b"HTTP/1.1 204 No Content\r\n\r\n"
EXISTS = (
    b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nx-ms-error-code: EntityAlreadyExists\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Service(threading.Thread):
    """Answers the first request of a connection, and closes it when the second one arrives."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.answers = [KEPT, KEPT]
        self.rows: list[bytes] = []
        self.start()

    def run(self) -> None:
        for answer in self.answers:
            connection, _ = self._server.accept()
            with connection:
                self._read(connection)
                connection.sendall(answer)
                self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        received = b""
        while not received.endswith(b"}"):
            more = connection.recv(65536)
            if not more:
                return
            received += more
        self.rows.append(received.split(b'"RowKey": "')[1].split(b'"')[0])


@pytest.fixture
def service() -> Service:
    return Service()


def index(service: Service) -> TableDue:
    address = f"TableEndpoint=http://127.0.0.1:{service.port}/a"
    connection = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YWJj;{address};"
    return TableDue(TableClient.from_connection_string(connection, table_name="due", retry_backoff_factor=0.01))


def due() -> Due:
    return Due(dt.datetime.now(dt.UTC), LaneKey("route", "key"))


def test_a_row_whose_connection_was_closed_while_it_went_out_is_sent_again(service: Service) -> None:
    found = index(service)
    found.insert(due())
    found.insert(due())
    first, lost, again = service.rows
    assert lost == again != first


def test_a_row_that_landed_although_its_answer_was_lost_is_inserted(service: Service) -> None:
    service.answers[1] = EXISTS
    found = index(service)
    found.insert(due())
    found.insert(due())
    assert service.rows[1] == service.rows[2]
