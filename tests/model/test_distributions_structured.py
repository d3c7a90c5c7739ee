"""Normals whose values depend on each other, beside the same normals written out as matrices."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

import polyvae as pv
from polyvae.model import families
from polyvae.model.distributions.law import HALF_LOG_TWO_PI
from polyvae.model.distributions.structured import StructuredNormal, later
from polyvae.model.laws import detached, log_likelihood, value_log_prob

EVENTS = st.sampled_from(
    [(1, 1, 1), (1, 3, 4), (3, 2, 3), (2, 4, 1), (2, 1, 5), (3, 4, 2), (1, 5, 5), (4,), (1,), (2, 5)]
)


def law_of(event: tuple[int, ...], radius: int, rows: int = 2, dtype: torch.dtype = torch.float64) -> StructuredNormal:
    family = families.StructuredNormal(radius)
    law = family(torch.randn(rows, family.size(event[0]), *event[1:], dtype=dtype))
    law.weights.mul_(5)
    assert isinstance(law, StructuredNormal)
    return law


def factor(law: StructuredNormal, row: int) -> Tensor:
    """L of one row, [D, D], written out value by value, in row-major order of places with channels innermost."""
    channels, (height, width) = law.event_shape[0], (1, 1, *law.event_shape[1:])[-2:]
    scale = law.scale[row].reshape(channels, height, width)
    weights = law.weights[row].reshape(-1, channels, channels, height, width)

    def place(i: int, j: int, c: int) -> int:
        return (i * width + j) * channels + c

    made = torch.zeros(scale.numel(), scale.numel(), dtype=scale.dtype)
    for i in range(height):
        for j in range(width):
            for c in range(channels):
                own = place(i, j, c)
                made[own, own] = 1 / scale[c, i, j]
                for k, (down, right) in enumerate([(0, 0), *later(law.radius)]):
                    there = (i + down, j + right)
                    if there[0] < height and 0 <= there[1] < width:
                        for other in range(channels):
                            if (down, right) != (0, 0) or other > c:
                                at = place(*there, other)
                                made[at, own] = -weights[k, c, other, i, j] / scale[c, i, j]
    return made


def in_order(value: Tensor, event: tuple[int, ...]) -> Tensor:
    """Values [..., *event] as vectors in the order of the factor."""
    return value.movedim(-len(event), -1).flatten(-len(event))


@settings(max_examples=40, deadline=None)
@given(event=EVENTS, radius=st.integers(0, 2), seed=st.integers(0, 9))
def test_density_determinant_and_variance_are_those_of_the_dense_matrix(event, radius, seed) -> None:
    torch.manual_seed(seed)
    law = law_of(event, radius)
    x = torch.randn(3, 2, *event, dtype=torch.float64)
    for row in range(2):
        tril = factor(law, row)
        assert torch.equal(tril, tril.tril())
        assert (tril.diagonal() > 0).all()
        dense = MultivariateNormal(in_order(law.loc[row], event), precision_matrix=tril @ tril.T)
        torch.testing.assert_close(law.log_prob(x)[:, row], dense.log_prob(in_order(x[:, row], event)))
        torch.testing.assert_close(in_order(law.variance[row], event), dense.variance)
        centred = law.log_prob(law.mean)[row] + tril.shape[0] * HALF_LOG_TWO_PI
        torch.testing.assert_close(2 * centred, torch.linalg.slogdet(tril @ tril.T)[1])


@settings(max_examples=40, deadline=None)
@given(event=EVENTS, radius=st.integers(0, 2), seed=st.integers(0, 9))
def test_a_draw_solves_the_triangular_system(event, radius, seed) -> None:
    torch.manual_seed(seed)
    law = law_of(event, radius)
    x = law.rsample((5,))
    torch.manual_seed(seed + 100)
    again = law.rsample((5,))
    torch.manual_seed(seed + 100)
    eps = torch.randn(5, 2, *event, dtype=torch.float64)
    torch.testing.assert_close(law.noise(again), eps)
    assert law.noise(x).shape == x.shape
    for row in range(2):
        solved = torch.linalg.solve(factor(law, row).T, in_order(eps[:, row], event).T).T
        torch.testing.assert_close(in_order(again[:, row] - law.loc[row], event), solved)


def test_draws_have_the_covariance_of_the_dense_inverse() -> None:
    torch.manual_seed(0)
    law, event = law_of((2, 3, 2), 1, rows=1), (2, 3, 2)
    tril = factor(law, 0)
    x = in_order(law.sample((200_000,))[:, 0], event)
    expected = torch.linalg.inv(tril @ tril.T)
    spread = expected.diagonal().sqrt()
    torch.testing.assert_close(x.T.cov() / spread.outer(spread), expected / spread.outer(spread), atol=0.02, rtol=0)
    assert (expected - torch.diag(expected.diagonal())).abs().max() > 0.1


@pytest.mark.parametrize("radius", [0, 1, 2])
def test_without_weights_it_is_the_independent_normal_of_its_scales(radius) -> None:
    family, plain = families.StructuredNormal(radius).double(), families.PixelNormal("network").double()
    raw = torch.randn(2, family.size(3), 4, 5, dtype=torch.float64)
    raw[:, 6:] = 0
    law, expected = family(raw), plain(raw[:, :6])
    x = torch.randn(7, 2, 3, 4, 5, dtype=torch.float64)
    assert torch.equal(law.mean, expected.mean)
    torch.testing.assert_close(law.log_prob(x), expected.log_prob(x), rtol=1e-14, atol=1e-13)
    torch.testing.assert_close(law.variance, expected.variance, rtol=1e-14, atol=0)
    torch.manual_seed(0)
    drawn = law.sample((3,))
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, expected.sample((3,)), rtol=1e-14, atol=1e-14)


def test_what_lies_beyond_the_edge_is_not_read() -> None:
    """A row's last place has no right neighbour: the next row's first is none."""
    law = law_of((1, 2, 3), 1, rows=1)
    law.weights.zero_()
    law.weights[:, 1, :, :, :, -1] = 5.0  # the step to the right, of the last column
    expected = Independent(Normal(law.loc, law.scale), 3)
    x = torch.randn(1, 1, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(law.log_prob(x), expected.log_prob(x))


def test_every_number_of_the_network_that_is_read_has_a_gradient() -> None:
    torch.manual_seed(0)
    family = families.StructuredNormal(1)
    raw = torch.randn(2, family.size(2), 3, 3, dtype=torch.float64, requires_grad=True)
    (scored,) = torch.autograd.grad(family(raw).log_prob(torch.randn(2, 2, 3, 3).double()).sum(), raw)
    (drawn,) = torch.autograd.grad(family(raw).rsample().square().sum(), raw)
    for gradient in (scored, drawn):
        assert gradient.isfinite().all()
        assert (gradient[..., 1, 1] != 0).all()
    assert (scored[:, 5:9, :, -1] == 0).all()  # those to the right of the last column

    def density(value: Tensor) -> Tensor:
        return family(value).log_prob(torch.ones(1, 2, 2, 2, dtype=torch.float64))

    def draw(value: Tensor) -> Tensor:
        torch.manual_seed(1)
        return family(value).rsample()

    small = raw[:1, :, :2, :2].detach().requires_grad_()
    assert torch.autograd.gradcheck(density, small)
    assert torch.autograd.gradcheck(draw, small)


def test_gradients_are_finite_at_extremes_of_pictures() -> None:
    family = families.StructuredNormal(1)
    for extreme in (-50.0, 50.0):
        raw = torch.full((2, family.size(3), 4, 4), extreme, requires_grad=True)
        score = family(raw).log_prob(torch.rand(2, 3, 4, 4))
        (gradient,) = torch.autograd.grad(score.sum(), raw)
        assert score.isfinite().all()
        assert gradient.isfinite().all()


def test_a_law_unfolds_expands_and_detaches() -> None:
    law, x = law_of((2, 3, 3), 1, rows=6), torch.randn(3, 2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(law.unfold(2).log_prob(x), law.log_prob(x.repeat(2, 1, 1, 1)).view(2, 3))
    torch.testing.assert_close(log_likelihood(law, x, 2), law.unfold(2).log_prob(x))
    assert law.unfold(2).sample((4,)).shape == (4, 2, 3, 2, 3, 3)
    assert law.expand((5, 6)).sample().shape == (5, 6, 2, 3, 3)
    raw = torch.randn(1, 45 + 6, 2, 2, requires_grad=True)
    assert not detached(families.StructuredNormal(1)(raw[:, :45])).log_prob(torch.zeros(3, 2, 2)).requires_grad


def test_values_have_no_density_of_their_own_and_wide_pictures_no_variance() -> None:
    law = law_of((3, 8, 8), 1)
    with pytest.raises(ValueError, match="likelihood of independent values; got StructuredNormal"):
        value_log_prob(law, law.mean)
    with pytest.raises(NotImplementedError, match="variances of 192 values"):
        _ = law.variance
    with pytest.raises(ValueError, match="up to two dimensions of places; got 4 dimensions"):
        families.StructuredNormal(0)(torch.randn(2, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="neighbourhood counts rows and columns, at least 0; got -1"):
        families.StructuredNormal(-1)


def test_a_table_is_one_place_whose_columns_all_depend_on_each_other() -> None:
    for shape, expected in (((5,), 0), ((1, 8, 8), 1), ((2, 9), 1)):
        assert families.likelihood("structured", None, shape).neighbourhood == expected
    made = pv.recipes.structured_residuals(pv.Spec((5,), levels=None), latent=2, network="mlp", widths=(6,), seed=0)
    assert made.model.heads["x"].likelihood.family.neighbourhood == 0


@pytest.mark.parametrize("radius", [1, 2])
def test_wide_pictures_are_drawn_and_scored_without_a_matrix(radius) -> None:
    """A dense factor of one would hold 12,288^2 numbers, 600 MB."""
    torch.manual_seed(0)
    law = law_of((3, 64, 64), radius, rows=1, dtype=torch.float32)
    law.weights.mul_(0.1)
    law.sample()
    start = time.perf_counter()
    x = law.sample((4,))
    assert time.perf_counter() - start < 2
    assert law.log_prob(x).shape == (4, 1)
    eps = law.noise(x)
    assert abs(float(eps.mean())) < 0.05
    assert float(eps.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("event", [(4,), (2, 3), (3, 2, 2)])
@pytest.mark.parametrize("rank", [1, 3])
def test_residuals_of_low_rank_are_the_dense_normal_in_the_shape_of_x(event, rank) -> None:
    torch.manual_seed(0)
    family = families.LowRankResiduals(rank)
    raw = torch.randn(2, family.size(event[0]), *event[1:], dtype=torch.float64)
    law, x = family(raw), torch.randn(5, 2, *event, dtype=torch.float64)
    loc, plain = raw[:, : event[0]], families.PixelNormal("network")(raw[:, : 2 * event[0]])
    columns = raw[:, 2 * event[0] :].unflatten(1, (rank, event[0])).flatten(2)
    covariance = plain.variance.flatten(1).diag_embed() + columns.mT @ columns
    dense = MultivariateNormal(loc.flatten(1), covariance)
    torch.testing.assert_close(law.log_prob(x), dense.log_prob(x.flatten(2)))
    torch.testing.assert_close(law.variance.flatten(1), dense.variance)
    assert torch.equal(law.mean, loc)
    drawn = law.rsample((100_000,))[:, 0].flatten(1)
    spread = dense.variance[0].sqrt()
    torch.testing.assert_close(
        drawn.T.cov() / spread.outer(spread), covariance[0] / spread.outer(spread), atol=0.03, rtol=0
    )
    raw[:, 2 * event[0] :] = 0
    torch.testing.assert_close(family(raw).log_prob(x), plain.log_prob(x))
    assert not detached(family(raw.requires_grad_())).log_prob(x).requires_grad
