from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

import polyvae as pv
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.families.real import DiagonalNormal, FullNormal
from polyvae.model.networks import conv, mlp
from polyvae.model.priors.mixture import Mixture, VampPrior, mixture
from polyvae.model.priors.normal import StandardNormal


def encoder(given: str | tuple[str, ...] = "x", *inputs: int, family: pv.Family | None = None) -> pv.Conditional:
    family = family or DiagonalNormal()
    shapes = [(size,) for size in inputs or (4,)]
    return pv.Conditional(mlp(shapes, (family.size(2),), (6,)), family, given).double()


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape).double()


def test_the_normals_of_a_mixture_begin_about_as_far_apart_in_any_number_of_dimensions() -> None:
    for dimensions in (1, 3, 50, 400):
        means = Mixture(dimensions, 500).loc.detach()
        assert means.square().sum(1).mean().sqrt() == pytest.approx(2, rel=0.15)


def test_the_standard_normal_is_torchs_and_holds_nothing_to_save() -> None:
    prior, z = StandardNormal(3).double(), randn(5, 2, 3)
    expected = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    torch.testing.assert_close(prior({}).log_prob(z), expected.log_prob(z))
    assert prior({}).batch_shape == ()
    assert not prior.state_dict()
    assert prior({}).mean.dtype == torch.float64
    assert StandardNormal(3).to("meta")({}).mean.device.type == "meta"


def test_a_mixture_is_the_sum_over_its_components() -> None:
    torch.manual_seed(0)
    prior, z = Mixture(3, 4).double(), randn(5, 2, 3)
    with torch.no_grad():
        prior.logits.copy_(randn(4))
        prior.raw_scale.copy_(randn(4, 3))
    weights = prior.logits.exp() / prior.logits.exp().sum()
    scale = (1 + prior.raw_scale.exp()).log() + 1e-4
    for k in range(5):
        for b in range(2):
            total = 0.0
            for m in range(4):
                squares = ((z[k, b] - prior.loc[m]) / scale[m]) ** 2
                total += (weights[m] * (-0.5 * squares).exp().prod() / scale[m].prod()).item() / (2 * math.pi) ** 1.5
            assert prior({}).log_prob(z)[k, b].item() == pytest.approx(math.log(total))


@pytest.mark.parametrize("rows", [None, 3])
def test_normals_mixed_for_every_row_alike_are_scored_as_torch_scores_them_and_more_precisely(rows: int | None) -> None:
    torch.manual_seed(0)
    loc, scale = torch.randn(20, 30, requires_grad=True), (0.02 + 0.1 * torch.rand(20, 30)).requires_grad_()
    logits = torch.randn(*(() if rows is None else (rows,)), 20, requires_grad=True)
    z = (loc[:3] + scale[:3] * torch.randn(4, 3, 30)).detach().requires_grad_()  # [K, B, d], each near a component
    parts = Independent(Normal(loc, scale), 1)
    law = mixture(logits, parts)
    found, plain = law.log_prob(z), MixtureSameFamily.log_prob(law, z)
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-3)
    one, other = (
        torch.autograd.grad(value.sum(), (z, loc, scale, logits), retain_graph=True) for value in (found, plain)
    )
    for mine, torchs in zip(one, other, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-3, atol=1e-3)
    doubled = Independent(Normal(loc.double(), scale.double()), 1)
    exact = MixtureSameFamily(
        Categorical(logits=logits.double()), doubled.expand(law.mixture_distribution.logits.shape)
    )
    exact = exact.log_prob(z.double())
    assert (found - exact).abs().max() <= (plain - exact).abs().max()
    assert found.dtype == torch.float32


def test_a_mixture_starts_with_equal_weights_and_unit_scales() -> None:
    law = Mixture(2, 5)({})
    torch.testing.assert_close(law.mixture_distribution.probs, torch.full((5,), 0.2))
    scale = law.component_distribution.base_dist.scale
    torch.testing.assert_close(scale, torch.ones(5, 2), rtol=0, atol=2e-4)
    assert law.component_distribution.mean.unique(dim=0).shape == (5, 2)


