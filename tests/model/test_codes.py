"""Laws over maps of codes: against sums over all maps, and the gradient of the quantised posterior."""

from __future__ import annotations

from itertools import product
from math import inf, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Size, Tensor, nn
from torch.distributions import Categorical, kl_divergence

import polyvae as pv
from polyvae.evaluation import both_bounds
from polyvae.model.distributions.codes import CodePrior, Quantised, UniformCodes
from polyvae.model.posteriors.codebook import Codebook
from polyvae.model.posteriors.quantiser import Quantiser
from polyvae.model.priors.uniform import UniformPrior


def quantised(
    batch: int = 4, dim: int = 3, rest: tuple[int, ...] = (2, 5), size: int = 7
) -> tuple[Quantised, Codebook]:
    torch.manual_seed(0)
    words = Codebook(size, dim).double().eval()
    with torch.no_grad():
        words.weight.normal_()
    encoded = torch.randn(batch, dim, *rest, dtype=torch.float64, requires_grad=True)
    codes, vectors = words(encoded)
    return Quantised(codes, encoded, vectors), words


class Independently(CodePrior):
    """Codes independent of each other, probabilities from logits [*batch, *positions, K]."""

    def __init__(self, words: Codebook, logits: Tensor, positions: tuple[int, ...]) -> None:
        self.law = Categorical(logits=logits)
        super().__init__(words, positions, Size(logits.shape[: -1 - len(positions)]))

    def log_prob_codes(self, codes: Tensor) -> Tensor:
        return self.law.log_prob(codes).flatten(-len(self.positions)).sum(-1)

    def sample_codes(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        return self.law.sample(Size(sample_shape))


def all_maps(size: int, positions: int) -> Tensor:
    return torch.tensor(list(product(range(size), repeat=positions)))


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 4), dim=st.integers(1, 5), rest=st.lists(st.integers(1, 4), max_size=3))
def test_draws_and_mean_are_the_words_to_the_last_bit(batch: int, dim: int, rest: list[int]) -> None:
    law, words = quantised(batch, dim, tuple(rest))
    assert law.batch_shape == (batch,)
    assert law.event_shape == (dim, *rest)
    assert law.codes.shape == (batch, *rest)
    assert law.codes.dtype == torch.int64
    for drawn in (law.mean, *law.rsample((3,)), *law.sample((2,))):
        assert torch.equal(drawn, words.embed(law.codes))
    assert law.rsample((3, 2)).shape == (3, 2, batch, dim, *rest)
    assert not law.sample().requires_grad
    assert not law.variance.any()


def test_all_probability_lies_on_the_map_drawn() -> None:
    law, words = quantised()
    z = law.rsample((3,))
    assert torch.equal(law.log_prob(z), torch.zeros(3, 4, dtype=torch.float64))
    other = z.clone()
    other[1, 2, :, 0, 0] = words.weight[(law.codes[2, 0, 0] + 1) % 7]
    expected = torch.zeros(3, 4, dtype=torch.float64)
    expected[1, 2] = -inf
    assert torch.equal(law.log_prob(other), expected)
    assert law.support.is_discrete
    assert law.support.check(z).shape == (3, 4)


def test_the_gradient_passes_straight_through_to_the_encoder_and_not_to_the_words() -> None:
    law, words = quantised()

    def loss(z: Tensor) -> Tensor:
        return (z.sin() * torch.arange(z.numel(), dtype=z.dtype).view_as(z)).sum()

    loss(law.rsample()).backward()
    # that of the identity at the words: what the decoder's input gets is what the encoder's output gets
    z = words.embed(law.codes).detach().requires_grad_()
    loss(z).backward()
    assert torch.equal(law.encoded.grad, z.grad)
    assert words.weight.grad is None
    # numerically: where the code words move with the encoder's output, by differences
    step, place = 1e-6, (1, 2, 0, 3)
    ahead, behind = z.detach().clone(), z.detach().clone()
    ahead[place] += step
    behind[place] -= step
    assert law.encoded.grad[place].item() == pytest.approx(((loss(ahead) - loss(behind)) / (2 * step)).item(), rel=1e-6)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_the_probabilities_of_all_maps_sum_to_one(batch: tuple[int, ...]) -> None:
    _, words = quantised(size=3)
    logits = torch.randn(*batch, 2, 2, 3, dtype=torch.float64)
    maps = all_maps(3, 4).view(-1, *[1] * len(batch), 2, 2)
    for law in (UniformCodes(words, (2, 2)), Independently(words, logits, (2, 2))):
        total = law.log_prob_codes(maps.expand(81, *law.batch_shape, 2, 2) if law.batch_shape else maps.view(81, 2, 2))
        torch.testing.assert_close(total.exp().sum(0), torch.ones(law.batch_shape, dtype=torch.float64))
    assert law.batch_shape == batch
    assert UniformCodes(words, (2, 2)).log_prob_codes(maps[0]).unique().item() == pytest.approx(-4 * log(3))


