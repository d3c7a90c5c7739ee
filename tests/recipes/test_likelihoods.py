"""Laws of the decoder in models, completion and evaluation, with parts that they were not written for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

import polyvae as pv
from polyvae.data import wrap
from polyvae.model.draw import Draw
from polyvae.recipes import RECIPES

DENSITIES = ["continuous-bernoulli", "low-rank", "student-t", "structured"]
NEW = [*DENSITIES, "coupled-logistic-mixture"]
COUPLED = ["low-rank", "structured", "coupled-logistic-mixture"]
SMALL: dict[str, Any] = {"latent": 3, "network": "mlp", "widths": (6,), "seed": 1}
SPEC = pv.Spec((3, 6, 5), classes=2, levels=8)


def pictures(count: int = 40) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(8, (count, *SPEC.x), generator=generator) / 7
    return {"x": x, "y": torch.arange(count) % 2}


def patches(side: int, count: int) -> Tensor:
    """Patches of the photographs that come with scikit-learn, [N, 3, side, side] in [0, 1], dequantised."""
    chance = np.random.default_rng(0)
    found = []
    for name in ("china.jpg", "flower.jpg"):
        picture = load_sample_image(name)
        rows, columns = (chance.integers(0, size - side, count // 2) for size in picture.shape[:2])
        found += [picture[i : i + side, j : j + side] for i, j in zip(rows, columns, strict=True)]
    x = np.stack(found).transpose(0, 3, 1, 2)
    return torch.from_numpy((x + chance.random(x.shape)) / 256).float()[chance.permutation(count)]


@pytest.mark.parametrize("likelihood", NEW)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {"posterior": "full", "prior": "mixture", "condition": True}),
        ("two_level", {"prior": "vamp"}),
        ("iwae", {"samples": 3}),
        ("semi_conditional", {"decoder": "multiscale"}),
        ("multitask", {}),
        ("vq_vae", {"codes": 5, "dim": 2}),
    ],
)
def test_each_law_goes_with_parts_it_was_not_written_for(name: str, options: dict[str, Any], likelihood: str) -> None:
    small = {**SMALL, "components": 3} if "codes" not in options else {"widths": (4,), "seed": 1}
    taken = {key: value for key, value in small.items() if name != "multitask" or key != "components"}
    made = RECIPES[name](SPEC, likelihood=likelihood, **{**taken, **options})
    batch = made.observe(pictures())
    made.objective(made.model, batch)["loss"].backward()
    assert not [each for each, parameter in made.model.named_parameters() if parameter.grad is None]
    one = {key: value[:1] for key, value in batch.items()}
    samples = 1 if name == "vq_vae" else 4
    draw: Draw = made.model.eval()(batch, samples)
    assert draw.log_px.shape == (samples, 40)
    assert draw.importance_bound.isfinite().all()
    assert made.model(one, samples).elbo.shape == (1,)


@pytest.mark.parametrize("likelihood", NEW)
def test_k_draws_are_scored_as_one_after_the_other(likelihood: str) -> None:
    made = pv.recipes.vae(SPEC, likelihood=likelihood, **SMALL)
    batch, model = pictures(), made.model.double().eval()
    batch["x"] = batch["x"].double()
    draw = model(batch, 3)
    z = draw.latents["z"].z
    for k in range(3):
        torch.testing.assert_close(model.decode({"z": z[k]})["x"].log_prob(batch["x"]), draw.log_px[k])


@pytest.mark.parametrize("likelihood", NEW)
def test_each_law_completes_and_weighs_by_what_is_seen_where_its_values_are_independent(likelihood: str) -> None:
    made = pv.recipes.semi_conditional(SPEC, likelihood=likelihood, **SMALL)
    x = pictures(3)["x"]
    mask = torch.zeros(1, 1, 6, 5).index_fill(3, torch.tensor([0, 2]), 1)
    found = pv.complete(made, x, mask, draws=30)
    for value in (found.mean, found.std, found.samples, found.quantiles):
        assert value.isfinite().all()
    assert (found.std > 0).all()
    if likelihood in COUPLED:
        with pytest.raises(ValueError, match="scores of single values need a likelihood of independent values"):
            pv.complete(made, x, mask, draws=5, weigh="seen")
    else:
        assert pv.complete(made, x, mask, draws=5, weigh="seen").mean.isfinite().all()


@pytest.mark.parametrize("likelihood", NEW)
def test_bits_are_those_of_a_density_or_of_a_probability(likelihood: str) -> None:
    made = pv.recipes.vae(SPEC, likelihood=likelihood, **SMALL)
    report = pv.evaluate(made, wrap(tuple(pictures().values())).train, samples=2)
    nats, bits = report["bound"], report["bound_bits"]
    offset = np.log2(7) if likelihood in DENSITIES else 0
    assert bits == pytest.approx(-nats / (90 * np.log(2)) + offset, rel=1e-5)
    assert any("approximation" in note for note in report["notes"]) == (likelihood in DENSITIES)


@pytest.mark.parametrize(
    ("likelihood", "x", "words"),
    [
        ("continuous-bernoulli", torch.randn(40, 3, 6, 5), r"ContinuousBernoulli, which scores values in \[0, 1\]"),
        ("coupled-logistic-mixture", torch.rand(40, 3, 6, 5), "CoupledLogisticMixture, which scores the 8 grey levels"),
    ],
)
def test_trap_45_values_that_a_law_is_none_of_are_refused(likelihood: str, x: Tensor, words: str) -> None:
    made = pv.recipes.vae(SPEC, likelihood=likelihood, **SMALL)
    with pytest.raises(ValueError, match=words):
        pv.fit(made, wrap((x, torch.arange(40) % 2), validation=8), epochs=1, device="cpu", progress=False)


def test_real_columns_take_heavy_tails_and_columns_that_depend_on_each_other() -> None:
    columns = tuple(pv.Column("real", centre=100.0 * n, scale=10.0**n) for n in range(4))
    spec = pv.Spec((4,), levels=None, columns=columns)
    x = torch.randn(30, 4) * torch.tensor([1.0, 10, 100, 1000]) + torch.tensor([0.0, 100, 200, 300])
    for likelihood in ("low-rank", "student-t", "structured"):
        made = pv.recipes.vae(spec, likelihood=likelihood, **SMALL)
        law = made.model.eval().reconstruct({"x": x})["x"]
        assert law.sample().shape == x.shape
        assert law.variance.shape == x.shape
        assert law.log_prob(x).isfinite().all()
    with pytest.raises(ValueError, match="'structured' is no law of counts"):
        pv.recipes.structured_residuals(pv.Spec((1,), columns=(pv.Column("counts"),)), **SMALL)


def test_photographs_have_residuals_that_depend_on_their_neighbours() -> None:
    """At the same network and steps, what neighbours say is worth half a nat for each of 192 values, or more."""
    data = wrap(patches(8, 1200), validation=200)
    bounds = {}
    for likelihood in ("normal-network", "structured"):
        made = pv.recipes.vae(data, latent=8, network="mlp", widths=(64,), likelihood=likelihood, seed=0)
        run = pv.fit(made, data, epochs=25, batch_size=100, lr=3e-3, device="cpu", progress=False)
        bounds[likelihood] = max(row["validation_bound"] for row in run.history)
    assert bounds["structured"] > bounds["normal-network"] + 96
