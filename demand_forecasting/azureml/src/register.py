"""Keep the model, its report and its golden week together in the lake, and register the model, once per job.

Where the champion is retained only the report is kept: what is not registered raises no event and builds no image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azure_access import CONTAINER, Address, arm, container, required, workspace
from evaluate import REGISTERED, RETAINED
from model_facts import ModelFacts
from step import run, say

_VERSION = "2024-10-01"


def store(files: Mapping[str, Path], at: Address) -> None:
    """Upload files to their names below `at`."""
    client = container(at.account, at.container)
    for name, path in sorted(files.items()):
        client.upload_blob(f"{at.path}/{name}", path.read_bytes(), overwrite=True)


def versions(name: str) -> Iterator[dict[str, Any]]:
    """The registered versions of model `name`."""
    path = f"{workspace()}/models/{name}/versions"
    page = arm("GET", path, version=_VERSION, listViewType="ActiveOnly")
    while page:
        yield from page["value"]
        page = arm("GET", page["nextLink"], version=_VERSION) if page.get("nextLink") else None


def register(name: str, body: dict[str, Any]) -> tuple[str, bool]:
    """The version of `name` that carries this job's tag, and whether it had to be created."""
    known = list(versions(name))
    job = body["tags"]["azureml_job"]
    for model in known:
        if model["properties"].get("tags", {}).get("azureml_job") == job:
            return model["name"], False
    number = max((int(model["name"]) for model in known if model["name"].isdigit()), default=0) + 1
    arm("PUT", f"{workspace()}/models/{name}/versions/{number}", version=_VERSION, body={"properties": body})
    return str(number), True


def describe(at: Address, report: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    """The properties of the model version in Azure ML's words."""
    return {
        "modelType": "mlflow_model",
        "modelUri": f"azureml:/{workspace()}/datastores/workspaceblobstore/paths/{at.path}/model",
        "description": f"Week-ahead hourly demand; MAE {report['mae']:.3f} on the week from {report['origin']}",
        "tags": tags,
        "properties": {},
        "flavors": {"sklearn": {"data": {}}, "python_function": {"data": {}}},
    }


def main() -> None:
    """The step's command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--model-name", "--correlation-id", "--run-id"):
        parser.add_argument(name, required=True)
    for name in ("--model", "--evaluation", "--registration"):
        parser.add_argument(name, required=True, type=Path)
    args = parser.parse_args()
    job = required("AZUREML_ROOT_RUN_ID")
    facts = ModelFacts.read(args.model)
    at = Address(CONTAINER, Address.parse(facts.gold).account, f"models/{args.model_name}/{job}")
    report = json.loads((args.evaluation / "report.json").read_text(encoding="utf-8"))
    kept = {name: args.evaluation / name for name in ("report.json", "golden.json")}
    args.registration.mkdir(parents=True, exist_ok=True)
    if report["verdict"] == RETAINED:
        store(kept, at)
        _write(args.registration, {"name": args.model_name, "job": job, "verdict": RETAINED})
        say(f"nothing is registered: {report['reason']}; the report is at {at}")
        return
    model = {
        f"model/{path.relative_to(args.model).as_posix()}": path for path in args.model.rglob("*") if path.is_file()
    }
    store(kept | model, at)
    tags = {
        "azureml_job": job,
        "gold": facts.gold,
        "gold_version": str(facts.gold_version),
        "correlation_id": args.correlation_id,
        "run_id": args.run_id,
        "mae": f"{report['mae']:.4f}",
        "naive_mae": f"{report['naive_mae']:.4f}",
    }
    if report["champion"]:
        tags |= {"champion": report["champion"]["version"], "champion_mae": f"{report['champion']['mae']:.4f}"}
    version, created = register(args.model_name, describe(at, report, tags))
    golden = (args.evaluation / "golden.json").read_bytes()
    registration = {
        "name": args.model_name,
        "version": version,
        "job": job,
        "golden_uri": f"{at}/golden.json",
        "golden_sha256": hashlib.sha256(golden).hexdigest(),
    }
    _write(args.registration, registration | {"verdict": REGISTERED})
    say(f"{args.model_name} version {version} {'registered' if created else 'was registered before'}; files at {at}")


def _write(folder: Path, registration: dict[str, str]) -> None:
    (folder / "registration.json").write_text(json.dumps(registration, indent=1), encoding="utf-8")


if __name__ == "__main__":
    run(main)
