"""Networks of sensors in recipes: where they start, told by regressions, what they are refused for, that they train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.model.networks.sensing import Sensing, SensingDecoder
from polyvae.recipes.canonical import Principal

PLACES = [0, 1, 2, 3, 1, 4]
SENSORS = {"network": "sensing", "mask": "points", "positions": PLACES, "likelihood": "normal-places", "widths": (8, 8)}
NAMES = ["semi_conditional", "multitask", "arbitrary_conditioning"]


def fields(rows: int = 80, noise: float = 0.0) -> Tensor:
    """Fields [rows, 2, 3, 5] of three numbers, one of them squared."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(rows, 3, generator=generator)
    z = torch.cat([z, z[:, :1] ** 2 - 1], 1)
    x = z @ torch.randn(4, 30, generator=generator) + 2
    return (x + noise * torch.randn(x.shape, generator=generator)).view(rows, 2, 3, 5)


def started(name: str = "semi_conditional", x: Tensor | None = None, **options):
    data = pv.data.wrap(fields() if x is None else x)
    made = getattr(pv.recipes, name)(data, latent=2, seed=0, **{**SENSORS, "decoder": "flat", **options})
    assert made.start is not None
    values = made.observe(data.train.batch(torch.arange(len(data.train))))
    made.start(values)
    return made, values


def test_a_decoder_starts_as_the_regression_on_the_readings() -> None:
    """With clean sensors and more readings than dimensions it tells all; the values in the data's own units."""
    x = 50 + 1000 * fields()
    made, values = started(x=x)
    mean = made.model.decode({"z": torch.zeros(len(values["x"]), 2), "m": values["m"]})["x"].mean
    left = (mean - values["x"]).square().mean().sqrt() / values["x"].std()
    assert left < 1e-3
    scale = made.model.heads["x"].likelihood.family.family.raw_scale
    assert scale.max() < scale.new_tensor(-0.5)  # of 10 a, a = log(s) / 10


def test_units_are_the_left_out_errors_of_that_regression() -> None:
    made, values = started(x=fields(noise=0.3), noise=0.2)
    net = next(each for each in made.model.heads.modules() if isinstance(each, SensingDecoder))
    part = made.model.heads["x"].likelihood
    x = part.family.plain(values["x"]).flatten(1).double()
    codes = (x - x.mean(0)) @ net.axes.double().T
    read = net.readings.standardised(part.net.layers[1](values["m"]))[0].double()
    predicted = (read - read.mean(0)) @ net.linear.double()
    inside = (codes - predicted).square().mean(0).sqrt()
    assert (net.units[:6] > 0.98 * inside[:6]).all()
    assert (net.units[:6] < 1.5 * inside[:6]).all()
    assert read.mean(0).abs().max() < 1e-4
    torch.testing.assert_close(read.square().mean(0), torch.ones(6).double(), rtol=1e-4, atol=1e-4)


def test_leading_components_are_those_of_the_field_at_variance_one() -> None:
    made, values = started("arbitrary_conditioning")
    net = next(each for each in made.model.posterior.modules() if isinstance(each, Sensing))
    part = made.model.heads["x"].likelihood
    x = part.family.plain(values["x"])
    told = net.readings(x)[0][:, :4]
    torch.testing.assert_close(told.T @ told / len(x), torch.eye(4), rtol=1e-3, atol=1e-3)


def test_many_components_are_found_at_once_and_few_by_a_search() -> None:
    x = torch.randn(200, 5, dtype=torch.float64) @ torch.randn(5, 90, dtype=torch.float64)
    x = x + 1e-6 * torch.randn(200, 90, dtype=torch.float64)
    few, every = Principal.of(x, 5), Principal.of(x)
    torch.testing.assert_close(few.values, every.values[:5])
    torch.testing.assert_close((few.axes @ every.axes[:5].T).abs(), torch.eye(5).double(), rtol=1e-6, atol=1e-6)
    assert len(Principal.of(x, 60).axes) == 60


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noise": 0.1, "exponent": 3.0},
        {"mask": "grid", "positions": None, "count": 3, "posterior": "full", "likelihood": "normal-learned"},
        {"mask": "left", "positions": None, "decoder": "multiscale", "likelihood": "laplace", "condition": True},
    ],
)
def test_every_composition_trains_and_completes(name: str, options: dict) -> None:
    x = fields(40)
    data = pv.data.wrap((x, (x[:, 0, 0, 0] > 2).long()) if options.get("condition") else x)
    made = getattr(pv.recipes, name)(data, latent=2, seed=0, **{**SENSORS, "decoder": "flat", **options})
    run = pv.fit(made, data, epochs=1, batch_size=16, progress=False)
    assert torch.isfinite(torch.tensor(run.history[-1]["train_loss"]))
    sensors = [each for each in run.recipe.model.modules() if isinstance(each, Sensing)]
    assert len(sensors) == {"semi_conditional": 2, "multitask": 3, "arbitrary_conditioning": 3}[name]


def test_a_run_is_taken_up_from_its_folder_with_what_was_set(tmp_path: Path) -> None:
    data = pv.data.wrap(fields(40))
    made = pv.recipes.arbitrary_conditioning(data, latent=2, seed=0, **{**SENSORS, "decoder": "flat"})
    run = pv.fit(made, data, tmp_path / "run", epochs=1, batch_size=16, progress=False)
    again = pv.Run.load(tmp_path / "run")
    values = made.observe({"x": data.test.tensors["x"]})
    mine, theirs = (
        each.recipe.model.eval().decode({"z": torch.zeros(len(values["x"]), 2), "m": values["m"]})["x"].mean
        for each in (run, again)
    )
    assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": "uniform", "positions": None}, "reads sensors that stay where they are.*got 'uniform'"),
        ({"mask": "box", "positions": None}, "reads sensors that stay where they are"),
        ({"likelihood": "normal-network"}, "likelihood asks for 4"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused_by_name(name: str, options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        getattr(pv.recipes, name)(pv.data.wrap(fields(20)), latent=2, **{**SENSORS, "decoder": "flat", **options})


def test_tables_and_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="is for pictures and fields; x has the shape"):
        pv.recipes.semi_conditional(pv.Spec((4,)), network="sensing", mask="points", positions=[0, 2])
    with pytest.raises(ValueError, match="of real numbers, such as velocities"):
        pv.recipes.semi_conditional(pv.Spec((1, 4, 4), levels=2), network="sensing", mask="left")
