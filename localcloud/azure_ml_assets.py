"""The workspace's versioned assets: codes, components, environments, models."""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any

from aiohttp import web

from localcloud import arm
from localcloud.blob_files import BlobFiles
from localcloud.cloud import STORAGE_ID, WORKSPACE_ID, Cloud, now
from localcloud.documents import Document, Documents
from localcloud.event_grid import EventGrid

# kind: the properties of a version that can never change
KINDS = {
    "codes": ("codeUri",),
    "components": ("componentSpec",),
    "environments": ("image", "condaFile", "inferenceConfig"),
    "models": ("modelUri", "modelType"),
}
_IDENTITY = re.compile(r"/(codes|components|environments|models)/([^/]+)/(versions|labels)/([^/]+)$")
_SHORT = re.compile(r"(?:azureml:)?([^:/@]+)(?::([^:/@]+)|@latest)$")


class Assets:
    """All asset versions; a version's content is immutable, its tags and description are not."""

    def __init__(self, cloud: Cloud, grid: EventGrid, files: BlobFiles) -> None:
        self._cloud = cloud
        self._grid = grid
        self._files = files
        self._kinds = {kind: Documents(cloud.home / "azure_ml" / kind) for kind in KINDS}

    def routes(self) -> list[web.RouteDef]:
        """Containers and versions of every kind."""
        kind = f"{WORKSPACE_ID}/{{kind:{'|'.join(KINDS)}}}"
        version = f"{kind}/{{name}}/versions/{{version}}"
        return [
            web.get(kind, self._list_names),
            web.get(f"{kind}/{{name}}", self._get_name),
            web.get(f"{kind}/{{name}}/versions", self._list),
            web.get(version, self._get),
            web.put(version, self._put),
            web.delete(version, self._delete),
            web.post(f"{version}/startPendingUpload", self._pending_upload),
        ]

    def asset(self, identity: str, kind: str | None = None) -> Document | None:
        """The properties of the version with this resource id, or of `kind` as `azureml:name:version`."""
        found = _IDENTITY.search(identity)
        if found is not None:
            kind, name, by, version = found[1], found[2], found[3], found[4]
            latest = by == "labels" and version == "latest"
        else:
            short = _SHORT.fullmatch(identity)
            if short is None or kind is None:
                return None
            name, version, latest = short[1], short[2], short[2] is None
        versions = self._versions(kind, name)
        if latest:
            return versions[-1]["properties"] if versions else None
        known = self._kinds[kind].get(f"{name}:{version}")
        return None if known is None else known["properties"]

    async def _list_names(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        names = sorted({document["name"] for document in self._kinds[kind]})
        return web.json_response({"value": [self._container(kind, name) for name in names]})

    async def _get_name(self, request: web.Request) -> web.Response:
        kind, name = request.match_info["kind"], request.match_info["name"]
        if not self._versions(kind, name):
            raise arm.missing(f"{kind.removesuffix('s')} container", name)
        return web.json_response(self._container(kind, name))

    async def _list(self, request: web.Request) -> web.Response:
        kind, query = request.match_info["kind"], request.query
        found = self._versions(kind, request.match_info["name"])
        if "hash" in query:
            # The SDK names a code anew each time and finds the old one by its content, whatever its name.
            found = [document for document in self._kinds[kind] if _hash(document) == query["hash"]]
        if query.get("listViewType", "ActiveOnly") == "ActiveOnly":
            found = [document for document in found if not document["properties"].get("isArchived")]
        if tags := query.get("tags"):
            found = [document for document in found if _has_tags(document, tags)]
        if "desc" in query.get("$orderBy", ""):
            found = found[::-1]
        if top := query.get("$top"):
            found = found[: int(top)]
        return web.json_response({"value": [self._view(kind, document) for document in found]})

    async def _get(self, request: web.Request) -> web.Response:
        kind, name, version = _named(request)
        known = self._kinds[kind].get(f"{name}:{version}")
        if known is None:
            raise arm.missing(kind.removesuffix("s"), f"{name}:{version}")
        return web.json_response(self._view(kind, known))

    async def _put(self, request: web.Request) -> web.Response:
        kind, name, version = _named(request)
        properties = (await request.json())["properties"]
        known = self._kinds[kind].get(f"{name}:{version}")
        if known is not None:
            self._check_unchanged(kind, known, properties)
        document = {"name": name, "version": version, "properties": properties, "created": now()}
        document["order"] = known["order"] if known else sum(1 for _ in self._kinds[kind])
        if known is not None:
            document["created"] = known["created"]
        self._kinds[kind].put(f"{name}:{version}", document)
        if known is None:
            self._cloud.record("azure_ml", "asset_created", kind=kind, name=name, version=version)
            if kind == "models":
                await self._announce(document)
        return web.json_response(self._view(kind, document), status=200 if known else 201)

    def _check_unchanged(self, kind: str, known: Document, properties: Document) -> None:
        for field in KINDS[kind]:
            if known["properties"].get(field) != properties.get(field):
                message = (
                    f"The {kind.removesuffix('s')} {known['name']}:{known['version']} already exists and its {field} "
                    "cannot be changed. Only description, tags, properties and isArchived can be updated; "
                    "use another version."
                )
                raise arm.fault(400, "UserError", message)

    async def _announce(self, model: Document) -> None:
        name, version, properties = model["name"], model["version"], model["properties"]
        tags = properties.get("tags") or {}
        job = tags.get("azureml_job") or properties.get("jobName")
        self._cloud.record("azure_ml", "model_registered", name=name, version=version, job=job)
        event = {
            "id": str(uuid.uuid4()),
            "subject": f"models/{name}:{version}",
            "eventType": "Microsoft.MachineLearningServices.ModelRegistered",
            "eventTime": now(),
            "dataVersion": "2",
            "data": {
                "ModelName": name,
                "ModelVersion": int(version) if version.isdigit() else version,
                "ModelTags": tags,
                "ModelProperties": properties.get("properties") or {},
            },
        }
        await self._grid.publish(WORKSPACE_ID, [event])

    async def _delete(self, request: web.Request) -> web.Response:
        kind, name, version = _named(request)
        gone = self._kinds[kind].delete(f"{name}:{version}")
        return web.Response(status=204 if gone is None else 200)

    async def _pending_upload(self, request: web.Request) -> web.Response:
        kind, name, version = _named(request)
        container = f"{kind}-{hashlib.sha256(f'{name}:{version}'.encode()).hexdigest()[:16]}"
        url = await self._files.ensure(container)
        reference = {
            "blobUri": url,
            "storageAccountArmId": STORAGE_ID,
            "credential": {"credentialType": "SAS", "sasUri": f"{url}?{self._files.container_sas(container)}"},
        }
        return web.json_response(
            {"blobReferenceForConsumption": reference, "pendingUploadType": "TemporaryBlobReference"}
        )

    def _versions(self, kind: str, name: str) -> list[Document]:
        """All versions of one name, in the order of their creation."""
        found = (document for document in self._kinds[kind] if document["name"] == name)
        return sorted(found, key=lambda document: document["order"])

    def _container(self, kind: str, name: str) -> Document:
        versions = self._versions(kind, name)
        numbers = [int(document["version"]) for document in versions if document["version"].isdigit()]
        properties: dict[str, Any] = {
            "latestVersion": versions[-1]["version"],
            "nextVersion": str(max(numbers, default=0) + 1),
            "isArchived": False,
            "tags": {},
            "properties": {},
        }
        about = {"id": f"{WORKSPACE_ID}/{kind}/{name}", "name": name, "type": _type(kind)}
        return about | {"properties": properties, "systemData": arm.system_data(versions[0]["created"])}

    def _view(self, kind: str, document: Document) -> Document:
        properties = {"isArchived": False, "isAnonymous": False, "tags": {}, "properties": {}, **document["properties"]}
        if kind == "models":
            properties["flavors"] = properties.get("flavors") or {}
        return {
            "id": f"{WORKSPACE_ID}/{kind}/{document['name']}/versions/{document['version']}",
            "name": document["version"],
            "type": f"{_type(kind)}/versions",
            "properties": properties | {"provisioningState": "Succeeded"},
            "systemData": arm.system_data(document["created"]),
        }


def _named(request: web.Request) -> tuple[str, str, str]:
    return request.match_info["kind"], request.match_info["name"], request.match_info["version"]


def _type(kind: str) -> str:
    return f"Microsoft.MachineLearningServices/workspaces/{kind}"


def _hash(document: Document) -> str | None:
    return (document["properties"].get("properties") or {}).get("hash_sha256")


def _has_tags(document: Document, wanted: str) -> bool:
    """Whether the version has all tags of `name` or `name=value`, separated by commas."""
    tags = document["properties"].get("tags") or {}
    pairs = (item.partition("=") for item in wanted.split(","))
    return all(name in tags and (not given or tags[name] == value) for name, given, value in pairs)
