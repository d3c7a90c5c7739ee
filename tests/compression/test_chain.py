"""Examples come back as they were, at the rate of the bound, whatever the model."""

from __future__ import annotations

import re
from math import log, log2
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from helpers.models import part, plain, two_level
from polyvae import recipes
from polyvae.compression.chain import Chain, exact
from polyvae.compression.scalars import vector
from polyvae.compression.stack import Stack
from polyvae.compression.tables import BINS, edges, middle
from polyvae.data.split import Split
from polyvae.evaluation.bounds import both_bounds
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.priors.pixelcnn import PixelCNNPrior
from polyvae.model.spec import Spec

LIKELIHOODS = {"bernoulli": 2, "logistic": 8, "logistic-mixture": 16, "coupled-logistic-mixture": 5, "categorical": 3}


class SpatialNormal(nn.Module):
    """p(z) = N(0, I) over maps of this shape."""

    given = ()

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(shape))

    def forward(self, values: pv.Values) -> Distribution:
        return Independent(Normal(self.loc, torch.ones_like(self.loc)), self.loc.ndim)


def words(number: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 2**32, number, dtype=np.uint32)


def model_of(recipe: str, spec: Spec, apart: float = 0.1, **options: Any) -> pv.VAE:
    """An untrained model whose weights are far enough from where they start for its laws to differ."""
    model = recipes.named(recipe)(spec, seed=0, **{"network": "mlp", "widths": (6,), **options}).model
    torch.manual_seed(1)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(apart * torch.randn_like(each))
    return model.eval()


def there_and_back(model: pv.VAE, symbols: np.ndarray, largest: int = 0) -> int:
    """The bits that symbols take; what is read is what was written, and what lay below is as it was."""
    stack, start = Stack(words()), words()
    before = stack.bits
    (*_, after) = Chain(model, symbols.shape[1:]).write(stack, symbols, largest)
    reader = Stack(stack.words[stack.untouched :].copy())
    assert (Chain(model, symbols.shape[1:]).read(reader, len(symbols), largest) == symbols).all()
    assert (reader.words == start[stack.untouched :]).all()
    return after - before


