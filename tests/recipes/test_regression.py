"""Fields from sensors by regression: travelling waves, of which the posterior is known on a grid of phases."""

from __future__ import annotations

from math import log, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.runs import same, weights
from polyvae.completion.gappy_pca import GappyPCA, best_rank
from polyvae.completion.normal import ConditionedNormal, best_ridge
from polyvae.evaluation import coverage

NOISE, OWN = 0.2, 0.05  # of a reading; of every value of a field
WHERE = (2, 3, 5, 11)
MASK = torch.zeros(1, 1, 8, 16)
MASK[0, 0, [2, 5], [3, 11]] = 1
SENSORS = MASK.bool().expand(1, 2, 8, 16)[0]


def waves(phases: np.ndarray) -> Tensor:
    """u and v [N, 2, 8, 16] of a wave of three harmonics."""
    row, column = np.linspace(0, 1, 8)[:, None], np.linspace(0, 2 * np.pi, 16, endpoint=False)
    a = phases[:, None, None] - column + 0 * row
    return torch.from_numpy(
        np.stack([np.sin(a) + 0.4 * np.sin(2 * a + row), (1 + row) * np.cos(a) + 0.3 * np.cos(3 * a)], 1)
    ).float()


def fields(count: int, seed: int, own: float = 0.0) -> Tensor:
    made = waves(np.random.default_rng(seed).uniform(0, 2 * np.pi, count))
    return made + own * torch.randn(made.shape, generator=torch.Generator().manual_seed(seed))


TRAIN, HELD, TEST = fields(60, 0), fields(20, 1), fields(50, 2)
NOISY = TEST + NOISE * torch.randn(TEST.shape, generator=torch.Generator().manual_seed(3))
GRID = waves(np.linspace(0, 2 * np.pi, 720, endpoint=False))


def fitted(train: Tensor = TRAIN, folder: Path | None = None, held: Tensor = HELD, **options: Any) -> pv.Run:
    data = pv.data.wrap(train, validation=held)
    options = {"mask": "points", "positions": WHERE, **options}
    recipe = pv.recipes.gaussian_process(data.spec, seed=0, **options)
    return pv.fit(recipe, data, folder, progress=False, device="cpu")


def error(mean: Tensor) -> float:
    return float(((mean - TEST).square().sum() / (TEST - TRAIN.mean(0)).square().sum()).sqrt())


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    return fitted(folder=tmp_path_factory.mktemp("clean") / "run")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    return fitted(folder=tmp_path_factory.mktemp("noisy") / "run", noise=NOISE)


def test_clean_readings_tell_a_field_of_one_phase_better_than_lines_do(clean: pv.Run) -> None:
    found = error(pv.complete(clean, TEST, MASK, draws=2).mean)
    gappy = error(best_rank(TRAIN, HELD, MASK.expand(20, -1, -1, -1)).complete(TEST, MASK))
    linear = error(best_ridge(ConditionedNormal.fit(TRAIN), HELD, MASK.expand(20, -1, -1, -1)).complete(TEST, MASK)[0])
    assert found < 1e-4
    assert found < 0.01 * gappy
    assert found < 0.01 * linear
    assert error(GappyPCA(0).fit(TRAIN).complete(TEST, MASK)) == pytest.approx(1.0, abs=1e-5)


def test_with_noise_of_known_size_it_is_near_the_posterior_mean(clean: pv.Run, noisy: pv.Run) -> None:
    found = pv.complete(noisy, NOISY, MASK, draws=100, quantiles=(0.05, 0.95))
    unaware = error(pv.complete(clean, NOISY, MASK, draws=2).mean)
    apart = (NOISY[:, None, SENSORS] - GRID[None, :, SENSORS]) / NOISE
    share = (-0.5 * apart.square().sum(-1)).softmax(1)
    best = error(torch.einsum("bn,nchw->bchw", share, GRID))
    assert best < error(found.mean) < 1.15 * best
    assert error(found.mean) < 0.7 * unaware
    low, high = found.quantiles
    assert float(coverage(TEST, low, high, 1 - MASK).mean()) == pytest.approx(0.9, abs=0.05)


def test_a_sensor_that_failed_is_told_by_the_others(noisy: pv.Run) -> None:
    mask = MASK.clone()
    mask[0, 0, 2, 3] = 0
    seen = mask.bool().expand(1, 2, 8, 16)[0]
    apart = (NOISY[:, None, seen] - GRID[None, :, seen]) / NOISE
    best = error(torch.einsum("bn,nchw->bchw", (-0.5 * apart.square().sum(-1)).softmax(1), GRID))
    found = pv.complete(noisy, NOISY, mask, draws=100, quantiles=(0.05, 0.95))
    assert error(found.mean) < 1.2 * best
    low, high = found.quantiles
    assert float(coverage(TEST, low, high, 1 - mask).mean()) == pytest.approx(0.9, abs=0.06)
    nothing = pv.complete(noisy, NOISY, torch.zeros_like(MASK), draws=100)
    assert error(nothing.mean) < 1.05