def test_every_number_of_a_mixture_is_learned() -> None:
    prior = Mixture(2, 3)
    prior({}).log_prob(torch.randn(6, 2)).sum().backward()
    assert all(p.grad is not None and p.grad.all() for p in prior.parameters())
    assert len(list(prior.parameters())) == 3


@pytest.mark.parametrize("family", [DiagonalNormal(), FullNormal()])
def test_a_vamp_prior_is_the_mixture_of_the_posteriors_at_its_pseudo_inputs(family) -> None:
    torch.manual_seed(0)
    q, u = encoder(family=family), randn(7, 4)
    prior, z = VampPrior(q, {"x": u}), randn(5, 3, 2)
    each = torch.stack([q({"x": u[m : m + 1]}).log_prob(z.reshape(15, 2)) for m in range(7)])
    expected = (each.logsumexp(0) - math.log(7)).view(5, 3)
    torch.testing.assert_close(prior({}).log_prob(z), expected)


def test_a_vamp_prior_learns_its_pseudo_inputs_through_the_shared_posterior() -> None:
    torch.manual_seed(0)
    q, u = encoder(("x", "y"), 4, 3), {"x": randn(5, 4), "y": randn(5, 3)}
    prior = VampPrior(q, u)
    prior({}).log_prob(randn(6, 2)).sum().backward()
    for name, start in u.items():
        learned = prior.pseudo_inputs[name]
        assert torch.equal(learned, start)
        assert learned is not start  # a copy: the caller's tensor stays as it is
        assert learned.grad is not None
        assert learned.grad.any()
    model = pv.VAE(q, prior, pv.Conditional(mlp([(2,)], (8,)), DiagonalNormal(), "z"))
    assert prior.posterior is model.posterior["z"]
    assert len(list(model.parameters())) == 4 + 2 + 4  # the posterior's once


def test_a_vamp_prior_samples_from_all_components() -> None:
    torch.manual_seed(0)
    q = encoder()
    with torch.no_grad():  # means far apart, scales small: a sample tells its component
        for p in q.parameters():
            p.zero_()
        q.net.layers[0].weight[0, 0] = 1.0
        q.net.layers[2].weight[0, 0] = 1.0
        q.net.layers[2].bias[2:] = -6.0
    prior = VampPrior(q, {"x": 10 * torch.arange(6).double()[:, None].expand(6, 4)})
    z = prior({}).sample((6000,))
    counts = (z[:, 0] / 10).round().long().bincount(minlength=6)
    assert counts.sum() == 6000
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 25  # five degrees of freedom: exceeded once in 7,000


def test_a_vamp_prior_needs_what_its_posterior_reads() -> None:
    with pytest.raises(ValueError, match=r"the posterior reads \['x', 'y'\], pseudo-inputs are given for \['x'\]"):
        VampPrior(encoder(("x", "y"), 4, 3), {"x": torch.zeros(2, 4)})
    with pytest.raises(ValueError, match="the same number of components"):
        VampPrior(encoder(("x", "y"), 4, 3), {"x": torch.zeros(2, 4), "y": torch.zeros(3, 3)})


