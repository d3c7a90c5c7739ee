"""The predictive law against closed forms of linear models: its mean, spread, quantiles and draws."""

from math import sqrt

import numpy as np
import pandas as pd
import pytest
import torch

import polyvae as pv
from helpers.completing import SEEN, SHAPE, Around, Sum, close, data, decoder, encoder, maps, random, semi_conditional
from polyvae.completion.completer import Completer
from polyvae.completion.predictive import Predictive, between, predicted
from polyvae.model.families.pixels import Bernoulli, DiscretisedLogistic
from polyvae.model.families.real import PixelNormal
from polyvae.model.laws import value_log_prob
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE
from polyvae.observe.masks import sparse


def test_from_the_observation_alone_z_is_drawn_from_the_prior() -> None:
    model = semi_conditional()
    x, mask = data()
    found = pv.complete(model, x, mask, draws=20_000)
    a, b = maps(model)
    expected = sparse(x, mask).flatten(1) @ b.T
    variance = a.square().sum(1) + 0.25
    assert close(found.mean.flatten(1), expected, 5 * float(variance.max().sqrt()) / sqrt(20_000))
    assert close(found.std.flatten(1) / variance.sqrt(), torch.ones(()), 0.03)
    spread = found.quantile(0.95) - found.quantile(0.05)
    assert close(spread.flatten(1) / (2 * 1.6449 * variance.sqrt()), torch.ones(()), 0.05)
    assert close(found.quantile(0.5), found.mean, 0.1)
    assert found.effective.tolist() == [20_000] * 5


def test_from_x_and_the_observation_z_is_drawn_from_the_posterior() -> None:
    model = semi_conditional()
    x, mask = data()
    found = pv.complete(model, x, mask, draws=20_000, use_x=True)
    a, b = maps(model)
    code = model.encode({"x": x})["z"].mean
    expected = code @ a.T + sparse(x, mask).flatten(1) @ b.T
    variance = 0.09 * a.square().sum(1) + 0.25
    assert close(found.mean.flatten(1), expected, 0.05)
    assert close(found.std.flatten(1) / variance.sqrt(), torch.ones(()), 0.03)


def test_a_prior_that_reads_the_observation_places_z() -> None:
    prior = Around(Sum([SEEN], (2,), seed=9), "m")
    model = VAE(encoder(), prior, decoder("z"))
    x, mask = data()
    found = pv.complete(model, x, mask, draws=20_000)
    (a,) = maps(model)
    expected = prior.net(sparse(x, mask).flatten(1)).detach() @ a.T
    assert close(found.mean.flatten(1), expected, 0.05)
    assert close(found.std.flatten(1) / (0.09 * a.square().sum(1) + 0.25).sqrt(), torch.ones(()), 0.03)


@pytest.mark.parametrize("conditioned", [False, True])
def test_weighed_by_what_is_seen_a_linear_model_conditions_as_a_normal_does(conditioned: bool) -> None:
    model = semi_conditional() if conditioned else VAE(encoder(), StandardNormal(2), decoder("z"))
    x, mask = data(3, points=3)
    found = pv.complete(model, torch.where(mask, x, torch.nan), mask, draws=40_000, candidates=40_000, weigh="seen")
    a, *others = maps(model)
    centre = sparse(x, mask).flatten(1) @ others[0].T if others else torch.zeros(3, 6)
    for row in range(3):
        seen = mask[row].flatten()
        rest = x[row].flatten()[seen] - centre[row][seen]
        precision = torch.eye(2) + a[seen].T @ a[seen] / 0.25
        code = torch.linalg.solve(precision, a[seen].T @ rest / 0.25)
        variance = (a @ torch.linalg.inv(precision) @ a.T).diagonal() + 0.25
        assert float(found.effective[row]) < 20_000
        tolerance = 6 * float(variance.sqrt().max()) / sqrt(float(found.effective[row]))
        assert close(found.mean[row].flatten(), centre[row] + a @ code, tolerance)
        assert close(found.std[row].flatten() / variance.sqrt(), torch.ones(()), 0.1)


def test_more_candidates_leave_more_to_draw_from() -> None:
    model = semi_conditional()
    x, mask = data(20, points=4)
    few, usual, many = (
        pv.complete(model, x, mask, weigh="seen", candidates=number).effective for number in (100, None, 10_000)
    )
    assert bool((few <= 100).all())
    assert bool((few >= 1 - 1e-5).all())
    ratios = [float(other.mean() / few.mean()) for other in (usual, many)]
    assert 5 < ratios[0] < 20
    assert 50 < ratios[1] < 200


def test_samples_are_expected_pictures_and_with_pixels_draws_of_the_likelihood() -> None:
    model = semi_conditional()
    x, mask = data()
    plain, drawn = (pv.complete(model, x, mask, draws=3000, pixels=pixels) for pixels in (False, True))
    assert plain.samples.shape == (3000, 5, *SHAPE)
    torch.testing.assert_close(plain.samples.mean(0), plain.mean)
    noise = drawn.samples - plain.samples  # the same z, by the same seed
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)
    torch.testing.assert_close(drawn.quantiles, plain.quantiles)
    assert pv.complete(model, x, mask, draws=9, keep=2).samples.shape == (2, 5, *SHAPE)


def test_without_noise_the_spread_is_that_of_z() -> None:
    model = semi_conditional()
    x, mask = data()
    found = pv.complete(model, x, mask, draws=5000, noise=False)
    torch.testing.assert_close(found.std, found.samples.std(0))
    expected = torch.quantile(found.samples, 0.05, dim=0)
    assert close(found.quantile(0.05), expected, 0.02)


