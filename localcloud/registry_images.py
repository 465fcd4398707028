"""Turns a recipe into an OCI image: deterministic layers, config and manifest, so that equal inputs have one digest."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from localcloud.dockerfile import Recipe
from localcloud.registry_store import digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

LOCK = ".sluice/requirements.lock"
"""Where an image keeps the pins of its environment: what FROM and RUN become without Docker."""

ENVIRONMENT = "sluice.environment"
"""The label that holds the hash of those pins."""


@dataclasses.dataclass(frozen=True)
class Image:
    """A manifest with the blobs that it names."""

    manifest: bytes
    blobs: tuple[bytes, ...]


def build(recipe: Recipe) -> Image:
    """The image of `recipe`."""
    lock = recipe.lock.read_bytes() if recipe.lock else b""
    tars = [_tar({LOCK: (lock, False)}), _tar({name: _file(path) for name, path in recipe.files.items()})]
    layers = [gzip.compress(tar, compresslevel=6, mtime=0) for tar in tars]
    labels = recipe.labels | {ENVIRONMENT: hashlib.sha256(lock).hexdigest()}
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Env": [f"{name}={value}" for name, value in recipe.env.items()],
                "Cmd": recipe.command,
                "Labels": labels,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            "history": [{"created_by": line} for line in recipe.history],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer) for layer in layers],
            "annotations": {"org.opencontainers.image.base.name": recipe.base},
        }
    )
    return Image(manifest, (config, *layers))


def _tar(files: Mapping[str, tuple[bytes, bool]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            content, executable = files[name]
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if executable else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _file(path: Path) -> tuple[bytes, bool]:
    return path.read_bytes(), os.access(path, os.X_OK)


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
