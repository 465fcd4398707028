"""Champion and challenger on the same week: what is better beyond noise, and what becomes of a model that is not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workload.conftest import SRC
from tests.workload.test_evaluation import HOURS, WEEK, Model, hours


def week(scale: float, *, areas: int = 10, seed: int = 3) -> Any:
    """A week of errors of so much, around a truth of ten."""
    return 10 + np.random.default_rng(seed).normal(0, scale, (areas, WEEK))


TRUTH = np.full((10, WEEK), 10.0)


# -- the comparison ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("steps")
class TestComparison:
    def test_a_forecast_with_half_the_error_is_better_beyond_noise(self) -> None:
        from comparison import compare

        found = compare(week(0.5), week(1.0, seed=4), TRUTH)
        assert found.better
        assert found.low < found.relative < found.high < 0
        assert found.relative == pytest.approx(-0.5, abs=0.05)

    def test_equal_forecasts_are_not(self) -> None:
        from comparison import compare

        found = compare(week(1.0), week(1.0), TRUTH)
        assert (found.relative, found.better) == (0.0, False)

    def test_one_that_is_better_in_one_area_alone_is_not(self) -> None:
        """A tenth of the error less, but all of it in one area: another draw of areas would not have it."""
        from comparison import compare

        better = week(1.0)
        better[0] = 10.0
        found = compare(better, week(1.0), TRUTH)
        assert found.relative < -0.05
        assert not found.better

    def test_one_that_is_better_on_one_day_alone_is_not(self) -> None:
        from comparison import compare

        better = week(1.0)
        better[:, :24] = 10.0
        assert not compare(better, week(1.0), TRUTH).better

    def test_the_same_errors_give_the_same_bounds(self) -> None:
        from comparison import compare

        assert compare(week(0.9), week(1.0, seed=4), TRUTH) == compare(week(0.9), week(1.0, seed=4), TRUTH)

    def test_hours_that_were_not_measured_do_not_count(self) -> None:
        from comparison import compare

        holes, wild = TRUTH.copy(), week(0.5)
        holes[:, 5] = np.nan
        wild[:, 5] = 1e6
        assert compare(wild, week(1.0, seed=4), holes).better


# -- the champion ------------------------------------------------------------------------------------------------------


def folder(at: Path, shift: float, *, series: tuple[str, ...] = ("dma_1", "dma_2"), until: str = "2022-02-28") -> Path:
    """A model folder that holds `Model(shift)`."""
    (at / "code").mkdir(parents=True)
    facts = {"series": series, "trained_until": until, "gold": "abfss://gold@lake/demand", "gold_version": 0}
    (at / "forecast.json").write_text(json.dumps(facts))
    (at / "model.pkl").write_bytes(pickle.dumps(Model(shift)))
    (at / "code" / "features.py").write_bytes((SRC / "features.py").read_bytes())
    return at


def small_gold() -> Any:
    import datetime as dt

    from gold import Gold

    demand = np.array([hours(), 2 * hours()])
    start = dt.datetime(2022, 1, 3)  # noqa: DTZ001 - local clock hours
    return Gold(("dma_1", "dma_2"), start, demand, np.ones_like(demand, dtype=bool), np.zeros((3, HOURS)))


def judged(tmp_path: Path, champion: float, challenger: float, **changes: Any) -> dict[str, Any]:
    """The report on `Model(challenger)` beside the champion `Model(champion)`."""
    import evaluate
    from champion import Champion

    gold = small_gold()
    golden = evaluate.judge(Model(challenger).predict, gold)
    best = Champion.load(folder(tmp_path / "champion", champion, **changes), "3")
    found: dict[str, Any] = evaluate.report(golden, "3", evaluate.against(best, golden, gold))
    return found


@pytest.mark.usefixtures("steps")
class TestChampion:
    def test_a_challenger_that_is_better_beyond_noise_is_registered_with_both_numbers(self, tmp_path: Path) -> None:
        report = judged(tmp_path, champion=0.2, challenger=0.0)
        assert report["verdict"] == "registered"
        assert report["mae"] < report["champion"]["mae"]
        assert report["champion"]["version"] == "3"
        assert report["champion"]["high"] < 0
        assert "better beyond noise" in report["reason"]

    def test_a_challenger_that_is_no_better_leaves_the_champion_in_place(self, tmp_path: Path) -> None:
        report = judged(tmp_path, champion=0.0, challenger=0.0)
        assert (report["verdict"], report["passed"]) == ("retained", True)
        assert report["champion"]["mae"] == pytest.approx(report["mae"])

    def test_without_a_champion_beating_seasonal_naive_is_enough(self) -> None:
        import evaluate

        report = evaluate.report(evaluate.judge(Model(0.0).predict, small_gold()))
        assert (report["verdict"], report["champion"]) == ("registered", None)

    def test_better_than_the_champion_and_worse_than_seasonal_naive_leaves_the_champion_in_place(
        self, tmp_path: Path
    ) -> None:
        report = judged(tmp_path, champion=9.0, challenger=5.0)
        assert (report["verdict"], report["passed"]) == ("retained", False)
        assert "does not beat seasonal naive" in report["reason"]

    def test_series_that_the_champion_does_not_know_are_left_out_of_the_comparison(self, tmp_path: Path) -> None:
        report = judged(tmp_path, champion=0.2, challenger=0.0, series=("dma_2",))
        assert report["verdict"] == "registered"
        assert report["champion"]["mae"] > report["series"]["dma_2"]["mae"]

    def test_a_champion_that_has_seen_the_week_is_refused(self, tmp_path: Path) -> None:
        from step import StepFailed

        with pytest.raises(StepFailed, match="has seen the week from 2022-02-28"):
            judged(tmp_path, champion=0.2, challenger=0.0, until="2022-03-07T00:00:00")

    def test_the_champion_forecasts_with_the_features_that_it_was_made_with(self, tmp_path: Path) -> None:
        from champion import Champion

        best = Champion.load(folder(tmp_path, 0.0), "3")
        changed = (SRC / "features.py").read_text().replace("np.maximum((outputs", "7 + np.maximum((outputs")
        (tmp_path / "code" / "features.py").write_text(changed)
        other = Champion.load(tmp_path, "3")
        gold = small_gold()
        forecasts = [one.forecast(gold, gold.held_back) for one in (best, other)]
        assert forecasts[1] == pytest.approx(forecasts[0] + 7)
