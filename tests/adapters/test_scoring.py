"""Plain HTTP to scoring services."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from shared.adapters.scoring import Scoring
from shared.errors import Unavailable
from tests.azurites import free_port


class Service(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names, and with what it was sent."""

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = [self.headers.get("Authorization"), self.headers.get("azureml-model-deployment"), body.decode()]
        self.answer(repr(told).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_any_status_is_an_answer(address: str) -> None:
    assert Scoring().get(f"{address}/200") == 200
    assert Scoring().get(f"{address}/500") == 500
    assert Scoring().post(f"{address}/400", b"x").status == 400


def test_key_and_deployment_are_sent_when_they_are_given(address: str) -> None:
    answer = Scoring().post(f"{address}/200", b"x", key="k", deployment="v2")
    assert answer.body == b"['Bearer k', 'v2', 'x']"
    assert answer.seconds > 0
    assert Scoring().post(f"{address}/200", b"x").body == b"[None, None, 'x']"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_that_finds_nobody_is_no_answer(address: str, status: int) -> None:
    with pytest.raises(Unavailable):
        Scoring().get(f"{address}/{status}")


class Drip(http.server.BaseHTTPRequestHandler):
    """Says nothing for a while, or one byte after the other without end."""

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            if self.path == "/silent":
                time.sleep(1)
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            for _ in range(60):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("path", "said"), [("silent", "Read timed out"), ("drip", "not all of it had come in time")])
def test_a_service_that_hangs_is_no_answer_whether_it_is_silent_or_drips(path: str, said: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Unavailable, match=said):
            Scoring(silence=0.3, whole=0.5).get(f"http://127.0.0.1:{server.server_port}/{path}")
        server.shutdown()


def test_a_replayed_request_says_that_it_is_one(address: str) -> None:
    assert Scoring().post(f"{address}/200", b"x", shadow="shadow-1").status == 200


def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(Unavailable):
        Scoring().get(f"http://127.0.0.1:{free_port()}/")
