from __future__ import annotations

import math
from copy import copy as copied

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributions as td
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from polyvae.model.distributions.bernoulli import Bernoulli
from polyvae.model.distributions.normal import CholeskyNormal, OptimalNormal, SharedNormal
from polyvae.model.distributions.point import Point

sides = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def full(batch: tuple[int, ...], size: int) -> CholeskyNormal:
    below = randn(*batch, size, size).tril(-1)
    tril = below + (0.3 + torch.rand(*batch, size, dtype=torch.float64)).diag_embed()
    return CholeskyNormal(randn(*batch, size), scale_tril=tril, validate_args=False)


def diagonal(batch: tuple[int, ...], size: int) -> Independent:
    scale = 0.3 + torch.rand(*batch, size, dtype=torch.float64)
    return Independent(Normal(randn(*batch, size), scale, validate_args=False), 1, validate_args=False)


@settings(max_examples=25, deadline=None)
@given(event=sides, rows=st.integers(1, 4), samples=st.integers(1, 3))
def test_bernoulli_is_torchs_for_every_shape_and_broadcast(event, rows, samples) -> None:
    logits = 5 * randn(samples, rows, *event)
    x = torch.randint(2, (rows, *event)).double()
    ours = Bernoulli(logits, len(event))
    theirs = Independent(td.Bernoulli(logits=logits), len(event))
    assert ours.batch_shape == theirs.batch_shape
    assert ours.event_shape == theirs.event_shape
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    rows_only = Bernoulli(logits[0], len(event))
    torch.testing.assert_close(rows_only.log_prob(x.expand(2, rows, *event)), theirs.log_prob(x)[:1].expand(2, rows))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    folded = Bernoulli(logits.flatten(0, 1), len(event)).unfold(samples)
    assert torch.equal(folded.log_prob(x), ours.log_prob(x))
    assert folded.batch_shape == (samples, rows)


def test_bernoulli_sums_to_one_and_is_discrete() -> None:
    law = Bernoulli(3 * randn(4))
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 4)
    assert law.log_prob(every).exp().sum().item() == pytest.approx(1)
    assert law.support.is_discrete
    assert law.support.check(every).all()


def test_bernoulli_on_grey_values_is_the_cross_entropy() -> None:
    logits, x = 4 * randn(3, 7), torch.rand(3, 7, dtype=torch.float64)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    torch.testing.assert_close(Bernoulli(logits).log_prob(x), -entropy)


def test_bernoulli_samples_have_its_mean() -> None:
    torch.manual_seed(0)
    law = Bernoulli(randn(2, 3))
    x = law.sample((20_000,))
    assert x.shape == (20_000, 2, 3)
    torch.testing.assert_close(x.mean(0), law.mean, atol=0.02, rtol=0)


@pytest.mark.parametrize("make", [lambda p: Bernoulli(p, 2), lambda p: SharedNormal(p, torch.tensor(0.7), 2)])
def test_slabs_change_nothing(make, monkeypatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("polyvae.model.distributions.law._SLAB", 7 * 12)  # rows that do not divide the batch
    parameter, x = torch.randn(31, 3, 4), torch.rand(31, 3, 4)
    with_gradient = parameter.clone().requires_grad_()
    torch.testing.assert_close(make(parameter).log_prob(x), make(with_gradient).log_prob(x).detach())
    single = make(parameter).log_prob(x[0])
    torch.testing.assert_close(single, make(with_gradient).log_prob(x[0]).detach())
    torch.testing.assert_close(make(parameter).log_prob(x[:1]), single)
    repeated = make(parameter).log_prob(x.expand(2, 31, 3, 4))
    torch.testing.assert_close(repeated, make(with_gradient).log_prob(x).detach().expand(2, 31))
    many = make(parameter.expand(5, 31, 3, 4)).log_prob(x)
    torch.testing.assert_close(many, repeated[:1].expand(5, 31))


@settings(max_examples=25, deadline=None)
@given(event=sides, rows=st.integers(1, 4))
def test_shared_normal_is_torchs(event, rows) -> None:
    loc, x, scale = randn(rows, *event), randn(2, rows, *event), torch.tensor(0.37, dtype=torch.float64)
    ours, theirs = SharedNormal(loc, scale, len(event)), Independent(Normal(loc, scale), len(event))
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.variance, theirs.variance)
    assert torch.equal(ours.mean, loc)
    assert ours.expand((3, rows)).log_prob(x[0]).shape == (3, rows)
    assert not ours.support.is_discrete


