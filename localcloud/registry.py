"""Container Registry: the OCI distribution API with the access rules, the metadata and the events of ACR."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from localcloud.cloud import LOCATION, REGISTRY_ID, Cloud, now
from localcloud.event_grid import EventGrid
from localcloud.registry_access import Access, refusal
from localcloud.registry_metadata import Metadata
from localcloud.registry_store import Store, digest_of, is_digest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


class Registry:
    """One registry.  A manifest's push is announced twice, with and without its tag, as Azure does."""

    def __init__(self, cloud: Cloud, grid: EventGrid) -> None:
        self._cloud = cloud
        self._grid = grid
        self.store = Store(cloud.home / "registry")
        self.access = Access(cloud)
        self._metadata = Metadata(cloud, self.store, self.access, self.delete)

    def routes(self) -> list[web.RouteDef]:
        """Everything on the registry's port."""
        name = "/v2/{name:.+}"
        return [
            web.get("/v2/", self._version),
            web.get("/v2/_catalog", self._catalog),
            web.get(f"{name}/tags/list", self._checked(self._tags)),
            web.post(f"{name}/blobs/uploads/", self._checked(self._begin_upload)),
            web.get(f"{name}/blobs/uploads/{{upload}}", self._checked(self._upload_state)),
            web.patch(f"{name}/blobs/uploads/{{upload}}", self._checked(self._continue_upload)),
            web.put(f"{name}/blobs/uploads/{{upload}}", self._checked(self._finish_upload)),
            web.delete(f"{name}/blobs/uploads/{{upload}}", self._checked(self._drop_upload)),
            web.get(f"{name}/blobs/{{digest}}", self._checked(self._get_blob)),  # and HEAD
            web.delete(f"{name}/blobs/{{digest}}", self._checked(self._delete_blob)),
            web.put(f"{name}/manifests/{{reference}}", self._checked(self._put_manifest)),
            web.get(f"{name}/manifests/{{reference}}", self._checked(self._get_manifest)),
            web.delete(f"{name}/manifests/{{reference}}", self._checked(self._delete_manifest)),
            *self.access.routes(),
            *self._metadata.routes(),
        ]

    @property
    def host(self) -> str:
        """The login server: host and port."""
        return self._cloud.url("registry").removeprefix("https://")

    async def push(self, name: str, reference: str, content: bytes, media_type: str, agent: str) -> str:
        """Keep a manifest under `reference`, a tag or its digest, and announce it; the digest."""
        tag = None if is_digest(reference) else reference
        digest = self.store.push(name, content, media_type, tag)
        self._cloud.record("registry", "push", repository=name, tag=tag, digest=digest)
        target = {"mediaType": media_type, "size": len(content), "length": len(content), "digest": digest}
        for announced in [tag, None] if tag else [None]:
            more = {"tag": announced} if announced else {}
            await self._announce("ImagePushed", "push", target | {"repository": name} | more, "PUT", agent)
        return digest

    async def delete(self, name: str, digest: str, agent: str) -> bool:
        """Remove a manifest and announce it; whether there was one."""
        facts = self.store.delete(name, digest)
        if facts is None:
            return False
        self._cloud.record("registry", "delete", repository=name, digest=digest)
        target = {"mediaType": facts["mediaType"], "digest": digest, "repository": name}
        await self._announce("ImageDeleted", "delete", target, "DELETE", agent)
        return True

    async def _announce(self, kind: str, action: str, target: dict[str, Any], method: str, agent: str) -> None:
        identity, tag = str(uuid.uuid4()), target.get("tag")
        request = {"id": str(uuid.uuid4()), "host": self.host, "method": method, "useragent": agent}
        event = {
            "id": identity,
            "subject": target["repository"] + (f":{tag}" if tag else ""),
            "eventType": f"Microsoft.ContainerRegistry.{kind}",
            "eventTime": now(),
            "dataVersion": "2.0",
            "data": {
                "id": identity,
                "timestamp": now(),
                "action": action,
                "location": LOCATION,
                "target": target,
                "request": request,
            },
        }
        await self._grid.publish(REGISTRY_ID, [event])

    def _checked(self, handler: Callable[[web.Request, str], Awaitable[web.StreamResponse]]) -> Any:
        async def checked(request: web.Request) -> web.StreamResponse:
            name = request.match_info["name"]
            self.access.check(request, "repository", name, _ACTIONS.get(request.method, "push"))
            return await handler(request, name)

        return checked

    async def _version(self, request: web.Request) -> web.Response:
        self.access.check(request, "registry", "catalog", "*")
        return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})

    async def _catalog(self, request: web.Request) -> web.Response:
        self.access.check(request, "registry", "catalog", "*")
        return web.json_response({"repositories": self.store.repositories()})

    async def _tags(self, _: web.Request, name: str) -> web.Response:
        repository = self.store.repository(name)
        if repository is None:
            raise refusal(404, "NAME_UNKNOWN", f"repository {name} is not known to the registry")
        return web.json_response({"name": name, "tags": sorted(repository["tags"])})

    # ---- blobs

    async def _begin_upload(self, request: web.Request, name: str) -> web.Response:
        mounted = request.query.get("mount", "")
        if self.store.blob(mounted) is not None:
            return web.Response(status=201, headers=_blob_headers(name, mounted))
        if "digest" in request.query:
            return self._kept(name, await request.read(), request.query["digest"])
        upload = self.store.upload()
        assert upload is not None
        return self._progress(name, upload.name, 0, 202)

    async def _upload_state(self, request: web.Request, name: str) -> web.Response:
        path = self._upload(request)
        return self._progress(name, path.name, path.stat().st_size, 204)

    async def _continue_upload(self, request: web.Request, name: str) -> web.Response:
        path = self._upload(request)
        with path.open("ab") as file:
            file.write(await request.read())
        return self._progress(name, path.name, path.stat().st_size, 202)

    async def _finish_upload(self, request: web.Request, name: str) -> web.Response:
        path = self._upload(request)
        content = path.read_bytes() + await request.read()
        answer = self._kept(name, content, request.query.get("digest", ""))
        path.unlink()
        return answer

    async def _drop_upload(self, request: web.Request, name: str) -> web.Response:  # noqa: ARG002
        self._upload(request).unlink()
        return web.Response(status=204)

    def _upload(self, request: web.Request) -> Any:
        path = self.store.upload(request.match_info["upload"])
        if path is None:
            raise refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return path

    def _kept(self, name: str, content: bytes, digest: str) -> web.Response:
        if digest_of(content) != digest:
            raise refusal(400, "DIGEST_INVALID", f"the content's digest is {digest_of(content)}, not {digest}")
        self.store.add(content)
        return web.Response(status=201, headers=_blob_headers(name, digest))

    def _progress(self, name: str, upload: str, size: int, status: int) -> web.Response:
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}",
            "Docker-Upload-UUID": upload,
            "Range": f"0-{max(size - 1, 0)}",
        }
        return web.Response(status=status, headers=headers)

    async def _get_blob(self, request: web.Request, name: str) -> web.StreamResponse:
        digest = request.match_info["digest"]
        path = self.store.blob(digest)
        if path is None:
            raise refusal(404, "BLOB_UNKNOWN", f"blob {digest} is unknown to repository {name}")
        headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        return web.FileResponse(path, headers=headers)

    async def _delete_blob(self, request: web.Request, name: str) -> web.Response:
        digest = request.match_info["digest"]
        if not self.store.delete_blob(digest):
            raise refusal(404, "BLOB_UNKNOWN", f"blob {digest} is unknown to repository {name}")
        return web.Response(status=202)

    # ---- manifests

    async def _put_manifest(self, request: web.Request, name: str) -> web.Response:
        reference, content = request.match_info["reference"], await request.read()
        digest, media_type = digest_of(content), request.content_type
        if is_digest(reference) and reference != digest:
            raise refusal(400, "DIGEST_INVALID", f"the manifest's digest is {digest}, not {reference}")
        await asyncio.to_thread(self._require_blobs, content)
        await self.push(name, reference, content, media_type, request.headers.get("User-Agent", ""))
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)

    def _require_blobs(self, content: bytes) -> None:
        try:
            manifest = json.loads(content)
            parts = [*manifest.get("layers", []), *filter(None, [manifest.get("config")])]
            digests = [part["digest"] for part in parts]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise refusal(400, "MANIFEST_INVALID", f"the manifest cannot be read: {error!r}") from error
        for digest in digests:
            if self.store.blob(digest) is None:
                raise refusal(404, "MANIFEST_BLOB_UNKNOWN", f"blob {digest} of the manifest was not uploaded")

    async def _get_manifest(self, request: web.Request, name: str) -> web.Response:
        reference = request.match_info["reference"]
        found = self.store.resolve(name, reference)
        if found is None:
            raise refusal(404, "MANIFEST_UNKNOWN", f"manifest {reference} is unknown to repository {name}")
        digest, facts = found
        path = self.store.blob(digest)
        assert path is not None
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"', "Content-Type": facts["mediaType"]}
        return web.Response(body=path.read_bytes(), headers=headers)

    async def _delete_manifest(self, request: web.Request, name: str) -> web.Response:
        reference = request.match_info["reference"]
        if not is_digest(reference):
            raise refusal(400, "UNSUPPORTED", "a manifest is deleted by its digest")
        if not await self.delete(name, reference, request.headers.get("User-Agent", "")):
            raise refusal(404, "MANIFEST_UNKNOWN", f"manifest {reference} is unknown to repository {name}")
        return web.Response(status=202)


def _blob_headers(name: str, digest: str) -> dict[str, str]:
    return {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
