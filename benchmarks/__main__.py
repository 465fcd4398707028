"""`python -m benchmarks [--rounds 5] [--in-flight 32,256,512]`: every row in one run, side by side."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import datetime as dt
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableServiceClient

from benchmarks import accept, cold, storm
from benchmarks.counting import Relay
from benchmarks.load import Round, bodies, deliver, lake_mix
from chaos.hosts import Hosts
from chaos.town import Town
from localcloud.cloud import ROOT, STORE_ACCOUNT, STORE_KEY, Cloud
from localcloud.subscriptions import master_key, webhook

ROUTES = Path(__file__).with_name("routes.yaml")
FOLDER = ROOT / ".local" / "benchmarks"
PEERS = "peers (Restate, DBOS, Prefect): not in this harness yet; /work's earlier measurements are not repeated here"


async def accepting(cloud: Cloud, rounds: int, in_flights: Sequence[int]) -> list[str]:
    """The table of accept: the cases turn and turn about, so that they meet the same machine."""
    address = webhook(cloud)
    cases = accept.cases(address, cloud, in_flights)
    await deliver(address, bodies(lake_mix(400), 1), 32, 400)  # warm: nobody's first connection is measured
    found: dict[str, list[Round]] = {case.name: [] for case in cases}
    for turn in range(rounds):
        for case in cases:
            found[case.name].append(await case.once())
        say(f"  accept: round {turn + 1} of {rounds}")
    base = statistics.median(one.rate for one in found[cases[0].name])
    lines = [
        "| | events/s | spread | to inserts | p50 ms | p99 ms | refused | acknowledged means |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        rates = sorted(one.rate for one in found[case.name])
        p50, p99 = (statistics.median(getattr(one, name) for one in found[case.name]) for name in ("p50", "p99"))
        rate = statistics.median(rates)
        lines.append(
            f"| {case.name} | {rate:,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f} | {rate / base:.2f} "
            f"| {p50:.1f} | {p99:.1f} | {sum(one.refused for one in found[case.name])} | {case.means} |"
        )
    return lines


async def storming(cloud: Cloud, hosts: Hosts, relay: Relay) -> list[str]:
    """The table of the two storms."""
    host = hosts.all[0]
    keys = json.loads((host.state / "keys.json").read_text(encoding="utf-8"))["keys"]["host"]["default"]
    lines = [
        "| storm of 10,000 events | s until collected | runs | operations (table, blob, queue) | an event | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    connection = cloud.connection_string(STORE_ACCOUNT, STORE_KEY)
    table = TableServiceClient.from_connection_string(connection).get_table_client("sluicelanes")
    for hub in (True, False):
        one = await storm.measure(host, relay, table, webhook(cloud), keys, master_key(cloud), hub=hub)
        shown = ", ".join(str(one.operations[name]) for name in ("table", "blob", "queue"))
        lines.append(f"| {one.road} | {one.seconds:.1f} | {one.runs} | {shown} | {one.an_event:.3f} | {one.peak_mb} |")
        say(f"  {lines[-1]}")
    return lines


def starting(rounds: int) -> list[str]:
    """The table of cold starts."""
    found = cold.measure(rounds)
    empty = statistics.median(taken for taken, _ in found["empty app"])
    lines = ["| index of | ms | spread | to empty | modules |", "|---|---|---|---|---|"]
    for name, results in found.items():
        taken = sorted(one for one, _ in results)
        middle = statistics.median(taken)
        lines.append(
            f"| {name} | {middle:.0f} | {taken[0]:.0f} to {taken[-1]:.0f} | {middle / empty:.2f} | {results[0][1]} |"
        )
    return lines


def machine() -> str:
    """Where and when this was measured, with which versions."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("azure-functions", "azure-data-tables", "aiohttp")
    )
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0]
    return (
        f"{now}; {os.cpu_count()} cores, {platform.machine()}, load before: {load:.1f}; "
        f"Python {platform.python_version()}, Azurite 3.35.0, {versions}"
    )


def run(given: argparse.Namespace) -> int:
    """All of it."""
    about, town, hosts = machine(), Town("bench-cloud"), None
    parts: list[str] = [about, "", *starting(given.rounds), ""]
    say("\n".join(parts))
    try:
        cloud = town.start()
        relay = Relay(cloud)
        for where, what in (
            (cloud, "accept"),
            (dataclasses.replace(cloud, ports={**cloud.ports, **relay.ports}), "storm"),
        ):
            if what not in given.only:
                continue
            hosts = Hosts(where, ROUTES, 1)
            hosts.start()
            if what == "accept":
                _table(cloud)
                lines = asyncio.run(accepting(cloud, given.rounds, given.in_flight))
            else:
                lines = asyncio.run(storming(cloud, hosts, relay))
            parts += [*lines, ""]
            say("\n".join(lines))
            hosts.end()
        parts.append(PEERS)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "report.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
        say(f"report: {FOLDER / 'report.md'}")
    finally:
        if hosts is not None:
            hosts.end()
        town.end(keep=False)
    return 0


def _table(cloud: Cloud) -> None:
    service = TableServiceClient.from_connection_string(cloud.connection_string(STORE_ACCOUNT, STORE_KEY))
    try:
        service.create_table("benchraw")
    except ResourceExistsError:
        return


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--in-flight", type=_numbers, default=[32, 256, 512], metavar="N,N")
    parser.add_argument("--only", type=lambda text: text.split(","), default=["accept", "storm"], metavar="PART,PART")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return run(parser.parse_args())


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
