"""The study of missing values: every method fills the same cells, and what was computed is not computed again."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import lognorm
from sklearn.impute import SimpleImputer

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import imputation
import imputation_laws
from imputation_columns import Coordinates
from imputation_laws import Gaps, Law, better, likeliest, read


def test_every_method_fills_what_is_hidden_and_a_second_call_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imputation, "COMPONENTS", (2,))
    monkeypatch.setattr(imputation_laws, "RIDGES", (0.003,))
    few = {**imputation.BASELINES, "IterativeImputer, trees": lambda seed: SimpleImputer(strategy="median")}
    monkeypatch.setattr(imputation, "BASELINES", few)  # trees take seconds
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
    found = imputation.measured("diabetes", 0.3, 0, "mean", 0, 0)
    assert abs(found["rmse"] - 1) < 0.1
    assert abs(found["log_likelihood"] + 0.5 * np.log(2 * np.pi * np.e)) < 0.15


def test_the_fill_is_the_mean_and_the_score_the_density_of_what_is_hidden_given_the_rest() -> None:
    """Of logarithms: E[x] = exp(E + Var / 2) and the density of a log-normal, by the joint normal law of the logs."""
    rng = np.random.default_rng(0)
    logs = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3)) * 0.5
    hidden = rng.random(logs.shape) < 0.3
    unit, ones, zeros = np.full(3, 1e-9), np.ones(3), np.zeros(3)
    bent = Coordinates(zeros, unit, zeros, zeros, ones)  # log(1 + 10^9 x): the logarithm, but for a constant
    gaps = Gaps(np.exp(logs), hidden, zeros, 0)
    gaps.__dict__["systems"] = {"logarithms": bent}
    law = Law("logarithms", 1, 0.001, 0)
    filled, score = law.filled(gaps)
    part = law.fit(torch.from_numpy(bent.of(gaps.x)), torch.from_numpy(~hidden)).parts[0]
    centre, covariance = part.mean.numpy() + np.log(1e-9), part.covariance.numpy()
    for row in range(20):
        seen = ~hidden[row]
        within, own = covariance[np.ix_(seen, seen)], np.nonzero(hidden[row])[0]
        for column in own:
            slopes = np.linalg.solve(within, covariance[seen, column]) if seen.any() else np.zeros(0)
            mean = centre[column] + slopes @ (logs[row, seen] - centre[seen])
            variance = covariance[column, column] - slopes @ covariance[seen, column]
            assert filled[row, column] == pytest.approx(np.exp(mean + variance / 2), rel=1e-5)
            wanted = lognorm(variance**0.5, scale=np.exp(mean)).logpdf(gaps.x[row, column])
            assert score[row, column] == pytest.approx(wanted, abs=1e-6)
    assert np.array_equal(filled[~hidden], gaps.x[~hidden])


def test_coordinates_are_changed_only_for_a_gain_above_its_standard_error() -> None:
    scores = np.random.default_rng(0).normal(size=400)
    noise = np.random.default_rng(1).normal(size=400)
    assert better([("first", scores), ("second", scores + 0.5 + noise)]) == "second"
    assert better([("first", scores), ("second", scores + noise - noise.mean() + 0.03)]) == "first"


def test_skewed_columns_are_taken_as_logarithms_and_normal_ones_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputation_laws, "RIDGES", (0.003,))
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    for table, zero, wanted in ((x, np.full(4, -99.0), "as it is"), (np.exp(x), np.zeros(4), "logarithms")):
        gaps = Gaps(table, rng.random(x.shape) < 0.3, zero, 0)
        assert better([likeliest(gaps, system) for system in gaps.systems]).system == wanted


def test_an_imputer_in_coordinates_fills_by_their_inverse_or_mean() -> None:
    gaps = imputation.cells("breast_cancer", 0.3, 7)
    bent = gaps.systems["logarithms"]
    centre, scale = np.full_like(gaps.x, 0.3), np.full(gaps.x.shape[1], 0.5)
    filled, score = read(bent, gaps.x, centre, scale, False)
    np.testing.assert_allclose(bent.of(filled), centre, atol=1e-6)
    averaged, same = read(bent, gaps.x, centre, scale, True)
    assert (averaged > filled).all()  # a logarithm is concave
    np.testing.assert_array_equal(score, same)
