"""Have the container registry build the scoring image of the registered model, and wait for its digest."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobClient
from azure_access import arm, group
from model_facts import ModelFacts
from step import StepFailed, run, say

SCORING = Path(__file__).with_name("scoring")
"""Dockerfile, score.py, call_log.py and requirements.lock: part of the component's snapshot."""
_TASKS = "2019-06-01-preview"
_ENDED = frozenset({"Succeeded", "Failed", "Canceled", "Error", "Timeout"})
_POLL_SECONDS = 0.5
_POLLS = 3600


def context(scoring: Path, model: Path) -> bytes:
    """The build context as a tar.gz; equal files give equal bytes."""
    files = {name: scoring / name for name in ("Dockerfile", "score.py", "call_log.py", "requirements.lock")}
    files |= {f"model/{path.relative_to(model).as_posix()}": path for path in model.rglob("*") if path.is_file()}
    packed = io.BytesIO()
    # The time that gzip would write is the only thing that differs between two packings.
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for name, path in sorted(files.items()):
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def registry_id(login_server: str) -> str:
    """The resource id of the registry of this resource group that answers at `login_server`."""
    path = f"{group()}/providers/Microsoft.ContainerRegistry/registries"
    found = (arm("GET", path, version="2023-07-01") or {}).get("value", [])
    for registry in found:
        if registry["properties"]["loginServer"] == login_server:
            return str(registry["id"])
    known = ", ".join(registry["properties"]["loginServer"] for registry in found) or "none"
    raise StepFailed(f"no registry of {group()} answers at {login_server}; there are: {known}")


def build(registry: str, image: str, packed: bytes, arguments: dict[str, str]) -> str:
    """Build and push `image`; its digest."""
    upload = arm("POST", f"{registry}/listBuildSourceUploadUrl", version=_TASKS)
    if upload is None:
        raise StepFailed(f"{registry} does not exist")
    BlobClient.from_blob_url(upload["uploadUrl"]).upload_blob(packed, overwrite=True)
    started = arm("POST", f"{registry}/scheduleRun", version=_TASKS, body=_order(image, upload, arguments)) or {}
    number = started["properties"]["runId"]
    say(f"build {number} of {image} started")
    ended = _wait(f"{registry}/runs/{number}")
    status = ended["status"]
    if status != "Succeeded":
        raise StepFailed(f"build {number} of {image} ended as {status}: {ended.get('runErrorMessage', 'see its log')}")
    return str(ended["outputImages"][0]["digest"])


def _order(image: str, upload: dict[str, Any], arguments: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "DockerBuildRequest",
        "imageNames": [image],
        "isPushEnabled": True,
        "dockerFilePath": "Dockerfile",
        "platform": {"os": "Linux", "architecture": "amd64"},
        "sourceLocation": upload["relativePath"],
        "arguments": [{"name": name, "value": value, "isSecret": False} for name, value in arguments.items()],
    }


def _wait(path: str) -> dict[str, Any]:
    for _ in range(_POLLS):
        properties = (arm("GET", path, version=_TASKS) or {}).get("properties", {})
        if properties.get("status") in _ENDED:
            return dict(properties)
        time.sleep(_POLL_SECONDS)
    raise StepFailed(f"{path} has not ended after {_POLLS * _POLL_SECONDS:.0f} s")


def main() -> None:
    """The step's command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--registry", "--correlation-id"):
        parser.add_argument(name, required=True)
    for name in ("--model", "--registration", "--image"):
        parser.add_argument(name, required=True, type=Path)
    args = parser.parse_args()
    registration = json.loads((args.registration / "registration.json").read_text(encoding="utf-8"))
    args.image.mkdir(parents=True, exist_ok=True)
    if "version" not in registration:
        say(f"there is no image to build: {registration['verdict']}")
        return
    facts = ModelFacts.read(args.model)
    arguments = {
        "MODEL_NAME": registration["name"],
        "MODEL_VERSION": registration["version"],
        "AZUREML_JOB": registration["job"],
        "DATA_GOLD": facts.gold,
        "DATA_VERSION": str(facts.gold_version),
        "CORRELATION": args.correlation_id,
        "GOLDEN_URI": registration["golden_uri"],
        "GOLDEN_SHA256": registration["golden_sha256"],
    }
    name = f"{registration['name']}:{registration['version']}"
    digest = build(registry_id(args.registry), name, context(SCORING, args.model), arguments)
    facts = {"repository": registration["name"], "tag": registration["version"], "digest": digest}
    (args.image / "image.json").write_text(json.dumps(facts), encoding="utf-8")
    say(f"{args.registry}/{name} is {digest}")


if __name__ == "__main__":
    run(main)
