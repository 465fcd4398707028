"""ACR Tasks: builds an image from an uploaded context, without Docker."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from azure.core.exceptions import ResourceNotFoundError

from localcloud import arm, dockerfile, registry_images
from localcloud.blob_files import BlobFiles
from localcloud.cloud import LOCATION, REGISTRY, REGISTRY_ID, Cloud, now
from localcloud.documents import Document, Documents
from localcloud.environments import EnvironmentFailed, Environments, pins
from localcloud.registry import Registry

_CONTAINER = "acr-tasks"
_log = logging.getLogger(__name__)


class RegistryBuild:
    """`listBuildSourceUploadUrl`, `scheduleRun` with a DockerBuildRequest, and the runs."""

    def __init__(self, cloud: Cloud, registry: Registry, environments: Environments) -> None:
        self._cloud = cloud
        self._registry = registry
        self._environments = environments
        self._files = BlobFiles(cloud, "azurite_blob")
        self._runs = Documents(cloud.home / "registry" / "runs")
        self._working: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The registry's resource and its task operations."""
        return [
            web.get(REGISTRY_ID.rpartition("/")[0], self._list_registries),
            web.get(REGISTRY_ID, self._get_registry),
            web.post(f"{REGISTRY_ID}/listBuildSourceUploadUrl", self._upload_url),
            web.post(f"{REGISTRY_ID}/scheduleRun", self._schedule),
            web.get(f"{REGISTRY_ID}/runs", self._list),
            web.get(f"{REGISTRY_ID}/runs/{{run}}", self._get),
            web.post(f"{REGISTRY_ID}/runs/{{run}}/listLogSasUrl", self._log_url),
        ]

    async def start(self) -> None:
        """Builds that a previous process left have failed."""
        for run in list(self._runs):
            if run["status"] in ("Queued", "Running"):
                await self._end(run, "Failed", ["The local cloud was restarted during the build."])

    async def close(self) -> None:
        """Stop the builds under way."""
        for task in list(self._working):
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        await self._files.close()

    async def _list_registries(self, _: web.Request) -> web.Response:
        return web.json_response({"value": [self._about()]})

    async def _get_registry(self, _: web.Request) -> web.Response:
        return web.json_response(self._about())

    def _about(self) -> Document:
        properties = {"loginServer": self._registry.host, "provisioningState": "Succeeded", "adminUserEnabled": False}
        about = {"id": REGISTRY_ID, "name": REGISTRY, "type": "Microsoft.ContainerRegistry/registries"}
        return about | {"location": LOCATION, "sku": {"name": "Basic"}, "properties": properties}

    async def _upload_url(self, _: web.Request) -> web.Response:
        name = f"source/{secrets.token_hex(16)}.tar.gz"
        await self._files.ensure(_CONTAINER)
        url = self._files.blob_url(_CONTAINER, name, write=True)
        return web.json_response({"uploadUrl": url, "relativePath": name})

    async def _schedule(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("type") != "DockerBuildRequest":
            raise arm.fault(400, "RunTypeNotSupported", "Only runs of the type DockerBuildRequest are possible here.")
        for field in ("sourceLocation", "dockerFilePath", "imageNames"):
            if not body.get(field):
                raise arm.fault(400, "InvalidRequest", f"A DockerBuildRequest needs '{field}'.")
        run = {"runId": f"ca{len(self._runs.items()) + 1}", "status": "Queued", "createTime": now(), "request": body}
        self._runs.put(run["runId"], run)
        self._cloud.record("registry", "build_scheduled", run=run["runId"], images=body["imageNames"])
        task = asyncio.create_task(self._work(run))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return web.json_response(_view(run))

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"value": [_view(run) for run in self._runs]})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(_view(self._run(request)))

    async def _log_url(self, request: web.Request) -> web.Response:
        name = f"logs/{self._run(request)['runId']}.log"
        return web.json_response({"logLink": self._files.blob_url(_CONTAINER, name, write=False)})

    def _run(self, request: web.Request) -> Document:
        run = self._runs.get(request.match_info["run"])
        if run is None:
            raise arm.missing("run", request.match_info["run"])
        return run

    async def _work(self, run: Document) -> None:
        run = self._runs.put(run["runId"], run | {"status": "Running", "startTime": now()})
        log: list[str] = []
        status, images = "Failed", []
        try:
            with tempfile.TemporaryDirectory() as folder:
                images = await self._build(run["request"], run["runId"], Path(folder), log)
            status = "Succeeded"
        except (arm.Failed, dockerfile.Unsupported, EnvironmentFailed) as error:
            log.append(f"failed to run step: {error}")
        except Exception as error:
            _log.exception("the build %s broke", run["runId"])
            log.append(f"failed to run step: {type(error).__name__}: {error}")
        await self._end(run | {"outputImages": images}, status, log)

    async def _build(self, request: Document, run_id: str, folder: Path, log: list[str]) -> list[Document]:
        _unpack(await self._source(request["sourceLocation"]), folder)
        path = folder / request["dockerFilePath"]
        if not path.is_file():
            raise arm.Failed("DockerfileNotFound", f"{request['dockerFilePath']} is not in the build context")
        arguments = {item["name"]: str(item.get("value", "")) for item in request.get("arguments", [])}
        recipe = dockerfile.read(path.read_text(encoding="utf-8"), folder, arguments)
        log += [f"Step {place}/{len(recipe.history)} : {line}" for place, line in enumerate(recipe.history, start=1)]
        requirements = pins(recipe.lock) if recipe.lock else []
        python = await self._environments.python(requirements, label="scoring")
        log.append(f"environment {python.parent.parent.name} with {len(requirements)} pins")
        image = await asyncio.to_thread(registry_images.build, recipe)
        if request.get("isPushEnabled", True) is False:
            return []
        return [await self._push(name.replace("{{.Run.ID}}", run_id), image, log) for name in request["imageNames"]]

    async def _push(self, name: str, image: registry_images.Image, log: list[str]) -> Document:
        repository, _, tag = name.removeprefix(f"{self._registry.host}/").partition(":")
        tag = tag or "latest"
        for blob in image.blobs:
            self._registry.store.add(blob)
        digest = await self._registry.push(
            repository, tag, image.manifest, registry_images.MANIFEST, "acr-builder (local cloud)"
        )
        log.append(f"{tag}: digest: {digest} size: {len(image.manifest)}")
        return {"registry": self._registry.host, "repository": repository, "tag": tag, "digest": digest}

    async def _source(self, location: str) -> bytes:
        try:
            if not location.startswith("http"):
                return await self._files.read(_CONTAINER, location)
            async with aiohttp.ClientSession() as session, session.get(location) as answer:
                answer.raise_for_status()
                return await answer.read()
        except (ResourceNotFoundError, aiohttp.ClientError) as error:
            raise arm.Failed("SourceNotFound", f"the build context {location} cannot be read: {error}") from error

    async def _end(self, run: Document, status: str, log: list[str]) -> None:
        text = "\n".join(log) + "\n"
        await self._files.write(_CONTAINER, f"logs/{run['runId']}.log", text.encode())
        more: dict[str, Any] = {"status": status, "finishTime": now()}
        if status == "Failed":
            more["runErrorMessage"] = log[-1]
        self._runs.put(run["runId"], run | more)
        self._cloud.record("registry", "build_ended", run=run["runId"], status=status, last=log[-1])


def _view(run: Document) -> Document:
    properties = {name: value for name, value in run.items() if name != "request"}
    properties |= {
        "provisioningState": "Succeeded" if run["status"] not in ("Queued", "Running") else "Running",
        "runType": "QuickBuild",
        "lastUpdatedTime": run.get("finishTime", run["createTime"]),
        "platform": {"os": "Linux", "architecture": "amd64"},
        "isArchiveEnabled": False,
    }
    identity = f"{REGISTRY_ID}/runs/{run['runId']}"
    kind = "Microsoft.ContainerRegistry/registries/runs"
    return {"id": identity, "name": run["runId"], "type": kind, "properties": properties}


def _unpack(archive: bytes, folder: Path) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise arm.Failed("SourceUnreadable", f"the build context is not a tar archive: {error}") from error