@given(
    st.sampled_from(sorted(LIKELIHOODS)),
    st.sampled_from(["vae", "two_level"]),
    st.sampled_from(["diagonal", "full"]),
    st.sampled_from(["standard", "mixture", "vamp", "autoregressive"]),
    st.tuples(st.sampled_from([1, 3]), st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
)
@settings(max_examples=14, deadline=None)
def test_what_was_written_is_read(
    likelihood: str, recipe: str, posterior: str, prior: str, shape: tuple[int, int, int], latent: int
) -> None:
    levels = LIKELIHOODS[likelihood]
    options = {"likelihood": likelihood, "posterior": posterior, "prior": prior, "components": 3, "latent": latent}
    model = model_of(recipe, Spec(shape, levels=levels), **options)
    there_and_back(model, np.random.default_rng(0).integers(0, levels, (2, *shape)))


@pytest.mark.parametrize("likelihood", ["poisson", "negative-binomial", "zero-inflated-negative-binomial-network"])
def test_counts_come_back_as_they_were(likelihood: str) -> None:
    model = model_of("vae", Spec((5,), levels=None), likelihood=likelihood, latent=2)
    there_and_back(model, np.random.default_rng(0).poisson(4.0, (20, 5)), 40)


def codes(pixelcnn: bool) -> pv.VAE:
    model = recipes.vq_vae(Spec((1, 8, 8), levels=4), likelihood="categorical", codes=8, dim=4, seed=0).model
    if pixelcnn:
        own: Any = model.prior["z"]
        net = GatedPixelCNN(own.positions, 8, 6, (3, 3))
        model = pv.VAE(dict(model.posterior), PixelCNNPrior(net, own.codebook, own.positions), dict(model.heads))
    return model.eval()


@pytest.mark.parametrize("pixelcnn", [False, True])
def test_maps_of_codes_take_the_bits_of_their_bound(pixelcnn: bool) -> None:
    model = codes(pixelcnn)
    symbols = np.random.default_rng(0).integers(0, 4, (6, 1, 8, 8))
    found = there_and_back(model, symbols)
    split = Split({"x": torch.from_numpy(symbols).float() / 3})
    bound = -float(both_bounds(model, split, 1).plain.sum()) / log(2)
    assert abs(found - bound) < 2 + 1e-3 * bound


def test_a_pixelcnn_of_the_pixels_takes_minus_its_log_likelihood() -> None:
    model = recipes.pixel_cnn(Spec((3, 3, 3), levels=4), channels=4, layers=2, seed=0).model.eval()
    symbols = np.random.default_rng(0).integers(0, 4, (5, 3, 3, 3))
    found = there_and_back(model, symbols)
    bound = both_bounds(model, Split({"x": torch.from_numpy(symbols).float() / 3}), 1).plain
    assert abs(found + float(bound.sum()) / log(2)) < 2


def test_codes_that_are_drawn_come_back() -> None:
    model = recipes.vq_vae(
        Spec((1, 8, 8), levels=4), likelihood="categorical", quantiser="gumbel", codes=8, dim=4
    ).model
    there_and_back(model, np.random.default_rng(0).integers(0, 4, (6, 1, 8, 8)))


def test_the_rate_is_the_bound_of_the_bins_by_brute_force() -> None:
    torch.manual_seed(0)
    model = pv.VAE(part("x", [3], 1), StandardNormal(1), part("z", [1], 3, Bernoulli())).eval()
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.5 * torch.randn_like(each))
    x = np.array([[1, 0, 1]])
    with exact():
        double = model.double()
        values = torch.from_numpy(x).double()
        p, q = vector(double.prior["z"]({})), vector(double.posterior["z"]({"x": values}))
        assert p is not None
        assert q is not None
        whole, none = slice(0, 1), torch.zeros(1, dtype=torch.float64)
        ends = torch.arange(BINS + 1, dtype=torch.float64) / BINS
        mass = q.given(whole, none).below(p.given(whole, none).at(ends[None])).diff(dim=1)[0]
        z = p.given(whole, none).at(middle(torch.arange(BINS))[None])[0]
        log_px = double.decode({"z": z[:, None]})["x"].log_prob(values)
        bits = -log_px / log(2) + log2(BINS) + mass.clamp(min=1e-300).log2()
        mean = float((mass * bits).sum())
        spread = float((mass * bits.square()).sum() - mean**2) ** 0.5
        kl = torch.distributions.kl_divergence(double.posterior["z"]({"x": values}), double.prior["z"]({}))
    number = 400
    found = there_and_back(model, np.repeat(x, number, 0)) / number
    assert abs(found - mean) < 4 * spread / number**0.5 + 0.02
    assert 0 <= float(kl[0]) / log(2) - float((mass * (mass * BINS).clamp(min=1e-300).log2()).sum()) < 1e-3
    assert edges(torch.zeros(1), 0).shape == (1, 257)


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("ladder", {"network": "mlp", "per_scale": [2, 1], "latent": 2, "merge": "residual"}),
        ("ladder", {"network": "residual", "per_scale": [1, 1], "latent": 1, "widths": [4], "merge": "precision"}),
        ("vq_vae_2", {"codes": 8}),
    ],
)
def test_levels_of_vectors_maps_and_codes_come_back(recipe: str, options: dict[str, Any]) -> None:
    model = recipes.named(recipe)(Spec((1, 16, 16), levels=3), likelihood="categorical", seed=0, **options).model
    there_and_back(model.eval(), np.random.default_rng(0).integers(0, 3, (2, 1, 16, 16)))