@pytest.mark.parametrize("batch", [(), (4,)])
def test_a_prior_over_codes_embeds_what_it_draws_and_looks_up_what_it_scores(batch: tuple[int, ...]) -> None:
    q, words = quantised(rest=(2, 3))
    logits = 3 * torch.randn(*batch, 2, 3, 7, dtype=torch.float64)
    p = Independently(words, logits, (2, 3))
    drawn = p.sample((5,))
    assert drawn.shape == (5, *batch, 3, 2, 3)
    assert p.event_shape == (3, 2, 3)
    codes = words.nearest(drawn.flatten(0, len(batch)))
    assert torch.equal(words.embed(codes).view_as(drawn), drawn)
    torch.testing.assert_close(p.log_prob(drawn), p.log_prob_codes(codes.view(5, *batch, 2, 3)))
    torch.testing.assert_close(kl_divergence(q, p), -p.log_prob_codes(q.codes))
    torch.testing.assert_close(kl_divergence(q, p), q.log_prob(q.mean) - p.log_prob(q.mean))


def test_uniform_codes_are_drawn_uniformly_and_independently() -> None:
    _, words = quantised(size=3)
    law = UniformPrior(words, (1, 2))({})
    torch.manual_seed(0)
    codes = law.sample_codes((9000,))
    assert codes.shape == (9000, 1, 2)
    counts = (3 * codes[:, 0, 0] + codes[:, 0, 1]).bincount(minlength=9)
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 26  # chi-square of 8 degrees of freedom, p = 0.001
    assert law.sample().shape == (3, 1, 2)
    assert kl_divergence(*_pair(3)).tolist() == pytest.approx([10 * log(3)] * 4)


def _pair(size: int) -> tuple[Quantised, UniformCodes]:
    law, words = quantised(size=size)
    return law, UniformCodes(words, (2, 5))


class Sum(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.flatten(1) @ torch.linspace(-1, 1, z[0].numel() * 5, dtype=z.dtype).view(-1, 5)


def tiny(learned: bool) -> pv.VAE:
    """x [5] bits, z a row of 3 words out of 4."""
    torch.manual_seed(3)
    words = Codebook(4, 2)
    net = nn.Sequential(nn.Linear(5, 6), nn.Unflatten(1, (2, 3)))
    with torch.no_grad():
        words.weight.normal_(std=2)
        net[0].weight.mul_(5)
    logits = torch.randn(3, 4)

    class Prior(nn.Module):
        def forward(self, values: pv.Values) -> CodePrior:
            return Independently(words, logits.to(words.weight), (3,)) if learned else UniformCodes(words, (3,))

    return pv.VAE(Quantiser(net, words), Prior(), pv.Conditional(Sum(), pv.families.Bernoulli(), "z")).double()


@pytest.mark.parametrize("learned", [False, True])
def test_the_bound_lies_below_log_p_which_is_the_sum_over_all_maps(learned: bool) -> None:
    model = tiny(learned)
    x = all_maps(2, 5).double()  # every table there is
    maps = all_maps(4, 3)
    with torch.no_grad():
        joint = model.decode({"z": maps})["x"].log_prob(x[:, None]) + model.prior["z"]({}).log_prob_codes(maps)
        log_px = joint.logsumexp(1)
        assert log_px.exp().sum().item() == pytest.approx(1)
        draw = model({"x": x}, 2)
        bound = draw.elbo
        codes = model.encode({"x": x})["z"].codes
    assert draw.latents["z"].analytic
    assert (bound < log_px).all()
    torch.testing.assert_close(bound, draw.importance_bound)
    index = (codes * torch.tensor([16, 4, 1])).sum(1)
    torch.testing.assert_close(bound, joint.gather(1, index[:, None])[:, 0])  # the one map's share of the sum
    found = both_bounds(model, pv.data.Split({"x": x}), samples=7)
    torch.testing.assert_close(found.plain, bound)
    torch.testing.assert_close(found.importance, bound)
    if not learned:
        torch.testing.assert_close(found.kl["z"], torch.full((32,), 3 * log(4), dtype=torch.float64))
