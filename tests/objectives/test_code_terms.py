"""The entropies of code bits: by hand, by enumeration of all codes, their limits, and what they move."""

from __future__ import annotations

from itertools import product
from math import log
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.model.distributions.codes import Quantised
from polyvae.objectives.code_terms import EntropyPenalty
from polyvae.objectives.objective import Weighted


def penalty(encoded: Tensor, temperature: float = 0.1) -> Tensor:
    signs = torch.where(encoded > 0, 1.0, -1.0).to(encoded)
    q = Quantised(torch.zeros(len(encoded), *encoded.shape[2:], dtype=torch.int64), encoded, signs)
    draw: Any = SimpleNamespace(latents={"z": SimpleNamespace(q=q)})
    return EntropyPenalty(temperature)(draw)


@pytest.mark.parametrize("dim", [1, 3, 5])
def test_both_entropies_are_those_of_a_softmax_over_all_codes(dim: int) -> None:
    torch.manual_seed(0)
    encoded = 0.3 * torch.randn(4, dim, 2, 3, dtype=torch.float64)
    words = torch.tensor(list(product([-1.0, 1.0], repeat=dim)), dtype=torch.float64)
    rows = encoded.movedim(1, -1).reshape(-1, dim)
    log_p = (-torch.cdist(rows, words).square() / 0.7).log_softmax(1)
    mean = log_p.exp().mean(0)
    expected = -(log_p.exp() * log_p).sum(1).mean() + (mean * mean.log()).sum()
    torch.testing.assert_close(penalty(encoded, 0.7), expected)


def test_its_limits_are_sure_codes_used_evenly_and_codes_that_say_nothing() -> None:
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=3)), dtype=torch.float64)
    assert float(penalty(9 * signs)) == pytest.approx(-3 * log(2))
    assert float(penalty(torch.zeros(5, 3, dtype=torch.float64))) == pytest.approx(0, abs=1e-12)
    assert float(penalty(9 * signs[:1].expand(4, -1))) == pytest.approx(0, abs=1e-9)  # all alike: sure, and of no use
    assert float(penalty(9 * signs[:2])) == pytest.approx(-log(2))


def test_many_bits_are_looked_at_ten_at_a_time_which_bounds_the_second_entropy_from_above() -> None:
    torch.manual_seed(0)
    one, two = 0.1 * torch.randn(2, 50, 10, dtype=torch.float64)
    both = penalty(torch.cat([one, two], 1))
    torch.testing.assert_close(both, penalty(one) + penalty(two))
    twice = torch.cat([one[:, :5], one[:, :5]], 1)  # a pair of bits that are one: the sum would count it twice
    assert penalty(twice) > 2 * penalty(one[:, :5])


def test_its_gradient_is_finite_everywhere_and_spreads_what_lies_on_one_side() -> None:
    encoded = (0.05 + 0.02 * torch.randn(40, 2, dtype=torch.float64)).requires_grad_()
    slope = torch.autograd.grad(penalty(encoded), encoded)[0]
    assert ((slope * (encoded - encoded.mean(0))).sum(0) < 0).all()  # a step down the slope takes them apart
    far = torch.tensor([[1e4, -1e4], [0.0, 1e3]], requires_grad=True)
    assert torch.autograd.grad(penalty(far), far)[0].isfinite().all()


def test_it_needs_codes_and_a_positive_temperature() -> None:
    with pytest.raises(ValueError, match="temperature is a positive number; got 0"):
        EntropyPenalty(0)
    terms = {"reconstruction": pv.terms.Reconstruction(), "entropy": Weighted(EntropyPenalty())}
    made = pv.recipes.vae((5,), latent=2, network="mlp", widths=(4,), objective=pv.Objective(terms))
    with pytest.raises(ValueError, match="the entropy of code bits needs a quantised latent"):
        made.objective(made.model, {"x": torch.rand(3, 5)})