def test_a_mixture_of_bits_has_the_variance_of_a_bit_and_quantiles_of_bits() -> None:
    x, mask = data()
    found = pv.complete(semi_conditional(Bernoulli()), x.sigmoid(), mask, draws=4000)
    torch.testing.assert_close(found.std, (found.mean * (1 - found.mean)).sqrt(), rtol=2e-3, atol=0)
    assert set(found.quantiles.unique().tolist()) == {0.0, 1.0}


def test_a_likelihood_without_a_variance_says_it_by_its_draws() -> None:
    x, mask = data()
    found = pv.complete(semi_conditional(DiscretisedLogistic(17)), x.sigmoid(), mask, draws=8000, pixels=True)
    assert close(found.std, found.samples.std(0), 0.01)


def test_every_likelihood_scores_its_values_one_by_one() -> None:
    raw, x = random(4, 2, 2, 3), random(4, 1, 2, 3, seed=1).sigmoid()
    for family in (
        Bernoulli(),
        PixelNormal(0.5),
        PixelNormal("learned"),
        PixelNormal("optimal"),
        DiscretisedLogistic(9),
    ):
        law = family.eval()(raw[:, : family.size(1)])
        value = (x * 8).round() / 8
        torch.testing.assert_close(value_log_prob(law, value).flatten(1).sum(1), law.log_prob(value))
    with pytest.raises(ValueError, match="need a likelihood of independent values"):
        value_log_prob(torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)), torch.zeros(2))


@pytest.mark.parametrize("draws", [1, 3, 400])
def test_of_a_direct_head_the_mean_lies_between_what_it_says_at_zero_and_its_draws(draws: int) -> None:
    model = semi_conditional()
    x, mask = data()
    plain = pv.complete(model, x, mask, draws=draws, quantiles=())
    model.heads["x"].direct = True
    found = pv.complete(model, x, mask, draws=draws, quantiles=())
    _, b = maps(model)
    zero = (sparse(x, mask).flatten(1) @ b.T).view_as(x)
    share = draws / (2 * (draws + 30))
    assert close(found.mean, share * plain.mean + (1 - share) * zero, 1e-5)
    assert close(found.std, (plain.std.square() + (plain.mean - found.mean).square()).sqrt(), 1e-5)
    for name in ("samples", "effective"):
        assert torch.equal(getattr(found, name), getattr(plain, name))
    model.heads["x"].direct = False
    weighed = pv.complete(model, x, mask, draws=20, weigh="seen").mean
    model.heads["x"].direct = True
    assert torch.equal(pv.complete(model, x, mask, draws=20, weigh="seen").mean, weighed)


def test_of_two_estimates_the_noisier_counts_less() -> None:
    """Draws of a law around the truth, and an estimate that is off by as much as the mean of infinitely many draws."""
    torch.manual_seed(0)
    truth = torch.randn(300, 1, 8, 8)
    own, other = (truth + 0.3 * torch.randn_like(truth) for _ in range(2))
    left, one = torch.zeros(0, dtype=torch.int64), torch.ones(300)
    direct = Predictive(other, other, other[None], other[None], one, left, ())
    errors = []
    for draws in (2, 20, 500):
        means = own + 2 * torch.randn(draws, *truth.shape)  # 4 is 44 times 0.09, the square of the estimates' errors
        drawn = Predictive(means.mean(0), means[0], means, means, one, left, ())
        errors.append(float((between(drawn, direct).mean - truth).square().mean()))
        even = float((0.5 * (drawn.mean + other) - truth).square().mean())
        assert errors[-1] < min(even, float((drawn.mean - truth).square().mean())) + 0.0005
    assert errors[0] < 0.1
    assert errors[-1] == pytest.approx(0.0465, abs=0.002)  # of means without noise half of 0.09


def test_an_infinite_mean_stays_one_beside_what_is_expected_at_zero() -> None:
    left, one = torch.zeros(0, dtype=torch.int64), torch.ones(1)
    drawn, direct = (
        Predictive(each[None], torch.full((1, 3), torch.inf), each[None, None], each[None, None], one, left, ())
        for each in (torch.tensor([torch.inf, 1.0, torch.inf]), torch.tensor([1.0, torch.inf, torch.inf]))
    )
    found = between(drawn, direct)
    assert found.mean.isinf().all()
    assert found.std.isinf().all()


def test_of_a_direct_head_chances_of_categories_lie_between_and_the_mean_is_the_most_probable() -> None:
    frame = pd.DataFrame({"a": np.arange(40) % 3, "c": [f"{k % 4}" for k in range(40)]})
    data = pv.data.wrap(frame.assign(a=frame["a"].astype("category")))
    recipe = pv.recipes.arbitrary_conditioning(data, decoder="flat", direct=0.2, latent=2, widths=(8,), seed=0)
    head, model = recipe.model.heads["x"], recipe.model.eval()
    batch = {
        **data.train.batch(torch.arange(6)),
        "m": sparse(data.train.batch(torch.arange(6))["x"], torch.zeros(6, 2)),
    }
    law = {}
    for direct in (False, True):
        head.direct = direct
        torch.manual_seed(0)
        with torch.no_grad():
            (law[direct],) = Completer(30).predict(model, batch)
    with torch.no_grad():
        zero = predicted([model.decode({**batch, "z": torch.zeros(6, 2)})["x"]], 6, False)
    assert law[True].chances
    for (place, chance), (_, before), (_, alone) in zip(
        law[True].chances, law[False].chances, zero.chances, strict=True
    ):
        assert torch.allclose(chance, 0.25 * before + 0.75 * alone, atol=1e-6)
        assert torch.allclose(chance.sum(-1), torch.ones(()))
        if set(place.tolist()) <= set(law[True].codes.tolist()):
            assert torch.equal(law[True].mean[:, place], chance.argmax(-1).to(chance))