def test_shared_normal_samples_have_its_moments() -> None:
    torch.manual_seed(0)
    law = SharedNormal(randn(2, 3), torch.tensor(0.5, dtype=torch.float64))
    x = law.rsample((20_000,))
    torch.testing.assert_close(x.mean(0), law.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(x.var(0), law.variance, atol=0.02, rtol=0)


def test_trap51_a_copy_with_detached_parameters_keeps_the_path_through_its_draw() -> None:
    """E |z|^2 / 2 + log q(z), parameters detached in log q: at a small scale s the gradient s - 1 / s is negative."""
    torch.manual_seed(0)
    loc = torch.zeros(1000, 1, dtype=torch.float64)
    scale = torch.full((1000, 1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    q = CholeskyNormal(loc, scale_tril=scale, validate_args=False)
    z = q.rsample()
    fixed = copied(q)
    for name in ("loc", "scale_tril", "_unbroadcasted_scale_tril"):
        setattr(fixed, name, getattr(q, name).detach())
    assert not fixed.scale_tril.requires_grad
    cost = 0.5 * z.square().sum() + fixed.log_prob(z).sum()
    (ours,) = torch.autograd.grad(cost, scale, retain_graph=True)
    eps = (z / 0.5).detach()
    torch.testing.assert_close(ours.flatten(), (eps.square() * (0.5 - 1 / 0.5)).flatten())
    assert ours.mean() < 0
    whole = 0.5 * z.square().sum() + q.log_prob(z).sum()  # undetached: the same in expectation
    (known,) = torch.autograd.grad(whole, scale)
    assert known.mean().item() == pytest.approx(ours.mean().item(), rel=0.1)


@pytest.mark.parametrize("samples", [1, 4])
def test_bits_are_scored_by_the_cheaper_gradient_also_as_a_model_scores_them(samples, monkeypatch) -> None:
    calls = []
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    monkeypatch.setattr(
        torch.nn.functional, "binary_cross_entropy_with_logits", lambda *a, **k: calls.append(1) or plain(*a, **k)
    )
    logits = randn(samples * 3, 2, 5).requires_grad_()
    x = torch.randint(2, (3, 2, 5)).double()
    score = Bernoulli(logits, 2).unfold(samples).log_prob(x)
    assert calls == [1]
    expected = Independent(td.Bernoulli(logits=logits.unflatten(0, (samples, 3))), 2).log_prob(x)
    torch.testing.assert_close(score, expected)
    torch.testing.assert_close(*[torch.autograd.grad(value.sum(), logits)[0] for value in (score, expected)])


def test_optimal_normal_takes_the_scale_that_scores_best() -> None:
    loc, x = randn(8, 2, 3), randn(8, 2, 3)
    seen: list[Tensor] = []
    law = OptimalNormal(loc, torch.tensor(1.0, dtype=torch.float64), 2, floor=1e-3, observe=seen.append)
    best = law.log_prob(x)
    torch.testing.assert_close(seen[0], (x - loc).square().mean())
    torch.testing.assert_close(best, SharedNormal(loc, seen[0].sqrt(), 2).log_prob(x))
    for factor in (0.9, 1.1):
        assert SharedNormal(loc, factor * seen[0].sqrt(), 2).log_prob(x).sum() < best.sum()
    other = law.expand((2, 8))
    assert isinstance(other, OptimalNormal)
    torch.testing.assert_close(other.log_prob(x), best.expand(2, 8))


def test_optimal_normal_gradient_is_that_of_half_the_log_mean_square() -> None:
    loc = randn(5, 4).requires_grad_()
    x = randn(5, 4)
    law = OptimalNormal(loc, torch.tensor(1.0, dtype=torch.float64), 1, floor=1e-3)
    (ours,) = torch.autograd.grad(-law.log_prob(x).sum(), loc)
    (closed,) = torch.autograd.grad(0.5 * x.numel() * (x - loc).square().mean().log(), loc)
    torch.testing.assert_close(ours, closed)


def test_optimal_normal_is_finite_on_a_perfect_fit() -> None:
    loc = torch.zeros(3, 4, requires_grad=True)
    score = OptimalNormal(loc, torch.tensor(1.0), 1, floor=1e-3).log_prob(torch.zeros(3, 4)).sum()
    score.backward()
    assert score.isfinite()
    assert loc.grad is not None
    assert loc.grad.isfinite().all()


def test_point_returns_its_value_and_scores_infinity_there_only() -> None:
    value = randn(3, 2, 2).requires_grad_()
    law = Point(value, 2)
    z = law.rsample((4,))
    assert z.shape == (4, 3, 2, 2)
    assert (law.log_prob(z) == math.inf).all()
    assert law.log_prob(z).shape == (4, 3)
    moved = value.detach().clone()
    moved[1, 0, 1] += 1
    assert law.log_prob(moved).tolist() == [math.inf, -math.inf, math.inf]
    assert torch.equal(law.mean, value)
    assert law.variance.abs().max() == 0
    assert law.expand((2, 3)).mean.shape == (2, 3, 2, 2)
    z.sum().backward()
    assert value.grad is not None
    assert (value.grad == 4).all()


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 5), rows=st.integers(1, 3), samples=st.sampled_from([(), (1,), (4,), (2, 3)]))
def test_the_jacobian_gives_the_log_density_that_a_solve_gives(size, rows, samples) -> None:
    law = full((rows,), size)
    z, by_jacobian = law.rsample_and_log_prob(samples)
    by_solve = law.log_prob(z)
    assert by_jacobian.shape == (*samples, rows)
    torch.testing.assert_close(by_jacobian, by_solve)
    torch.testing.assert_close(by_solve, MultivariateNormal(law.loc, scale_tril=law.scale_tril).log_prob(z))


def test_both_routes_have_the_same_gradient() -> None:
    gradients = []
    for together in (True, False):
        torch.manual_seed(0)
        loc = randn(3, 4).requires_grad_()
        tril = (randn(3, 4, 4).tril(-1) + torch.eye(4)).requires_grad_()
        law = CholeskyNormal(loc, scale_tril=tril, validate_args=False)
        z, density = law.rsample_and_log_prob((5,)) if together else (z := law.rsample((5,)), law.log_prob(z))
        (density + z.square().sum(-1)).sum().backward()
        gradients.append((loc.grad, tril.grad.tril()))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_no_draw_is_remembered() -> None:
    law = full((2,), 3)
    first, second = law.rsample(), law.rsample()
    reference = MultivariateNormal(law.loc, scale_tril=law.scale_tril)
    for z in (first, second):
        torch.testing.assert_close(law.log_prob(z), reference.log_prob(z))
    wide = law.expand((4, 2))
    z = wide.rsample()
    torch.testing.assert_close(wide.log_prob(z), reference.log_prob(z))


def test_full_normal_samples_have_its_covariance() -> None:
    torch.manual_seed(0)
    law = full((), 3)
    z = law.rsample((100_000,))
    torch.testing.assert_close(z.mean(0), law.loc, atol=0.02, rtol=0)
    torch.testing.assert_close(z.T.cov(), law.covariance_matrix, atol=0.05, rtol=0.02)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 5), p_batch=st.sampled_from([(), (3,)]), q_batch=st.sampled_from([(), (3,)]))
