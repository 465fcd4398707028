"""Container Instances: container groups that really run their images."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from aiohttp import web

from localcloud import arm
from localcloud.cloud import LOCATION, RESOURCE_GROUP, SUBSCRIPTION, Cloud, now
from localcloud.containers import Container, ContainerFailed, Containers, Image
from localcloud.documents import Document, Documents
from localcloud.environments import EnvironmentFailed

_PROVIDER = "Microsoft.ContainerInstance"
_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION}/providers/{_PROVIDER}"
_GROUPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/{_PROVIDER}/containerGroups"


class ContainerInstances:
    """The container groups of the resource group; they are started again when the local cloud is."""

    def __init__(self, cloud: Cloud, containers: Containers) -> None:
        self._cloud = cloud
        self._containers = containers
        self._groups = Documents(cloud.home / "container_instances")
        self._operations = arm.Operations(cloud, _PROVIDER)
        self._running: dict[str, dict[str, Container]] = {}

    def routes(self) -> list[web.RouteDef]:
        """What azure-mgmt-containerinstance calls here."""
        group = f"{_GROUPS}/{{group}}"
        return [
            web.put(group, self._put),
            web.patch(group, self._patch),
            web.get(group, self._get),
            web.delete(group, self._delete),
            web.post(f"{group}/stop", self._stop),
            web.post(f"{group}/start", self._start),
            web.get(f"{group}/containers/{{container}}/logs", self._logs),
            web.get(_GROUPS, self._list),
            web.get(f"{_SUBSCRIPTION}/containerGroups", self._list),
            *self._operations.routes(),
        ]

    async def start(self) -> None:
        """Start the containers of all groups that ran when the services ended."""
        for name, group in self._groups.items():
            if group["state"] in ("Pending", "Running"):
                self._groups.put(name, group | {"state": "Pending"})
                self._operations.resume(group["operation"], self._run(name, group["generation"]))

    async def close(self) -> None:
        """Stop the work under way; the containers end with the process."""
        await self._operations.close()

    async def _put(self, request: web.Request) -> web.Response:
        name, body = request.match_info["group"], await request.json()
        known = self._groups.get(name)
        if known is not None and known["request"]["properties"] == body["properties"]:
            known = self._groups.put(name, known | {"request": known["request"] | {"tags": body.get("tags")}})
            headers = self._operations.headers(known["operation"])
            return web.json_response(self._view(name), status=200, headers=headers)
        if known is not None and known["state"] == "Pending":
            raise arm.fault(409, "ContainerGroupTransitioning", f"The container group '{name}' is still transitioning.")
        images = await self._images(name, body)
        if known is not None:
            await self._end(name)
        generation = known["generation"] + 1 if known else 1
        group = {"request": body, "state": "Pending", "generation": generation, "images": images, "created": now()}
        self._groups.put(name, group)
        for container, digest in images.items():
            written = _container(body, container)["properties"]["image"]
            facts = {"container": container, "image": written, "digest": digest}
            self._cloud.record("container_instances", "created", name=name, **facts)
        operation, headers = self._operations.begin(self._run(name, generation))
        self._groups.put(name, group | {"operation": operation})
        return web.json_response(self._view(name), status=200 if known else 201, headers=headers)

    async def _images(self, name: str, body: Document) -> dict[str, str]:
        """Container -> digest; refuses a group whose images cannot be pulled, as Azure does at once."""
        found = {}
        for container in body["properties"].get("containers") or []:
            text = container["properties"]["image"]
            try:
                found[container["name"]] = (await self._containers.image(text)).digest
            except ContainerFailed as error:
                message = f"The image '{text}' in container group '{name}' is not accessible: {error}"
                raise arm.fault(400, "InaccessibleImage", message) from error
        if not found:
            raise arm.fault(400, "InvalidRequest", f"The container group '{name}' has no containers.")
        return found

    async def _run(self, name: str, generation: int) -> None:
        """Start all containers of the group, unless it was replaced or deleted meanwhile."""
        group = self._groups.get(name)
        if group is None or group["generation"] != generation:
            return
        started: dict[str, Container] = {}
        try:
            for container in group["request"]["properties"]["containers"]:
                started[container["name"]] = await self._run_one(name, container, group["images"][container["name"]])
        except (ContainerFailed, EnvironmentFailed) as error:
            await asyncio.gather(*map(self._containers.stop, started.values()))
            self._groups.put(name, group | {"state": "Failed", "error": str(error)})
            raise arm.Failed("ContainerGroupFailed", str(error)) from error
        group = self._groups.get(name)
        if group is None or group["generation"] != generation:
            await asyncio.gather(*map(self._containers.stop, started.values()))
            return
        self._running[name] = started
        self._groups.put(name, group | {"state": "Running"})
        ports = {container: one.port for container, one in started.items()}
        self._cloud.record("container_instances", "running", name=name, ports=ports)

    async def _run_one(self, group: str, container: Document, digest: str) -> Container:
        properties = container["properties"]
        repository = properties["image"].partition("@")[0]
        image: Image = await self._containers.image(f"{repository}@{digest}")
        given = properties.get("environmentVariables") or []
        environment = {item["name"]: item.get("value") or item.get("secureValue") or "" for item in given}
        if properties.get("command"):
            image = Image(image.repository, digest, image.layers, {**image.config, "Cmd": properties["command"]})
        return await self._containers.run(f"{group}-{container['name']}", image, environment)

    async def _patch(self, request: web.Request) -> web.Response:
        name, group = self._known(request)
        tags = (await request.json()).get("tags")
        self._groups.put(name, group | {"request": group["request"] | {"tags": tags}})
        return web.json_response(self._view(name))

    async def _get(self, request: web.Request) -> web.Response:
        name, _ = self._known(request)
        return web.json_response(self._view(name))

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"value": [self._view(name) for name, _ in self._groups.items()]})

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["group"]
        if name not in self._groups:
            return web.Response(status=204)
        view = self._view(name)
        self._groups.delete(name)
        await self._end(name)
        self._cloud.record("container_instances", "deleted", name=name)
        return web.json_response(view)

    async def _stop(self, request: web.Request) -> web.Response:
        name, group = self._known(request)
        await self._end(name)
        self._groups.put(name, group | {"state": "Stopped", "generation": group["generation"] + 1})
        self._cloud.record("container_instances", "stopped", name=name)
        return web.Response(status=204)

    async def _start(self, request: web.Request) -> web.Response:
        name, group = self._known(request)
        if group["state"] in ("Pending", "Running"):
            return web.Response(status=204)
        group = self._groups.put(name, group | {"state": "Pending"})
        operation, headers = self._operations.begin(self._run(name, group["generation"]))
        self._groups.put(name, group | {"operation": operation})
        return web.Response(status=202, headers=headers)

    async def _logs(self, request: web.Request) -> web.Response:
        name, _ = self._known(request)
        container = self._running.get(name, {}).get(request.match_info["container"])
        if container is None:
            raise arm.missing("container", f"{name}/{request.match_info['container']}")
        tail = request.query.get("tail")
        return web.json_response({"content": container.logs(int(tail) if tail else None)})

    def _known(self, request: web.Request) -> tuple[str, Document]:
        name = request.match_info["group"]
        group = self._groups.get(name)
        if group is None:
            raise arm.missing("container group", name)
        return name, group

    async def _end(self, name: str) -> None:
        running = self._running.pop(name, {})
        await asyncio.gather(*map(self._containers.stop, running.values()))

    def _view(self, name: str) -> Document:
        """The group as the resource provider answers it: without secrets, with what runs."""
        group = self._groups.get(name)
        assert group is not None
        properties = copy.deepcopy(group["request"]["properties"])
        running = self._running.get(name, {})
        for container in properties["containers"]:
            started = running.get(container["name"])
            digest = group["images"][container["name"]]
            _fill_container(container["properties"], started, digest)
        for credential in properties.get("imageRegistryCredentials") or []:
            credential.pop("password", None)
        properties["provisioningState"] = {"Pending": "Pending", "Failed": "Failed"}.get(group["state"], "Succeeded")
        properties["instanceView"] = {"events": _events(group), "state": _state(group, running)}
        if properties.get("ipAddress"):
            properties["ipAddress"] |= {"ip": "127.0.0.1", "fqdn": "127.0.0.1", "ports": _ports(running)}
        return {
            "id": f"{_GROUPS}/{name}",
            "name": name,
            "type": f"{_PROVIDER}/containerGroups",
            "location": group["request"].get("location", LOCATION),
            "tags": group["request"].get("tags") or {},
            "properties": properties,
        }


def _container(body: Document, name: str) -> Document:
    return next(container for container in body["properties"]["containers"] if container["name"] == name)


def _ports(running: dict[str, Container]) -> list[Document]:
    return [{"protocol": "TCP", "port": container.port} for container in running.values()]


def _fill_container(properties: Document, started: Container | None, digest: str) -> None:
    """Add what is known of the running container, and take out its secrets."""
    for variable in properties.get("environmentVariables") or []:
        variable.pop("secureValue", None)
    state: dict[str, Any] = {"state": "Waiting", "detailStatus": ""}
    if started is not None:
        properties["ports"] = [{"protocol": "TCP", "port": started.port}]
        state = {"state": "Running", "startTime": started.started, "detailStatus": ""}
        if started.exit_code is not None:
            outcome = "Completed" if started.exit_code == 0 else "Error"
            state |= {"state": "Terminated", "exitCode": started.exit_code, "detailStatus": outcome}
    pulled = {"count": 1, "name": "Pulled", "type": "Normal", "message": f"Successfully pulled image {digest}"}
    properties["instanceView"] = {"restartCount": 0, "currentState": state, "events": [pulled] if started else []}


def _events(group: Document) -> list[Document]:
    if "error" not in group:
        return []
    return [{"count": 1, "name": "Failed", "type": "Warning", "message": group["error"]}]


def _state(group: Document, running: dict[str, Container]) -> str:
    codes = [container.exit_code for container in running.values()]
    if group["state"] != "Running" or not codes or None in codes:
        return str(group["state"])
    return "Succeeded" if not any(codes) else "Failed"
