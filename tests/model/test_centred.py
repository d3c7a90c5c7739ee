"""Decoders of bits that begin at the mean of the data."""

from functools import partial

import pytest
import torch

import polyvae as pv
from polyvae.model.families import Bernoulli, DiagonalNormal
from polyvae.model.networks import mlp, network
from polyvae.model.priors.normal import StandardNormal

BITS = pv.Spec((1, 4, 4), levels=2)


def bits(examples: int = 500) -> torch.Tensor:
    chance = torch.linspace(0, 1, 16).view(1, 4, 4)
    return torch.bernoulli(chance.expand(examples, 1, 4, 4), generator=torch.Generator().manual_seed(0))


def mean_at_no_hidden(decoder: pv.Conditional) -> torch.Tensor:
    with torch.no_grad():
        return decoder.family(decoder.net.layers[-1].bias.view(1, 1, 4, 4)).mean[0]


@pytest.mark.parametrize("name", ["vae", "vamp_prior", "semi_conditional", "multitask", "two_level", "flow_prior"])
def test_tanh_decoders_begin_at_the_mean_of_the_examples_whatever_else_the_recipe_starts(name: str) -> None:
    own = {"latent": 3} if name != "two_level" else {"latent": 3, "top": 2}
    made = getattr(pv.recipes, name)(BITS, network="mlp-tanh", widths=(6, 5), **own)
    x = bits()
    assert made.start is not None
    made.start(made.observe({"x": x}))
    for head in made.model.heads.values():
        expected = (x.sum(0) + 0.5) / (len(x) + 1)  # finite log odds of pixels that are always off, or on
        torch.testing.assert_close(mean_at_no_hidden(head.likelihood), expected)


def test_what_is_not_scored_counts_in_no_mean() -> None:
    x = bits()
    hidden = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    made = pv.recipes.incomplete(BITS, network="mlp-tanh", widths=(6, 5), latent=3)
    assert made.start is not None
    made.start(made.observe({"x": x.masked_fill(hidden, torch.nan)}))
    seen = (~hidden).float()
    expected = ((x * seen).sum(0) + 0.5) / (seen.sum(0) + 1)
    torch.testing.assert_close(mean_at_no_hidden(made.model.heads["x"].likelihood), expected)
    head = pv.Head(made.model.heads["x"].likelihood, where="rows")
    head.start({"x": x, "rows": torch.arange(len(x)) < 100})
    torch.testing.assert_close(mean_at_no_hidden(head.likelihood), (x[:100].sum(0) + 0.5) / 101)


def test_a_run_of_a_bare_model_begins_at_it_too_and_goes_on_with_what_it_learned(tmp_path) -> None:
    tanh = network("mlp-tanh")
    q = pv.Conditional(tanh([(1, 4, 4)], (4,), (5,)), DiagonalNormal(), "x")
    p = pv.Conditional(tanh([(2,)], (1, 4, 4), (5,)), Bernoulli(), "z")
    model = pv.VAE(q, StandardNormal(2), p)
    pv.fit(model, bits(), tmp_path / "run", epochs=1, lr=1e-9, device="cpu", progress=False)
    assert (mean_at_no_hidden(p) - bits().mean(0)).abs().max() < 0.05  # of the training part, which is not all
    moved = p.net.layers[-1].bias.detach().clone()
    pv.fit(model, bits(), tmp_path / "run", epochs=2, lr=1e-9, resume=True, device="cpu", progress=False)
    torch.testing.assert_close(p.net.layers[-1].bias, moved, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"network": "mlp"}, "ReLU does not saturate"),
        ({"network": "mlp-tanh", "likelihood": "normal-learned"}, "the family does not say its raw output"),
        ({"network": partial(mlp, activation=torch.nn.Tanh)}, "a network that was not asked to"),
    ],
)
def test_other_decoders_begin_as_they_were_made(options: dict[str, object], why: str) -> None:
    assert pv.recipes.vae(BITS, latent=2, **options).start is None, why


def test_a_decoder_s_bias_alone_moves() -> None:
    made = pv.recipes.vae(BITS, latent=2, network="mlp-tanh", widths=(5,), seed=3)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    assert made.start is not None
    made.start({"x": bits()})
    moved = {name for name, value in made.model.state_dict().items() if not value.equal(before[name])}
    assert moved == {"heads.x.likelihood.net.layers.2.bias"}
