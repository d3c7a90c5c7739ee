"""A mixture of factor analysers, beside normal laws with whole covariances."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal

from polyvae.model.analysers import Analysers
from polyvae.model.networks.expected import PAIRS, Analysed, analysed


def made(shape: tuple[int, ...], count: int, factors: int, seed: int = 0) -> Analysers:
    """Analysers with numbers drawn at random, in double precision."""
    torch.manual_seed(seed)
    found = Analysers(shape, count, factors).double()
    found.log_weights.copy_(torch.randn(count).log_softmax(0))
    found.mean.normal_()
    found.root.normal_()
    found.variance.copy_(torch.rand_like(found.variance) + 0.1)
    return found


def whole(law: Analysers, number: int) -> tuple[Tensor, Tensor]:
    """The mean and covariance of one of them."""
    root = law.root[number]
    return law.mean[number], root.T @ root + law.variance[number].diag()


def by_hand(law: Analysers, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of one example: log p(y), mean and standard deviation of all values, by inverting covariances."""
    joint, means, squares = [], [], []
    y = x[seen]
    for number in range(len(law.mean)):
        mean, covariance = whole(law, number)
        inside, across = covariance[seen][:, seen], covariance[:, seen]
        score = MultivariateNormal(mean[seen], inside).log_prob(y) if len(y) else torch.zeros(())
        joint.append(law.log_weights[number] + score)
        centre = mean + across @ torch.linalg.solve(inside, y - mean[seen])
        spread = (covariance - across @ torch.linalg.solve(inside, across.T)).diagonal()
        means.append(centre)
        squares.append(centre.square() + spread)
    log_joint = torch.stack(joint)
    shares = (law.power * log_joint).softmax(0)
    mean = shares @ torch.stack(means)
    std = (shares @ torch.stack(squares) - mean.square()).clamp(min=0).sqrt()
    return log_joint.logsumexp(0), torch.where(seen, x, mean), torch.where(seen, 0.0, std)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 2), st.integers(0, 10**6), st.sampled_from([1.0, 0.5]))
def test_what_is_told_of_pictures_is_that_of_whole_covariances(count, factors, channels, seed, power) -> None:
    law = made((channels, 2, 3), count, factors, seed)
    law.power.fill_(power)
    x = torch.randn(3, channels, 2, 3, dtype=torch.float64)
    seen = torch.rand(3, 1, 2, 3) < 0.5
    seen[0] = False  # nothing of the first
    mean, std = law(torch.where(seen, x, torch.nan), seen)
    log_prob = law.log_prob(x, seen)
    for number in range(3):
        flat = seen[number].expand(channels, 2, 3).flatten()
        score, centre, spread = by_hand(law, x[number].flatten(), flat)
        torch.testing.assert_close(log_prob[number], score)
        torch.testing.assert_close(mean[number].flatten(), centre)
        torch.testing.assert_close(std[number].flatten(), spread, atol=2e-6, rtol=1e-6)


def test_rows_of_a_table_are_seen_column_by_column() -> None:
    law = made((5,), 2, 2)
    x, seen = torch.randn(4, 5, dtype=torch.float64), torch.rand(4, 5) < 0.5
    mean, _ = law(x, seen)
    for number in range(4):
        torch.testing.assert_close(mean[number], by_hand(law, x[number], seen[number])[1])


def test_draws_have_the_mean_and_the_covariance_that_are_told() -> None:
    law = made((1, 2, 2), 2, 1)
    x, seen = torch.randn(1, 1, 2, 2, dtype=torch.float64), torch.tensor([[[[True, False], [False, False]]]])
    torch.manual_seed(0)
    draws = law.draw(x, seen, 20_000)
    mean, std = law(x, seen)
    torch.testing.assert_close(draws.mean(0), mean, atol=0.06, rtol=0)
    torch.testing.assert_close(draws.std(0), std, atol=0.06, rtol=0)
    assert torch.equal(draws[:, 0, 0, 0, 0], x[0, 0, 0, 0].expand(20_000))


