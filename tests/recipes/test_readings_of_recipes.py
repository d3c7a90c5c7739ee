"""Recipes that read sensors between the points of a field: as points where they stand on some, and else between."""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.runs import same, weights
from polyvae.completion.masked import masked
from polyvae.model.networks.sensing import Sensing
from polyvae.observe import Readings, SparsePixels

NAMES = ["semi_conditional", "multitask", "arbitrary_conditioning"]
WHOLE, BETWEEN = [(2, 3), (5, 11)], [(2.5, 3), (4.25, 10.5)]
SENSING: dict[str, Any] = {"network": "sensing", "latent": 2, "likelihood": "normal-places", "widths": (8, 8)}
NOISE = 0.2


def waves(phases: np.ndarray) -> Tensor:
    """u and v [N, 2, 8, 16] of a wave of three harmonics."""
    row, column = np.linspace(0, 1, 8)[:, None], np.linspace(0, 2 * pi, 16, endpoint=False)
    a = phases[:, None, None] - column + 0 * row
    return torch.from_numpy(
        np.stack([np.sin(a) + 0.4 * np.sin(2 * a + row), (1 + row) * np.cos(a) + 0.3 * np.cos(3 * a)], 1)
    ).float()


def fields(count: int, seed: int) -> Tensor:
    return waves(np.random.default_rng(seed).uniform(0, 2 * pi, count))


TRAIN, HELD, TEST = fields(60, 0), fields(20, 1), fields(50, 2)
GRID = waves(np.linspace(0, 2 * pi, 720, endpoint=False))


def made(name: str, positions: Any = BETWEEN, **options: Any) -> pv.recipes.Recipe:
    spec = pv.data.wrap(TRAIN, validation=HELD).spec
    given: dict[str, Any] = {} if name == "gaussian_process" else {**SENSING, "decoder": "flat"}
    given |= {"mask": "readings", "positions": positions, "seed": 0, **options}
    return pv.recipes.RECIPES[name](spec, **given)


def fitted(name: str = "gaussian_process", folder: Path | None = None, **options: Any) -> pv.Run:
    settings = {} if name == "gaussian_process" else {"epochs": 2, "batch_size": 20}
    return pv.fit(
        made(name, **options), pv.data.wrap(TRAIN, validation=HELD), folder, progress=False, device="cpu", **settings
    )


def error(mean: Tensor) -> float:
    return float(((mean - TEST).square().sum() / (TEST - TRAIN.mean(0)).square().sum()).sqrt())


def posterior_mean(read: Tensor, works: Tensor) -> Tensor:
    """The mean of the waves of all phases, weighed by their likelihood of readings [N, C, P]."""
    apart = (read[:, None] - Readings(BETWEEN).read(GRID)[None]) / NOISE
    share = (-0.5 * (apart.square() * works).flatten(2).sum(2)).softmax(1)
    return torch.einsum("bn,nchw->bchw", share, GRID)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    return fitted(folder=tmp_path_factory.mktemp("noisy") / "run", noise=NOISE, failing=0.1)


@pytest.mark.parametrize("noise", [0.0, 0.1, [0.1, 0.02]])
def test_at_points_of_the_grid_a_regression_completes_as_from_these_points(noise: Any) -> None:
    between = fitted(positions=WHOLE, noise=noise)
    points = fitted(mask="points", positions=WHOLE, noise=noise)
    mask = torch.zeros(1, 1, 8, 16)
    mask[0, 0, [2, 5], [3, 11]] = 1
    mask = mask.repeat(20, 1, 1, 1)
    mask[:5, 0, 2, 3] = 0
    works = torch.ones(20, 1, 2)
    works[:5, :, 0] = 0
    read = HELD[:, :, [2, 5], [3, 11]]
    found, expected = pv.complete(between, read, works, draws=5), pv.complete(points, HELD, mask, draws=5)
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.std, expected.std)
    assert torch.equal(found.samples, expected.samples)


