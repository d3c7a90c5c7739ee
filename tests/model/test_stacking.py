"""Weights of regressions: closed forms, the conditions of an optimum, regressions that are alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyvae.model.stacking import stacked


def errors(count: int, examples: int, targets: int, seed: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    common = torch.randn(1, examples, targets, generator=stream, dtype=torch.float64)
    own = torch.randn(count, examples, targets, generator=stream, dtype=torch.float64)
    return common + own * torch.logspace(-1, 1, count, dtype=torch.float64)[:, None, None]


def test_two_weights_are_those_of_the_closed_form() -> None:
    a = errors(2, 20, 3, 0)
    difference = a[1] - a[0]
    first = ((difference * a[1]).sum(0) / difference.square().sum(0)).clamp(0, 1)
    assert torch.allclose(stacked(a), torch.stack([first, 1 - first]), atol=1e-8)


def test_errors_that_are_uncorrelated_weigh_by_their_inverse_squares() -> None:
    a = torch.eye(3, dtype=torch.float64)[:, :, None] * torch.tensor([1.0, 2.0, 4.0]).double()[:, None, None]
    inverse = torch.tensor([1.0, 1 / 4, 1 / 16]).double()
    assert torch.allclose(stacked(a)[:, 0], inverse / inverse.sum())


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
def test_no_small_move_of_the_weights_lowers_the_error(count: int, examples: int, targets: int, seed: int) -> None:
    a = errors(count, examples, targets, seed)
    found = stacked(a)
    assert bool((found >= 0).all())
    assert torch.allclose(found.sum(0), torch.ones(targets).double())
    # Karush, Kuhn, Tucker: the slope is least, and one, where a weight is above 0.
    gram = torch.einsum("inr,jnr->rij", a, a)
    gram = gram / gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    slope = torch.einsum("rij,jr->ir", gram, found)
    least = slope.amin(0)
    assert torch.allclose(((slope - least) * found).sum(0), torch.zeros(targets).double(), atol=1e-7)


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_regressions_that_are_alike_share_alike(size: float) -> None:
    a = size * torch.ones(4, 5, 2, dtype=torch.float64)
    assert torch.allclose(stacked(a), torch.full((4, 2), 0.25).double())


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9])
def test_a_regression_that_is_far_off_spoils_nothing(factor: float) -> None:
    a = errors(3, 30, 4, 1)
    a[2] *= factor
    found, without = (torch.einsum("ir,inr->nr", stacked(some), some).square().mean(0) for some in (a, a[:2]))
    assert bool((found <= 1.0001 * without).all())
