"""Energy, entropy, rate and information against closed forms, sums over discrete values and each other."""

from __future__ import annotations

from math import e, inf, log, pi

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MultivariateNormal, Normal

from polyvae.data.split import Split
from polyvae.evaluation import evaluate
from polyvae.evaluation.codes import describe_codes, normal_entropy
from polyvae.evaluation.information import Information, information
from polyvae.model.parts import Head
from polyvae.model.vae import VAE, Values
from polyvae.recipes import named

WIDE = torch.float64


class Linear(nn.Module):
    """N(A value + b, diag s^2)."""

    def __init__(self, given: str, matrix: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.given, self.matrix, self.scale = (given,), matrix, scale

    def forward(self, values: Values) -> Distribution:
        loc = values[self.given[0]] @ self.matrix.T
        return Independent(Normal(loc, self.scale.expand_as(loc)), 1)


class Standard(nn.Module):
    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions

    def forward(self, values: Values) -> Distribution:
        return Independent(Normal(torch.zeros(self.dimensions, dtype=WIDE), torch.ones(1, dtype=WIDE)), 1)


def linear_model(encoder: Tensor, noise: Tensor, decoder: Tensor, scale: Tensor) -> VAE:
    posterior = {"z": Linear("x", encoder, noise)}
    return VAE(posterior, {"z": Standard(len(encoder))}, {"x": Head(Linear("z", decoder, scale), of="x")})


@pytest.fixture(scope="module")
def ppca() -> tuple[VAE, Split, Tensor]:
    """Probabilistic PCA whose diagonal posterior is exact: W has orthogonal columns."""
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(5, 2, dtype=WIDE)).Q
    w, variance = directions * torch.tensor([2.0, 0.7], dtype=WIDE), 0.3
    m = w.T @ w + variance * torch.eye(2, dtype=WIDE)
    encoder = torch.linalg.solve(m, w.T)
    noise = (variance / m.diagonal()).sqrt()
    model = linear_model(encoder, noise, w, torch.tensor(variance, dtype=WIDE).sqrt())
    covariance = w @ w.T + variance * torch.eye(5, dtype=WIDE)
    x = MultivariateNormal(torch.zeros(5, dtype=WIDE), covariance).sample((1500,))
    return model, Split({"x": x}), covariance


def test_the_free_energy_of_exact_posteriors_is_minus_log_p(ppca: tuple[VAE, Split, Tensor]) -> None:
    model, split, covariance = ppca
    found = information(model, split, samples=400)
    exact = -MultivariateNormal(torch.zeros(5, dtype=WIDE), covariance).log_prob(split.tensors["x"]).mean()
    assert found.free_energy == pytest.approx(float(exact), abs=0.01)


def test_energy_entropy_rate_and_distortion_of_a_linear_model_are_their_closed_forms(
    ppca: tuple[VAE, Split, Tensor],
) -> None:
    model, split, _ = ppca
    x = split.tensors["x"]
    q, p = model.posterior["z"], model.heads["x"].likelihood
    spread, means = q.scale.square(), x @ q.matrix.T
    entropy = 0.5 * (2 * pi * e * spread).log().sum()
    prior = 0.5 * (2 * log(2 * pi) + (means.square() + spread).sum(1)).mean()
    rest = (x - means @ p.matrix.T).square().sum(1).mean() + (p.matrix.square() @ spread).sum()
    distortion = 0.5 * (rest / p.scale**2 + 5 * (2 * pi * p.scale**2).log())
    found = information(model, split, samples=400)
    assert found.entropy == pytest.approx(float(entropy))
    assert found.distortion == pytest.approx(float(distortion), abs=0.01)
    assert found.rate == pytest.approx(float(prior - entropy))
    assert found.energy == pytest.approx(float(prior + distortion), abs=0.01)
    assert found.free_energy == pytest.approx(found.energy - found.entropy)
    assert found.free_energy == pytest.approx(found.distortion + found.rate)