@pytest.mark.parametrize("name", NAMES)
def test_at_points_of_the_grid_networks_start_where_they_start_from_these_points(name: str) -> None:
    means = []
    for options in ({"positions": WHOLE}, {"mask": "points", "positions": [2, 3, 5, 11]}):
        recipe = made(name, **options)
        values = recipe.observe({"x": TRAIN})
        assert recipe.start is not None
        recipe.start(values)
        model = recipe.model.eval()
        means.append(
            model.decode({"z": torch.zeros(60, 2), "m": values["m"]})["x_given_m" if name == "multitask" else "x"].mean
        )
    assert torch.equal(*means)


def test_between_points_the_mean_of_the_neighbours_is_read_by_all_parts() -> None:
    recipe = made("gaussian_process")
    values = recipe.observe({"x": TEST})
    read, works = recipe.model.prior["z"].readings(values["m"])  # pyright: ignore[reportCallIssue]
    middle = (TEST[:, :, 2, 3] + TEST[:, :, 3, 3]) / 2
    quarter = 0.75 * TEST[:, :, 4, 10:12].mean(2) + 0.25 * TEST[:, :, 5, 10:12].mean(2)
    expected = torch.stack([middle, quarter], 2).flatten(1)
    torch.testing.assert_close(read, expected)
    torch.testing.assert_close(recipe.model.posterior["z"](values).mean, expected)
    assert works.all()


def test_noise_of_a_reading_and_failures_are_what_is_stated() -> None:
    noise = [0.1, 0.2, 0.3, 0.4]
    recipe = made("gaussian_process", noise=noise, failing=0.3)
    torch.manual_seed(0)
    x = TEST[:1].expand(20_000, -1, -1, -1)
    m = recipe.observe({"x": x})["m"]
    errors = (m[:, :2, 0] - Readings(BETWEEN).read(x)).flatten(1)
    works = m[:, 2:, 0].flatten(1) != 0
    assert float(works.float().mean()) == pytest.approx(0.7, abs=0.01)
    for place, scale in enumerate(noise):
        assert float(errors[works[:, place], place].std()) == pytest.approx(scale, rel=0.03)
    assert torch.equal(recipe.model.prior["z"].get_buffer("noise"), torch.tensor(noise))


def test_with_noise_between_points_it_is_near_the_posterior_mean_and_far_below_lines(noisy: pv.Run) -> None:
    sensors = Readings(BETWEEN, NOISE)
    torch.manual_seed(1)
    read = sensors.noisy(sensors.read(TEST)[:, :, None])[:, :, 0]
    best = error(posterior_mean(read, torch.ones(2, 2)))
    found = pv.complete(noisy, read, draws=100)
    assert error(found.mean) < 1.15 * best
    told = sensors.noisy(sensors.read(TRAIN.repeat(20, 1, 1, 1))[:, :, None]).flatten(1)
    told, asked = (torch.cat([each, torch.ones(len(each), 1)], 1) for each in (told, read.flatten(1)))
    lines = torch.linalg.lstsq(told, TRAIN.repeat(20, 1, 1, 1).flatten(1)).solution
    assert error(found.mean) < 0.8 * error((asked @ lines).view_as(TEST))
    inside = (TEST - found.mean).abs() < 1.96 * found.std
    assert float(inside.float().mean()) == pytest.approx(0.95, abs=0.04)


def test_a_reading_that_failed_is_told_by_the_others_and_nan_says_so_too(noisy: pv.Run) -> None:
    sensors = Readings(BETWEEN, NOISE)
    torch.manual_seed(1)
    read = sensors.noisy(sensors.read(TEST)[:, :, None])[:, :, 0]
    works = torch.tensor([[1.0, 1.0], [0.0, 1.0]])  # of channels and sensors
    found = pv.complete(noisy, read, works[None], draws=100)
    assert error(found.mean) < 1.2 * error(posterior_mean(read, works))
    gaps = pv.complete(noisy, read.masked_fill(works == 0, torch.nan), draws=100)
    assert torch.equal(found.mean, gaps.mean)
    assert error(pv.complete(noisy, read, torch.zeros(1, 1, 1), draws=100).mean) < 1.05
    assert isinstance(noisy.complete(read.numpy(), draws=2).mean, np.ndarray)


