"""Bounds against exact likelihoods, hand-made numbers and one another."""

import json
from math import log, log2, pi

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, Uniform

from polyvae import recipes
from polyvae.data.split import Split
from polyvae.evaluation import LogMeanExp, both_bounds, evaluate, importance_bound
from polyvae.model.distributions.bernoulli import Bernoulli
from polyvae.model.families.pixels import DiscretisedLogistic
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional, Head


class Fixed(nn.Module):
    """A distribution that ignores all values but for the number of rows."""

    given = ()

    def __init__(self, law, given=()):
        super().__init__()
        self.law, self.given = law, given

    def forward(self, values):
        return self.law.expand((len(next(iter(values.values()))),))


def linear_gaussian(examples=130, dimensions=4, latent=2):
    torch.manual_seed(0)
    x = torch.randn(examples, latent) @ torch.randn(latent, dimensions) + 0.3 * torch.randn(examples, dimensions) + 1
    made = recipes.ppca(Spec((dimensions,), levels=None), latent=latent)
    made.solve({"x": x})
    model = made.model.double()
    decoder = model.heads["x"].likelihood
    covariance = decoder.weight @ decoder.weight.T + decoder.scale**2 * torch.eye(dimensions, dtype=torch.float64)
    exact = MultivariateNormal(decoder.mean, covariance).log_prob(x.double())
    return made, Split({"x": x.double()}), exact


def bits(examples=250, pixels=6, seed=0):
    torch.manual_seed(seed)
    return Split({"x": (torch.rand(examples, 1, pixels, pixels) > 0.5).to(torch.uint8) * 255})


def small(spec=None, **options):
    spec = spec or Spec((1, 6, 6), levels=2)
    return recipes.vae(spec, **{"network": "mlp", "widths": (8,), "latent": 3, "seed": 0, **options})


def test_both_bounds_of_a_linear_gaussian_model_are_its_exact_log_likelihood():
    made, split, exact = linear_gaussian()
    found = both_bounds(made, split, samples=2000)
    # The posterior is exact: every weight is p(x) whatever was drawn.
    torch.testing.assert_close(found.importance, exact, rtol=0, atol=1e-6)
    assert (found.plain - exact).abs().mean() < 0.05
    assert found.analytic == {"z": True}


def test_a_wrong_posterior_leaves_the_plain_bound_short_by_its_divergence_and_samples_close_the_gap():
    made, split, exact = linear_gaussian()
    made.model.posterior["z"].tril.mul_(1.5)
    few, many = both_bounds(made, split, samples=5), both_bounds(made, split, samples=2000)
    gap = 2 * (0.5 * 1.5**2 - 0.5 - log(1.5))
    assert float((exact - many.plain).mean()) == pytest.approx(gap, abs=0.05)
    assert float((exact - many.importance).mean()) == pytest.approx(0, abs=0.02)
    assert many.plain.mean() < few.importance.mean() < many.importance.mean()


def test_importance_bound_rises_with_the_number_of_samples():
    made, split = small(), bits()
    means = [float(importance_bound(made, split, samples=k).mean()) for k in (1, 10, 200)]
    assert means == sorted(means)


def test_one_importance_sample_is_the_plain_bound_with_a_sampled_divergence():
    made, split = small(), bits()
    one = importance_bound(made, split, samples=1)
    many = both_bounds(made, split, samples=400).plain
    assert abs(float((one - many).mean())) < 4 * float((one - many).std()) / len(split) ** 0.5


@pytest.mark.parametrize("chunks", [[7], [1] * 7, [3, 4], [2, 2, 3]])
def test_streamed_logarithm_of_a_mean_equals_the_direct_one(chunks):
    torch.manual_seed(1)
    values = 300 * torch.randn(7, 5, dtype=torch.float64)
    stream = LogMeanExp()
    for chunk in values.split(chunks):
        stream.add(chunk)
    torch.testing.assert_close(stream.value, values.logsumexp(0) - log(7), rtol=1e-14, atol=1e-12)


def test_streamed_logarithm_survives_samples_of_no_weight():
    stream = LogMeanExp()
    stream.add(torch.tensor([[float("-inf")], [float("-inf")]]))
    stream.add(torch.tensor([[2.0], [float("-inf")]]))
    assert float(stream.value) == pytest.approx(2 - log(4))