def test_information_of_a_linear_model_lies_between_its_estimate_and_what_is_told_above_it(
    ppca: tuple[VAE, Split, Tensor],
) -> None:
    model, split, covariance = ppca
    q = model.posterior["z"]
    whole = q.matrix @ covariance @ q.matrix.T + q.scale.square().diag()
    exact = normal_entropy(whole) - 0.5 * float((2 * pi * e * q.scale.square()).log().sum())
    assert exact == pytest.approx(0.5 * float((whole.diagonal() / q.scale.square()).log().sum()))
    found = information(model, split).latents["z"]
    assert found.information is not None
    assert found.information_most is not None
    assert found.limit == pytest.approx(log(1500))
    assert exact - 0.1 < found.information < exact + 0.05
    assert found.information_most == pytest.approx(exact, abs=0.05)
    assert found.marginal_kl == pytest.approx(found.rate - exact, abs=0.1)
    assert found.correlation == pytest.approx(0, abs=0.01)
    assert not found.at_limit


def test_the_estimate_of_the_information_rises_with_the_examples_and_stops_at_their_logarithm() -> None:
    eye = torch.eye(3, dtype=WIDE)
    sharp = linear_model(eye, torch.tensor(1e-4, dtype=WIDE), eye, torch.tensor(0.1, dtype=WIDE))
    split = Split({"x": torch.randn(400, 3, dtype=WIDE)})
    few, many = (information(sharp, split, aggregate=count).latents["z"] for count in (50, 400))
    assert few.information == pytest.approx(log(50))
    assert many.information == pytest.approx(log(400))
    assert few.at_limit
    assert many.at_limit
    exact = 1.5 * log(1 + 1e8)
    assert many.information_most == pytest.approx(exact, rel=0.02)


def test_an_estimate_of_few_examples_stays_between_nothing_and_what_is_known_to_lie_above_it() -> None:
    torch.manual_seed(0)
    weak = linear_model(0.02 * torch.eye(1, dtype=WIDE), torch.tensor(1.0, dtype=WIDE), *[torch.eye(1, dtype=WIDE)] * 2)
    for seed in range(8):
        found = information(weak, Split({"x": torch.randn(6, 1, dtype=WIDE)}), seed=seed).latents["z"]
        assert found.information is not None
        assert found.information_most is not None
        assert found.marginal_kl is not None
        assert 0 <= found.information <= found.information_most
        assert found.marginal_kl >= found.marginal_kl_least  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize("known", [0.0, 1.0, 5.0])
def test_the_entropy_of_a_normal_law_is_not_too_small_on_average_over_few_points(known: float) -> None:
    torch.manual_seed(0)
    size, count = 40, 100
    spread = torch.linspace(0.2, 2, size, dtype=WIDE)
    exact = 0.5 * float((2 * pi * e * (spread.square() + known)).log().sum())
    drawn = spread * torch.randn(400, count, size, dtype=WIDE)
    covariances = [torch.cov(points.T, correction=0) + known * torch.eye(size, dtype=WIDE) for points in drawn]
    found = torch.tensor([normal_entropy(*each) for each in zip(covariances, drawn, strict=True)])
    plain = torch.tensor([normal_entropy(each) for each in covariances])
    error = float(found.std()) / 20
    lost = exact - float(plain.mean())
    assert lost > 8 * error
    # Exact where nothing is known, and to the first order of 1 / N elsewhere.
    assert abs(float(found.mean()) - exact) < 4 * error + (0.15 * lost if known else 0)
    assert normal_entropy(covariances[0], drawn[0, :size]) == inf


def test_of_codes_that_fill_the_prior_nothing_need_be_far_from_it_where_the_information_is_at_its_ceiling() -> None:
    size = 60
    eye = torch.eye(size, dtype=WIDE)
    exact = linear_model(0.8 * eye, torch.full((size,), 0.6, dtype=WIDE), eye, torch.tensor(0.1, dtype=WIDE))
    found = information(exact, Split({"x": torch.randn(600, size, dtype=WIDE)})).latents["z"]
    told = -size * log(0.6)
    assert found.at_limit
    assert found.information_most is not None
    assert found.marginal_kl_least is not None
    assert found.information_most == pytest.approx(told, abs=1.5)
    assert found.marginal_kl_least == pytest.approx(0, abs=1.5)
    assert found.marginal_kl is not None
    assert found.marginal_kl > 20


