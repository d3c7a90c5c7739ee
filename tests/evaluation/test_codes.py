"""What latents carry, against closed forms of known Gaussians."""

from math import log

import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from polyvae import recipes
from polyvae.data.split import Split
from polyvae.evaluation import describe_codes, evaluate, moments, mutual_information
from polyvae.model.distributions.point import Point
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Family


class Around(nn.Module):
    """q(z | x) = N(x, s^2), one scale for each dimension."""

    given = ("x",)

    def __init__(self, *scales):
        super().__init__()
        self.register_buffer("scales", torch.tensor(scales))

    def forward(self, values):
        return Independent(Normal(values["x"], self.scales.expand_as(values["x"])), 1)


def around(*scales):
    size = len(scales)
    likelihood = Conditional(nn.Linear(size, 2 * size), DiagonalNormal(), "z")
    return VAE(Around(*scales), StandardNormal(size), likelihood)


def normal_data(count, *scales, seed=0):
    torch.manual_seed(seed)
    return Split({"x": torch.randn(count, len(scales)) * torch.tensor(scales)})


def test_information_of_a_gaussian_channel_is_half_the_logarithm_of_one_plus_its_signal_to_noise_ratio():
    code = describe_codes(around(0.5, 1.0), normal_data(4000, 1.0, 1.0), aggregate=4000)["z"]
    exact = 0.5 * log(1 + 1 / 0.25) + 0.5 * log(2)
    assert code.information == pytest.approx(exact, abs=0.06)
    assert code.aggregate == 4000


def test_information_is_nothing_when_the_code_ignores_the_data():
    assert describe_codes(around(0.5), Split({"x": torch.zeros(300, 1)}))["z"].information == pytest.approx(0, abs=1e-5)


def test_information_of_codes_far_apart_is_the_logarithm_of_their_number():
    split = Split({"x": 100 * torch.arange(150.0)[:, None]})
    assert describe_codes(around(0.5), split)["z"].information == pytest.approx(log(150), abs=1e-4)


def test_information_does_not_depend_on_how_the_examples_are_cut_into_blocks():
    torch.manual_seed(0)
    loc = torch.randn(60, 3)
    z = loc + 0.7 * torch.randn(60, 3)
    whole = mutual_information([Independent(Normal(loc, 0.7), 1)], z)
    cut = mutual_information([Independent(Normal(part, 0.7), 1) for part in loc.split(25)], z)
    assert whole == pytest.approx(cut, abs=1e-5)
    full = MultivariateNormal(loc, scale_tril=0.7 * torch.eye(3).expand(60, 3, 3))
    assert mutual_information([full], z) == pytest.approx(whole, abs=1e-5)


class Inverted(Distribution):
    """A law that draws and scores at once, as a flow does that is inverted for other values."""

    def __init__(self, law):
        self.law, self.asked = law, 0
        super().__init__(law.batch_shape, law.event_shape, validate_args=False)

    def rsample_and_log_prob(self, shape):
        z = self.law.rsample(shape)
        return z, self.law.log_prob(z)

    def log_prob(self, value):
        self.asked = max(self.asked, value.numel())
        return self.law.log_prob(value)


def test_laws_that_invert_a_network_are_asked_for_fewer_values_at_a_time(monkeypatch):
    torch.manual_seed(0)
    loc = torch.randn(60, 30)
    z = loc + 0.7 * torch.randn(60, 30)
    whole = mutual_information([Independent(Normal(loc, 0.7), 1)], z)
    monkeypatch.setattr("polyvae.evaluation.codes._PAIRS", 60 * 30 * 60)
    flow = Inverted(Independent(Normal(loc, 0.7), 1))
    assert mutual_information([flow], z) == pytest.approx(whole, abs=1e-6)
    assert flow.asked == 60 * 30 * 2  # a thirtieth of what a normal is asked for: one pass for each of 30 values


def test_trap50_the_aggregate_is_a_seeded_subset_and_not_the_front_of_a_sorted_file():
    x = normal_data(400, 3.0).tensors["x"]
    ways = [Split({"x": x}), Split({"x": x.sort(0).values})]
    found = [describe_codes(around(0.2), split, aggregate=150)["z"] for split in ways]
    assert [code.aggregate for code in found] == [150, 150]
    assert found[0].information == pytest.approx(found[1].information, abs=0.3)
    front = describe_codes(around(0.2), ways[1].take(range(150)))["z"].information
    assert front < found[1].information - 0.5, "a sorted front is narrow"
    assert found[1].information != describe_codes(around(0.2), ways[1], seed=1, aggregate=150)["z"].information
    with pytest.raises(ValueError, match="aggregate counts examples, at least 1; got 0"):
        describe_codes(around(0.2), ways[0], aggregate=0)


def test_units_are_active_by_the_variance_of_their_means_over_the_data():
    x = torch.zeros(200, 3)
    x[::2, 0], x[::2, 1] = 0.21, 0.19  # variances 0.0110 and 0.0090
    code = describe_codes(around(1.0, 1.0, 1.0), Split({"x": x}))["z"]
    torch.testing.assert_close(
        code.activity, torch.tensor([0.21**2 / 4, 0.19**2 / 4, 0]).double(), rtol=1e-5, atol=1e-9
    )
    assert code.active.tolist() == [True, False, False]