def test_rounds_of_em_never_lose_likelihood() -> None:
    torch.manual_seed(0)
    truth = made((1, 3, 4), 3, 2)
    nothing = torch.zeros(400, 1, 3, 4, dtype=torch.float64)
    x = truth.draw(nothing, nothing[:, :1], 1)[0]
    scores = []
    for rounds in (0, 1, 2, 5, 20, 60):
        law = Analysers((1, 3, 4), 3, 2).double().fit(x, rounds=rounds)
        scores.append(float(law.log_prob(x, torch.ones(1, 1, 3, 4)).mean()))
    assert scores == sorted(scores)
    own = float(truth.log_prob(x, torch.ones(1, 1, 3, 4)).mean())
    assert scores[-1] > own - 0.3  # beside the law that the examples are from


def test_one_analyser_of_enough_factors_is_the_normal_law() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(4, 4, dtype=torch.float64)
    x = torch.randn(500, 4, dtype=torch.float64) @ mixing
    law = Analysers((4,), 1, 3).double().fit(x, rounds=500, least=1e-9)
    mean, covariance = whole(law, 0)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(covariance, x.T.cov(correction=0), rtol=2e-2, atol=2e-2)


def test_few_examples_have_few_analysers_and_constant_values_no_spread() -> None:
    x = torch.rand(5, 1, 2, 2)
    x[:, :, 0, 0] = 0.5
    law = Analysers((1, 2, 2), 30, 2).fit(x)
    assert int((law.log_weights.exp() > 0).sum()) == 1
    mean, std = law(x, torch.zeros(5, 1, 2, 2))
    assert bool(mean.isfinite().all())
    assert bool(std.isfinite().all())
    torch.testing.assert_close(mean[:, :, 0, 0], torch.full((5, 1), 0.5))
    with pytest.raises(ValueError, match="at least two"):
        Analysers((1, 2, 2), 3, 2).fit(x[:1])


def test_a_feature_says_mean_and_spread_before_the_observation_and_starts_at_examples() -> None:
    torch.manual_seed(0)
    x = made((1, 4, 4), 2, 2).draw(torch.zeros(600, 1, 4, 4, dtype=torch.float64), torch.zeros(600, 1, 4, 4), 1)[0]
    x = x.float()
    seen = (torch.rand(600, 1, 4, 4) < 0.3).float()
    m = torch.cat([x * seen, seen], 1)
    part = Analysed((1, 4, 4), 4, 3)
    before = part({"m": m})
    assert before.shape == (600, 4, 4, 4)
    torch.testing.assert_close(before[:, 2:], m)
    part.start({"x": x, "m": m})
    after = part({"m": m})
    unseen = seen == 0
    first, second = ((made[:, :1] - x)[unseen].square().mean() for made in (before, after))
    assert float(second) < 0.7 * float(first)


def test_large_pictures_have_fewer_factors() -> None:
    small, large = analysed((1, 28, 28)).analysers, analysed((3, 64, 64)).analysers
    assert small.root.shape[1] == 20 > large.root.shape[1] >= 1
    count, factors, size = large.root.shape
    assert count * factors * (factors + 1) // 2 * size <= PAIRS


@pytest.mark.parametrize("offset", [300.0, -1e5])
def test_a_constant_added_to_all_values_changes_nothing_but_the_means(offset: float) -> None:
    """Kelvins and pascals: squares of such values leave no digits of what tells analysers apart."""
    torch.manual_seed(0)
    x = torch.einsum("nr,rd->nd", torch.randn(220, 3), torch.randn(3, 100)).view(-1, 1, 10, 10)
    x = (16 * (x + 0.1 * torch.randn_like(x))).round() / 16  # which single precision holds beside the offset too
    seen = (torch.rand(20, 1, 10, 10) < 0.1).float()
    found = []
    for each in (x, x + offset):
        law = Analysers((1, 10, 10), 3, 4).fit(each[20:], 5, 0.1)
        mean, std = law(each[:20], seen)
        torch.manual_seed(1)
        drawn = law.draw(each[:20], seen, 300).mean(0)
        found.append((mean, std, drawn, law.log_prob(each[:20], seen)))
    (mean, std, drawn, score), (high, wide, lifted, same) = found
    torch.testing.assert_close(high - offset, mean, rtol=0, atol=0.05)
    torch.testing.assert_close(wide, std, rtol=0, atol=0.02)
    torch.testing.assert_close(lifted - offset, drawn, rtol=0, atol=0.2)
    torch.testing.assert_close(same, score, rtol=0, atol=0.2)


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_a_unit_of_the_values_is_that_of_what_is_told(unit: float) -> None:
    torch.manual_seed(0)
    x = torch.einsum("nr,rd->nd", torch.randn(220, 3), torch.randn(3, 100)).view(-1, 1, 10, 10)
    seen = (torch.rand(20, 1, 10, 10) < 0.1).float()
    found = []
    for each in (x, unit * x):
        law = Analysers((1, 10, 10), 3, 4).fit(each[20:], 5, 0.1)
        mean, std = law(each[:20], seen)
        torch.manual_seed(1)
        found.append((mean, std, law.draw(each[:20], seen, 10)))
    for small, one in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(small / unit, one, rtol=1e-3, atol=1e-3)


