"""The workload's own curation and training on the whole history, in the workload's own environments.

Nothing is reckoned a second way: `curate.py` makes gold, the train step's code trains, and what they made is kept under
`.local/backtest`, by the hash of everything that it depends on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from demand_forecasting import data, landing
from localcloud.cloud import ROOT
from localcloud.environments import Environments, label_of, pins

FOLDER = ROOT / ".local" / "backtest"
WORKLOAD = ROOT / "demand_forecasting"
SOURCES = WORKLOAD / "azureml" / "src"
END = dt.datetime(2023, 4, 1)  # noqa: DTZ001 - local time, as supplied


def gold() -> Path:
    """The gold table of all hours, curated from bronze as they were supplied."""
    curate = WORKLOAD / "databricks" / "curate.py"
    folder = FOLDER / f"gold-{_hash([curate, WORKLOAD / 'data.py'])}"
    if (folder / "done").exists():
        return folder / "gold"
    bronze = folder / "bronze"
    landing.land_rows(str(bronze), data.rows(landing.HISTORY_START, END))
    places = [f"--{name}={folder / name}" for name in ("bronze", "silver", "gold")]
    _run(interpreter(ROOT / "localcloud" / "databricks_runtime.txt"), curate, *places, "--run-id=backtest")
    (folder / "done").touch()
    return folder / "gold"


def forecasts(
    starts: Sequence[dt.date], *, every: int = 1, origin_every_days: int, iterations: int
) -> list[dict[str, Any]]:
    """The forecast of each week, as `demand_forecasting/backtest/rolling.py` writes it."""
    program = WORKLOAD / "backtest" / "rolling.py"
    days = ",".join(start.isoformat() for start in starts)
    options = [f"--every={every}", f"--origin-every-days={origin_every_days}", f"--iterations={iterations}"]
    table = gold()
    trains = [SOURCES / f"{name}.py" for name in ("features", "gold", "train")]
    named = _hash([program, *trains], table.parent.name, days, *options)
    kept = FOLDER / f"forecasts-{named}.jsonl"
    if not kept.exists():
        python = interpreter(WORKLOAD / "azureml" / "environment" / "conda.yml")
        said = _run(python, program, f"--gold={table}", f"--starts={days}", *options)
        kept.with_suffix(".part").write_text(said, encoding="utf-8")
        kept.with_suffix(".part").rename(kept)
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def changed(
    changes: Sequence[str], *, since: dt.date, weeks: int, origin_every_days: int, iterations: int
) -> list[dict[str, Any]]:
    """Champion and challenger since a change, as `demand_forecasting/backtest/changed.py` writes them."""
    program = WORKLOAD / "backtest" / "changed.py"
    options = [f"--since={since}", f"--weeks={weeks}", *(f"--change={name}" for name in changes)]
    options += [f"--origin-every-days={origin_every_days}", f"--iterations={iterations}"]
    python = interpreter(WORKLOAD / "azureml" / "environment" / "conda.yml")
    said = _run(python, program, f"--gold={gold()}", *options)
    return [json.loads(line) for line in said.splitlines()]


def interpreter(file: Path) -> Path:
    """The Python of the environment that `file` pins."""
    return Environments(ROOT / ".envs").build(pins(file), label=label_of(file))


def _run(python: Path, program: Path, *arguments: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AZURE")}
    environment = inherited | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(python), str(program), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{program.name} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def _hash(files: Iterable[Path], *more: str) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    for text in more:
        digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:12]
