"""`python -m chaos [--kills 200] [--hosts 3] [--seed N] [--keep]`: make the trouble, wait for quiet, compare."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import random
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from chaos.evidence import Reader
from chaos.hosts import VISIBILITY, Hosts
from chaos.operator import Operator
from chaos.town import Lander, Town, Weather
from chaos.verdict import Verdict, judge
from localcloud.cloud import ROOT

ROUTES = Path(__file__).with_name("routes.yaml")
REPORT = ROOT / ".local" / "chaos" / "report.json"
QUIET_WITHIN = 420.0

READ_THIS = (
    f"A killed host's queue messages come back after {VISIBILITY} s here and after 10 minutes in Azure; "
    "what is due sooner is healed by the sweep, twice a minute, here and there."
)


def violence(town: Town, hosts: Hosts, kills: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Kill until it is enough, with everything else going wrong beside it; what was done, and what was cancelled."""
    dice = random.Random(seed)
    operator = Operator(hosts.all, ROUTES, random.Random(seed + 3))
    lander = Lander(town.cloud, 20, random.Random(seed + 1))
    weather = Weather(town.cloud, random.Random(seed + 2))
    stops = {kills * (part + 1) // 4 for part in range(3)} if kills < 100 else set(range(40, kills, 40))
    stopping: list[threading.Thread] = []
    began = time.monotonic()
    for trouble in (lander, weather, operator):
        trouble.start()
    while hosts.kills < kills:
        if not hosts.kill_one(dice):
            time.sleep(0.2)
            continue
        if hosts.kills in stops and not any(thread.is_alive() for thread in stopping):
            stopping.append(threading.Thread(target=town.restart_storage))
            stopping[-1].start()
        if hosts.kills % 10 == 0:
            say(f"  {hosts.kills} kills, {lander.landed} commits landed, {time.monotonic() - began:.0f} s")
    lasted = time.monotonic() - began
    ended = sum(1 for row in town.cloud.records("databricks", "run_ended"))
    for thread in stopping:
        thread.join()
    operator.stop()
    lander.stop()
    weather.clear()
    storage = collections.Counter(re.findall(r"azurite died \(([^)]*)\)", town.said()))
    done = {
        "hosts killed (SIGKILL)": hosts.kills,
        "Azurite stopped (SIGTERM) and started": sum(storage.values()),
        "Azurite ended with": ", ".join(f"{how}: {count}" for how, count in storage.items()),
        "commits landed": lander.landed,
        "sluice retry of a cancelled run": len(operator.retried),
        "Databricks runs ended while hosts were being killed": ended,
        "seconds of violence": round(lasted),
    }
    return done, operator.cancelled


def quiet(reader: Reader) -> float:
    """Wait until nothing is on its way, no lane is busy and nothing is due; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < QUIET_WITHIN:
        pending = reader.pending()
        busy = reader.busy() if not pending else -1
        if not pending and not busy and not reader.due():
            return time.monotonic() - began
        time.sleep(2.0)
    say(f"it did not become quiet within {QUIET_WITHIN:.0f} s")
    return time.monotonic() - began


def show(done: dict[str, Any], verdict: Verdict) -> None:
    """The table."""
    rows = {**done, **verdict.counts, "lost": len(verdict.lost), "doubled": len(verdict.doubled)}
    rows["left behind"] = len(verdict.left)
    width = max(map(len, rows))
    say("")
    for name, value in rows.items():
        say(f"  {name:{width}}  {value}")
    for title, found in (("lost", verdict.lost), ("doubled", verdict.doubled), ("left", verdict.left)):
        for line in found[:10]:
            say(f"  {title}: {line}")
    say(f"\n{READ_THIS}\nreport: {REPORT}")


def run(given: argparse.Namespace) -> int:
    """All of it; the exit status."""
    town, hosts = Town("chaos-cloud"), None
    good = False
    try:
        say(f"seed {given.seed}: {given.kills} kills, {given.hosts} Functions hosts on one store")
        began = time.monotonic()
        cloud = town.start()
        hosts = Hosts(cloud, ROUTES, given.hosts)
        hosts.start()
        town.subscribe(hosts.all)
        did, cancelled = violence(town, hosts, given.kills, given.seed)
        done = {"seed": given.seed, "hosts": given.hosts, **did}
        hosts.wait()
        reader = Reader(cloud, ROUTES)
        done["seconds until quiet"] = round(quiet(reader))
        verdict = judge(reader.read(cancelled))
        done["seconds in all"] = round(time.monotonic() - began)
        good = verdict.good
        report = {"good": good, "done": done, **dataclasses.asdict(verdict), "note": READ_THIS}
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        show(done, verdict)
    finally:
        if hosts is not None:
            hosts.end()
        town.end(keep=given.keep or not good)
    return 0 if good else 1


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep the cloud's folder even when all is well")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