def test_divergence_of_each_dimension_is_that_of_its_marginal():
    x = torch.zeros(10, 2)
    x[:, 1] = 2.0
    code = describe_codes(around(1.0, 0.5), Split({"x": x}))["z"]
    assert code.analytic
    expected = torch.tensor([0.0, 0.5 * (0.25 + 4 - 1) - log(0.5)]).double()
    torch.testing.assert_close(code.kl, expected, rtol=1e-5, atol=1e-6)


def test_divergences_of_dimensions_are_sampled_where_no_closed_form_is_known():
    made = recipes.mixture_prior(Spec((1, 4, 4), levels=2), network="mlp", widths=(8,), latent=3, seed=0)
    with torch.no_grad():
        made.model.prior["z"].loc.zero_()  # all components alike: a standard normal in disguise
    split = Split({"x": torch.rand(400, 1, 4, 4)})
    sampled = describe_codes(made, split)["z"]
    made.model.prior["z"] = StandardNormal(3)
    closed = describe_codes(made, split)["z"]
    assert (sampled.analytic, closed.analytic) == (False, True)
    torch.testing.assert_close(sampled.kl, closed.kl, rtol=0, atol=0.03)


def test_moments_of_the_aggregate_posterior_by_hand():
    split = normal_data(500, 2.0, 1.0)
    code = describe_codes(around(0.5, 1.0), split)["z"]
    x = split.tensors["x"].double()
    mean, covariance = code.moments
    torch.testing.assert_close(mean, x.mean(0), rtol=0, atol=1e-6)
    expected = torch.cov(x.T, correction=0) + torch.diag(torch.tensor([0.25, 1.0])).double()
    torch.testing.assert_close(covariance, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(code.prior_moments[1], torch.eye(2).double())


def test_moments_of_a_mixture_equal_those_of_its_samples():
    torch.manual_seed(0)
    parts = MultivariateNormal(torch.tensor([[0.0, 3.0], [2.0, -1.0]]), torch.eye(2) * 0.5)
    law = MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7])), parts)
    mean, covariance = moments(law)
    z = law.sample((200_000,)).double()
    torch.testing.assert_close(mean, z.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(covariance, torch.cov(z.T), rtol=0, atol=0.05)


def test_moments_of_a_batch_are_those_of_the_equal_mixture_over_it():
    loc, scale = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [2.0]])
    mean, covariance = moments(Independent(Normal(loc, scale), 1))
    assert (float(mean), float(covariance)) == (2.0, 4.0 + 2.5)
    point = moments(Point(loc))
    assert (float(point[0]), float(point[1])) == (2.0, 4.0)
    assert moments(Independent(Laplace(loc, scale), 1))[1].item() == pytest.approx(4 + (2 * 1 + 2 * 4) / 2)


def test_one_level_of_two_has_information_and_the_lower_one_says_that_it_has_none():
    made = recipes.two_level(Spec((1, 4, 4), levels=2), network="mlp", widths=(8,), latent=3, top=2, seed=0)
    found = describe_codes(made, Split({"x": torch.rand(120, 1, 4, 4)}))
    assert list(found) == ["z2", "z1"]
    assert found["z2"].information is not None
    assert found["z1"].information is None
    assert found["z1"].kl.shape == (3,)
    assert found["z1"].prior_moments is not None


def test_a_family_of_a_users_own_without_marginals_or_moments_gives_none():
    class Whole(Family):
        def size(self, features):
            return features

        def forward(self, raw):
            return Unknown(raw)

    class Unknown(torch.distributions.Distribution):
        has_rsample = True

        def __init__(self, loc):
            self.inner = Independent(Normal(loc, 1.0), 1)
            super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

        mean = property(lambda self: self.inner.mean)

        def rsample(self, shape=()):
            return self.inner.rsample(shape)

        def log_prob(self, value):
            return self.inner.log_prob(value)

    model = around(1.0, 1.0)
    model.posterior["z"] = Conditional(nn.Linear(2, 2), Whole(), "x")
    code = describe_codes(model, normal_data(150, 1.0, 1.0))["z"]
    assert (code.kl, code.moments) == (None, None)
    assert code.information is not None


def test_a_map_of_many_values_has_a_divergence_but_no_covariance() -> None:
    made = recipes.ladder(Spec((1, 16, 16)), per_scale=(1, 1), latent=(2, 9), widths=(4,), network="conv", seed=0)
    report = evaluate(made, Split({"x": torch.rand(6, 1, 16, 16)}), samples=2)
    top, wide = (report["latents"][name] for name in ("z1", "z2"))
    assert (top["dimensions"], wide["dimensions"]) == (2 * 4 * 4, 9 * 8 * 8)
    assert len(top["aggregate"]["variance"]) == 32
    assert wide["aggregate"] is None
    assert "no moments of z2: a covariance of 576 dimensions, above 512" in report["notes"]
    assert len(wide["kl_per_dimension"]) == 576
    assert report["kl"] == pytest.approx(top["kl"] + wide["kl"])
