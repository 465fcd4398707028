"""The Azure ML half of publish: components, the pipeline component, the endpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from azure.ai.ml import MLClient, load_component, load_online_endpoint
from azure.ai.ml.entities import Component
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceNotFoundError

HERE = Path(__file__).parent
AZUREML = HERE / "azureml"
STEPS = ("train", "evaluate", "register", "image")
PUBLIC = "https://management.azure.com"


def connect(
    credential: TokenCredential, subscription: str, resource_group: str, workspace: str, *, resource_manager: str
) -> MLClient:
    """A client of the workspace; another resource manager than the public one is a cloud of its own."""
    manager = resource_manager.rstrip("/")
    cloud: dict[str, Any] = {}
    if manager != PUBLIC:
        metadata = {
            "azure_portal": manager,
            "resource_manager": f"{manager}/",
            "active_directory": manager,
            "aml_resource_id": "https://ml.azure.com",
            "storage_endpoint": "core.local",
            "registry_discovery_endpoint": manager,
        }
        # The SDK keeps the first metadata of a name for the whole process.
        cloud = {"cloud": manager, "cloud_metadata": metadata}
    return MLClient(credential, subscription, resource_group, workspace, enable_telemetry=False, **cloud)


def publish(client: MLClient, *, say: Callable[[str], None]) -> None:
    """Register what has changed and create the endpoint; a line to `say` for each thing."""
    registered = {}
    for step in STEPS:
        path = AZUREML / "components" / step / "component.yml"
        registered[step], line = _register(client, path, content([path, *_snapshot(path)]), {})
        say(line)
    path = AZUREML / "pipeline.yml"
    overrides = {f"jobs.{step}.component": f"azureml:{found}" for step, found in registered.items()}
    _, line = _register(client, path, content([path], *sorted(registered.values())), overrides)
    say(line)
    say(_endpoint(client))


def content(paths: Iterable[Path], *more: str) -> str:
    """The hash of the files at `paths`, names included, and of `more`."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(HERE).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    for text in more:
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:16]


def _snapshot(path: Path) -> Iterator[Path]:
    """The files that the component at `path` is made of: code, what is included beside it, the environment's pins."""
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    for folder in (spec["code"], *spec.get("additional_includes", [])):
        found = (path.parent / folder).resolve().rglob("*")
        yield from sorted(file for file in found if file.is_file() and "__pycache__" not in file.parts)
    yield (path.parent / spec["environment"]["conda_file"]).resolve()


def _register(client: MLClient, path: Path, content: str, overrides: dict[str, str]) -> tuple[str, str]:
    """`name:version` of the component at `path` with this content, and what was done about it."""
    name = yaml.safe_load(path.read_text(encoding="utf-8"))["name"]
    known = _versions(client, name)
    for component in known:
        if (component.tags or {}).get("content") == content:
            return f"{name}:{component.version}", f"Azure ML component {name}:{component.version}: unchanged"
    number = max((int(component.version) for component in known if str(component.version).isdigit()), default=0) + 1
    component = load_component(path, params_override=[{key: value} for key, value in overrides.items()])
    component.version, component.tags = str(number), {"content": content}
    client.components.create_or_update(component)
    return f"{name}:{number}", f"Azure ML component {name}:{number}: registered"


def _versions(client: MLClient, name: str) -> list[Component]:
    try:
        return list(client.components.list(name))
    except ResourceNotFoundError:
        return []


def _endpoint(client: MLClient) -> str:
    path = AZUREML / "endpoint.yml"
    wanted = load_online_endpoint(path)
    digest = content([path])
    wanted.tags = {"content": digest}
    try:
        found = client.online_endpoints.get(wanted.name)
    except ResourceNotFoundError:
        client.online_endpoints.begin_create_or_update(wanted).result()
        return f"Azure ML endpoint {wanted.name}: created"
    if (found.tags or {}).get("content") == digest:
        return f"Azure ML endpoint {wanted.name}: unchanged"
    wanted.traffic = found.traffic  # traffic belongs to the releases: publishing must never move it
    client.online_endpoints.begin_create_or_update(wanted).result()
    return f"Azure ML endpoint {wanted.name}: updated"
