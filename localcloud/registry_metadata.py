"""The metadata API of Azure Container Registry, `/acr/v1`: repositories, tags and manifests with their times."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from localcloud.cloud import Cloud
from localcloud.documents import Document
from localcloud.registry_access import Access, refusal
from localcloud.registry_store import Store

_ATTRIBUTES = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}


class Metadata:
    """Read-only, but for deleting; attributes cannot be changed here."""

    def __init__(
        self, cloud: Cloud, store: Store, access: Access, delete: Callable[[str, str, str], Awaitable[bool]]
    ) -> None:
        self._host = cloud.url("registry").removeprefix("https://")
        self._store = store
        self._access = access
        self._delete = delete

    def routes(self) -> list[web.RouteDef]:
        """The routes of `/acr/v1`."""
        name = "/acr/v1/{name:.+}"
        return [
            web.get("/acr/v1/_catalog", self._catalog),
            web.get(f"{name}/_tags", self._list_tags),
            web.get(f"{name}/_tags/{{tag}}", self._get_tag),
            web.delete(f"{name}/_tags/{{tag}}", self._delete_tag),
            web.get(f"{name}/_manifests", self._list_manifests),
            web.get(f"{name}/_manifests/{{digest}}", self._get_manifest),
            web.get(name, self._get_repository),
            web.delete(name, self._delete_repository),
        ]

    async def _catalog(self, request: web.Request) -> web.Response:
        self._access.check(request, "registry", "catalog", "*")
        return web.json_response({"repositories": self._store.repositories() or None})

    async def _get_repository(self, request: web.Request) -> web.Response:
        name, found = self._repository(request, "metadata_read")
        facts = {"createdTime": found["created"], "lastUpdateTime": found["updated"]}
        counts = {"manifestCount": len(found["manifests"]), "tagCount": len(found["tags"])}
        return self._answer(name, facts | counts | {"changeableAttributes": _ATTRIBUTES})

    async def _delete_repository(self, request: web.Request) -> web.Response:
        name, found = self._repository(request, "delete")
        manifests, tags = list(found["manifests"]), list(found["tags"])
        for digest in manifests:
            await self._delete(name, digest, request.headers.get("User-Agent", ""))
        return web.json_response({"manifestsDeleted": manifests, "tagsDeleted": tags}, status=202)

    async def _list_tags(self, request: web.Request) -> web.Response:
        name, found = self._repository(request, "metadata_read")
        wanted = request.query.get("digest")
        tags = [_tag(tag, at) for tag, at in found["tags"].items() if wanted in (None, at["digest"])]
        return self._answer(name, {"tags": _ordered(request, tags)})

    async def _get_tag(self, request: web.Request) -> web.Response:
        name, found = self._repository(request, "metadata_read")
        tag = request.match_info["tag"]
        if tag not in found["tags"]:
            raise refusal(404, "TAG_UNKNOWN", f"the tag {tag} does not exist in {name}")
        return self._answer(name, {"tag": _tag(tag, found["tags"][tag])})

    async def _delete_tag(self, request: web.Request) -> web.Response:
        name, _ = self._repository(request, "delete")
        if not self._store.untag(name, request.match_info["tag"]):
            raise refusal(404, "TAG_UNKNOWN", f"the tag {request.match_info['tag']} does not exist in {name}")
        return web.Response(status=202)

    async def _list_manifests(self, request: web.Request) -> web.Response:
        name, found = self._repository(request, "metadata_read")
        manifests = [self._manifest(found, digest) for digest in found["manifests"]]
        return self._answer(name, {"manifests": _ordered(request, manifests)})

    async def _get_manifest(self, request: web.Request) -> web.Response:
        name, found = self._repository(request, "metadata_read")
        digest = request.match_info["digest"]
        if digest not in found["manifests"]:
            raise refusal(404, "MANIFEST_UNKNOWN", f"manifest {digest} does not exist in {name}")
        return self._answer(name, {"manifest": self._manifest(found, digest)})

    def _repository(self, request: web.Request, action: str) -> tuple[str, Document]:
        name = request.match_info["name"]
        self._access.check(request, "repository", name, action)
        found = self._store.repository(name)
        if found is None:
            raise refusal(404, "NAME_UNKNOWN", f"repository {name} is not known to the registry")
        return name, found

    def _manifest(self, repository: Document, digest: str) -> Document:
        facts = repository["manifests"][digest]
        path = self._store.blob(digest)
        content = json.loads(path.read_bytes()) if path else {}
        return {
            "digest": digest,
            "imageSize": sum(layer.get("size", 0) for layer in content.get("layers", [])),
            "createdTime": facts["created"],
            "lastUpdateTime": facts["updated"],
            "architecture": "amd64",
            "os": "linux",
            "mediaType": facts["mediaType"],
            "configMediaType": content.get("config", {}).get("mediaType"),
            "tags": [tag for tag, at in repository["tags"].items() if at["digest"] == digest],
            "changeableAttributes": _ATTRIBUTES,
        }

    def _answer(self, name: str, more: Mapping[str, Any]) -> web.Response:
        return web.json_response({"registry": self._host, "imageName": name, **more})


def _tag(name: str, facts: Mapping[str, Any]) -> Document:
    times = {"createdTime": facts["created"], "lastUpdateTime": facts["updated"]}
    return {"name": name, "digest": facts["digest"], **times, "signed": False, "changeableAttributes": _ATTRIBUTES}


def _ordered(request: web.Request, rows: list[Document]) -> list[Document]:
    newest_first = request.query.get("orderby") == "timedesc"
    return sorted(rows, key=lambda row: row["lastUpdateTime"], reverse=newest_first)
