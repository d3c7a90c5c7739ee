from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MixtureSameFamily, Normal, kl_divergence

import polyvae as pv
from polyvae.model.distributions.normal import CholeskyNormal
from polyvae.model.families.real import DiagonalNormal, FullNormal
from polyvae.model.networks import mlp
from polyvae.model.priors.mixture import Mixture, mixture
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.terms import KERNELS, KL, MMD, factorised_kl, marginals, mmd


class Fixed(nn.Module):
    """A part that is the same distribution whatever it is given."""

    def __init__(self, law: Distribution, given: str) -> None:
        super().__init__()
        self.law, self.given = law, (given,)

    def forward(self, values: pv.Values) -> Distribution:
        return self.law


class Image(nn.Module):
    """p(x | z) = N(z, 1) whatever the shape of z."""

    given = ("z",)

    def forward(self, values: pv.Values) -> Distribution:
        z = values["z"].flatten(1)
        return Independent(Normal(z, torch.ones_like(z)), 1)


def diagonal(loc: Tensor, scale: Tensor, dims: int = 1) -> Independent:
    return Independent(Normal(loc, scale), dims)


def draw_of(q: Distribution, p: Distribution | nn.Module, samples: int = 1) -> pv.Draw:
    prior = p if isinstance(p, nn.Module) else Fixed(p, "x")
    model = pv.VAE(Fixed(q, "x"), prior, Image())
    return model({"x": torch.zeros(q.batch_shape[0], q.event_shape.numel()).to(q.mean)}, samples)


def model_of(family: pv.Family, prior: nn.Module, d: int = 3) -> pv.VAE:
    q = pv.Conditional(mlp([(4,)], (family.size(d),), (5,)), family, "x")
    return pv.VAE(q, prior, pv.Conditional(mlp([(d,)], (8,), (5,)), DiagonalNormal(), "z"))


def test_kl_is_the_closed_form_of_diagonal_normals() -> None:
    loc, scale = torch.randn(5, 3).double(), torch.rand(5, 3).double() + 0.1
    draw = draw_of(diagonal(loc, scale), diagonal(torch.zeros(3).double(), torch.ones(3).double()), 4)
    expected = 0.5 * (loc**2 + scale**2 - 1 - 2 * scale.log()).sum(1)
    torch.testing.assert_close(KL()(draw), expected.expand(4, 5))


def test_kl_reads_the_named_latents_only() -> None:
    def normal(given: str | tuple[str, ...], inputs: int, output: int) -> pv.Conditional:
        return pv.Conditional(mlp([(inputs,)], (2 * output,), ()), DiagonalNormal(), given)

    latents = {"a": normal("x", 4, 2), "b": normal("x", 4, 3)}
    likelihood = pv.Conditional(mlp([(2,), (3,)], (8,), ()), DiagonalNormal(), ("a", "b"))
    model = pv.VAE(latents, {"a": StandardNormal(2), "b": StandardNormal(3)}, likelihood)
    draw = model({"x": torch.randn(5, 4)}, 2)
    torch.testing.assert_close(KL(latents=("b",))(draw), draw.latents["b"].kl)
    torch.testing.assert_close(KL()(draw), draw.latents["a"].kl + draw.latents["b"].kl)


@pytest.mark.parametrize("free", [0.01, 0.3, 2.0])
def test_free_bits_floor_the_batch_mean_of_each_dimension(free) -> None:
    loc, scale = torch.randn(6, 4).double() * torch.tensor([0.0, 0.3, 1.0, 3.0]), torch.rand(6, 4).double() + 0.5
    draw = draw_of(diagonal(loc, scale), StandardNormal(4).double(), 3)
    expected = 0.0
    for j in range(4):
        mean = sum(0.5 * (loc[i, j] ** 2 + scale[i, j] ** 2 - 1 - 2 * scale[i, j].log()).item() for i in range(6)) / 6
        expected += max(free, mean)
    assert KL(free_bits=free)(draw).item() == pytest.approx(expected)


def test_free_bits_leave_a_free_dimension_without_gradient() -> None:
    loc = torch.tensor([[0.1, 3.0], [-0.1, 2.0]], requires_grad=True)
    KL(free_bits=0.5)(draw_of(diagonal(loc, torch.ones(2, 2)), StandardNormal(2))).backward()
    assert loc.grad is not None
    torch.testing.assert_close(loc.grad, torch.tensor([[0.0, 1.5], [0.0, 1.0]]))


