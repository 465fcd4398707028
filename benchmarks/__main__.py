"""`python -m benchmarks [--quick] [--only accept,storm]`: everything in one run, side by side."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping

from benchmarks import accept, cold, cost, end_to_end, goals, grown, idle, instances, matching, runs, storm
from benchmarks.report import FOLDER, README, Part, machine, page
from benchmarks.stage import Stage, say

PARTS: Mapping[str, Callable[[Stage], Awaitable[Part]]] = {
    "accept": accept.measure,
    "end_to_end": end_to_end.measure,
    "idle": idle.measure,
    "storm": storm.measure,
    "instances": instances.measure,
    "cost": cost.measure,
    "runs": runs.measure,
    "cold": cold.measure,
    "match": lambda stage: asyncio.to_thread(matching.measure, max(stage.rounds, 5)),
    "growth": grown.measure,
}
WITH_PEERS = frozenset({"accept", "end_to_end", "idle"})


async def run(given: argparse.Namespace) -> int:
    """All parts that are wanted; the exit status says whether each could be measured."""
    about, began = machine(), time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "refused.txt").write_text("", encoding="utf-8")
    say(about)
    stage = await Stage.build(given.rounds, given.in_flight, quick=given.quick)
    parts, failed = [], 0
    try:
        if not given.quick and not given.no_peers and WITH_PEERS & set(given.only):
            await stage.bring_peers()
        for name, measure in PARTS.items():
            if name not in given.only:
                continue
            say(f"{name}:")
            if parts:
                await stage.renew()
            if name not in WITH_PEERS:
                stage.dismiss_peers()
            try:
                parts.append(await measure(stage))
            except asyncio.CancelledError:  # told to end: what was measured is told
                failed += 1
                break
            except Exception as problem:
                failed += 1
                traceback.print_exc()
                parts.append(Part(name.replace("_", " ").capitalize(), ["", f"Not measured: {problem!r}"]))
            say(parts[-1].text())
    finally:
        await asyncio.to_thread(stage.end)
    _write(given, _about(given, about, time.monotonic() - began), parts, stage)
    return 1 if failed else 0


def _about(given: argparse.Namespace, about: str, seconds: float) -> str:
    rounds = "one small round" if given.quick else f"{given.rounds} rounds"
    return f"{about}; {rounds} in {seconds / 60:.0f} minutes, load after {os.getloadavg()[0]:.1f}"


def _write(given: argparse.Namespace, about: str, parts: list[Part], stage: Stage) -> None:
    facts = {name: value for part in parts for name, value in part.facts.items()}
    judged = goals.table(facts)
    text = page(about, judged, parts, stage.told)
    say("\n".join(judged))
    whole = given.readme or (not given.quick and not given.no_peers and len(parts) == len(PARTS))
    for place in (FOLDER / "report.md", *([README] if whole else [])):
        place.write_text(text, encoding="utf-8")
        say(f"report: {place}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often each is measured (5)")
    parser.add_argument("--in-flight", type=_numbers, help="deliveries in flight while accepting (32,256,512)")
    parser.add_argument("--only", type=_parts, default=[*PARTS], metavar="PART,PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="one small round of all that needs no other system")
    parser.add_argument("--no-peers", action="store_true", help="only what is ours")
    parser.add_argument(
        "--readme", action="store_true", help="rewrite benchmarks/README.md, however little was measured"
    )
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 5)
    given.in_flight = given.in_flight or ([32] if given.quick else [32, 256, 512])
    try:
        return asyncio.run(_stoppable(given))
    except asyncio.CancelledError:
        return 1


async def _stoppable(given: argparse.Namespace) -> int:
    """A run that SIGTERM ends as Ctrl-C does: nothing that it has started is left behind."""
    work = asyncio.ensure_future(run(given))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    return await work


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parts(text: str) -> list[str]:
    wanted = text.split(",")
    unknown = sorted(set(wanted) - set(PARTS))
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
