"""Releases in stages on the whole app: approved, superseded, baked; with one unbroken chain of evidence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud.cloud import ROOT
from tests.localcloud.running import trusted
from tests.scenarios import workload
from tests.scenarios.town import ENDED, Row, Town, event, eventually

STAGES: dict[str, Any] = {
    "analysis": {"interval": "1s"},
    "steps": [{"approval": "10m"}, {"weight": 25, "hold": "1s"}, {"weight": 100, "hold": "8s"}],
}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """The app with the shipped routes, but for the stages of a release."""
    rules = yaml.safe_load((ROOT / "routes.yaml").read_text(encoding="utf-8"))
    rules["routes"]["release"]["with"] |= STAGES
    routes: Path = tmp_path_factory.mktemp("rules") / "routes.yaml"
    routes.write_text(yaml.safe_dump(rules), encoding="utf-8")
    town = Town(f"releases-{os.getpid()}", routes)
    try:
        town.start()
        with trusted(town.cloud):
            workload.create_endpoint(town.workspace)
            yield town
    finally:
        town.end()


def pushed(town: Town, name: str) -> str:
    """Push the image of a new registered model; its digest."""
    tags = {"azureml_job": f"job-of-{name}", "gold_version": "7"}
    version = workload.register_model(town, name, tags)
    return workload.build_image(town, name, version, job=f"job-of-{name}")


def newest(town: Town, count: int) -> Row:
    """The newest run of the lane, once it has so many."""
    return eventually(lambda: (town.runs("release", "demand-forecast")[count - 1 :] or [None])[-1], 180)


def asked(town: Town, count: int) -> Row:
    """The run with this number, once it waits for a person."""

    def look() -> Row | None:
        run = newest(town, count)
        assert run["phase"] not in ENDED, run["reason"]
        return run if "waits for approval" in run["reason"] else None

    return eventually(look, 180)


def ended(town: Town, count: int) -> Row:
    """The run with this number, once it has ended."""

    def look() -> Row | None:
        run = town.runs("release", "demand-forecast")[count - 1]
        return run if run["phase"] in ENDED else None

    return eventually(look, 240)


def approve(town: Town, run: Row) -> None:
    status, answer, said = town.sluice("approve", str(run["run"]), "--by", "ann")
    assert status == 0, (answer, said)


def test_releases_are_approved_superseded_and_baked(town: Town) -> None:
    first = pushed(town, "model-one")
    approve(town, asked(town, 1))
    assert ended(town, 1)["phase"] == "succeeded"

    # A newer image takes the place of a release that has not moved all traffic.
    second = pushed(town, "model-two")
    asked(town, 2)
    third = pushed(town, "model-three")
    stopped = ended(town, 2)
    assert (stopped["phase"], stopped["result"]["digest"]) == ("cancelled", second), stopped["reason"]
    assert "superseded by generation 3" in stopped["reason"]

    # The same push a hundred times is one push.
    again = event(
        "ContainerRegistry.ImagePushed",
        "demand-forecast:model-three",
        {"target": {"repository": "demand-forecast", "digest": third, "tag": "model-three"}, "action": "push"},
    )
    assert [town.deliver(again) for _ in range(100)] == [202] * 100
    approve(town, asked(town, 3))

    # A newer image that comes while this one bakes waits until it has.
    eventually(lambda: "weight 100: held" in town.runs("release", "demand-forecast")[2]["reason"], 180)
    fourth = pushed(town, "model-four")
    baked = ended(town, 3)
    assert (baked["phase"], baked["result"]["digest"]) == ("succeeded", third), baked["reason"]
    run = asked(town, 4)
    status, _, _ = town.sluice("reject", str(run["run"]), "--by", "bob", "--note", "enough for today")
    assert status == 0
    refused = ended(town, 4)
    assert refused["phase"] == "cancelled"
    assert "rejected by bob" in refused["reason"]

    status, chain, _ = town.sluice("evidence", "demand-forecast")
    assert (status, chain["faults"]) == (0, [])
    told = [(record["outcome"], record["digest"]) for record in chain["records"][::-1]]
    assert told == [("promoted", first), ("stopped", second), ("promoted", third), ("stopped", fourth)]
    assert chain["records"][1]["approvals"][0]["by"] == "ann"
    maps = [row["traffic"] for row in town.cloud.records("azure_ml", "traffic")]
    assert [sorted(share for share in each.values() if share) for each in maps] == [[100], [25, 75], [100]]