def test_a_run_begins_a_vamp_prior_at_training_examples_as_the_network_reads_them() -> None:
    columns = (pv.Column("real", centre=50.0, scale=9.0), pv.Column("category", labels=("a", "b", "c")),
               pv.Column("positive", centre=3.0, scale=0.5))  # fmt: skip
    spec = pv.Spec((3,), classes=2, levels=None, columns=columns)
    torch.manual_seed(0)
    x = torch.stack([50 + 9 * torch.randn(20), torch.arange(20) % 3, (3 + 0.5 * torch.randn(20)).exp()], 1)
    batch, z = {"x": x, "y": torch.arange(20) % 2}, torch.randn(6, 2)
    made = pv.recipes.vamp_prior(spec, components=8, latent=2, network="mlp", widths=(6,), condition=True, seed=0)
    shown, q, prior = made.observe(batch), made.model.posterior["z"], made.model.prior["z"]
    assert made.start is not None
    made.start(shown)
    each = torch.stack([q({name: shown[name][m : m + 1] for name in q.given}).log_prob(z) for m in range(8)])
    torch.testing.assert_close(prior({}).log_prob(z), each.logsumexp(0) - math.log(8))
    made.start({name: value[:5] for name, value in shown.items()})  # over again, a little apart
    u = prior.pseudo_inputs["x"].detach()
    torch.testing.assert_close(u[5:], u[:3], rtol=0, atol=0.05)
    assert (u[5:] != u[:3]).all()
    chosen = torch.randn(4, 3)
    alone = VampPrior(pv.Conditional(q.net, q.family, q.given), {"x": chosen, "y": torch.zeros(4, 2)})
    alone.start(shown)
    assert torch.equal(alone.pseudo_inputs["x"], chosen)  # what a user chose stays


@pytest.mark.parametrize("network", ["conv", "residual"])
def test_trap47_a_vamp_prior_in_evaluation_is_the_one_that_was_trained(network) -> None:
    torch.manual_seed(0)
    x = (torch.rand(128, 1, 8, 8) < 0.3).float()
    x[:64, :, :4] = 1  # two kinds of pictures, unlike the pseudo-inputs' faint noise
    made = pv.recipes.vae((1, 8, 8), network=network, widths=(8, 16), latent=4, prior="vamp", seed=0)
    pv.fit(made, x, epochs=3, batch_size=32, lr=1e-2, device="cpu", progress=False)
    found = []
    for training in (True, False):
        made.model.train(training)
        torch.manual_seed(1)
        found.append(made.model({"x": x}, 2).kl)
    torch.testing.assert_close(*found)


class PseudoInputs(nn.Module):
    """A user's own prior on the posterior's network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


def test_trap47_a_prior_made_of_a_network_with_statistics_of_batches_is_refused() -> None:
    family, decoder = DiagonalNormal(), pv.Conditional(mlp([(2,)], (1, 8, 8)), Bernoulli(), "z")
    net = conv([(1, 8, 8)], (4,), channels=(4, 4))
    q = pv.Conditional(net, family, "x")
    for prior in (VampPrior(q, {"x": torch.rand(3, 1, 8, 8)}), PseudoInputs(net)):
        with pytest.raises(ValueError, match=r"the prior of 'z' \(\w+\) .* 2 layers .* \(BatchNorm2d\).*norm='group'"):
            pv.VAE(q, prior, decoder)
    with pytest.raises(ValueError, match="BatchNorm2d"):
        pv.recipes.vae((1, 8, 8), network=conv, prior="vamp")
    for free in (
        conv([(1, 8, 8)], (4,), norm="group"),
        nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.InstanceNorm1d(4)),
    ):
        q = pv.Conditional(free, family, "x")
        pv.VAE(q, VampPrior(q, {"x": torch.rand(3, 1, 8, 8)}), decoder)
    pv.VAE(pv.Conditional(net, family, "x"), StandardNormal(2), decoder)  # shared with nobody


def test_sizes_are_at_least_one() -> None:
    for make in (lambda: StandardNormal(0), lambda: Mixture(0), lambda: Mixture(2, 0)):
        with pytest.raises(ValueError, match="is at least 1; got 0"):
            make()


def test_mixtures_are_normalised() -> None:
    torch.manual_seed(0)
    axis = torch.linspace(-14, 14, 20_001).double()
    law = mixture(randn(3), torch.distributions.Independent(Normal(randn(3, 1) * 3, randn(3, 1).exp()), 1))
    assert torch.trapezoid(law.log_prob(axis[:, None]).exp(), axis).item() == pytest.approx(1, abs=1e-5)


def test_repr_shows_the_sizes() -> None:
    assert repr(StandardNormal(3)) == "StandardNormal(3)"
    assert repr(Mixture(3, 4)) == "Mixture(3, components=4)"
