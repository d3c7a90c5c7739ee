"""The rotation trick: its gradient against the explicit rotation and scaling, its value to the last bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyvae.model.distributions.codes import straight_through
from polyvae.model.posteriors import Codebook
from polyvae.model.posteriors.rotation import rotated


def explicit(e: Tensor, c: Tensor) -> Tensor:
    """s R of single vectors [D], as two reflections: the first along e^ + c^, the second along c^ itself."""
    unit_e, unit_c = e / e.norm(), c / c.norm()
    middle = (unit_e + unit_c) / (unit_e + unit_c).norm()
    eye = torch.eye(len(e), dtype=e.dtype)
    # A rotation in the plane of e and c is the product of two Householder reflections.
    rotation = (eye - 2 * torch.outer(unit_c, unit_c)) @ (eye - 2 * torch.outer(middle, middle))
    return c.norm() / e.norm() * rotation


@settings(max_examples=30, deadline=None)
@given(dim=st.integers(2, 6), rest=st.lists(st.integers(1, 3), max_size=2), seed=st.integers(0, 99))
def test_the_gradient_is_that_of_the_explicit_rotation_and_scaling(dim: int, rest: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    e = torch.randn(3, dim, *rest, dtype=torch.float64, requires_grad=True)
    c, slope = torch.randn_like(e), torch.randn_like(e)
    z = rotated(e, c)
    assert torch.equal(z, c)
    (z * slope).sum().backward()
    rows = [t.movedim(1, -1).reshape(-1, dim) for t in (e.detach(), c, slope, e.grad)]
    for one, word, gradient, found in zip(*rows, strict=True):
        matrix = explicit(one, word)
        torch.testing.assert_close(matrix @ one, word)
        torch.testing.assert_close(found, matrix.T @ gradient)
        # the angle between gradient and vector is kept, the length goes by the scale
        torch.testing.assert_close(found @ one / one.norm(), gradient @ word / one.norm())
        torch.testing.assert_close(found.norm(), gradient.norm() * word.norm() / one.norm())


def test_a_word_in_the_direction_of_the_output_scales_the_gradient_alone() -> None:
    e = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    slope = torch.randn_like(e)
    (rotated(e, 2.5 * e.detach()) * slope).sum().backward()
    torch.testing.assert_close(e.grad, 2.5 * slope)
    for word in (e.detach(), torch.zeros(4, 3, dtype=torch.float64), -e.detach()):
        assert torch.autograd.grad(rotated(e, word).sum(), e)[0].isfinite().all()
    zero = torch.zeros(2, 3, requires_grad=True)
    assert torch.autograd.grad(rotated(zero, torch.randn(2, 3)).sum(), zero)[0].isfinite().all()


@pytest.mark.parametrize("rotation", [False, True])
def test_a_codebook_s_values_do_not_depend_on_how_the_gradient_passes(rotation: bool) -> None:
    torch.manual_seed(0)
    words = Codebook(5, 3, rotation=rotation).eval()
    encoded = torch.randn(6, 3, 2, requires_grad=True)
    law = words.quantise(encoded)
    assert torch.equal(law.mean, words.embed(words.nearest(encoded)))
    own = torch.autograd.grad((law.mean * 3).sum(), [encoded, words.weight], allow_unused=True)
    through = (rotated if rotation else straight_through)(encoded, law.vectors)
    assert torch.equal(own[0], torch.autograd.grad((through * 3).sum(), encoded)[0])
    assert own[1] is None
