"""Whatever returns a `Draw` is evaluated for its bounds: a stranger's module needs no VAE."""

from __future__ import annotations

import json
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

import polyvae as pv
from polyvae.data.split import Split
from polyvae.evaluation import both_bounds, describe_codes, reconstruction_errors, sampled_pictures
from polyvae.evaluation.tables import table
from polyvae.figures import completions, reconstructions, samples, traversals
from polyvae.model.vae import Draw, Latent, Observed
from polyvae.observe.masks import SparsePixels


class Own(nn.Module):
    """x = 2 z + noise of deviation 1 in three dimensions, with its exact posterior, written without a VAE."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.asked: list[int] = []

    def forward(self, batch: pv.Values, samples: int = 1) -> Draw:
        x = batch["x"]
        self.asked.append(samples)
        q = _law(0.4 * x, 0.2**0.5)
        p = _law(torch.zeros_like(x), 1.0)
        z = q.rsample((samples,))
        likelihood = _law((self.slope * z).flatten(0, 1), 1.0)
        score = likelihood.log_prob(x.repeat(samples, 1)).view(samples, len(x))
        values = {**batch, "z": z.flatten(0, 1)}
        return Draw(samples, values, {"z": Latent(q, p, z, z)}, {"x": Observed(likelihood, x, score, 1.0)})


def _law(mean: Tensor, scale: float) -> Distribution:
    return Independent(Normal(mean, torch.full_like(mean, scale)), 1)


@pytest.fixture
def split() -> Split:
    return Split({"x": torch.randn(130, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))})


def test_a_module_that_returns_a_draw_has_its_exact_bounds(split: Split) -> None:
    model = Own()
    exact = _law(torch.zeros(3, dtype=torch.float64), 5**0.5).log_prob(split.tensors["x"])
    found = both_bounds(model, split, samples=10)
    torch.testing.assert_close(found.plain.mean(), exact.mean(), atol=0.3, rtol=0)
    torch.testing.assert_close(found.importance, exact)  # every weight is p(x), whatever was drawn
    assert model.asked == [10, 10]
    report = pv.evaluate(model, split, samples=10)
    assert report["importance_bound"] == pytest.approx(float(exact.mean()))
    assert report["kl"] == pytest.approx(float(found.kl["z"].mean()))
    assert (report["examples"], report["dimensions"], report["parameters"], report["given"]) == (130, 3, 1, [])
    assert report["importance_bound_bits"] is None
    json.dumps(report, allow_nan=False)
    table(report)


def test_what_such_a_module_has_not_is_left_out_by_name(split: Split) -> None:
    report = pv.evaluate(Own(), split, samples=2, frechet=4)
    assert report["latents"] == {}
    assert (report["mse"], report["psnr"], report["ssim"]) == (None, None, None)
    assert "no codes, no reconstruction, no Fréchet distance: Own has no encode and no reconstruct" in report["notes"]


def test_what_needs_more_than_a_draw_is_refused_with_what_is_missing(split: Split) -> None:
    for ask, missing in [
        (lambda: describe_codes(Own(), split), "encode"),
        (lambda: reconstruction_errors(Own(), split), "reconstruct"),
        (lambda: sampled_pictures(Own(), split, 3), "generate"),
        (lambda: reconstructions(Own(), split), "reconstruct"),
        (lambda: samples(Own(), split), "generate"),
        (lambda: traversals(Own(), split), "decode"),
        (lambda: completions(Own(), split, SparsePixels()), "sample_latents"),
        (lambda: pv.complete(Own(), split.tensors["x"]), "sample_latents"),
    ]:
        with pytest.raises(TypeError, match=f"needs a model with .*{missing}.*, as a VAE has; got Own"):
            ask()


def test_what_returns_no_draw_is_refused(split: Split) -> None:
    class Mean(nn.Module):
        def forward(self, batch: pv.Values, samples: int = 1) -> Tensor:
            return batch["x"].mean()

    with pytest.raises(TypeError, match="returns a Draw; Mean returned Tensor"):
        both_bounds(Mean(), split)
    with pytest.raises(TypeError, match="got Linear"):
        both_bounds(nn.Linear(3, 3), split)
    with pytest.raises(TypeError, match="no setting is named 'sample'; did you mean samples"):
        pv.evaluate(Own(), split, sample=3)


def test_a_discrete_law_has_bits(split: Split) -> None:
    class Coins(Own):
        def forward(self, batch: pv.Values, samples: int = 1) -> Draw:
            draw = super().forward(batch, samples)
            p = Independent(torch.distributions.Bernoulli(torch.full_like(draw.values["z"], 0.5)), 1)
            score = p.log_prob(batch["x"].repeat(samples, 1)).view(samples, -1)
            return Draw(samples, draw.values, draw.latents, {"x": Observed(p, batch["x"], score, 1.0)})

    coins = Split({"x": (split.tensors["x"] > 0).double()})
    report = pv.evaluate(Coins(), coins, samples=1)
    assert report["reconstruction"]["x"] == pytest.approx(3 * log(2))
    assert report["discrete"]


def test_codes_are_described_without_decoding() -> None:
    recipe = pv.recipes.vae((6,), latent=2, network="mlp", widths=(8,), seed=0)
    split = pv.data.wrap(torch.randn(90, 6)).train
    expected = describe_codes(recipe, split, aggregate=20)["z"]
    recipe.model.heads["x"].forward = None
    found = describe_codes(recipe, split, aggregate=20)["z"]
    assert torch.equal(found.means, expected.means)
    assert found.information == expected.information
    with pytest.raises(TypeError):
        recipe.model(split.tensors, 1)


@pytest.mark.parametrize("name", ["MAF", "NICE", "NSF"])
def test_codes_of_flows_that_do_not_broadcast_are_described(name: str) -> None:
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)

    class Posterior(nn.Module):
        given = ("x",)

        def __init__(self) -> None:
            super().__init__()
            self.flow = getattr(zuko.flows, name)(3, 6, transforms=2, hidden_features=[8])

        def forward(self, values: pv.Values) -> Any:
            return self.flow(values["x"])

    plain = pv.recipes.vae((6,), latent=3, network="mlp", widths=(8,), seed=0).model
    model = pv.VAE(Posterior(), plain.prior["z"], plain.heads["x"].likelihood)
    x = torch.randn(230, 6)
    code = describe_codes(model, Split({"x": x}))["z"]
    law = model.posterior["z"]({"x": x})
    with torch.no_grad():
        z = law.sample()
        logs = torch.stack([law.log_prob(row.expand(230, 3)) for row in z])  # [z, x]
        expected = logs.diag().mean() - (logs.logsumexp(1) - log(230)).mean()
    assert code.information == pytest.approx(float(expected), abs=0.5)