@pytest.mark.parametrize("name", [*NAMES, "gaussian_process"])
def test_a_run_is_trained_evaluated_saved_and_loaded(name: str, tmp_path: Path) -> None:
    run = fitted(name, tmp_path / "run", noise=[0.1, 0.2], failing=0.2)
    again = pv.Run.load(tmp_path / "run")
    assert same(weights(run.recipe), weights(again.recipe))
    read = Readings(BETWEEN).read(TEST)
    read[:4, 0, 1] = torch.nan
    first, second = (pv.complete(each, read, draws=4) for each in (run, again))
    assert torch.equal(first.mean, second.mean)
    assert first.mean.shape == TEST.shape
    assert np.isfinite(pv.evaluate(again, pv.data.wrap(TRAIN, validation=HELD).train, samples=4)["bound"])
    assert first.law is not None
    assert first.law.log_prob(TEST).isfinite().all()
    assert first.law.sample((3,)).shape == (3, *TEST.shape)
    assert len([each for each in run.model.modules() if isinstance(each, Sensing)]) == {
        "semi_conditional": 2,
        "multitask": 3,
        "arbitrary_conditioning": 3,
    }.get(name, 0)


def in_time(count: int, first: float) -> Tensor:
    """Waves whose phase goes on by 0.4 from one to the next."""
    return waves(first + 0.4 * np.arange(count))


def with_history(
    train: Tensor, test: Tensor, history: int, folder: Path | None = None, **options: Any
) -> tuple[pv.Run, pv.data.Data]:
    parts = [
        pv.data.Split({"x": x, "t": torch.arange(first, first + len(x)).double()[:, None]})
        for first, x in ((0, train), (1000, HELD), (2000, test))
    ]
    data = pv.data.with_past(pv.data.Data("waves", *parts, pv.data.wrap(TRAIN, validation=HELD).spec), BETWEEN, history)
    options = {"mask": "readings", "positions": BETWEEN, "history": history, "seed": 0, **options}
    name = options.pop("name", "gaussian_process")
    recipe = pv.recipes.RECIPES[name](data.spec, **options)
    settings = {} if name == "gaussian_process" else {"epochs": 2, "batch_size": 20}
    return pv.fit(recipe, data, folder, progress=False, device="cpu", **settings), data


def test_a_history_takes_noise_off_as_far_as_the_posterior_of_all_readings_does() -> None:
    train, test = in_time(60, 0.1), in_time(40, 2.0)
    run, data = with_history(train, test, 3, noise=NOISE)
    torch.manual_seed(0)
    m = Readings(BETWEEN, NOISE, history=3)(data.test.batch(torch.arange(40)))["m"]
    read, works = m[:, :2].transpose(1, 2), m[:, 2:].transpose(1, 2)  # [N, T, C, P]
    assert works[:, 1:].mean() < 1
    found = pv.complete(run, read, works, draws=100)
    phases = np.linspace(0, 2 * pi, 720, endpoint=False)
    past = torch.stack([Readings(BETWEEN).read(waves(phases - 0.4 * back)) for back in range(3)], 1)
    apart = (read[:, None] - past[None]) / NOISE
    share = (-0.5 * (apart.square() * works[:, None]).flatten(2).sum(2)).softmax(1)
    best = (torch.einsum("bn,nchw->bchw", share, GRID) - test).square().mean().sqrt()
    mine = (found.mean - test).square().mean().sqrt()
    now = (posterior_mean(read[:, 0], torch.ones(2, 2)) - test).square().mean().sqrt()
    assert mine < 1.2 * best
    assert mine < 0.8 * now
    alone = pv.complete(run, read[:, :1], draws=100)  # what was read before is not known
    assert torch.equal(alone.mean, pv.complete(run, read[:, 0], draws=100).mean)
    assert (alone.mean - test).square().mean().sqrt() < 1.15 * now