@pytest.mark.parametrize("recipe", ["vae", "two_level"])
def test_a_long_chain_takes_the_bits_of_the_plain_bound(recipe: str) -> None:
    model = model_of(recipe, Spec((1, 6, 6), levels=4), apart=0.03, likelihood="categorical", latent=3)
    symbols = np.random.default_rng(0).integers(0, 4, (150, 1, 6, 6))
    found = there_and_back(model, symbols)
    bound = both_bounds(model, Split({"x": torch.from_numpy(symbols).float() / 3}), 200).plain
    assert abs(found + float(bound.sum()) / log(2)) < 0.015 * found


def test_a_ladder_of_maps_on_shared_features_comes_back() -> None:
    torch.manual_seed(0)

    def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, outputs, 3, stride, 1)

    class Both(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, *values: torch.Tensor) -> torch.Tensor:
            return self.net(torch.cat(values, 1))

    normal = DiagonalNormal()
    up = nn.Sequential(nn.Upsample(scale_factor=2), conv(2, 3))
    model = pv.VAE(
        {
            "top": pv.Conditional(conv(3, 4), normal, "deep"),
            "low": pv.Conditional(Both(conv(6, 2)), normal, ("shallow", "down")),
        },
        {"top": SpatialNormal(2, 4, 4), "low": pv.Conditional(conv(3, 2), normal, "down")},
        pv.Conditional(Both(conv(4, 1)), Bernoulli(), ("down", "low")),
        features={
            "shallow": pv.Feature(nn.Sequential(conv(1, 3), nn.Tanh()), "x"),
            "deep": pv.Feature(conv(3, 3, 2), "shallow"),
            "down": pv.Feature(up, "top"),
        },
    ).eval()
    symbols = np.random.default_rng(0).integers(0, 2, (60, 1, 8, 8))
    found = there_and_back(model, symbols)
    assert Chain(model, (1, 8, 8)).sizes == {"top": 32, "low": 64}
    bound = both_bounds(model, Split({"x": torch.from_numpy(symbols).float()}), 100).plain
    assert abs(found + float(bound.sum()) / log(2)) < 4 * 10 * 60**0.5  # ten bits are the spread of a draw


def test_latents_are_taken_in_an_order_that_both_sides_know() -> None:
    spec = (4,)
    with pytest.raises(ValueError, match="the likelihood of 'x' is a Normal"):
        Chain(two_level(), spec)
    with pytest.raises(ValueError, match=r"of \['low', 'top'\] none is inferred and generated"):
        Chain(two_level(bottom_up=True), spec)
    family = {"family": Bernoulli()}
    field = pv.VAE(
        {"low": part("x", [4], 2), "top": part("x", [4], 3)},
        {"top": StandardNormal(3), "low": part("top", [3], 2)},
        part(("low", "top"), [2, 3], 4, **family),
    )
    assert Chain(field, spec).order == ("top", "low")
    there_and_back(field, np.random.default_rng(0).integers(0, 2, (5, 4)))


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("cvae", {}, "also reads ['y']"),
        ("iaf", {}, "the posterior of 'z' is a"),
        ("flow_prior", {}, "the prior of 'z' is a"),
        ("ae", {}, "the posterior of 'z' is a Point"),
        ("vae", {"likelihood": "normal"}, "the likelihood of 'x' is a"),
    ],
)
def test_models_that_cannot_code_are_refused_by_name(recipe: str, options: dict[str, Any], said: str) -> None:
    spec = Spec((1, 4, 4), levels=4, classes=3)
    with pytest.raises(ValueError, match=re.escape(said)):
        Chain(model_of(recipe, spec, latent=2, **{"likelihood": "categorical", **options}), spec.x)


def test_torch_is_left_as_it_was_and_so_is_the_model() -> None:
    model = plain(2, 4, None)
    threads = torch.get_num_threads()
    with pytest.raises(ValueError):  # noqa: PT011
        Chain(model, (4,))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (threads, False)
    assert {each.dtype for each in model.parameters()} == {torch.float32}
