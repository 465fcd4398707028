"""Files and folders in the lake account's containers, as the platform's services store them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from pathlib import Path

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobSasPermissions, ContainerSasPermissions, generate_blob_sas, generate_container_sas
from azure.storage.blob.aio import BlobServiceClient

from localcloud.cloud import LAKE_ACCOUNT, LAKE_KEY, Cloud

_PARALLEL = 8
_SAS_LIFETIME = dt.timedelta(days=1)


class BlobFiles:
    """Reads and writes blobs through `service`: "lake" raises events as a storage account does, "azurite_blob" none."""

    def __init__(self, cloud: Cloud, service: str = "lake") -> None:
        self._url = f"{cloud.url(service)}/{LAKE_ACCOUNT}"
        self._opened: BlobServiceClient | None = None
        self._containers: set[str] = set()

    @property
    def _client(self) -> BlobServiceClient:
        if self._opened is None:
            credential = {"account_name": LAKE_ACCOUNT, "account_key": LAKE_KEY}
            self._opened = BlobServiceClient(self._url, credential=credential)
        return self._opened

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def ensure(self, container: str) -> str:
        """Make `container` when it is not there; its address."""
        if container not in self._containers:
            with contextlib.suppress(ResourceExistsError):
                await self._client.create_container(container)
            self._containers.add(container)
        return f"{self._url}/{container}"

    async def write(self, container: str, name: str, content: bytes) -> None:
        """Store one blob."""
        await self.ensure(container)
        await self._client.get_blob_client(container, name).upload_blob(content, overwrite=True)

    async def read(self, container: str, name: str) -> bytes:
        """The content of one blob."""
        stream = await self._client.get_blob_client(container, name).download_blob()
        return await stream.readall()

    async def upload(self, folder: Path, container: str, prefix: str) -> int:
        """Store every file below `folder` under `prefix`; how many there were."""
        await self.ensure(container)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        limit = asyncio.Semaphore(_PARALLEL)

        async def one(path: Path) -> None:
            async with limit:
                name = f"{prefix.rstrip('/')}/{path.relative_to(folder).as_posix()}"
                await self.write(container, name, path.read_bytes())

        await asyncio.gather(*map(one, files))
        return len(files)

    async def download(self, container: str, prefix: str, folder: Path) -> int:
        """Fetch every blob under the folder `prefix`, or the one blob of that name, into `folder`; how many."""
        prefix = prefix.strip("/")
        listed = self._client.get_container_client(container).list_blob_names(name_starts_with=prefix)
        names = [name async for name in listed if not prefix or name == prefix or name.startswith(f"{prefix}/")]
        limit = asyncio.Semaphore(_PARALLEL)

        async def one(name: str) -> None:
            async with limit:
                relative = name[len(prefix) :].lstrip("/") or Path(name).name
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(await self.read(container, name))

        folder.mkdir(parents=True, exist_ok=True)
        await asyncio.gather(*map(one, names))
        return len(names)

    def container_sas(self, container: str) -> str:
        """A signature that lets its holder read, write and list `container` for a day."""
        return generate_container_sas(
            LAKE_ACCOUNT,
            container,
            account_key=LAKE_KEY,
            permission=ContainerSasPermissions(read=True, write=True, create=True, add=True, list=True, delete=True),
            expiry=dt.datetime.now(dt.UTC) + _SAS_LIFETIME,
        )

    def blob_url(self, container: str, name: str, *, write: bool) -> str:
        """The signed address of one blob, for reading or for writing."""
        permission = BlobSasPermissions(write=True, create=True) if write else BlobSasPermissions(read=True)
        expiry = dt.datetime.now(dt.UTC) + _SAS_LIFETIME
        sas = generate_blob_sas(
            LAKE_ACCOUNT, container, name, account_key=LAKE_KEY, permission=permission, expiry=expiry
        )
        return f"{self._url}/{container}/{name}?{sas}"
