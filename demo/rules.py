"""The rules that the demonstration runs under: `routes.yaml`, for seconds and weeks instead of hours and months."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from localcloud.cloud import ROOT

STAGES = Path(__file__).with_name("release.yaml")

SCORED = 2
"""Weeks of served forecasts that confirm a drift: the demonstration has no more before the change."""


def write(path: Path) -> Path:
    """Write the demonstration's routes."""
    rules: dict[str, Any] = yaml.safe_load((ROOT / "routes.yaml").read_text(encoding="utf-8"))
    rules["routes"]["release"]["with"] |= yaml.safe_load(STAGES.read_text(encoding="utf-8"))
    rules["routes"]["drift"]["with"]["policy"] = {"scored": SCORED}
    path.write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    return path
