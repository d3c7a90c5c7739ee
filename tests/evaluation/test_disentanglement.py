"""Scores of disentanglement on codes whose scores are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from polyvae.data import Split, wrap
from polyvae.data.sources.sprites import grid
from polyvae.evaluation.disentanglement import (
    DCI,
    MIG,
    SAP,
    BetaVAEScore,
    Explicitness,
    FactorVAEScore,
    GaussianTotalCorrelation,
    Modularity,
    correlation,
    disentanglement,
)
from polyvae.evaluation.disentanglement.information import information_of
from polyvae.objectives import aggregate

LEVELS = 8
FACTORS = torch.cartesian_prod(*[torch.arange(LEVELS)] * 3).repeat(4, 1)  # 2048 examples, each factor alike


def codes_of(factors: Tensor) -> Tensor:
    values = factors.double()
    return (values - values.mean(0)) / values.std(0)


def turned(codes: Tensor) -> Tensor:
    """The first two dimensions rotated by 45 degrees, the third mixed in by another 45."""
    half = math.sqrt(0.5)
    first = torch.tensor([[half, -half, 0], [half, half, 0], [0, 0, 1]]).double()
    second = torch.tensor([[1, 0, 0], [0, half, -half], [0, half, half]]).double()
    return codes @ first @ second


def shuffled(codes: Tensor) -> Tensor:
    return codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))]


def score(metric: Any, codes: Tensor, factors: Tensor = FACTORS) -> Any:
    metric.update(codes, factors)
    found = metric.compute()
    return {name: float(value) for name, value in found.items()} if isinstance(found, dict) else float(found)


# Of identity, rotation and shuffle: from, to.
EXPECTED: dict[str, tuple[Any, tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "mig": (MIG, (0.999, 1.001), (0.0, 0.25), (0.0, 0.05)),
    "sap": (SAP, (0.99, 1.001), (0.0, 0.35), (0.0, 0.02)),
    "modularity": (Modularity, (0.999, 1.001), (0.0, 0.75), (0.0, 1.0)),  # what tells little tells one by chance
    "factor_vae": (FactorVAEScore, (1.0, 1.0), (0.0, 0.9), (0.2, 0.5)),
    "beta_vae": (BetaVAEScore, (0.999, 1.0), (0.5, 0.9), (0.2, 0.5)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_trap_28_known_codes_have_the_scores_that_are_known(name: str) -> None:
    kind, *ranges = EXPECTED[name]
    codes = codes_of(FACTORS)
    for made, (low, high) in zip((codes, turned(codes), shuffled(codes)), ranges, strict=True):
        assert low <= score(kind(), made) <= high


def test_dci_of_known_codes() -> None:
    codes = codes_of(FACTORS)
    same, mixed, mingled = (score(DCI(), made) for made in (codes, turned(codes), shuffled(codes)))
    assert min(same.values()) > 0.99
    assert max(mixed["disentanglement"], mixed["completeness"]) < 0.5
    assert max(mingled["disentanglement"], mingled["completeness"]) < 0.1
    assert mingled["informativeness"] == pytest.approx(1 / LEVELS, abs=0.05)
    twice = score(DCI(), torch.cat([codes, codes], 1))  # each factor in two dimensions
    assert twice["disentanglement"] > 0.99


def test_explicitness_is_one_where_half_spaces_hold_the_values() -> None:
    two = FACTORS // (LEVELS // 2)
    assert score(Explicitness(), codes_of(two), two) == 1
    assert score(Explicitness(), turned(codes_of(two)), two) == 1
    assert score(Explicitness(), shuffled(codes_of(FACTORS))) == pytest.approx(0.5, abs=0.05)
    each = torch.nn.functional.one_hot(FACTORS, LEVELS).flatten(1).double()
    assert score(Explicitness(), each) > 0.999


def test_two_dimensions_of_one_factor_close_the_gap_and_one_dimension_of_two_is_not_modular() -> None:
    codes = codes_of(FACTORS)
    assert score(MIG(), torch.cat([codes, codes], 1)) == pytest.approx(0, abs=1e-12)
    assert score(SAP(), torch.cat([codes, codes], 1)) == pytest.approx(0, abs=1e-12)
    both = (FACTORS[:, :1] * LEVELS + FACTORS[:, 1:2]).double()
    assert score(Modularity(LEVELS * LEVELS), both) == pytest.approx(1 - 1 / 2)  # two factors alike, a third not
    assert score(Modularity(), torch.zeros(len(FACTORS), 2)) == 0


def test_information_is_the_closed_form_and_its_bias_is_as_stated() -> None:
    factors = [column.numpy() for column in FACTORS.T]
    found = information_of(codes_of(FACTORS).numpy(), factors)
    np.testing.assert_allclose(found, np.eye(3) * math.log(LEVELS), atol=1e-12)
    stream = np.random.default_rng(0)
    noise = stream.random((20_000, 1))
    bias = information_of(noise, [stream.integers(LEVELS, size=20_000)])[0, 0]
    assert bias == pytest.approx(19 * (LEVELS - 1) / 40_000, rel=0.35)


def test_a_factor_that_is_a_class_is_told_by_a_classifier() -> None:
    order = torch.tensor([0, 2, 1])[FACTORS[:, 0] % 3]  # no order
    codes = torch.stack([(FACTORS[:, 0] % 3).double(), FACTORS[:, 1].double()], 1)
    factors = torch.stack([order, FACTORS[:, 1]], 1)
    assert score(SAP(), codes, factors) < score(SAP([0]), codes, factors)


@pytest.mark.parametrize("kind", [MIG, DCI, SAP, Modularity, Explicitness, FactorVAEScore, BetaVAEScore])
def test_trap_29_scores_do_not_depend_on_the_batches(kind: Any) -> None:
    torch.manual_seed(0)
    codes = turned(codes_of(FACTORS)) + 0.1 * torch.randn(len(FACTORS), 3).double()
    whole = kind()
    whole.update(codes, FACTORS)
    parts = kind()
    for rows in torch.arange(len(codes)).split(300):
        parts.update(codes[rows], FACTORS[rows])
    one, other = whole.compute(), parts.compute()
    one, other = ({"": each} if isinstance(each, Tensor) else each for each in (one, other))
    assert one == other
    fewer = kind()
    fewer.update(codes.float(), torch.cat([FACTORS, torch.ones_like(FACTORS[:, :1])], 1))  # a factor that stands still
    again = fewer.compute()
    for name, value in one.items():
        found = again if isinstance(again, Tensor) else again[name]
        assert float(found) == pytest.approx(float(value), abs=0.02)


def test_collapsed_dimensions_have_no_vote() -> None:
    codes = codes_of(FACTORS)
    still = torch.cat([codes, 1e-3 * torch.randn(len(codes), 2).double()], 1)
    assert score(FactorVAEScore(), still) == 1
    assert score(FactorVAEScore(), 0.01 * codes) == 0
    assert score(FactorVAEScore(collapsed=0), 0.01 * codes) == 1
    assert score(FactorVAEScore(), torch.tensor([0.4, 0.1, 0.06]) * codes) == 1  # the threshold is of deviations
    assert score(FactorVAEScore(collapsed=0), torch.cat([codes, 0 * codes], 1)) == 1


def test_the_total_correlation_of_codes_is_that_of_a_normal_law() -> None:
    covariance = torch.tensor([[2.0, 0.9, 0.0], [0.9, 1.0, 0.3], [0.0, 0.3, 0.5]]).double()
    torch.manual_seed(0)
    white = torch.randn(400, 3).double()
    white = (white - white.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(white.T.cov(correction=0))).T
    codes = white @ torch.linalg.cholesky(covariance).T
    expected = 0.5 * (covariance.diagonal().log().sum() - covariance.logdet()).item()
    found = GaussianTotalCorrelation()
    for rows in (torch.cat([codes, torch.zeros(400, 1)], 1)).split(150):  # one dimension stands still
        found.update(rows)
    assert found.compute().item() == pytest.approx(expected)
    found.reset()
    found.update(torch.cat([codes, codes[:, :1] - codes[:, 1:2]], 1))
    assert found.compute().item() > 10


class Given(nn.Module):
    """A part that says this of the values it is given."""

    def __init__(self, law: Callable[[Any], Distribution], *given: str) -> None:
        super().__init__()
        self.law, self.given = law, given

    def forward(self, values: Any) -> Distribution:
        return self.law(values)


def of_normals(d: int, scale: float, correlation: float = 0.0) -> dict[str, Any]:
    """The scores of q(z | x) = N(x, scale^2), each variance of q(z) 1, each correlation of two dimensions alike."""
    torch.manual_seed(0)
    covariance = (1 - correlation) * torch.eye(d) + correlation - scale**2 * torch.eye(d)
    x = torch.randn(1000, d) @ torch.linalg.cholesky(covariance).T
    law = lambda name, scale: Given(lambda v: Independent(Normal(v[name], scale), 1), name)  # noqa: E731
    prior = Given(lambda v: Independent(Normal(torch.zeros(d), 1.0), 1))
    return disentanglement(
        pv.VAE(law("x", scale), prior, law("z", 1.0)), Split({"x": x, "factors": (x[:, :2] > 0).long()})
    )


@pytest.mark.parametrize(("d", "scale", "correlation"), [(2, 0.3, 0.0), (4, 0.4, 0.5), (10, 0.1, 0.0)])
def test_the_total_correlation_of_posteriors_lies_between_its_bounds_and_is_told_where_they_are_near(
    d: int, scale: float, correlation: float
) -> None:
    expected = -0.5 * ((d - 1) * math.log(1 - correlation) + math.log(1 + (d - 1) * correlation))
    found = of_normals(d, scale, correlation)
    lower, upper = found["total_correlation_bounds"]
    assert lower <= expected <= upper
    if scale == 0.1:  # the examples stand apart: the mixture of 1,000 has a total correlation of 16 nats
        assert found["total_correlation"] is None
        assert [note.partition(", since")[0] for note in found["notes"]] == ["no total correlation of q(z)"]
        assert upper > 15
    else:
        assert found["total_correlation"] == pytest.approx(expected, abs=0.1)
        assert found["notes"] == []
    assert found["total_correlation_normal"] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("posterior", ["diagonal", "full", "mixture"])
def test_the_total_correlation_of_posteriors_is_the_same_in_chunks(
    posterior: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pv.recipes.vae((6,), latent=3, network="mlp", widths=(8,), posterior=posterior, seed=0)
    torch.manual_seed(0)
    latent = made.model.infer({"x": torch.randn(50, 6)}).latents["z"]
    term = pv.objectives.TotalCorrelation(examples=50)
    whole = correlation.of_mixture(latent)
    seen = []
    pairs = aggregate.log_pairs
    monkeypatch.setattr(correlation, "log_pairs", lambda q, z: seen.append(z.shape[1]) or pairs(q, z))
    monkeypatch.setattr(correlation, "PAIRS", 7 * 50 * 3)
    torch.testing.assert_close(correlation.of_mixture(latent), whole, atol=1e-5, rtol=1e-5)
    assert seen == [7] * 7 + [1]
    middle = term(pv.Draw(1, {}, {"z": latent}, {})).mean().double()  # which holds each example's own posterior
    assert whole.mean(0)[0] <= middle <= whole.mean(0)[1]


def test_mistakes_are_told() -> None:
    codes = codes_of(FACTORS)
    for wrong, message in (
        ((codes[:5], FACTORS), r"codes are \[B, d\], factors \[B, F\]"),
        ((codes, FACTORS + 0.5), "factors are whole numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            MIG().update(*wrong)
    with pytest.warns(UserWarning, match="before the"), pytest.raises(ValueError, match="MIG was given no codes"):
        MIG().compute()
    for kind, name in ((BetaVAEScore, "beta-VAE score"), (FactorVAEScore, "FactorVAE score"), (Modularity, "modul")):
        with pytest.raises(ValueError, match=rf"{name}.* needs two factors that vary; got 1"):
            score(kind(), codes, FACTORS[:, :1])
    for given, factors, message in (
        (codes * math.nan, FACTORS, "not finite"),
        (codes, torch.zeros_like(FACTORS), "no factor varies"),
    ):
        with pytest.raises(ValueError, match=message):
            score(MIG(), given, factors)


def sprites(count: int = 600) -> pv.data.Data:
    made = grid(2, 4, 6)
    pictures = torch.from_numpy(made["imgs"])[:, None, ::4, ::4] * 255
    chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))[:count]
    factors = torch.from_numpy(made["latents_classes"])[chosen]
    return wrap({"x": pictures[chosen], "factors": factors}, validation=0.2, test=0)


def test_all_scores_of_a_model_and_the_batches_of_its_evaluation() -> None:
    data = sprites()
    made = pv.recipes.vae(data.spec, latent=4, network="mlp", widths=(32,), seed=0)
    run = pv.fit(made, data, epochs=2, device="cpu", progress=False)
    found = disentanglement(run, data.validation, categorical=[1])
    assert found["varying"] == [1, 2, 3, 4, 5]
    assert np.shape(found["information"]) == (4, 5)
    assert all(0 <= found[name] <= 1 for name in ("mig", "sap", "factor_vae", "beta_vae", "modularity"))
    assert found["total_correlation_normal"] < found["total_correlation_means"]  # the posteriors' noise is independent
    assert abs(found["total_correlation"]) < 0.05  # little is learned, at one draw of each example
    assert found == disentanglement(run, data.validation, categorical=[1])
    with pytest.raises(ValueError, match=r"under the name 'factors', .* the split holds x"):
        disentanglement(run, wrap(data.train.tensors["x"]).train)


@pytest.mark.parametrize("kept", [[1], 1])
def test_a_single_factor_has_the_scores_that_one_can_have(kept: Any) -> None:
    data = sprites(300)
    single = replace(data.train, tensors={**data.train.tensors, "factors": data.train.tensors["factors"][:, kept]})
    made = pv.recipes.vae(data.spec, latent=2, network="mlp", widths=(8,), seed=0)
    found = disentanglement(made, single)
    assert found["varying"] == [0]
    missing = [
        name for name in ("factor_vae", "beta_vae", "modularity", "mig", "sap", "explicitness") if not found[name]
    ]
    assert missing == ["factor_vae", "beta_vae", "modularity"]
    assert [note.partition(" needs two factors")[0] for note in found["notes"]] == [
        "the FactorVAE score",
        "the beta-VAE score",
        "modularity",
    ]
