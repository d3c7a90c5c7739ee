"""Completions of counts, of positive columns and of those that hardly vary: what they may read, and their spread."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.completing import of
from polyvae import figures, recipes
from polyvae.cli import main
from polyvae.cli.complete import table
from polyvae.completion.baselines import Learned
from polyvae.completion.complete import complete
from polyvae.completion.completer import Completer
from polyvae.completion.errors import Numbers, of_numbers
from polyvae.completion.scores import score_completions
from polyvae.data import wrap
from polyvae.data.split import Data, Split
from polyvae.evaluation.calibration import LEVELS, calibrate, crps
from polyvae.model.spec import Column
from polyvae.observe.masks import SparsePixels, observation
from polyvae.recipes import Recipe

POINT: dict[int | float, SparsePixels] = {1: observation("points", positions=[0])}
UNSEEN = "'library', the total of all values of an example, and .* of them are not seen: give it, .* library='latent'"


def counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(3.0, (60, 4)).astype(np.float32)


def test_scores_and_figures_of_counts_refuse_a_total_of_what_is_not_seen() -> None:
    data = wrap(counts(), kind="counts", test=0.25)
    made = recipes.count_vae(data.spec, latent=2, widths=(4,), seed=0)
    asked = Completer(4, "weighed")
    with pytest.raises(ValueError, match=UNSEEN):
        score_completions(made, data.test, POINT, asked, Learned(data.train, data.validation))
    with pytest.raises(ValueError, match=UNSEEN):
        figures.completions(made, data.test, POINT[1], asked)
    whole: dict[int | float, SparsePixels] = {4: observation("points", positions=[0, 1, 2, 3])}
    assert score_completions(made, data.test, whole, asked)[0].points == 4
    known = Split({**data.test.tensors, "library": torch.full((len(data.test), 1), 12.0)})
    assert score_completions(made, known, POINT, asked)[0].unseen.mse is not None
    latent = recipes.count_vae(data.spec, library="latent", latent=2, widths=(4,), seed=0)
    assert score_completions(latent, data.test, POINT, asked)[0].unseen.mse is not None


def test_the_command_refuses_a_total_of_what_is_not_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "counts.npy", counts())
    small = ["--data", str(tmp_path / "counts.npy"), "--widths", "4", "--latent", "2", "--epochs", "1"]
    assert main(["train", "count_vae", *small, "--run", str(tmp_path / "run")]) == 0
    asked = ["--weigh", "seen", "--mask", "points", "--positions", "0", "--draws", "4"]
    assert main(["complete", str(tmp_path / "run"), *asked]) == 1
    assert "the total of all values of an example" in capsys.readouterr().err


def log_normal(sd: float, count: int = 1000) -> tuple[Recipe, Data]:
    """Two columns exp(sd t), t standard normal, and a model that knows exactly that of both."""
    x = np.exp(sd * np.random.default_rng(0).standard_normal((count, 2)))
    data = wrap(x, kind="positive", test=0.4)
    made = recipes.arbitrary_conditioning(data.spec, network="mlp", widths=(4,), latent=2, seed=0)
    likelihood: Any = made.model.heads["x"].likelihood
    with torch.no_grad():
        for value in likelihood.net.parameters():
            value.zero_()
        family = likelihood.family
        family.centre.zero_()
        family.scale.fill_(sd)
        family.family.raw_scale.fill_(-1e-4)  # 0.001 + exp(10 a) is 1
    return made, data


@pytest.mark.parametrize("sd", [1.0, 3.0, 9.2])
def test_a_log_normal_that_is_right_has_nothing_to_gain_by_calibration(sd: float) -> None:
    made, data = log_normal(sd)
    found = of(score_completions(made, data.test, POINT, Completer(100), Learned(data.train, data.validation)))
    assert found.calibrated is not None
    assert found.calibrated.crps == pytest.approx(found.unseen.crps, rel=0.15)
    for level, share in found.calibrated.coverage.items():
        assert share == pytest.approx(level, abs=0.09)


def test_a_spread_of_logs_that_is_wrong_is_mended() -> None:
    made, data = log_normal(3.0)
    exact = of(score_completions(made, data.test, POINT, Completer(100))).unseen
    with torch.no_grad():
        made.model.heads["x"].likelihood.family.family.raw_scale.fill_(np.log(3) / 10)  # pyright: ignore
    found = of(score_completions(made, data.test, POINT, Completer(100), Learned(data.train, data.validation)))
    assert found.calibrated is not None
    assert found.unseen.crps > 1.3 * exact.crps  # pyright: ignore
    assert found.calibrated.crps == pytest.approx(exact.crps, rel=0.15)
    assert found.calibrated.coverage[0.5] == pytest.approx(0.5, abs=0.09)


def test_a_column_whose_spread_is_no_number_is_not_calibrated_and_the_others_are() -> None:
    stream = np.random.default_rng(0)
    x = torch.tensor(np.stack([stream.standard_normal(400), stream.standard_normal(400)], 1), dtype=torch.float32)
    data = wrap(x, kind="real", test=0.4)
    made = recipes.arbitrary_conditioning(data.spec, network="mlp", widths=(4,), latent=2, seed=0)
    nothing: dict[int | float, SparsePixels] = {0: observation("uniform", 0)}
    both = of(score_completions(made, data.test, nothing, Completer(20), Learned(data.train, data.validation)))
    likelihood: Any = made.model.heads["x"].likelihood
    likelihood.family.family.raw_scale.data[1] = 5.0  # a scale of e^50, whose square is infinite
    found = score_completions(made, data.test, nothing, Completer(20), Learned(data.train, data.validation))
    assert both.calibrated is not None
    assert of(found).calibrated is not None
    assert of(found).uncalibrated == 1
    assert (both.uncalibrated, of(found, "gappy PCA").uncalibrated) == (0, 0)
    for level in LEVELS:
        assert of(found).calibrated.coverage[level] == pytest.approx(level, abs=0.12)  # pyright: ignore
    assert "1 value that has no finite spread is in no calibrated number" in str(table(found, "").caption)
    likelihood.family.family.raw_scale.data[0] = 5.0
    none = of(score_completions(made, data.test, nothing, Completer(20), Learned(data.train, data.validation)))
    assert (none.calibrated, none.uncalibrated) == (None, 2)


def test_an_infinite_spread_calibrates_nothing() -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    std = torch.ones(20, 2)
    std[3, 1] = torch.inf
    with pytest.raises(ValueError, match="zero, or no number"):
        calibrate(x, torch.zeros_like(x), std)
    where = torch.tensor([1, 0])
    mean = torch.tensor([0.0, torch.nan]).expand(20, 2)  # what is not scored may be no number
    found = calibrate(x, mean, std, where=where)
    assert bool(found.scale.isfinite().all())
    assert float(found.scale[0]) == float(calibrate(x, torch.zeros_like(x), torch.ones_like(x)).scale[0])


def test_columns_that_vary_little_beside_their_mean_are_scored_and_constant_ones_named() -> None:
    stream = np.random.default_rng(0)
    t = stream.standard_normal((400, 1))
    x = np.array([101325, 5e6, 0, 7.5]) + t * [2, 100, 1, 0] + stream.standard_normal((400, 4)) * [0.5, 25, 0.2, 0]
    columns = [Column("real", name) for name in ("pressure", "northing", "width", "same")]
    rows = torch.tensor(x, dtype=torch.float32)
    units = Numbers.of(columns, rows)
    assert units.kept is not None
    assert units.scale is not None
    assert units.kept.tolist() == [0, 1, 2]
    torch.testing.assert_close(units.scale, torch.tensor(x.std(0)[:3]), rtol=1e-3, atol=0)
    assert units.constant == ("same",)
    data = wrap(rows, kind="real", test=0.25)
    made = recipes.arbitrary_conditioning(data.spec, network="mlp", widths=(4,), latent=2, seed=0)
    found = score_completions(made, data.test, {1: observation("points", positions=[2])}, Completer(8))
    assert found[0].constant == ("3",)
    assert "Left out, as constant in what is scored: 3." in str(table(found, "").caption)


def test_gappy_pca_covers_as_it_says_where_numbers_lie_many_powers_of_ten_apart() -> None:
    made, data = log_normal(9.2, 2000)
    for seed in range(2):
        found = of(
            score_completions(made, data.test, POINT, Completer(4), Learned(data.train, data.validation), seed),
            "gappy PCA",
        )
        assert found.calibrated is not None
        for level, share in found.calibrated.coverage.items():
            assert share == pytest.approx(level, abs=0.09)


def test_trap56_draws_that_overflow_are_infinitely_wrong_and_not_left_out() -> None:
    x, draws = torch.zeros(2, 1), torch.tensor([0.0, torch.inf]).view(2, 1, 1).expand(2, 2, 1)
    score = crps(draws, x)
    found = of_numbers("a", x, x, score, {}, torch.ones(2, 1, dtype=torch.bool), torch.tensor([True]))
    assert found["a crps"].tolist() == [torch.inf, torch.inf]


def test_spreads_that_overflow_are_infinite_and_never_no_number() -> None:
    """At a deviation of 14 powers of e two thirds of them were NaN."""
    for sd in (14.0, 20.0):
        made, data = log_normal(9.2)
        family: Any = made.model.heads["x"].likelihood.family
        family.scale.fill_(sd)
        family.centre[1] = -1.5 * sd**2
        found = complete(made, data.test.tensors["x"], torch.tensor([[1, 0]]), draws=20)
        assert not bool(found.mean.isnan().any() | found.std.isnan().any())
        assert bool((found.std[:, 0] == torch.inf).all())
        assert bool((found.std[:, 1] < 1).all())


def test_trap56_scores_that_overflow_are_none_and_a_note_says_so() -> None:
    made, data = log_normal(9.2)
    made.model.heads["x"].likelihood.family.scale.fill_(20.0)  # pyright: ignore
    found = of(score_completions(made, data.test, POINT, Completer(20), Learned(data.train, data.validation)))
    assert (found.unseen.mse, found.unseen.mse_error) == (None, None)
    assert found.unseen.infinite == ("mse", "mse_error")
    assert found.unseen.crps is not None
    shown = table([found], "")
    assert "A dash is an error that is no finite number." in str(shown.caption)
    assert list(shown.columns[2].cells) == ["–"]
    json.dumps(asdict(found), allow_nan=False)
