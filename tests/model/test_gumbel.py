"""Codes that are drawn: the relaxation's limits, exact divergences, the discrete bound, the temperature of a step."""

from __future__ import annotations

from itertools import product
from math import log

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

import polyvae as pv
from polyvae.evaluation import both_bounds
from polyvae.model.distributions.categorical_codes import CategoricalCodes, RelaxedCodes
from polyvae.model.distributions.codes import UniformCodes
from polyvae.model.laws import centre, detached
from polyvae.model.posteriors import GumbelCodes, Quantiser
from polyvae.model.priors.uniform import UniformPrior


def law(kind: type[CategoricalCodes] = CategoricalCodes, *more: float | bool) -> CategoricalCodes:
    torch.manual_seed(0)
    words = GumbelCodes(5, 3).double()
    return kind(2 * torch.randn(4, 5, 2, 3, dtype=torch.float64), words, *more)


def test_scores_are_those_of_independent_categories() -> None:
    q = law()
    codes = q.sample_codes((6,))
    assert codes.shape == (6, 4, 2, 3)
    plain = Categorical(logits=q.logits.movedim(1, -1))
    expected = plain.log_prob(codes).sum((-1, -2))
    z, log_q = q.rsample_and_log_prob(torch.Size((6,)))
    assert z.shape == (6, 4, 3, 2, 3)
    torch.testing.assert_close(q.log_prob(z), log_q)
    words = q.codebook.embed(codes.flatten(0, 1)).view(6, 4, 3, 2, 3)
    torch.testing.assert_close(q.log_prob(words), expected)
    torch.testing.assert_close(q.entropy(), plain.entropy().sum((-1, -2)))
    assert torch.equal(centre(q), q.codebook.embed(q.codes))  # a word at every place, not a mean of words
    assert torch.equal(q.codes, q.logits.argmax(1))
    q.logits.requires_grad_()
    assert not detached(q).logits.requires_grad


@pytest.mark.parametrize("kind", [(CategoricalCodes,), (RelaxedCodes, 0.7)])
def test_the_divergence_from_uniform_codes_is_the_exact_sum(kind: tuple[type[CategoricalCodes], float]) -> None:
    q = law(*kind)
    p = UniformCodes(q.codebook, (2, 3))
    probabilities = q.logits.exp()
    torch.testing.assert_close(kl_divergence(q, p), (probabilities * (q.logits + log(5))).sum((1, 2, 3)))
    even = type(q)(torch.zeros_like(q.logits), q.codebook, *kind[1:])
    torch.testing.assert_close(kl_divergence(even, p), torch.zeros(4, dtype=torch.float64))
    sure = type(q)(1e3 * torch.nn.functional.one_hot(q.codes, 5).movedim(-1, 1).double(), q.codebook, *kind[1:])
    torch.testing.assert_close(kl_divergence(sure, p), torch.full((4,), 6 * log(5), dtype=torch.float64))


def test_at_low_temperature_a_draw_is_the_word_of_the_largest_of_logits_and_noise() -> None:
    torch.manual_seed(3)
    cold = law(RelaxedCodes, 1e-7)
    torch.manual_seed(1)
    z = cold.rsample((200,))
    torch.manual_seed(1)
    noise = -torch.empty(200, *cold.logits.shape, dtype=torch.float64).exponential_().log()
    codes = (cold.logits + noise).argmax(2)
    torch.testing.assert_close(z, cold.codebook.embed(codes.flatten(0, 1)).view_as(z), atol=1e-3, rtol=1e-2)
    # and those come as often as the categorical law says, by chi-square over 4 x 6 places of 4 degrees each
    torch.manual_seed(2)
    many = (cold.logits - torch.empty(4000, *cold.logits.shape, dtype=torch.float64).exponential_().log()).argmax(2)
    expected = 4000 * cold.logits.exp()
    counts = torch.stack([(many == code).sum(0) for code in range(5)], 1)
    assert ((counts - expected) ** 2 / expected).sum() < 147  # p = 0.0005 of 96 degrees
    hot = RelaxedCodes(cold.logits, cold.codebook, 1e6)
    middle = hot.codebook.weight.mean(0).view(1, 3, 1, 1).expand(4, 3, 2, 3)
    torch.testing.assert_close(hot.rsample(), middle, atol=1e-3, rtol=0)