def test_free_bits_count_every_value_of_a_latent_map() -> None:
    loc = torch.randn(5, 2, 3, 3).double()
    draw = draw_of(diagonal(loc, torch.ones_like(loc), 3), diagonal(torch.zeros(2, 3, 3), torch.ones(2, 3, 3), 3))
    assert KL(free_bits=0.7)(draw).item() == pytest.approx((0.5 * loc**2).mean(0).clamp(min=0.7).sum().item())
    assert KL(free_bits=1e-9)(draw).item() == pytest.approx(KL()(draw).mean().item())


def test_free_bits_refuse_what_does_not_factorise() -> None:
    batch = {"x": torch.randn(5, 4)}
    for family, prior in ((FullNormal(), StandardNormal(3)), (DiagonalNormal(), Mixture(3, 2))):
        with pytest.raises(
            ValueError, match="free bits need a posterior and a prior that factorise over dimensions; got"
        ):
            KL(free_bits=0.1)(model_of(family, prior)(batch))
    with pytest.raises(ValueError, match="free_bits is a number of nats, at least 0; got -1"):
        KL(free_bits=-1)
    latent = draw_of(diagonal(torch.zeros(2, 3), torch.ones(2, 3)), StandardNormal(3)).latents["z"]
    with pytest.raises(ValueError, match="free bits need a prior that is drawn before its posterior"):
        factorised_kl(pv.Latent(latent.q, latent.p, latent.z, latent.drawn, separate=False))


def kernel_by_hand(a: Tensor, b: Tensor, kernel: str, scale: float) -> float:
    squared = sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))
    d = len(a)
    return {"rbf": math.exp(-squared / (2 * d * scale**2)), "imq": 2 * d * scale**2 / (2 * d * scale**2 + squared)}[
        kernel
    ]


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=10, deadline=None)
@given(n=st.integers(2, 6), m=st.integers(2, 6), d=st.integers(1, 3), scale=st.floats(0.3, 3))
def test_mmd_is_the_double_sum(kernel, n, m, d, scale) -> None:
    a, b = torch.randn(n, d).double(), torch.randn(m, d).double() + 1
    within = sum(
        kernel_by_hand(x[i], x[j], kernel, scale) / (len(x) * (len(x) - 1))
        for x in (a, b)
        for i in range(len(x))
        for j in range(len(x))
        if i != j
    )
    between = sum(kernel_by_hand(i, j, kernel, scale) for i in a for j in b) / (n * m)
    assert mmd(a, b, kernel, scale).item() == pytest.approx(within - 2 * between, abs=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_of_equal_laws_is_zero_in_expectation_and_positive_between_others(kernel) -> None:
    torch.manual_seed(0)
    equal = torch.stack([mmd(torch.randn(12, 2).double(), torch.randn(9, 2).double(), kernel) for _ in range(800)])
    assert equal.mean().abs() < 4 * equal.std() / math.sqrt(len(equal))
    assert equal.min() < 0  # unbiased: it must be negative now and then
    for other in (torch.randn(400, 2) + 1, torch.randn(400, 2) * 2):
        assert mmd(torch.randn(400, 2), other, kernel) > 0.02


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_positive_definite(kernel) -> None:
    torch.manual_seed(0)
    points = torch.randn(40, 3).double() * 2
    gram = KERNELS[kernel](torch.cdist(points, points).square(), 3.0)
    torch.testing.assert_close(gram, gram.T)
    torch.testing.assert_close(gram.diagonal(), torch.ones(40).double())
    assert torch.linalg.eigvalsh(gram).min() > -1e-10


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradient_of_mmd_is_finite_and_points_to_the_other_sample(kernel) -> None:
    same = torch.zeros(4, 2, requires_grad=True)  # all distances zero
    mmd(same, torch.zeros(4, 2), kernel).backward()
    torch.testing.assert_close(same.grad, torch.zeros(4, 2))
    a = torch.randn(50, 2).requires_grad_()
    mmd(a, torch.randn(50, 2) + torch.tensor([2.0, 0.0]), kernel).backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad[:, 0].sum() < 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_is_the_same_wherever_both_samples_lie(kernel) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(64, 8) + 1000, 1.5 * torch.randn(48, 8) + 1000
    assert mmd(a, b, kernel).item() == pytest.approx(mmd(a.double(), b.double(), kernel).item(), abs=1e-6)


@pytest.mark.parametrize(
    "law",
    [
        lambda count: diagonal(torch.zeros(2), torch.ones(2)),
        lambda count: diagonal(torch.zeros(6, 2), torch.ones(6, 2)),
        lambda count: diagonal(torch.zeros(count * 6, 2), torch.ones(count * 6, 2)),
    ],
    ids=["one for all", "one an example", "one a draw"],
)
def test_the_mmd_term_is_the_mean_over_the_draws_of_each_example(law) -> None:
    def found(count: int) -> Tensor:
        z = centres + torch.randn(count, 6, 2)
        draw: Any = SimpleNamespace(log_share=None, latents={"z": SimpleNamespace(z=z, p=law(count))})
        return MMD()(draw)

    torch.manual_seed(0)
    centres = torch.randn(6, 2)  # not one law's draws: the estimate scatters about the same value for any number
    single, several = (torch.stack([found(count) for _ in range(1500)]) for count in (1, 4))
    spread = math.sqrt((single.var() + several.var()) / 1500)
    assert (single.mean() - several.mean()).abs() < 4 * spread
    assert several.std() < 0.6 * single.std()


def test_the_mmd_term_compares_each_draw_with_the_prior() -> None:
    torch.manual_seed(0)
    loc = torch.randn(1500, 2)
    matched = draw_of(diagonal(loc * 0.8, torch.full((1500, 2), 0.6)), StandardNormal(2), 2)
    assert MMD()(matched).abs() < 4e-3
    narrow = draw_of(diagonal(loc * 0.1, torch.full((1500, 2), 0.1)), StandardNormal(2), 2)
    assert MMD()(narrow) > 0.05
    assert MMD()(matched).shape == ()


@pytest.mark.parametrize("prior", [StandardNormal(3), Mixture(3, 4)])
def test_the_mmd_term_takes_any_prior(prior) -> None:
    model = model_of(DiagonalNormal(), prior)
    MMD()(model({"x": torch.randn(6, 4)})).backward()
    gradients = [p.grad for p in model.posterior.parameters()]
    assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)


