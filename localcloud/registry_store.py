"""The registry's content on disk: blobs by digest, and per repository its manifests and tags."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.cloud import now
from localcloud.documents import Document, Documents

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    """The name of `content` in a registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(reference: str) -> bool:
    """Whether `reference` is a digest and not a tag."""
    return _DIGEST.fullmatch(reference) is not None


class Store:
    """Blobs are shared by all repositories, as content with one digest is one content."""

    def __init__(self, home: Path) -> None:
        self._blobs = home / "blobs"
        self._uploads = home / "uploads"
        self._repositories = Documents(home / "repositories")

    def blob(self, digest: str) -> Path | None:
        """The file of a blob, when there is one."""
        path = self._blobs / digest.removeprefix("sha256:")
        return path if is_digest(digest) and path.is_file() else None

    def add(self, content: bytes) -> str:
        """Keep `content` and answer its digest."""
        digest = digest_of(content)
        if self.blob(digest) is None:
            self._blobs.mkdir(parents=True, exist_ok=True)
            aside = self._blobs / f".{uuid.uuid4().hex}"
            aside.write_bytes(content)
            aside.rename(self._blobs / digest.removeprefix("sha256:"))
        return digest

    def delete_blob(self, digest: str) -> bool:
        """Forget a blob; whether there was one."""
        path = self.blob(digest)
        if path is not None:
            path.unlink()
        return path is not None

    def upload(self, name: str | None = None) -> Path | None:
        """A new upload, or the upload called `name` when it is under way."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        if name is None:
            path = self._uploads / str(uuid.uuid4())
            path.touch()
            return path
        path = self._uploads / Path(name).name
        return path if path.is_file() else None

    def repository(self, name: str) -> Document | None:
        """The repository: its `manifests` by digest and `tags` by name."""
        return self._repositories.get(name)

    def repositories(self) -> list[str]:
        """The names of all repositories."""
        return [name for name, _ in self._repositories.items()]

    def push(self, name: str, content: bytes, media_type: str, tag: str | None) -> str:
        """Keep a manifest in repository `name`, and let `tag` point to it."""
        digest = self.add(content)
        repository = self._repositories.get(name) or {"created": now(), "manifests": {}, "tags": {}}
        known = repository["manifests"].get(digest, {"created": now()})
        repository["manifests"][digest] = known | {"mediaType": media_type, "size": len(content), "updated": now()}
        if tag is not None:
            before = repository["tags"].get(tag, {"created": now()})
            repository["tags"][tag] = before | {"digest": digest, "updated": now()}
        repository["updated"] = now()
        self._repositories.put(name, repository)
        return digest

    def resolve(self, name: str, reference: str) -> tuple[str, Mapping[str, Any]] | None:
        """Digest and facts of the manifest that `reference`, a digest or tag, means."""
        repository = self._repositories.get(name)
        if repository is None:
            return None
        digest = reference if is_digest(reference) else repository["tags"].get(reference, {}).get("digest", "")
        facts = repository["manifests"].get(digest)
        return None if facts is None else (digest, facts)

    def untag(self, name: str, tag: str) -> bool:
        """Remove a tag; whether there was one."""
        repository = self._repositories.get(name)
        if repository is None or repository["tags"].pop(tag, None) is None:
            return False
        self._repositories.put(name, repository)
        return True

    def delete(self, name: str, digest: str) -> Mapping[str, Any] | None:
        """Remove a manifest with its tags, and the repository with its last manifest."""
        repository = self._repositories.get(name)
        if repository is None or digest not in repository["manifests"]:
            return None
        facts = repository["manifests"].pop(digest)
        repository["tags"] = {tag: at for tag, at in repository["tags"].items() if at["digest"] != digest}
        if repository["manifests"]:
            self._repositories.put(name, repository)
        else:
            self._repositories.delete(name)
        return dict(facts)