def test_samples_come_in_chunks_that_change_nothing_but_the_noise(monkeypatch):
    made, split, _ = linear_gaussian()
    whole = both_bounds(made, split, samples=64)
    monkeypatch.setattr("polyvae.evaluation.bounds._CPU_VALUES", 10 * 100 * 4)
    parts = both_bounds(made, split, samples=64)
    torch.testing.assert_close(parts.importance, whole.importance, rtol=0, atol=1e-6)
    assert parts.samples == 64


def test_bits_per_dimension_of_a_probability_by_hand():
    # Fair coins: one bit a pixel, and nothing in the latent.
    torch.manual_seed(0)
    fair = recipes.vae(Spec((1, 6, 6), levels=2), network="mlp", latent=2, seed=0)
    prior = Fixed(Independent(Normal(torch.zeros(2), torch.ones(2)), 1), ("x",))
    decoder = fair.model.heads["x"].likelihood
    for parameter in decoder.parameters():
        nn.init.zeros_(parameter)
    report = evaluate(VAE(prior, StandardNormal(2), decoder), bits(), samples=3)
    assert report["bound_bits"] == pytest.approx(1, abs=1e-6)
    assert report["bound"] == pytest.approx(-36 * log(2), abs=1e-4)
    assert report["kl"] == pytest.approx(0, abs=1e-6)


def test_bits_per_dimension_of_a_density_count_the_grey_levels():
    prior = Fixed(Independent(Normal(torch.zeros(2), torch.ones(2)), 1), ("x",))
    flat = Fixed(Independent(Normal(torch.zeros(1, 6, 6), torch.full((1, 6, 6), 2.0)), 3), ("z",))
    split = Split({"x": torch.zeros(5, 1, 6, 6)})
    report = evaluate(VAE(prior, StandardNormal(2), flat), split, samples=2, spec=Spec((1, 6, 6), levels=256))
    assert report["bound_bits"] == pytest.approx(log(2 * (2 * pi) ** 0.5) / log(2) + log2(255), abs=1e-5)
    assert any("times 1 / 255 for its probability: an approximation" in note for note in report["notes"])


def standard(event, scale=1.0, given=("z",)):
    return Fixed(Independent(Normal(torch.zeros(event), torch.full(event, scale)), len(event)), given)


@pytest.mark.parametrize("levels", [4, 256])
def test_bits_of_dequantised_data_are_those_of_their_grey_levels(levels):
    """Under the true density of evenly spread levels, 1 on [0, 1), every level costs log2(levels) bits."""
    torch.manual_seed(0)
    x = (torch.randint(levels, (400, 6)) + torch.rand(400, 6)) / levels
    even = Fixed(Independent(Uniform(torch.zeros(6), torch.full((6,), 1.000001)), 1), ("z",))
    model = VAE(standard((2,), given=("x",)), StandardNormal(2), even)
    report = evaluate(model, Split({"x": x}), samples=2, spec=Spec((6,), levels=None, dequantised=levels))
    assert report["bound_bits"] == pytest.approx(log2(levels), abs=1e-5)
    assert not any("bits" in note for note in report["notes"])
    grid = Split({"x": torch.randint(levels, (400, 6)) / (levels - 1)})
    other = evaluate(model, grid, samples=2, spec=Spec((6,), levels=levels))
    assert other["bound_bits"] == pytest.approx(log2(levels - 1), abs=1e-5)


def test_a_density_of_bits_has_no_bits_per_dimension():
    """Which it would have the fewer, below zero even, the nearer bits that are copies of each other lie to a plane."""
    torch.manual_seed(0)
    x = torch.randint(2, (400, 2)).float().repeat(1, 4)
    x = torch.where(torch.rand(x.shape) < 0.002, 1 - x, x)
    made = recipes.ppca(Spec((8,), levels=2), latent=2)
    made.solve({"x": x})
    report = evaluate(made, Split({"x": x}), samples=2, spec=Spec((8,), levels=2))
    assert report["bound"] > 0
    assert (report["bound_bits"], report["importance_bound_bits"]) == (None, None)
    assert any("the data are bits, and a density" in note for note in report["notes"])


def test_bits_of_a_head_that_scores_some_rows_are_counted_over_what_it_scored():
    torch.manual_seed(0)
    known = torch.arange(300) % 4 == 0
    batch = {"x": torch.randint(2, (300, 6)).float(), "t": torch.randint(2, (300, 8)).float(), "known": known}
    coins = {n: Head(Coins(size), of=n, where=w) for n, size, w in (("x", 6, None), ("t", 8, "known"))}
    report = evaluate(VAE(standard((2,), given=("x",)), StandardNormal(2), coins), Split(batch), samples=2)
    assert report["bound"] == pytest.approx(-(6 + 8 / 4) * log(2), rel=1e-5)
    assert report["dimensions"] == pytest.approx(6 + 8 / 4)
    assert report["bound_bits"] == pytest.approx(1, abs=1e-5)