def test_the_mmd_term_is_unbiased_with_a_mixture_prior_whose_draws_are_spread() -> None:
    torch.manual_seed(0)
    prior = Mixture(2, 10).double()
    with torch.no_grad():
        prior.loc.mul_(6)
    equal = prior({})
    assert isinstance(equal, MixtureSameFamily)
    drawn = [MixtureSameFamily.sample(equal, torch.Size((8,)))[None] for _ in range(1500)]
    draws: list[Any] = [SimpleNamespace(log_share=None, latents={"z": SimpleNamespace(z=z, p=equal)}) for z in drawn]
    found = torch.stack([MMD()(draw) for draw in draws])
    assert found.mean().abs() < 4 * found.std() / math.sqrt(len(found))


def test_mmd_refuses_what_it_cannot_compute() -> None:
    with pytest.raises(ValueError, match=r"kernel is one of \['imq', 'rbf'\]; got 'linear'"):
        MMD("linear")
    with pytest.raises(ValueError, match="scale is a positive number; got 0"):
        MMD(scale=0)
    with pytest.raises(ValueError, match="at least 2 samples on each side; got 1 and 2"):
        mmd(torch.zeros(1, 2), torch.zeros(2, 2))
    assert repr(MMD("imq", 2.0)) == "MMD('imq', scale=2.0)"


def test_marginals_are_those_of_each_coordinate() -> None:
    torch.manual_seed(0)
    loc, tril = torch.randn(3, 2).double(), torch.randn(3, 2, 2).double().tril()
    tril.diagonal(dim1=-2, dim2=-1).abs_().add_(0.2)
    full = CholeskyNormal(loc, scale_tril=tril)
    deviations = (tril @ tril.mT).diagonal(dim1=-2, dim2=-1).sqrt()
    flat = diagonal(loc, deviations)
    x = torch.randn(7, 3, 2).double()
    expected = Normal(loc, deviations).log_prob(x)
    for law in (full, flat):
        found = marginals(law)
        assert found is not None
        assert found.event_shape == ()
        torch.testing.assert_close(found.log_prob(x), expected)
        logits = torch.randn(3).double()
        mixed = marginals(mixture(logits, law))
        assert mixed is not None
        each = (logits.log_softmax(0)[:, None] + Normal(loc, deviations).log_prob(x[:, :1])).logsumexp(1)
        torch.testing.assert_close(mixed.log_prob(x[:, 0]), each)


def test_marginals_are_none_where_no_closed_form_is_known() -> None:
    law = torch.distributions.Dirichlet(torch.ones(3))
    assert marginals(law) is None
    assert (
        marginals(mixture(torch.zeros(2), Independent(torch.distributions.Laplace(torch.zeros(2, 3), 1.0), 1))) is None
    )


def test_factorised_kl_sums_to_the_whole() -> None:
    latent = model_of(DiagonalNormal(), StandardNormal(3))({"x": torch.randn(5, 4)}).latents["z"]
    torch.testing.assert_close(factorised_kl(latent).sum(-1), kl_divergence(latent.q, latent.p))
