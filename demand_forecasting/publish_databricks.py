"""The Databricks half of publish: the bundle's programs into the workspace, the bundle's jobs created or reset."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from azure.core.credentials import TokenCredential
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.credentials_provider import CredentialsStrategy
from databricks.sdk.errors import NotFound
from databricks.sdk.service.jobs import JobSettings
from databricks.sdk.service.workspace import ImportFormat

BUNDLE = Path(__file__).with_name("databricks")
TARGET = "prod"
_DATABRICKS = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class BundleError(Exception):
    """The bundle cannot be published as it is; the message names the place."""


class Identity(CredentialsStrategy):
    """Databricks' tokens from azure-identity: its own SDK knows no managed identity."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def auth_type(self) -> str:
        """The name that the SDK puts into its user agent."""
        return "azure-identity"

    def __call__(self, _: Config) -> Callable[[], dict[str, str]]:
        """What gives the headers of a call."""
        return lambda: {"Authorization": f"Bearer {self._credential.get_token(_DATABRICKS).token}"}


def publish(host: str, credential: TokenCredential, *, lake: str, say: Callable[[str], None]) -> None:
    """Upload the programs and create or reset the jobs; a line to `say` for each."""
    jobs, files = read({"lake": lake} if lake else {})
    config = Config(host=host, credentials_strategy=Identity(credential), retry_timeout_seconds=60)
    workspace = WorkspaceClient(config=config)
    for source in sorted(BUNDLE.glob("*.py")):
        say(_upload(workspace, source, f"{files}/{source.name}"))
    for settings in jobs:
        say(_job(workspace, settings))


def read(variables: Mapping[str, str], target: str = TARGET) -> tuple[list[dict[str, Any]], str]:
    """The jobs of the bundle for `target`, references resolved, and the folder that its files go to."""
    bundle = _yaml(BUNDLE / "databricks.yml")
    if target not in bundle["targets"]:
        raise BundleError(f"databricks.yml has no target {target!r}; it has {', '.join(bundle['targets'])}")
    values = {"bundle.name": bundle["bundle"]["name"], "bundle.target": target}
    for name, variable in (bundle.get("variables") or {}).items():
        values[f"var.{name}"] = variables.get(name, variable.get("default", ""))
    for name, value in (bundle["targets"][target].get("workspace") or {}).items():
        values[f"workspace.{name}"] = _resolve(value, values)
    jobs: dict[str, Any] = {}
    for path in (path for pattern in bundle["include"] for path in sorted(BUNDLE.glob(pattern))):
        jobs |= _yaml(path)["resources"].get("jobs", {})
    return [_resolve(settings, values) for settings in jobs.values()], values["workspace.file_path"]


def _resolve(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with every `${reference}` in it replaced; Databricks' own `{{references}}` stay."""
    if isinstance(value, dict):
        return {key: _resolve(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, values) for item in value]
    if not isinstance(value, str):
        return value
    for name in _REFERENCE.findall(value):
        if name not in values:
            raise BundleError(f"${{{name}}} in the bundle is unknown; known are {', '.join(sorted(values))}")
    return _REFERENCE.sub(lambda match: values[match[1]], value)


def _upload(workspace: WorkspaceClient, source: Path, target: str) -> str:
    content = source.read_bytes()
    try:
        with workspace.workspace.download(target) as file:
            if file.read() == content:
                return f"Databricks file {target}: unchanged"
    except NotFound:
        workspace.workspace.mkdirs(target.rpartition("/")[0])
    workspace.workspace.upload(target, io.BytesIO(content), format=ImportFormat.AUTO, overwrite=True)
    return f"Databricks file {target}: uploaded"


def _job(workspace: WorkspaceClient, settings: dict[str, Any]) -> str:
    content = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    wanted = JobSettings.from_dict(settings | {"tags": {"content": content}})
    name = settings["name"]
    known = list(workspace.jobs.list(name=name))
    if not known:
        created = workspace.jobs.create(**{field: value for field, value in vars(wanted).items() if value is not None})
        return f"Databricks job {name} ({created.job_id}): created"
    job_id = known[0].job_id
    if len(known) > 1 or job_id is None:
        raise BundleError(f"{len(known)} Databricks jobs are named {name}; delete all but one")
    found = workspace.jobs.get(job_id).settings
    if found and (found.tags or {}).get("content") == content:
        return f"Databricks job {name} ({job_id}): unchanged"
    workspace.jobs.reset(job_id, wanted)
    return f"Databricks job {name} ({job_id}): reset"


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
