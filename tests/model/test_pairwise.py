"""Laws coupled in pairs beside closed forms and numerical integration."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from polyvae.model.distributions.pairwise import Couplings, Gibbs, Pairwise
from polyvae.model.priors.pairwise import MARGIN, Coupling

MANY = Gibbs(sweeps=8, burn_in=12, temperatures=64, particles=20_000)


def coupling(*sizes: int, seed: int = 0, square: bool = True, start: float = 0.5) -> Coupling:
    """Random couplings, in double precision; those of the squares are strong."""
    torch.manual_seed(seed)
    made = Coupling({f"z{n}": size for n, size in enumerate(sizes)}, square, start).double()
    with torch.no_grad():
        made.factor.add_(0.3 * torch.randn_like(made.factor))
        if made.raw is not None:
            made.raw.copy_(torch.randn_like(made.raw) + 1)
    return made


def natural(rows: int, size: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(rows, size).double(), -torch.rand(rows, size).double()


class Grid:
    """One-dimensional latents on a grid: every expectation by a sum."""

    def __init__(self, dimensions: int, points: int = 240, reach: float = 9.0) -> None:
        line = torch.linspace(-reach, reach, points).double()
        self.z = torch.stack(torch.meshgrid(*[line] * dimensions, indexing="ij"), -1).flatten(0, -2)
        self.log_cell = dimensions * math.log(2 * reach / (points - 1))

    def log_z(self, law: Pairwise) -> Tensor:
        return self._energy(law).logsumexp(0) + self.log_cell

    def log_density(self, law: Pairwise) -> Tensor:
        return self._energy(law) - self.log_z(law)

    def mean(self, law: Pairwise, value: Tensor) -> Tensor:
        """The expectation of a value at the points [N, ...], [*batch, ...]."""
        share = (self.log_density(law) + self.log_cell).exp()
        return torch.einsum("n...,nd->...d", share, value)

    def kl(self, q: Pairwise, p: Pairwise) -> Tensor:
        log_q, log_p = self.log_density(q), self.log_density(p).unsqueeze(-1)
        return ((log_q + self.log_cell).exp() * (log_q - log_p)).sum(0)

    def _energy(self, law: Pairwise) -> Tensor:
        return law.energy(self.z.unsqueeze(1) if law.batch_shape else self.z)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_any_weights_make_couplings_of_a_law_that_is_normalisable(sizes: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    made = Coupling({f"z{n}": size for n, size in enumerate(sizes)}).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(10 * torch.randn_like(weight))
    found = made()
    least = torch.linalg.eigvalsh(torch.eye(sum(sizes)) - found.linear).min()
    assert least >= MARGIN - 1e-9
    assert (found.square >= 0).all()
    for each in (found.linear, found.square):
        torch.testing.assert_close(each, each.T)
        for block in torch.block_diag(*(torch.ones(size, size) for size in sizes)).nonzero():
            assert each[tuple(block)] == 0


def test_precisions_of_conditionals_do_not_make_a_law_which_is_why_the_least_eigenvalue_is_bounded() -> None:
    linear = torch.tensor([[0.0, 1.1], [1.1, 0.0]]).double()
    law = Pairwise(Couplings(linear, torch.zeros_like(linear), (1, 1)))
    assert torch.linalg.eigvalsh(torch.eye(2) - linear).min() < 0
    far = torch.tensor([[1.0, 1.0], [10.0, 10.0]]).double()
    assert law.energy(far)[1] > law.energy(far)[0]  # it grows without end, though each conditional is N(1.1 z, 1)
    with pytest.raises(torch.linalg.LinAlgError):
        law.rsample()


@pytest.mark.parametrize("sizes", [(2, 2), (3, 1), (1, 1, 1)])
def test_correlations_near_one_are_reached(sizes: tuple[int, ...]) -> None:
    made = Coupling({f"z{n}": size for n, size in enumerate(sizes)}, square=False, start=0.985).double()
    covariance = torch.linalg.inv(torch.eye(sum(sizes)) - made().linear)
    first = covariance[0, sizes[0]] / (covariance[0, 0] * covariance[sizes[0], sizes[0]]).sqrt()
    assert first > 0.97


def test_every_coupling_within_the_margin_is_reached() -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(3, 2).double(), full_matrices=False)
    wanted = torch.zeros(5, 5).double()
    wanted[:3, 3:] = u @ torch.tensor([0.98, -0.4]).double().diag() @ v
    wanted = wanted + wanted.T
    made = Coupling({"a": 3, "b": 2}).double()
    with torch.no_grad():
        made.factor.copy_(torch.linalg.cholesky(torch.eye(5) - wanted / (1 - MARGIN)))
    torch.testing.assert_close(made().linear, wanted)


@given(st.lists(st.integers(1, 3), min_size=2, max_size=3), st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_trap_21_without_couplings_of_squares_the_law_is_the_known_normal(sizes: list[int], seed: int) -> None:
    made, nu = coupling(*sizes, seed=seed, square=False)().detached(), natural(4, sum(sizes), seed)
    law = Pairwise(made, Gibbs(sweeps=3, burn_in=2, temperatures=2, particles=1), nu)
    precision = torch.eye(sum(sizes)) - made.linear + (-2 * nu[1]).diag_embed()
    mean = torch.linalg.solve(precision, nu[0])
    normal = MultivariateNormal(mean, precision_matrix=precision)
    z = torch.randn(7, 4, sum(sizes)).double()
    torch.testing.assert_close(law.log_prob(z), normal.log_prob(z))
    log_z = 0.5 * ((nu[0] * mean).sum(-1) - torch.logdet(precision))
    torch.testing.assert_close(law.log_partition, log_z)
    torch.testing.assert_close(law.mean, mean)
    torch.manual_seed(0)
    draws = law.sample((40_000,))
    torch.testing.assert_close(draws.mean(0), mean, atol=0.03 * float(normal.stddev.max()), rtol=0)
    for row in range(4):
        torch.testing.assert_close(
            draws[:, row].T.cov(), normal.covariance_matrix[row], atol=0.05 * float(normal.variance.max()), rtol=0
        )


def test_trap_21_the_kl_of_normal_laws_is_that_of_torch_and_so_is_its_gradient() -> None:
    made, (nu1, nu2) = coupling(2, 1, square=False), natural(1, 3)
    nu1.requires_grad_(), nu2.requires_grad_()

    def normal(nu: tuple[Tensor, Tensor] | None) -> MultivariateNormal:
        precision = torch.eye(3) - made().linear
        if nu is None:
            return MultivariateNormal(torch.zeros(3).double(), precision_matrix=precision)
        precision = precision + (-2 * nu[1]).diag_embed()
        return MultivariateNormal(torch.linalg.solve(precision, nu[0]), precision_matrix=precision)

    wanted = kl_divergence(normal((nu1, nu2)), normal(None)).sum()
    weights = (nu1, nu2, made.factor)
    expected = torch.autograd.grad(wanted, weights)
    torch.manual_seed(0)
    how = Gibbs(sweeps=2, particles=100_000, temperatures=1)
    q, p = Pairwise(made(), how, (nu1, nu2)), Pairwise(made(), how)
    z = q.rsample((100_000,))
    found = (q.log_prob(z) - p.log_prob(z)).mean()
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)
    for one, other in zip(torch.autograd.grad(found, weights), expected, strict=True):
        torch.testing.assert_close(one, other, atol=0.03, rtol=0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_trap_21_one_dimensional_latents_agree_with_integration(dimensions: int) -> None:
    made, nu = coupling(*[1] * dimensions, seed=3)().detached(), natural(3, dimensions)
    grid = Grid(dimensions, 240 if dimensions == 2 else 70)
    torch.manual_seed(0)
    for law in (Pairwise(made, MANY, nu), Pairwise(made, MANY)):
        torch.testing.assert_close(law.log_partition, grid.log_z(law), atol=0.01, rtol=0)
        assert (law.base_log_partition > law.log_partition + 0.05).all()  # the squares matter here
        density = law.log_prob(grid.z.unsqueeze(1) if law.batch_shape else grid.z)
        torch.testing.assert_close(
            (density + grid.log_cell).exp().sum(0), torch.ones_like(law.log_partition), atol=0.01, rtol=0
        )
        z = law.sample((40_000,))
        for power in (1, 2, 4):
            wanted = grid.mean(law, grid.z**power)
            torch.testing.assert_close((z**power).mean(0), wanted, atol=0.04 * float(wanted.abs().max() + 1), rtol=0)
        crossed = grid.mean(law, (grid.z[:, :1] * grid.z[:, 1:2]) ** 2)
        torch.testing.assert_close((z[..., :1] * z[..., 1:2]).square().mean(0), crossed, atol=0.03, rtol=0)
        torch.testing.assert_close(law.mean, grid.mean(law, grid.z), atol=0.1, rtol=0)
        torch.testing.assert_close(
            law.variance, grid.mean(law, grid.z**2) - grid.mean(law, grid.z) ** 2, atol=0.2, rtol=0
        )


def test_annealing_errs_to_either_side_and_a_few_temperatures_err_more() -> None:
    made, grid = coupling(1, 1, seed=3)().detached(), Grid(2)
    errors, above = [], []
    for temperatures in (1, 32):
        law = Pairwise(made, Gibbs(temperatures=temperatures, particles=1), natural(1, 2))
        rows = Pairwise(made, law.how, tuple(each.expand(20_000, -1) for each in (law.nu1, law.nu2)))  # pyright: ignore
        torch.manual_seed(0)
        wanted = grid.log_z(law)
        errors.append(float(rows.annealed()[0].mean() - wanted))
        states = rows.swept(rows.sample(), 20)
        above.append(float(rows.annealed_back(states.unsqueeze(0)).mean() - wanted))
        torch.testing.assert_close(
            (rows.annealed()[0] - wanted).exp().mean(), torch.tensor(1.0).double(), atol=0.02, rtol=0
        )
    assert errors[0] < errors[1] < 0 < above[1] < above[0]


def kl_gradients(sweeps: int, burn_in: int) -> tuple[list[Tensor], list[Tensor]]:
    """The gradient of KL(q || p) in nu1, nu2, W's and V's weights: by sampling, and by integration."""
    made, (nu1, nu2), grid = coupling(1, 1, seed=3), natural(1, 2), Grid(2)
    assert made.raw is not None
    weights = (nu1.requires_grad_(), nu2.requires_grad_(), made.factor, made.raw)
    p = Pairwise(made())
    q = Pairwise(made(), nu=(nu1, nu2))
    expected = torch.autograd.grad(grid.kl(q, p).sum(), weights)
    torch.manual_seed(0)
    how = Gibbs(sweeps, burn_in, temperatures=64, particles=200_000)
    q, p = Pairwise(made(), how, (nu1, nu2)), Pairwise(made(), how)
    z = q.rsample((200_000,))
    found = torch.autograd.grad((q.log_prob(z) - p.log_prob(z)).mean(), weights)
    return list(found), list(expected)


def test_trap_21_the_gradient_of_the_kl_has_the_cross_terms() -> None:
    for one, other in zip(*kl_gradients(sweeps=10, burn_in=0), strict=True):
        torch.testing.assert_close(one, other, atol=0.015, rtol=0)


def test_the_gradient_misses_less_and_less_as_more_sweeps_are_followed_back() -> None:
    missed = []
    for sweeps in (1, 4):
        found, expected = kl_gradients(sweeps, burn_in=20)
        missed.append(max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True)))
    assert missed[1] < 0.02 < 0.03 < missed[0]  # 0.047 and, within the noise, none


def test_the_gradient_of_the_density_at_a_point_is_that_of_integration() -> None:
    made, (nu1, nu2), grid = coupling(1, 1, seed=3), natural(1, 2), Grid(2)
    assert made.raw is not None
    weights = (nu1.requires_grad_(), nu2.requires_grad_(), made.factor, made.raw)
    z = torch.tensor([[0.7, -1.2]]).double()
    law = Pairwise(made(), nu=(nu1, nu2))
    expected = torch.autograd.grad((law.energy(z) - grid.log_z(law)).sum(), weights)
    torch.manual_seed(0)
    law = Pairwise(made(), MANY, (nu1, nu2))
    for one, other in zip(torch.autograd.grad(law.log_prob(z).sum(), weights), expected, strict=True):
        torch.testing.assert_close(one, other, atol=0.02, rtol=0)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    made, (nu1, nu2) = coupling(2, 3)().detached(), natural(4, 5)
    other = nu1.clone(), nu2.clone()
    other[0][1:], other[1][1:] = 100.0, -5.0
    found = []
    for nu in ((nu1, nu2), other):
        torch.manual_seed(0)
        law = Pairwise(made, Gibbs(burn_in=2), nu)
        found.append((law.sample((3,))[:, 0], law.log_partition[0], law.mean[0], law.variance[0]))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_the_mean_is_the_same_at_every_call_whatever_the_generator() -> None:
    law, again = (Pairwise(coupling(2, 2)(), nu=natural(3, 4)) for _ in range(2))
    torch.manual_seed(1)
    first = law.mean
    torch.manual_seed(2)
    assert torch.equal(first, again.mean)


def test_a_detached_law_takes_no_gradient_and_scores_the_same() -> None:
    made, (nu1, nu2) = coupling(1, 1), natural(2, 2)
    law = Pairwise(made(), nu=(nu1.requires_grad_(), nu2), log_z=torch.zeros(2).double())
    z = torch.randn(2, 2).double()
    assert not law.detached().log_prob(z).requires_grad
    torch.testing.assert_close(law.detached().log_prob(z), law.log_prob(z).detach())
