"""Intervals and paired differences against scipy and closed forms; verdicts and claims on numbers made up for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from helpers.study_runs import fake_row
from polyvae.study import Interval, Table, cells, interval, judge, paired, verdict
from polyvae.study.statistics import FAILS, HOLDS, UNDECIDED, averaged, little, slopes, together
from polyvae.study.thesis.claims import MARGIN, TEXTS

NUMBERS = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)


@given(NUMBERS)
def test_interval_is_scipys(values: list[float]) -> None:
    found = interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if found.sd > 1e-9:
        theirs = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def test_interval_of_two_values_in_closed_form() -> None:
    """With one degree of freedom Student's t is Cauchy's: t_0.975 = tan(0.475 pi)."""
    found = interval([1.0, 3.0])
    half = math.tan(0.475 * math.pi) * math.sqrt(2) / math.sqrt(2)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))


def test_a_single_value_decides_nothing_and_none_is_refused() -> None:
    found = interval([0.5])
    assert (found.mean, found.low, found.high, found.count) == (0.5, -math.inf, math.inf, 1)
    assert verdict(found, 1) == UNDECIDED
    with pytest.raises(ValueError, match="at least one value"):
        interval([])


def test_paired_interval_is_that_of_the_paired_test() -> None:
    generator = np.random.default_rng(0)
    base, method = generator.normal(10, 1, 5), generator.normal(9, 1, 5)
    differences = paired(dict(enumerate(method)), dict(enumerate(base)))
    found = interval(differences)
    theirs = stats.ttest_rel(method, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_pairs_are_the_folds_that_both_have_and_relative_ones_are_shares() -> None:
    assert paired({0: 3.0, 2: 5.0, 4: 1.0}, {2: 4.0, 0: 2.0, 1: 9.0}) == [1.0, 1.0]
    assert paired({0: 3.0}, {0: -2.0}, relative=True) == [2.5]
    assert averaged([{0: 1.0, 1: 3.0}, {1: 5.0, 2: 7.0}]) == {1: 4.0}
    assert averaged([]) == {}


def test_coverage_of_the_interval_is_as_stated() -> None:
    """5,000 intervals of five normal values: 95 % of them hold the mean, to four standard errors of that share."""
    values = np.random.default_rng(1).normal(2.0, 3.0, (5000, 5))
    found = [interval(row) for row in values]
    share = np.mean([each.low < 2.0 < each.high for each in found])
    assert abs(share - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 5000)


def test_slopes_are_least_squares_on_each_fold() -> None:
    lines = {20.0: {0: 1.0, 1: 5.0}, 40.0: {0: 2.0, 1: 3.0}, 60.0: {0: 4.0}}
    expected = [np.polyfit([20, 40, 60], [1, 2, 4], 1)[0], np.polyfit([20, 40], [5, 3], 1)[0]]
    assert slopes(lines) == pytest.approx(expected)
    assert slopes({20.0: {0: 1.0}}) == []


@pytest.mark.parametrize(
    ("low", "high", "side", "expected"),
    [
        (0.1, 0.2, 1, HOLDS),
        (0.1, 0.2, -1, FAILS),
        (-0.2, -0.1, -1, HOLDS),
        (-0.2, -0.1, 1, FAILS),
        (-0.1, 0.1, 1, UNDECIDED),
        (-0.1, 0.1, -1, UNDECIDED),
        (0.0, 0.0, 1, UNDECIDED),
    ],
)
def test_a_claim_of_a_side_is_judged_by_the_whole_interval(low: float, high: float, side: int, expected: str) -> None:
    assert verdict(Interval((low + high) / 2, 0.0, low, high, 3), side) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.05, 0.05, HOLDS), (0.2, 0.3, FAILS), (-0.3, -0.2, FAILS), (0.05, 0.2, UNDECIDED), (-0.3, 0.3, UNDECIDED)],
)
def test_little_difference_is_judged_by_a_margin(low: float, high: float, expected: str) -> None:
    assert little(Interval((low + high) / 2, 0.0, low, high, 3), 0.1) == expected


def test_a_claim_fails_with_one_part_and_holds_with_all() -> None:
    assert together([HOLDS, HOLDS]) == HOLDS
    assert together([HOLDS, UNDECIDED]) == UNDECIDED
    assert together([HOLDS, FAILS, UNDECIDED]) == FAILS
    assert together([]) == UNDECIDED


def made(folds: int = 5, **changes: float) -> dict[str, str]:
    """Verdicts on made-up rows: two decoders 20 % better at 30 % more latent loss, one decoder the other way round."""
    rows = [fake_row(cell, fold) for cell in cells(["mnist"], None, [1]) for fold in range(folds)]
    for row in rows:
        for name, factor in changes.items():
            part, _, column = name.partition("__")
            if part in row["cell"]:
                row[column] = row[column] and row[column] * factor
    return {judged.claim: judged.verdict for judged in judge(Table(rows))}


def test_claims_follow_the_numbers() -> None:
    found = made()
    assert set(found) == set(TEXTS)
    assert found["a"] == HOLDS
    assert found["b"] == FAILS  # the code loss of the made-up rows rises
    assert found["c"] == HOLDS
    assert found["d"] == FAILS  # the squared error of one decoder rises
    assert found["g"] == HOLDS


def test_claims_turn_with_the_numbers() -> None:
    assert made(gaussian__latent=1.0, two__latent=0.5)["a"] == FAILS
    assert made(two__latent=0.5)["b"] == HOLDS
    assert made(one__mse=0.5)["d"] == HOLDS
    assert made(uniform__mse=1 + 2 * MARGIN)["g"] == FAILS


def test_one_fold_decides_nothing() -> None:
    assert set(made(folds=1).values()) == {UNDECIDED}


def test_claim_e_is_of_the_slope_against_the_exponent() -> None:
    rows = [fake_row(cell, fold) for cell in cells(["mnist"], ["gaussian"], [1]) for fold in range(5)]
    for row in rows:
        if row["exponent"]:
            row["mse"] *= 1 - 0.005 * row["exponent"]
            row["latent"] *= 1 + 0.005 * row["exponent"]
    (judged,) = [each for each in judge(Table(rows)) if each.claim == "e"]
    assert judged.verdict == HOLDS
    falls = judged.parts[0]
    assert falls.relative is not None
    expected = np.polyfit([20, 30, 40, 50, 60], [1 - 0.005 * a for a in (20, 30, 40, 50, 60)], 1)[0] * 10 / 0.8
    assert falls.relative == pytest.approx(expected, rel=0.05)


def test_claim_f_compares_the_two_families_by_their_shares() -> None:
    rows = [fake_row(cell, fold) for cell in cells(["mnist"], None, [1]) for fold in range(5)]
    for row in rows:
        if row["family"] == "gaussian" and row["conditioned_mse"]:
            row["conditioned_mse"] *= 0.5 * (1 + 0.01 * row["fold"])
    (judged,) = [each for each in judge(Table(rows)) if each.claim == "f"]
    assert judged.verdict == HOLDS
    assert len(judged.parts) == 3
    assert judged.parts[2].found.mean == pytest.approx(-0.35 * 1.02 + 0.0, abs=0.02)


def test_a_part_of_the_grid_is_judged_as_far_as_it_goes() -> None:
    rows = [fake_row(cell, fold) for cell in cells(["mnist"], ["gaussian"], [1])[:2] for fold in range(5)]
    judged = {each.claim: each for each in judge(Table(rows))}
    assert set(judged) == {"a", "f"}
    assert "two-grid against" in judged["a"].parts[0].text
