"""Runs images without Docker: pulled from the registry by digest, verified, unpacked, started as a process."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import json
import os
import shutil
import socket
import ssl
import tarfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from localcloud.cloud import Cloud, now
from localcloud.environments import Environments, pins
from localcloud.processes import Processes
from localcloud.registry import Registry
from localcloud.registry_images import ENVIRONMENT, LOCK
from localcloud.registry_store import digest_of, is_digest

_ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class ContainerFailed(Exception):
    """An image could not be pulled or its container did not come up; the message says why."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """An image as written in a deployment: repository and digest or tag; the registry is always this cloud's."""

    repository: str
    version: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `[host/]repository[:tag][@digest]`."""
        name, _, digest = text.partition("@")
        first, slash, rest = name.partition("/")
        if slash and (":" in first or "." in first or first == "localhost"):
            name = rest
        repository, _, tag = name.partition(":")
        return cls(repository, digest or tag or "latest")


@dataclasses.dataclass(frozen=True)
class Image:
    """A manifest of the registry with its config."""

    repository: str
    digest: str
    layers: tuple[str, ...]
    config: Mapping[str, Any]

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the image."""
        return self.config.get("Labels") or {}


@dataclasses.dataclass
class Container:
    """One started image."""

    name: str
    image: Image
    port: int
    log: Path
    process: asyncio.subprocess.Process
    started: str

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.returncode

    def logs(self, tail: int | None = None) -> str:
        """What it wrote, or the last `tail` lines of it."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return text if tail is None else "\n".join(text.splitlines()[-tail:])

    async def ready(self, path: str, timeout: float) -> None:
        """Return when `path` answers with 2xx; `ContainerFailed` when it ends before or `timeout` seconds pass."""
        url = f"http://127.0.0.1:{self.port}/{path.lstrip('/')}"
        try:
            async with asyncio.timeout(timeout), aiohttp.ClientSession() as session:
                while self.exit_code is None:
                    if await _answers(session, url):
                        return
                    await asyncio.sleep(0.15)
        except TimeoutError:
            raise ContainerFailed(f"{path} did not answer within {timeout:.0f} s:\n{self.logs(20)}") from None
        raise ContainerFailed(f"the container ended with status {self.exit_code}:\n{self.logs(20)}")


class Containers:
    """Pulls and starts images; every container is a process in the environment that its image names."""

    def __init__(self, cloud: Cloud, registry: Registry, environments: Environments, processes: Processes) -> None:
        self._cloud = cloud
        self._registry = registry
        self._environments = environments
        self._processes = processes
        self._home = cloud.home / "containers"

    async def image(self, text: str) -> Image:
        """Look up an image, by digest or tag, and verify manifest and config against their digests."""
        reference = Reference.parse(text)
        async with self._session(reference.repository) as session:
            manifest_path = f"/v2/{reference.repository}/manifests/{reference.version}"
            raw = await self._fetch(session, manifest_path, text)
            digest = digest_of(raw)
            if is_digest(reference.version) and digest != reference.version:
                raise ContainerFailed(f"{text}: the registry sent a manifest with the digest {digest}")
            manifest = json.loads(raw)
            config = await self._blob(session, reference.repository, manifest["config"]["digest"])
        layers = tuple(layer["digest"] for layer in manifest["layers"])
        return Image(reference.repository, digest, layers, json.loads(config).get("config", {}))

    async def run(self, name: str, image: Image, environment: Mapping[str, str]) -> Container:
        """Start `image` as container `name` with `environment` over the image's own, on a port of its own choice."""
        home = self._home / f"{name}-{uuid.uuid4().hex[:8]}"
        root = home / "root"
        await self._unpack(image, root)
        lock = root / LOCK
        content = lock.read_bytes() if lock.is_file() else b""
        if image.labels.get(ENVIRONMENT) != hashlib.sha256(content).hexdigest():
            raise ContainerFailed(f"{image.repository}@{image.digest} was not built by this registry's build")
        python = await self._environments.python(pins(lock), label="scoring")
        port = _free_port()
        given = dict(item.partition("=")[::2] for item in image.config.get("Env") or [])
        path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        fixed = {"PORT": str(port), "PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONPATH": ""}
        env = self._cloud.trust() | given | dict(environment) | fixed
        log = home / "log.txt"
        process = await self._processes.start(f"container-{name}", image.config["Cmd"], env=env, cwd=root, log=log)
        return Container(name, image, port, log, process, now())

    async def stop(self, container: Container, *, forget: bool = True) -> None:
        """End a container; `forget` removes its files, logs included."""
        if container.exit_code is None:
            await self._processes.stop(container.process)
        if forget:
            shutil.rmtree(container.log.parent, ignore_errors=True)

    async def _unpack(self, image: Image, root: Path) -> None:
        root.mkdir(parents=True)
        async with self._session(image.repository) as session:
            for digest in image.layers:
                layer = await self._blob(session, image.repository, digest)
                with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as tar:
                    tar.extractall(root, filter="data")

    def _session(self, repository: str) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=str(self._cloud.ca_bundle))
        token = self._registry.access.grant(f"repository:{repository}:pull")
        headers = {"Authorization": f"Bearer {token}", "Accept": _ACCEPT, "User-Agent": "containerd (local cloud)"}
        return aiohttp.ClientSession(
            self._cloud.url("registry"), headers=headers, connector=aiohttp.TCPConnector(ssl=context)
        )

    async def _blob(self, session: aiohttp.ClientSession, repository: str, digest: str) -> bytes:
        content = await self._fetch(session, f"/v2/{repository}/blobs/{digest}", digest)
        if digest_of(content) != digest:
            raise ContainerFailed(f"{repository}: the registry sent other content than {digest}")
        return content

    async def _fetch(self, session: aiohttp.ClientSession, path: str, what: str) -> bytes:
        async with session.get(path) as answer:
            if answer.status != 200:
                raise ContainerFailed(f"cannot pull {what}: {answer.status} {(await answer.text())[:300]}")
            return await answer.read()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as answer:
            return answer.status < 300
    except (aiohttp.ClientError, TimeoutError):
        return False
