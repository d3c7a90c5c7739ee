"""The study of missing values: every method fills the same cells, and what was computed is not computed again."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import imputation


def test_every_method_fills_what_is_hidden_and_a_second_call_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imputation, "COMPONENTS", (2,))
    asked = ["--data", "iris", "--shares", "0.3", "--seeds", "1", "--steps", "20", "--samples", "20"]
    imputation.main([*asked, "--out", str(tmp_path)])
    place = tmp_path / "results.csv"
    written = place.read_text(encoding="utf-8"), place.stat().st_mtime_ns
    rows = {row["method"]: row for row in csv.DictReader(written[0].splitlines())}
    assert set(rows) == set(imputation.METHODS)
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


def test_the_normal_law_is_the_columns_own_moments_and_its_conditional_that_of_the_joint_density() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4)) + np.arange(4)
    mean, covariance = imputation.fitted(x, np.zeros(x.shape, bool), 0.0, 2)
    np.testing.assert_allclose(mean, x.mean(0))
    np.testing.assert_allclose(covariance, np.cov(x.T, bias=True))
    hidden = np.zeros(x.shape, bool)
    hidden[:, 1] = True
    filled, score, spread = imputation.given_seen(x, hidden, mean, covariance)
    joint, seen = multivariate_normal(mean, covariance), [0, 2, 3]
    marginal = multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
    np.testing.assert_allclose(score[:, 1], joint.logpdf(x) - marginal.logpdf(x[:, seen]))
    assert np.mean((x - filled)[:, 1] ** 2) == pytest.approx(spread[1, 1] / len(x))


def test_em_finds_the_law_of_values_that_are_missing_at_random() -> None:
    rng = np.random.default_rng(1)
    covariance = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, -0.2], [0.3, -0.2, 1.0]])
    x = rng.multivariate_normal(np.zeros(3), covariance, 4000)
    hidden = np.zeros(x.shape, bool)
    hidden[:, 1] = x[:, 0] > 0.5  # the mean of what is seen of the second column is not its mean
    mean, found = imputation.fitted(np.where(hidden, np.nan, x), hidden, 0.0, 50)
    np.testing.assert_allclose(mean, 0, atol=0.08)
    np.testing.assert_allclose(found, covariance, atol=0.08)
