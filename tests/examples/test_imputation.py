"""The study of missing values: every method fills the same cells, and what was computed is not computed again."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import imputation


def test_every_method_fills_what_is_hidden_and_a_second_call_computes_nothing(tmp_path: Path) -> None:
    asked = ["--data", "iris", "--shares", "0.3", "--seeds", "1", "--steps", "20", "--samples", "20"]
    imputation.main([*asked, "--out", str(tmp_path)])
    place = tmp_path / "results.csv"
    written = place.read_text(encoding="utf-8"), place.stat().st_mtime_ns
    rows = {row["method"]: row for row in csv.DictReader(written[0].splitlines())}
    assert set(rows) == {*imputation.BASELINES, "incomplete"}
    assert float(rows["IterativeImputer"]["rmse"]) < float(rows["mean"]["rmse"])
    assert all(np.isfinite(float(row["log_likelihood"])) for row in rows.values())
    assert "| iris | 30% |" in (tmp_path / "results.md").read_text(encoding="utf-8")
    imputation.main([*asked, "--out", str(tmp_path)])
    assert (place.read_text(encoding="utf-8"), place.stat().st_mtime_ns) == written


def test_the_mean_has_the_scores_of_a_standard_normal() -> None:
    """Of standardised columns the mean misses by 1, and a normal about it costs half of log 2 pi e."""
    found = imputation.measured("breast_cancer", 0.3, 0, "mean", 0, 0)
    assert abs(found["rmse"] - 1) < 0.1
    assert abs(found["log_likelihood"] + 0.5 * np.log(2 * np.pi * np.e)) < 0.15
