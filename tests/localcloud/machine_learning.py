"""The services of a local cloud in this process, and small things to run there."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from azure.identity import ManagedIdentityCredential

from localcloud import certificates, ports
from localcloud.cloud import REGISTRY_ID, Cloud
from localcloud.services import Services
from tests.azurites import Azurite
from tests.localcloud.running import Stop, running, trusted

DOCKERFILE = """
FROM python:3.11-slim
ARG VERSION=none
ENV GREETING="hello ${VERSION}"
LABEL sluice.model.version=${VERSION}
COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock
COPY serve.py site/ ./
CMD exec python serve.py ${PORT}
"""

SERVE = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"Healthy")
    def do_POST(self):
        self.answer(os.environ["GREETING"].encode() + b" " + self.rfile.read(int(self.headers["Content-Length"])))
    def answer(self, body):
        self.send_response(200)
        self.send_header("x-ms-served", "yes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

if os.environ.get("BROKEN"):
    sys.exit("the model is missing")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def new_cloud(folder: Any, azurite: Azurite) -> Cloud:
    """A cloud on free ports over the running `azurite`."""
    chosen = dict(ports.choose({})) | {f"azurite_{kind}": port for kind, port in azurite.ports.items()}
    cloud = Cloud("ml", chosen, folder)
    certificates.prepare(cloud)
    return cloud


@contextlib.contextmanager
def services(cloud: Cloud) -> Iterator[None]:
    """All services of `cloud`, and SDKs that trust them."""

    async def start() -> Stop:
        everything = Services(cloud)
        await everything.start()
        return everything.close

    with trusted(cloud), running(start):
        yield


def packed(files: Mapping[str, str]) -> bytes:
    """A build context."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Arm:
    """Plain calls of the Resource Manager."""

    def __init__(self, cloud: Cloud) -> None:
        self._base = cloud.url("arm")

    def __call__(self, method: str, path: str, body: Any = None, version: str = "2019-06-01-preview") -> Any:
        """The JSON of the answer; raises for a status over 399."""
        token = ManagedIdentityCredential().get_token("https://management.azure.com/.default").token
        answer = requests.request(
            method,
            self._base + path,
            params={"api-version": version},
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def build(self, image: str, files: Mapping[str, str] | None = None, **arguments: str) -> dict[str, Any]:
        """The properties of the ended run that built `image`."""
        content = files or {"Dockerfile": DOCKERFILE, "serve.py": SERVE, "requirements.lock": "", "site/a.txt": "a"}
        upload = self("POST", f"{REGISTRY_ID}/listBuildSourceUploadUrl")
        headers = {"x-ms-blob-type": "BlockBlob"}
        requests.put(upload["uploadUrl"], data=packed(content), headers=headers, timeout=30).raise_for_status()
        order = {
            "type": "DockerBuildRequest",
            "imageNames": [image],
            "isPushEnabled": True,
            "sourceLocation": upload["relativePath"],
            "dockerFilePath": "Dockerfile",
            "platform": {"os": "Linux"},
            "arguments": [{"name": name, "value": value} for name, value in arguments.items()],
        }
        run = self("POST", f"{REGISTRY_ID}/scheduleRun", order)["properties"]["runId"]
        for _ in range(300):
            properties: dict[str, Any] = self("GET", f"{REGISTRY_ID}/runs/{run}")["properties"]
            if properties["status"] in ("Succeeded", "Failed"):
                return properties
            time.sleep(0.1)
        raise AssertionError(f"the build did not end: {properties}")
