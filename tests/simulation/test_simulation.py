"""A few seeds of the simulation, and the proof that it can fail: planted faults are caught."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.dice import KINDS
from tests.simulation.mutants import MUTANTS, Mutant, hunt, planted
from tests.simulation.shrink import shorten
from tests.simulation.simulation import simulate

SEEDS = 120
ENOUGH = 200
"""Within so many seeds every planted fault is noticed."""


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_every_promise_holds(first: int) -> None:
    wrong = {seed: said for seed in range(first, first + 20) if (said := simulate(seed)[0])}
    assert wrong == {}, "replay with: python -m tests.simulation --seed <n>"


@pytest.mark.parametrize("seed", [0, 7, 41])
def test_a_seed_is_the_same_every_time(seed: int) -> None:
    first, again = simulate(seed)[1], simulate(seed)[1]
    assert first.trace == again.trace
    assert first.dice.faults == again.dice.faults
    assert len(first.trace) > 10


def test_a_seed_is_the_same_in_every_process() -> None:
    def traced(hash_seed: str) -> str:
        command = [sys.executable, "-m", "tests.simulation", "--seed", "10"]
        return subprocess.run(
            command, env=os.environ | {"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        ).stdout

    assert traced("1") == traced("2")


def test_every_kind_of_fault_happens() -> None:
    happened = {fault.rpartition("=")[2] for seed in range(40) for fault in simulate(seed)[1].dice.faults}
    assert happened == set(KINDS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_fault_is_caught(mutant: Mutant) -> None:
    seed, said = hunt(mutant, range(ENOUGH))
    assert seed is not None, said


def test_a_failing_schedule_is_shortened_and_can_be_replayed() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "no ETag when a run is saved")
    seed, _ = hunt(mutant, range(ENOUGH))
    assert seed is not None
    with planted(mutant):
        faults = simulate(seed)[1].dice.faults
        short = shorten(seed, faults, most=60)
        assert len(short.faults) < len(faults)
        assert simulate(seed, frozenset(short.faults), frozenset(short.events))[0] == short.said
    assert f"--seed {seed}" in short.command
    assert simulate(seed, frozenset(short.faults), frozenset(short.events))[0] is None, "without the fault it holds"