class Coins(nn.Module):
    """Fair bits."""

    given = ("z",)

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, values):
        return Bernoulli(torch.zeros(len(values["z"]), self.size))


def test_continuous_data_have_nats_only():
    made, split, _ = linear_gaussian()
    report = evaluate(made, split, samples=2)
    assert report["bound_bits"] is None
    assert report["psnr"] is None
    assert any("continuous" in note for note in report["notes"])


def test_discretised_likelihood_counts_as_a_probability():
    spec = Spec((1, 6, 6), levels=256)
    report = evaluate(small(spec, likelihood=DiscretisedLogistic(256)), bits(20), samples=2)
    assert report["bound_bits"] == pytest.approx(-report["bound"] / (36 * log(2)))
    mixed = evaluate(small(spec, likelihood="logistic-mixture"), bits(20), samples=2)
    assert mixed["bound_bits"] == pytest.approx(-mixed["bound"] / (36 * log(2)))


def test_grey_data_under_a_bernoulli_likelihood_are_called_what_they_are():
    split = Split({"x": torch.full((4, 1, 6, 6), 100, dtype=torch.uint8)})
    assert any("cross-entropies" in note for note in evaluate(small(), split, samples=2)["notes"])


def test_a_point_posterior_has_no_bound_and_says_so():
    made = recipes.ae(Spec((1, 6, 6), levels=2), network="mlp", widths=(8,), latent=3, seed=0)
    report = evaluate(made, bits(), samples=10**9)
    assert report["bound"] is None
    assert report["importance_bound"] is None
    assert report["reconstruction"]["x"] > 0
    assert report["mse"] > 0
    assert any("no bound" in note for note in report["notes"])
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(
    "name", ["ae", "cvae", "full_covariance", "mixture_prior", "sigma_vae", "two_level", "vamp_prior"]
)
def test_every_kind_of_model_gets_a_report_that_json_holds(name):
    split = bits(30)
    labelled = Split({**split.tensors, "y": torch.arange(30) % 3})
    options = {"components": 5} if name == "vamp_prior" else {}
    made = recipes.named(name)(Spec((1, 6, 6), classes=3, levels=2), network="mlp", widths=(8,), seed=0, **options)
    report = evaluate(made, labelled, samples=4)
    json.dumps(report, allow_nan=False)
    assert report["examples"] == 30
    assert set(report["latents"]) == set(made.model.prior)


def test_a_linear_baseline_stands_in_the_same_report():
    x = torch.rand(60, 1, 6, 6)
    for name in ("pca", "ppca"):
        made = recipes.named(name)(Spec((1, 6, 6), levels=256), latent=3)
        made.solve({"x": x})
        report = evaluate(made, Split({"x": x}), samples=3)
        json.dumps(report, allow_nan=False)
        assert (report["bound"] is None) == (name == "pca")


def test_standard_error_is_that_of_the_mean_over_examples():
    made, split, exact = linear_gaussian()
    report = evaluate(made, split, samples=50)
    assert report["importance_bound_error"] == pytest.approx(float(exact.std()) / len(split) ** 0.5, rel=1e-3)
    assert evaluate(made, split.take([0]), samples=5)["bound_error"] is None


def test_parts_of_the_bound_add_up_over_heads_and_latents():
    torch.manual_seed(0)
    q = Conditional(nn.Linear(3, 4), DiagonalNormal(), "x")
    heads = {
        "x": Conditional(nn.Linear(2, 6), DiagonalNormal(), "z"),
        "w": Conditional(nn.Linear(2, 2), DiagonalNormal(), "z"),
    }
    model = VAE(q, StandardNormal(2), {"x": Head(heads["x"], "x"), "w": Head(heads["w"], "w", weight=7.0)})
    split = Split({"x": torch.randn(20, 3), "w": torch.randn(20, 1)})
    found = both_bounds(model, split, samples=8)
    torch.testing.assert_close(found.plain, found.heads["x"] + found.heads["w"] - found.kl["z"])


def test_wrong_requests_are_refused():
    made, split = small(), bits(3)
    with pytest.raises(ValueError, match="samples"):
        both_bounds(made, split, samples=0)
    with pytest.raises(ValueError, match="no examples"):
        both_bounds(made, split.take([]))
    with pytest.raises(TypeError, match="recipe or a VAE"):
        both_bounds(nn.Linear(2, 2), split)
