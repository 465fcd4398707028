"""Local clouds as an operator meets them: starting, ending, what runs, and the settings that lead to the store.

The local cloud is a program of its own (`python -m localcloud`); this module runs it and reads what it wrote down.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = "default"
STORE_SETTINGS = ("SluiceStorage", "SluiceStorage__accountName")


class Problem(Exception):
    """Something an operator must know; the message says what to do."""


def up(name: str, *, host: bool, fresh: bool, as_json: bool) -> int:
    """Start a cloud in the foreground; the exit status of its supervisor."""
    options = [*(["--subscribe"] if host else ["--no-host"]), *(["--fresh"] if fresh else [])]
    command = [sys.executable, "-m", "localcloud", "up", "--name", name, *options]
    output = subprocess.PIPE if as_json else None
    with subprocess.Popen(command, cwd=ROOT, stdout=output, text=True) as process:
        try:
            if process.stdout is not None:
                _tell(name, process)
            return process.wait()
        except KeyboardInterrupt:
            # The terminal sends Ctrl-C to both of us; the supervisor ends its processes, we wait for it.
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()
            process.terminate()
            return process.wait()


def _tell(name: str, process: subprocess.Popen[str]) -> None:
    """Print where everything is, once it is up, as one JSON document."""
    for line in process.stdout or ():
        if line.rstrip().endswith("is up."):
            answer = {"name": name, "process": process.pid, **addresses(name)}
            sys.stdout.write(json.dumps(answer, indent=1) + "\n")
            sys.stdout.flush()


def down(name: str, *, as_json: bool) -> int:
    """End a cloud; the exit status."""
    command = [sys.executable, "-m", "localcloud", "down", "--name", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(done.stderr.strip() or done.stdout.strip() or f"`{' '.join(command[1:])}` failed")
    said = done.stdout.strip()
    sys.stdout.write((json.dumps({"name": name, "said": said}) if as_json else said) + "\n")
    return 0


def home(name: str) -> Path:
    """The folder of a cloud's state."""
    return ROOT / ".local" / name


def saved(name: str) -> Mapping[str, Any]:
    """What the cloud wrote down about itself.  Raises Problem when there is no such cloud."""
    path = home(name) / "cloud.json"
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        known = sorted(found.parent.name for found in ROOT.glob(".local/*/cloud.json"))
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        raise Problem(f"there is no local cloud {name!r} ({there}); `sluice up --name {name}` starts it") from None
    except ValueError as error:
        raise Problem(f"{path} cannot be read ({error}); `sluice up --name {name} --fresh` makes it anew") from None
    return found


def addresses(name: str) -> dict[str, Any]:
    """Where everything of a cloud is."""
    secure = {"arm", "registry"}
    ports = saved(name)["ports"]
    urls = {part: f"{'https' if part in secure else 'http'}://127.0.0.1:{port}" for part, port in ports.items()}
    return {"urls": urls, "settings": str(home(name) / "local.settings.json"), "logs": str(home(name) / "logs")}


def processes(name: str) -> list[dict[str, Any]]:
    """Each process that the cloud has written down, and whether it is still that process that runs."""
    return [{**row, "alive": _alive(int(row["pid"]), float(row["created"]))} for row in saved(name)["processes"]]


def running(name: str) -> bool:
    """Whether the supervisor of a cloud runs."""
    return any(row["alive"] for row in processes(name) if row["name"] == "supervisor")


def _alive(pid: int, created: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def enter(name: str | None) -> str | None:
    """Let the environment lead to a store; the local cloud it belongs to, None when the environment names one itself.

    A name that was asked for wins over the environment.  Raises Problem when no such cloud runs.
    """
    if name is None and any(os.environ.get(setting) for setting in STORE_SETTINGS):
        return None
    name = name or DEFAULT
    if not running(name):
        raise Problem(f"the local cloud {name!r} is not running; `sluice up --name {name}` starts it")
    path = home(name) / "local.settings.json"
    try:
        values: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["Values"]
    except (OSError, ValueError, KeyError) as error:
        raise Problem(f"{path} cannot be read: {error!r}; `sluice up --name {name}` writes it") from None
    os.environ.update(values)
    return name


def ask_host(name: str, path: str, key: str) -> tuple[int, Any]:
    """Status and JSON that the Functions host of a cloud answers at `path`, with the `master` or the `default` key."""
    keys = json.loads((home(name) / "host" / "keys.json").read_text(encoding="utf-8"))
    code = keys["master"] if key == "master" else keys["keys"]["host"]["default"]
    request = urllib.request.Request(addresses(name)["urls"]["functions"] + path, headers={"x-functions-key": code})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        body = error.read()
        return error.code, json.loads(body) if body.startswith((b"{", b"[")) else body.decode(errors="replace")[:500]