def test_what_the_parameters_make_is_kept_until_one_of_them_changes() -> None:
    """After each way to change parameters a law is what a new one with them is; unchanged, nothing is made again."""
    torch.manual_seed(3)
    x, other, seen = torch.rand(60, 1, 3, 4), torch.rand(60, 1, 3, 4).square(), (torch.rand(60, 1, 3, 4) < 0.4).float()
    law, elsewhere = (Analysers((1, 3, 4), 3, 2).fit(each) for each in (x, other))

    def anew() -> Analysers:
        made = Analysers((1, 3, 4), 3, 2)
        made.load_state_dict(law.state_dict())
        return made

    def same() -> bool:
        pairs = zip(law(x, seen), anew()(x, seen), strict=True)
        return torch.equal(law.log_prob(x, seen), anew().log_prob(x, seen)) and all(
            torch.equal(*pair) for pair in pairs
        )

    assert same()
    before = law(x, seen)[0]
    law.load_state_dict(elsewhere.state_dict())
    assert same()
    assert not torch.equal(law(x, seen)[0], before)
    law.mean.mul_(1.5)
    assert same()
    law.fit(x, rounds=1)
    assert same()
    with torch.inference_mode():
        law.variance.add_(0.1)
        assert same()
    law(x, seen)[0].sum()
    law.to(torch.float64)
    assert torch.allclose(law(x.double(), seen)[0].float(), anew()(x, seen)[0], atol=1e-5)
    made = dict(law._kept._made)
    law(x.double(), seen)
    assert made == law._kept._made
    assert set(made) == {"products", "twice"}


def test_a_copy_makes_its_own_products() -> None:
    torch.manual_seed(3)
    x, seen = torch.rand(60, 1, 3, 4), (torch.rand(60, 1, 3, 4) < 0.4).float()
    first, second = (Analysers((1, 3, 4), 3, 2).fit(each) for each in (x, x.square()))
    first.load_state_dict(first.state_dict())
    first(x, seen)
    file = BytesIO()
    torch.save(first, file)
    file.seek(0)
    for copy in (deepcopy(first), deepcopy(deepcopy(first)), torch.load(file, weights_only=False)):
        assert copy._kept._made == {}
        copy.load_state_dict(second.state_dict())
        assert torch.equal(copy(x, seen)[0], second(x, seen)[0])
        copy.load_state_dict(first.state_dict())
        assert torch.equal(copy(x, seen)[0], first(x, seen)[0])


def test_weights_of_other_analysers_make_as_many_as_they_are() -> None:
    torch.manual_seed(3)
    x, seen = torch.rand(60, 1, 3, 4), (torch.rand(60, 1, 3, 4) < 0.4).float()
    law, other = Analysers((1, 3, 4), 3, 2).fit(x), Analysers((1, 3, 4), 5, 4).fit(x.square())
    law(x, seen)
    law.load_state_dict(other.state_dict())
    assert torch.equal(law(x, seen)[0], other(x, seen)[0])
    assert torch.equal(law.draw(x, seen, 2)[:, seen == 1], other.draw(x, seen, 2)[:, seen == 1])