@pytest.mark.parametrize("name", [*NAMES, "gaussian_process"])
def test_every_recipe_reads_a_history(name: str, tmp_path: Path) -> None:
    given = {} if name == "gaussian_process" else {**SENSING, "decoder": "flat", "name": name}
    folder = tmp_path / "run"
    run, data = with_history(in_time(30, 0.0), in_time(10, 0.2), 3, folder, noise=0.1, failing=0.1, **given)
    assert np.isfinite(pv.evaluate(run, data.test, samples=4)["bound"])
    read = torch.zeros(4, 3, 2, 2)
    found = pv.complete(run, read, draws=2).mean
    assert found.shape == (4, 2, 8, 16)
    assert torch.equal(found, pv.complete(pv.Run.load(folder), read, draws=2).mean)
    with pytest.raises(ValueError, match=r"readings are \[N, 3 or fewer, 2, 2\]; got \[4, 4, 2, 2\]"):
        pv.complete(run, torch.zeros(4, 4, 2, 2))


def test_data_without_a_past_are_told_what_they_lack() -> None:
    with pytest.raises(ValueError, match=r"history: the batch holds no 'past'.*with_past\(data, positions, 3\)"):
        fitted(history=3)
    with pytest.raises(ValueError, match="1 training examples know what was read 1 steps before, and two"):
        with_history(in_time(60, 0.1)[:2], in_time(9, 0.1), 3, noise=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"positions": None}, "positions go with mask 'readings', which needs them"),
        ({"positions": [1.5, 2.0, 3.0]}, "positions of a picture are row,column"),
        ({"positions": [(7.5, 3)]}, r"positions: .*\(7.5, 3\) lies outside a field of 8 x 16"),
        ({"noise": [0.1, 0.2, 0.3]}, "noise is one number, one for each of 2 channels, or one for each of 4 readings"),
        ({"failing": 1.0}, "failing is a number from 0 to below 1; got 1"),
        ({"count": 2}, "readings are of all sensors; leave count and exponent out"),
        ({"mask": "points"}, "whole numbers; take mask 'readings' for sensors between points"),
        (
            {"mask": "grid", "positions": None, "failing": 0.1},
            "failing and history go with mask 'readings'; got .*grid",
        ),
    ],
)
@pytest.mark.parametrize("name", [*NAMES, "gaussian_process"])
def test_what_does_not_fit_is_refused_by_name(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(name, **options)


def test_other_networks_tables_and_masks_of_random_size_are_refused() -> None:
    with pytest.raises(ValueError, match="readings are read by the network sensing"):
        made("semi_conditional", network="mlp", widths=None)
    with pytest.raises(ValueError, match="mask: readings are not of codes; take mask 'points'"):
        pv.recipes.vq_semi_conditional(pv.Spec((2, 8, 16)), mask="readings", positions=BETWEEN)
    with pytest.raises(ValueError, match="readings are of fields"):
        pv.recipes.gaussian_process(pv.Spec((4,)), mask="readings", positions=[1.0, 2.0])
    with pytest.raises(ValueError, match="one decoder trains on masks of random size, which readings have not"):
        made("multitask", decoders=1)


@pytest.mark.parametrize(
    ("read", "mask", "words"),
    [
        (TEST, None, r"reads 2 sensors, whose readings are \[N, 2, 2\]; got \[50, 2, 8, 16\]: of whole fields"),
        (TEST[:, :, 0, :3], None, r"reads 2 sensors, whose readings are \[N, 2, 2\]; got \[50, 2, 3\]"),
        (TEST[:, :, 0, :2], torch.ones(50, 3), r"mask says which readings work, \[N, 2, 2\]; got"),
        (TEST[:, :, 0, :2], torch.full((1, 1, 1), 2.0), "mask is 1 where a reading is there"),
        (torch.full((3, 2, 2), torch.nan), torch.ones(1, 1, 1), "12 readings are not finite"),
    ],
)
def test_what_are_no_readings_is_refused(noisy: pv.Run, read: Tensor, mask: Tensor | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pv.complete(noisy, read, mask)
    with pytest.raises(ValueError, match=r"not pixels by a mask: pv.complete\(run, readings\)"):
        masked(noisy, SparsePixels())
    with pytest.raises(ValueError, match="z comes from the prior alone"):
        pv.complete(noisy, read, mask, weigh="seen")
