"""The commands: `make simulate SEEDS=n`, `make mutants`, and the replay of one seed.

python -m tests.simulation --seeds 1000 [--first 0]
python -m tests.simulation --seed 76 [--events 0,3] [--keep 'i1_lanes.save_run#2=lost']
python -m tests.simulation --mutants 60
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

from tests.simulation import mutants
from tests.simulation.shrink import shorten
from tests.simulation.simulation import simulate

_MOST_SHOWN = 3


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _one(seed: int) -> tuple[int, str | None, list[str]]:
    try:
        said, played = simulate(seed)
    except Exception as error:
        return seed, f"the simulator itself failed: {error!r}", []
    return seed, said, played.dice.faults if said else []


def _many(first: int, count: int) -> int:
    began, failed, done = time.monotonic(), 0, 0
    with multiprocessing.Pool() as pool:
        for seed, said, faults in pool.imap(_one, range(first, first + count), chunksize=8):
            done += 1
            if said is not None:
                failed += 1
                _tell(f"seed {seed}: {said}")
                if failed <= _MOST_SHOWN:
                    _explain(seed, faults)
            if done % 1000 == 0:
                _tell(f"{done} seeds, {failed} failed, {done / (time.monotonic() - began):.0f} seeds/s")
    lasted = time.monotonic() - began
    _tell(f"{count - failed} of {count} seeds passed in {lasted:.0f} s ({count / lasted:.1f} seeds/s)")
    return 1 if failed else 0


def _explain(seed: int, faults: list[str]) -> None:
    short = shorten(seed, faults)
    _tell(f"  shortened from {len(faults)} faults to {len(short.faults)}, {len(short.events)} event(s): {short.said}")
    for line in short.trace[-60:]:
        _tell(f"  {line}")
    _tell(f"  replay: {short.command}")


def _replay(seed: int, keep: str | None, events: str | None) -> int:
    faults = None if keep is None else frozenset(keep.split(","))
    numbers = None if events is None else frozenset(int(n) for n in events.split(",") if n.isdigit())
    said, played = simulate(seed, faults, numbers)
    for line in played.trace:
        _tell(line)
    _tell(said or "every promise held")
    if said and keep is None:
        _explain(seed, played.dice.faults)
    return 1 if said else 0


def main() -> int:
    """Answers 0 when every promise held and every planted fault was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay one seed")
    parser.add_argument("--keep", help="only these faults, as a shortened schedule names them")
    parser.add_argument("--events", help="only these events, by number")
    parser.add_argument("--mutants", type=int, help="hunt the planted faults, each with at most so many seeds")
    options = parser.parse_args()
    if options.mutants:
        return 1 if mutants.table(options.mutants, _tell) else 0
    if options.seed is not None:
        return _replay(options.seed, options.keep, options.events)
    return _many(options.first, options.seeds or 1000)


if __name__ == "__main__":
    sys.exit(main())