def test_divergences_between_full_and_diagonal_are_torchs(size, p_batch, q_batch) -> None:
    p, q = full(p_batch, size), diagonal(q_batch, size)
    q_full = MultivariateNormal(q.mean, scale_tril=q.base_dist.scale.diag_embed())
    reference = MultivariateNormal(p.loc, scale_tril=p.scale_tril)
    batch = torch.broadcast_shapes(p_batch, q_batch)
    for ours, theirs in [
        (kl_divergence(p, q), kl_divergence(reference, q_full)),
        (kl_divergence(q, p), kl_divergence(q_full, reference)),
    ]:
        assert ours.shape == batch
        assert (ours >= 0).all()
        torch.testing.assert_close(ours, theirs)


def test_divergence_of_a_law_to_itself_is_zero() -> None:
    q = diagonal((3,), 4)
    p = CholeskyNormal(q.mean, scale_tril=q.base_dist.scale.diag_embed(), validate_args=False)
    zero = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(kl_divergence(p, q), zero)
    torch.testing.assert_close(kl_divergence(q, p), zero)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2)])
def test_analytic_divergence_is_the_sampled_one(order) -> None:
    torch.manual_seed(0)
    prior = Independent(Normal(torch.zeros(3).double(), torch.ones(3).double()), 1)
    laws = [full((2,), 3), diagonal((2,), 3), prior]
    p, q = laws[order[0]], laws[order[1]]
    z = p.rsample((100_000,))
    difference = p.log_prob(z) - q.log_prob(z)
    error = difference.std(0) / math.sqrt(len(z))
    assert ((difference.mean(0) - kl_divergence(p, q)).abs() < 4 * error).all()


def test_divergence_of_a_point_is_infinite() -> None:
    point = Point(randn(3, 4))
    for q in (diagonal((), 4), diagonal((3,), 4), full((3,), 4)):
        assert kl_divergence(point, q).tolist() == [math.inf] * 3


def test_divergence_without_closed_form_says_so() -> None:
    laplace = Independent(td.Laplace(randn(4), torch.ones(4).double()), 1)
    for pair in [(full((), 4), laplace), (laplace, full((), 4))]:
        with pytest.raises(NotImplementedError, match="closed form"):
            kl_divergence(*pair)


def test_event_dimensions_must_exist() -> None:
    for wrong in (0, 3):
        with pytest.raises(ValueError, match="event_dim"):
            Bernoulli(randn(3, 4), wrong)


def test_repr_shows_the_shapes() -> None:
    assert repr(Bernoulli(randn(3, 4))) == "Bernoulli(batch [3], event [4])"
