"""One law of several latents: scored, read, trained and walked through as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import polyvae as pv
from helpers.latents import Together, pair


@pytest.mark.parametrize("of", ["prior", "posterior"])
def test_one_law_of_several_latents_is_scored_as_one(of: str) -> None:
    model, x = pair(of), torch.randn(4, 4).double()
    draw = model({"x": x}, 3)
    assert list(draw.latents) == ["both"]
    a, b = (draw.values[name].view(3, 4, -1) for name in ("a", "b"))
    if of == "prior":
        log_q = sum(model.posterior[n]({"x": x}).log_prob(z) for n, z in (("a", a), ("b", b)))
        log_p = model.prior["both"]({}).log_prob(torch.cat([a, b], -1))
    else:
        log_q = model.posterior["both"]({"x": x}).log_prob(torch.cat([a, b], -1))
        log_p = sum(model.prior[n]({}).log_prob(z) for n, z in (("a", a), ("b", b)))
    torch.testing.assert_close(draw.kl, log_q - log_p)
    torch.testing.assert_close(draw.log_weight, draw.log_px + log_p - log_q)
    assert model.reconstruct({"x": x})["x"].batch_shape == (4,)
    assert model.generate(count=6)["x"].batch_shape == (6,)


def test_one_law_of_several_latents_is_read_in_its_own_order() -> None:
    model, x = pair("prior"), torch.randn(4, 4).double()
    other = pair("prior")
    turned = Together().double()
    turned.shapes = {"b": (3,), "a": (2,)}
    law = model.prior["both"]
    order = [2, 3, 4, 0, 1]  # b first
    covariance = (law.tril.tril() @ law.tril.tril().T)[order][:, order]
    turned.loc.data, turned.tril.data = law.loc.detach()[order], torch.linalg.cholesky(covariance.detach())
    other = pv.VAE(dict(model.posterior.items()), {"both": turned}, model.heads["x"].likelihood).double()
    bounds = []
    for each in (model, other):
        torch.manual_seed(0)
        bounds.append(each({"x": x}, 3).elbo)
    torch.testing.assert_close(*bounds)
    torch.manual_seed(0)
    assert other.sample_latents(count=2)["b"].shape == (2, 3)


@pytest.mark.parametrize("of", ["prior", "posterior"])
def test_a_model_with_one_law_of_several_latents_is_trained_asked_and_evaluated(of: str) -> None:
    torch.manual_seed(0)
    data = pv.data.wrap(torch.randn(120, 4))
    run = pv.fit(pair(of).float(), data, epochs=1, batch_size=20, device="cpu", progress=False)
    report = pv.evaluate(run, data.test, samples=20)
    assert math.isfinite(report["bound"])
    assert run.decode({"a": torch.randn(3, 2), "b": torch.randn(3, 3)}).shape == (3, 4)
    x = torch.randn(3, 4)
    z = run.encode(x)
    assert {name: value.shape for name, value in z.items()} == {"a": (3, 2), "b": (3, 3)}
    torch.testing.assert_close(run.decode(z), run.reconstruct(x))
    assert run.sample(5).shape == (5, 4)


@pytest.mark.parametrize("of", ["prior", "posterior"])
def test_figures_walk_through_one_law_of_several_latents(of: str) -> None:
    model, split = pair(of).float(), pv.data.wrap(torch.randn(60, 4)).test
    strips = pv.figures.traversals(model, split, latent="both", steps=3)
    assert strips.pictures.shape[:2] == (5, 3)
    z = model.centres({"x": split.tensors["x"][:1]})
    place = int(strips.rows[0].split("[")[1].split("]")[0])
    row = torch.cat([z["a"], z["b"]], 1).repeat(3, 1)
    row[:, place] = torch.tensor([-3.0, 0.0, 3.0])
    expected = model.decode({"a": row[:, :2], "b": row[:, 2:]})["x"].mean
    np.testing.assert_allclose(strips.pictures[0], expected.detach().numpy(), atol=1e-6)
    assert pv.figures.traversals(model, split, example=None).pictures.shape[:2] == (5, 11)
    assert pv.figures.interpolations(model, split, pairs=2).pictures.shape[:2] == (2, 9)
    assert pv.figures.latent_map(model, split).points.shape == (len(split), 2)


def test_shapes_that_a_law_does_not_fill_are_named() -> None:
    model, x = pair("posterior"), torch.randn(4, 4).double()
    model.posterior["both"].shapes = {"a": (2,), "b": (4,)}
    with pytest.raises(ValueError, match=r"'both' has a law of shape \[5\]; its shapes .* are of a vector of 6 values"):
        model({"x": x})
