"""The divergence in three parts: estimators of the aggregate posterior against sums over all data and closed forms."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal

import polyvae as pv
from polyvae.evaluation import describe_codes
from polyvae.evaluation.information import of_covariance
from polyvae.objectives import aggregate
from polyvae.objectives.aggregate import DimensionKL, MutualInformation, TotalCorrelation, stratified, weighted

PARTS = (MutualInformation, TotalCorrelation, DimensionKL)


class Fixed(nn.Module):
    """The same law whatever it is given."""

    def __init__(self, law: Distribution, given: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.law, self.given = law, given

    def forward(self, values: pv.Values) -> Distribution:
        return self.law


class Image(nn.Module):
    """p(x | z) = N(z, 1)."""

    given = ("z",)

    def forward(self, values: pv.Values) -> Distribution:
        return diagonal(values["z"].flatten(1), torch.ones(()))


def diagonal(loc: Tensor, scale: Tensor) -> Independent:
    return Independent(Normal(loc, scale), 1)


def draw_of(q: Distribution, p: Distribution | None = None, samples: int = 1, seed: int = 0, **given: Any) -> pv.Draw:
    torch.manual_seed(seed)
    d = q.event_shape[0]
    standard = diagonal(torch.zeros(d).to(q.mean), torch.ones(d).to(q.mean))
    model = pv.VAE(Fixed(q, ("x",)), Fixed(standard if p is None else p), Image())
    return model({"x": torch.zeros(q.batch_shape[0], d).to(q.mean)}, samples, **given)


def posteriors(count: int, d: int, spread: float = 1.0, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    loc = spread * torch.randn(count, d, generator=generator).double()
    return loc, 0.2 + torch.rand(count, d, generator=generator).double()


def of_all(loc: Tensor, scale: Tensor) -> MixtureSameFamily:
    """q(z) of all the examples."""
    return MixtureSameFamily(Categorical(torch.ones(len(loc)).to(loc)), diagonal(loc, scale))


def test_trap_15_the_strata_fill_the_diagonal_and_a_weight_counts_data_and_batch() -> None:
    like = torch.zeros((), dtype=torch.float64)
    found = stratified(4, 10, like).exp()
    torch.testing.assert_close(found.diagonal(), torch.full((4,), 1 / 10, dtype=torch.float64))
    others = found[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(others, torch.full((12,), 9 / 30, dtype=torch.float64))
    torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(weighted(4, 10, like), torch.full((4, 4), -math.log(40), dtype=torch.float64))


@settings(deadline=None, max_examples=20)
@given(count=st.integers(2, 7), d=st.integers(1, 4), samples=st.integers(1, 3), full=st.booleans())
def test_a_batch_of_all_the_data_gives_the_aggregate_posterior_itself(count, d, samples, full) -> None:
    loc, scale = posteriors(count, d)
    q = MultivariateNormal(loc, scale_tril=scale.diag_embed()) if full else diagonal(loc, scale)
    draw = draw_of(q, samples=samples)
    z = draw.latents["z"].z
    whole = of_all(loc, scale).log_prob(z)
    each = [of_all(loc[:, j : j + 1], scale[:, j : j + 1]).log_prob(z[..., j : j + 1]) for j in range(d)]
    product = torch.stack(each).sum(0)
    latent = draw.latents["z"]
    expected = (latent.log_q - whole, whole - product, product - latent.log_p)
    for part, value in zip(PARTS, expected, strict=True):
        torch.testing.assert_close(part(examples=count)(draw), value)


def test_the_stratified_estimate_is_unbiased_over_all_batches_that_hold_the_example() -> None:
    loc, scale = posteriors(6, 2)
    z = torch.tensor([0.3, -0.2], dtype=torch.float64)
    density = diagonal(loc, scale).log_prob(z).exp()
    found = []
    for others in itertools.combinations(range(1, 6), 2):
        weights = stratified(3, 6, z).exp()[0]  # of the example 0
        found.append(weights @ density[[0, *others]])
    torch.testing.assert_close(torch.stack(found).mean(), density.mean())


@pytest.mark.parametrize("estimator", ["stratified", "weighted"])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_three_parts_are_the_sampled_divergence_exactly(estimator: str, samples: int) -> None:
    draw = draw_of(diagonal(*posteriors(8, 3)), samples=samples)
    latent = draw.latents["z"]
    found = sum(part(estimator, 50)(draw) for part in PARTS)
    assert found.shape == (samples, 8)  # pyright: ignore
    torch.testing.assert_close(found, latent.log_q - latent.log_p)
    draw = draw_of(diagonal(*posteriors(8, 3)), samples=4000)
    found = sum(part(estimator, 50)(draw) for part in PARTS)
    torch.testing.assert_close(found.mean(0), draw.latents["z"].kl.mean(0), rtol=0.05, atol=0.05)  # pyright: ignore


def test_the_parts_of_one_divergence_look_at_the_pairs_of_a_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, seen = aggregate.log_pairs, []
    monkeypatch.setattr(aggregate, "log_pairs", lambda q, z: seen.append(z) or pairs(q, z))
    law = diagonal(*posteriors(8, 3))
    together = draw_of(law)
    found = {(part, n): part(examples=n)(together) for part in PARTS for n in (20, 50)}
    assert len(seen) == 2  # of each number of examples one
    for (part, n), value in found.items():
        assert torch.equal(part(examples=n)(draw_of(law)), value)
    q = dataclasses.replace(together.latents["z"], q=diagonal(*posteriors(8, 3, seed=2)))
    assert not torch.equal(TotalCorrelation(examples=20).part(q), found[TotalCorrelation, 20])  # of another law anew


def test_trap_15_the_total_correlation_of_a_factorised_aggregate_is_zero() -> None:
    grid = torch.cartesian_prod(*[torch.linspace(-2, 2, 5).double()] * 2)
    draw = draw_of(diagonal(grid, torch.full_like(grid, 0.4)), samples=3)
    found = TotalCorrelation(examples=25)(draw)
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-12, rtol=0)
    alike = draw_of(diagonal(torch.zeros(9, 3).double(), torch.ones(9, 3).double()), samples=2)
    for part in (TotalCorrelation, MutualInformation):
        found = part(examples=70)(alike)
        torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-12, rtol=0)


def test_trap_15_the_total_correlation_of_a_gaussian_aggregate_is_the_closed_form() -> None:
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()
    torch.manual_seed(3)
    loc = MultivariateNormal(torch.zeros(2).double(), covariance).sample((1200,))
    draw = draw_of(diagonal(loc, torch.full_like(loc, 0.5)))
    whole = covariance + 0.25 * torch.eye(2).double()
    expected = 0.5 * (whole.diagonal().log().sum() - whole.logdet())
    assert TotalCorrelation(examples=1200)(draw).mean().item() == pytest.approx(expected.item(), abs=0.03)
    information = 0.5 * (whole.logdet() - 2 * math.log(0.25))
    assert MutualInformation(examples=1200)(draw).mean().item() == pytest.approx(information.item(), abs=0.05)


def test_posteriors_far_apart_carry_the_logarithm_of_how_many_there_are() -> None:
    loc = 100 * torch.arange(6.0).double()[:, None].expand(6, 2)
    draw = draw_of(diagonal(loc, torch.ones(6, 2).double()))
    torch.testing.assert_close(MutualInformation(examples=40)(draw), torch.full((1, 6), math.log(40)).double())
    weighed = MutualInformation("weighted", 40)(draw)
    torch.testing.assert_close(weighed, torch.full((1, 6), math.log(40 * 6)).double())


def test_a_part_that_is_asked_for_without_gradients_leaves_the_next_its_own() -> None:
    loc, scale = (value.requires_grad_() for value in posteriors(6, 3))
    draw = draw_of(diagonal(loc, scale))
    with torch.no_grad():
        DimensionKL(examples=20)(draw)
    TotalCorrelation(examples=20)(draw).mean().backward()
    assert loc.grad is not None
    assert loc.grad.any()


def test_gradients_reach_the_posterior_and_that_of_a_weighted_estimate_knows_no_number_of_examples() -> None:
    found = {}
    for estimator, examples in itertools.product(("stratified", "weighted"), (20, 2000)):
        loc, scale = (value.requires_grad_() for value in posteriors(6, 3))
        TotalCorrelation(estimator, examples)(draw_of(diagonal(loc, scale))).mean().backward()
        assert loc.grad is not None
        found[estimator, examples] = loc.grad
    torch.testing.assert_close(found["weighted", 20], found["weighted", 2000])
    assert not torch.allclose(found["stratified", 20], found["stratified", 2000])


def test_training_tells_the_number_of_examples_unless_it_was_given() -> None:
    told, said = TotalCorrelation(), TotalCorrelation(examples=30)
    for term in (told, said):
        term.trained_on(100)
        term.trained_on(200)  # with other data
    assert (told.examples, said.examples) == (200, 30)
    draw = draw_of(diagonal(*posteriors(5, 2)))
    with pytest.raises(ValueError, match=r"examples: .* `fit` tells it, elsewhere give examples=N"):
        TotalCorrelation()(draw)
    with pytest.raises(ValueError, match=r"examples .*at least 2"):
        TotalCorrelation(examples=1)
    with pytest.raises(ValueError, match="estimator is one of stratified, weighted; got 'exact'"):
        TotalCorrelation("exact")


def test_what_cannot_be_split_is_refused_by_name() -> None:
    loc, scale = posteriors(5, 2)
    q = diagonal(loc, scale)
    with pytest.raises(ValueError, match="batch of at least 2 examples"):
        TotalCorrelation(examples=9)(draw_of(diagonal(loc[:1], scale[:1])))
    mixed = of_all(loc, scale)
    assert MutualInformation(examples=9)(draw_of(q, mixed)).isfinite().all()  # the prior has no part in it
    for prior in (mixed, q):
        with pytest.raises(ValueError, match=r"prior: .* factorises over them, the same for every example"):
            DimensionKL(examples=9)(draw_of(q, prior))
    with pytest.raises(ValueError, match="the divergence of 'z' is not split"):
        TotalCorrelation(examples=9)(draw_of(q, fixed={"z": loc}))
    with pytest.raises(ValueError, match="posterior: the divergence is split by the laws of single dimensions"):
        TotalCorrelation(examples=9)(draw_of(pv.distributions.Point(loc)))
    below = pv.recipes.two_level((5,), latent=2, top=2, network="mlp", widths=(4,))
    for samples in (1, 3):
        with pytest.raises(ValueError, match="the divergence of 'z1' is not split"):
            TotalCorrelation(examples=9)(below.model({"x": torch.rand(4, 5)}, samples))
    top = TotalCorrelation(examples=9, latents=("z2",))(below.model({"x": torch.rand(4, 5)}, 3))
    assert top.shape == (3, 4)


@pytest.mark.slow
def test_on_digits_the_dimensions_hang_together_less_than_a_vaes() -> None:
    data, found = pv.data.load("digits"), {}
    for name in ("vae", "beta_tcvae"):
        made = pv.recipes.named(name)(data.spec, latent=4, network="mlp", widths=[64], seed=0)
        run = pv.fit(made, data, epochs=25, batch_size=64, device="cpu", progress=False)
        moments = describe_codes(run, data.test)["z"].moments
        assert moments is not None
        found[name] = of_covariance(moments[1])
    assert found["beta_tcvae"] < 0.7 * found["vae"], found