def test_log_p_of_x_given_m_is_near_the_truth_and_not_above() -> None:
    train, test = fields(60, 4, OWN), fields(60, 5, OWN)
    run = fitted(train, noise=NOISE, modes=6)
    torch.manual_seed(0)
    read = test[:, SENSORS] + NOISE * torch.randn(60, int(SENSORS.sum()))

    def normal(apart: Tensor, scale: float) -> Tensor:
        return -0.5 * (apart / scale).square().sum(-1) - apart.shape[-1] * (log(scale) + 0.5 * log(2 * pi))

    whole = torch.stack([normal((each - GRID).flatten(1), OWN) for each in test])
    told = normal(read[:, None] - GRID[None, :, SENSORS], (OWN**2 + NOISE**2) ** 0.5)
    exact = whole.logsumexp(1) + normal(read - test[:, SENSORS], NOISE) - told.logsumexp(1)  # by Bayes' rule
    report = pv.evaluate(run, pv.data.wrap(test, validation=HELD).train, samples=20)
    assert report["bound"] <= report["importance_bound"] + 0.1
    # Below: z is what sensors read, noise of the field included, and p(x | z) has one scale for each value alone.
    assert float(exact.mean()) - 130 < report["importance_bound"] < float(exact.mean()) + 1


def test_units_of_channels_do_not_matter(noisy: pv.Run) -> None:
    units = torch.tensor([1.0, 1e-6])[:, None, None]
    run = fitted(TRAIN * units, held=HELD * units, noise=[NOISE, NOISE * 1e-6])
    found = pv.complete(run, NOISY * units, MASK, draws=100)
    expected = pv.complete(noisy, NOISY, MASK, draws=100)
    assert error(found.mean / units) < 1.1 * error(expected.mean)
    assert ((found.std / units / expected.std).log().mean((0, 2, 3)).abs() < 0.2).all()


def test_a_run_that_is_saved_and_loaded_completes_the_same(noisy: pv.Run) -> None:
    assert noisy.folder is not None
    again = pv.Run.load(noisy.folder)
    assert same(weights(again.recipe), weights(noisy.recipe))
    first, second = (pv.complete(run, NOISY[:5], MASK, draws=10) for run in (noisy, again))
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)


@pytest.mark.parametrize("options", [{"mask": "grid", "count": 6}, {"mask": "top"}, {}])
def test_sensors_stand_where_masks_by_name_put_them(options: dict[str, Any]) -> None:
    recipe = pv.recipes.gaussian_process(pv.Spec((2, 8, 16), levels=None), noise=0.0, **options)
    values = recipe.observe({"x": TEST[:3]})
    read, works = recipe.model.prior["z"].readings(values["m"])  # pyright: ignore[reportCallIssue]
    seen = values["m"][:, 2:].bool().expand(-1, 2, -1, -1)
    assert works.all()
    assert read.shape[1] == int(seen[0].sum())
    assert torch.equal(read.sort(1).values, TEST[:3][seen].view(3, -1).sort(1).values)
    assert torch.equal(read, recipe.model.posterior["z"](values).mean)


def test_columns_of_a_table_are_told_by_others() -> None:
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, 80)
    x = torch.from_numpy(np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase), 5 + np.cos(3 * phase)], 1)).float()
    data = pv.data.wrap(x[:60], validation=x[60:])
    run = pv.fit(pv.recipes.gaussian_process(data.spec), data, progress=False, device="cpu")  # by default the left half
    found = pv.complete(run, x[60:], torch.tensor([[1.0, 1, 0, 0]]), draws=2)
    assert (found.mean - x[60:]).abs().max() < 0.02


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask": "uniform", "count": 5}, "sensors that stay where they are: .* got 'uniform'"),
        ({"mask": "box"}, "sensors that stay where they are: .* got 'box'"),
        ({"mask": "grid", "exponent": 3}, "sensors that stay where they are"),
        ({"mask": "points"}, "positions go with mask 'points', which needs them"),
        ({"mask": "points", "positions": [9, 0]}, "outside the image"),
        ({"noise": [0.1, 0.2, 0.3]}, "noise is one number, or one for each of 2 channels; got 3"),
        ({"noise": -1.0}, "noise is a number of at least 0; got -1"),
        ({"modes": 0}, "modes is a whole number of at least 1"),
    ],
)
def test_what_it_cannot_read_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pv.recipes.gaussian_process(pv.Spec((2, 8, 16), levels=None), **options)


def test_fields_that_are_all_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="needs examples that differ"):
        fitted(torch.ones(30, 2, 8, 16))


def test_two_fields_are_enough() -> None:
    assert pv.complete(fitted(TRAIN[:2], noise=0.1), NOISY[:3], MASK, draws=5).mean.isfinite().all()


@pytest.mark.parametrize("name", ["semi_conditional", "arbitrary_conditioning"])
def test_noise_is_what_other_recipes_see_on_m(name: str) -> None:
    spec = pv.Spec((2, 8, 16), levels=None)
    made = pv.recipes.RECIPES[name](
        spec, latent=2, network="mlp", widths=(4,), decoder="flat", mask="grid", count=8, noise=(0.5, 0.0), seed=0
    )
    torch.manual_seed(0)
    x = fields(500, 6)
    m = made.observe({"x": x})["m"]
    added = (m[:, :2] - x)[m[:, 2:].bool().expand(-1, 2, -1, -1)].view(500, 2, -1)
    assert float(added[:, 0].std()) == pytest.approx(0.5, rel=0.06)
    assert added[:, 1].abs().max() == 0
    assert made.call is not None
    assert made.call["options"]["noise"] == [0.5, 0.0]
    made.objective(made.model, made.observe({"x": x[:8]}))["loss"].backward()