def test_hard_draws_are_words_with_the_gradient_of_the_soft_ones() -> None:
    found = []
    for hard in (False, True):
        base = law()
        logits = base.logits.clone().requires_grad_()
        q = RelaxedCodes(logits, base.codebook, 0.8, hard)
        torch.manual_seed(1)
        z = q.rsample()
        slope = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view_as(z)
        found.append((z, torch.autograd.grad((z * slope).sum(), logits)[0]))
    (soft, soft_slope), (hard_z, hard_slope) = found
    torch.testing.assert_close(hard_slope, soft_slope)
    words = law().codebook
    torch.testing.assert_close(hard_z, words.embed(words.nearest(hard_z)))
    assert not torch.allclose(soft, hard_z)
    assert soft_slope.any()


def test_a_mixture_of_words_has_no_probability_and_says_so() -> None:
    q = law(RelaxedCodes, 0.5)
    z, log_q = q.rsample_and_log_prob(torch.Size((2,)))
    assert log_q is None
    with pytest.raises(ValueError, match="no log-probability: train by the plain bound"):
        q.log_prob(z)
    assert isinstance(detached(q), RelaxedCodes)


def test_the_temperature_falls_with_the_steps_and_is_kept_in_the_state() -> None:
    torch.manual_seed(0)
    words = GumbelCodes(5, 3, temperature=0.25, anneal=8)
    encoded = torch.randn(2, 3, 4)
    found = [words.quantise(encoded).temperature.item() for _ in range(12)]
    assert found == pytest.approx([0.25 ** min(step / 8, 1) for step in range(12)])
    words.eval()
    assert type(words.quantise(encoded)) is CategoricalCodes
    assert words.steps == 12  # evaluation counts nothing
    other = GumbelCodes(5, 3, temperature=0.25, anneal=8)
    other.load_state_dict(words.state_dict())
    assert other.now == 0.25
    assert words.epoch_values()["temperature"] == 0.25
    for wrong in ({"temperature": 0.0}, {"anneal": 0}, {"size": 1}):
        with pytest.raises(ValueError, match="at least"):
            GumbelCodes(**{"size": 5, "dim": 3, **wrong})


class Sum(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.flatten(1) @ torch.linspace(-1, 1, z[0].numel() * 5, dtype=z.dtype).view(-1, 5)


def test_the_bound_in_evaluation_is_that_of_the_discrete_model() -> None:
    torch.manual_seed(3)
    words = GumbelCodes(4, 2)
    net = nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (2, 3)))
    head = pv.Conditional(Sum(), pv.families.Bernoulli(), "z")
    model = pv.VAE(Quantiser(net, words), UniformPrior(words, (3,)), head).double().eval()
    x = torch.tensor(list(product([0.0, 1.0], repeat=5)), dtype=torch.float64)
    maps = torch.tensor(list(product(range(4), repeat=3)))
    with torch.no_grad():
        log_px = model.decode({"z": maps})["x"].log_prob(x[:, None])
        q = model.encode({"x": x})["z"]
        log_q = torch.stack([q.over_codes.log_prob(each.expand(32, 3)) for each in maps], 1)
        exact = (log_q.exp() * (log_px - 3 * log(4) - log_q)).sum(1)
        whole = (log_px - 3 * log(4)).logsumexp(1)
    assert not model.posterior["z"].certain
    found = both_bounds(model, pv.data.Split({"x": x}), samples=3000)
    assert found.analytic["z"]
    torch.testing.assert_close(found.plain, exact, atol=0.12, rtol=0)
    assert (found.importance > found.plain - 1e-9).all()
    torch.testing.assert_close(found.importance, whole, atol=0.12, rtol=0)
    torch.testing.assert_close(found.kl["z"], (log_q.exp() * (log_q + 3 * log(4))).sum(1))
    report = pv.evaluate(model, pv.data.Split({"x": x}), samples=5)
    information = report["latents"]["z"]["information"]  # of codes that are drawn: not the entropy of the likeliest
    aggregate = log_q.logsumexp(0) - log(32)
    exact = float((log_q.exp() * (log_q - aggregate)).sum(1).mean())
    assert information == pytest.approx(exact, abs=0.5)
    assert report["latents"]["z"]["codebook"]["positions"] == 3