def test_of_a_posterior_that_reads_nothing_nothing_is_told() -> None:
    none = linear_model(
        torch.zeros(2, 3, dtype=WIDE), torch.tensor(0.5, dtype=WIDE), torch.ones(3, 2, dtype=WIDE), torch.ones(1)
    )
    found = information(none, Split({"x": torch.randn(100, 3, dtype=WIDE)})).latents["z"]
    assert found.information == pytest.approx(0, abs=1e-9)
    assert found.marginal_kl == pytest.approx(found.rate)
    assert found.rate == pytest.approx(2 * (0.125 - 0.5 - log(0.5)))


class Table(nn.Module):
    """A categorical law for each integer x, or one for all."""

    def __init__(self, logits: Tensor, given: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.logits, self.given = logits, given

    def forward(self, values: Values) -> Distribution:
        if not self.given:
            return Categorical(logits=self.logits)
        return Categorical(logits=self.logits[values[self.given[0]].long()])


@pytest.mark.parametrize("summed", [(), ("z",)])
def test_discrete_latents_match_sums_over_their_values(summed: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    q, p, likelihood = (torch.randn(*shape, dtype=WIDE).log_softmax(-1) for shape in ((4, 3), (3,), (3, 4)))
    model = VAE({"z": Table(q, ("x",))}, {"z": Table(p)}, {"x": Head(Table(likelihood, ("z",)), of="x")}, summed=summed)
    x = torch.arange(4).repeat(50)
    found = information(model, Split({"x": x}), samples=2000 if not summed else 1)
    rows, posterior = q.exp(), q.exp().mean(0)
    entropy = -(rows * q).sum(1).mean()
    rate = (rows * (q - p)).sum(1).mean()
    told = (rows * (q - posterior.log())).sum(1).mean()
    marginal = (posterior * (posterior.log() - p)).sum()
    distortion = -(rows * likelihood.T).sum(1).mean()
    near = {"abs": 1e-9} if summed else {"abs": 0.01}
    assert found.entropy == pytest.approx(float(entropy), abs=1e-9)
    assert found.rate == pytest.approx(float(rate), abs=1e-9)
    assert found.distortion == pytest.approx(float(distortion), **near)
    assert found.energy == pytest.approx(float(distortion + rate + entropy), **near)
    carried = found.latents["z"]
    assert carried.information == pytest.approx(float(told), abs=1e-9)
    assert carried.marginal_kl == pytest.approx(float(marginal), abs=1e-9)
    assert float(rate) == pytest.approx(float(told + marginal))
    assert carried.information_most == pytest.approx(float(rate))  # no density, no normal law above it


@pytest.mark.parametrize("name", ["vae", "iwae", "two_level", "vq_vae", "ae", "ppca", "vamp_prior", "cvae", "bir_vae"])
def test_every_kind_of_recipe_is_told_in_nats_and_bits(name: str) -> None:
    from polyvae.model.spec import Spec
    from polyvae.recipes import RECIPES

    if name not in RECIPES:
        pytest.skip("not of this version")
    options = {} if name == "ppca" else {"network": "mlp", "widths": [8]} if name != "vq_vae" else {"widths": [8]}
    made = named(name)(Spec((1, 8, 8), classes=3), seed=0, **options)
    made.model.eval()
    split = Split({"x": torch.rand(60, 1, 8, 8), "y": torch.arange(60) % 3})
    report = evaluate(made, split, samples=4)
    told = report["information"]
    if name == "ae":
        assert told["free_energy"] is None
        assert told["distortion"] is not None
        return
    assert told["free_energy"] == pytest.approx(-report["bound"], rel=1e-5)
    assert told["rate"] == pytest.approx(report["kl"], rel=1e-5)
    assert told["free_energy"] == pytest.approx(told["energy"] - told["entropy"], rel=1e-5)
    assert told["free_energy_bits"] == pytest.approx(told["free_energy"] / log(2))
    assert set(told["latents"]) == set(report["latents"])


def test_a_conditional_prior_has_no_one_divergence_of_the_aggregate() -> None:
    from polyvae.model.spec import Spec

    made = named("cvae")(Spec((1, 8, 8), classes=3), prior="conditional", network="mlp", widths=[8], seed=0)
    made.model.eval()
    split = Split({"x": torch.rand(60, 1, 8, 8), "y": torch.arange(60) % 3})
    assert not describe_codes(made, split)["z"].one_prior
    found: Information = information(made, split)
    assert found.latents["z"].marginal_kl is None
    assert found.latents["z"].information is not None
