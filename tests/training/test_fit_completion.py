"""A law q(z | m) fitted to a run: against a posterior that is known, kept, resumed, used, and refused where it must."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

import polyvae as pv
from helpers.fitted import SMALL, clouds, trained
from helpers.runs import same, timeless, weights
from helpers.training import assert_same_run
from polyvae.data import wrap
from polyvae.evaluation import both_bounds
from polyvae.model.priors.completing import Completing
from polyvae.observe.masks import sparse
from polyvae.training.second_stage import has_completion, with_completion
from polyvae.training.store import RunError

FEW: dict[str, Any] = {**SMALL, "epochs": 2, "widths": (16,)}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that completes nothing."""
    folder = tmp_path_factory.mktemp("matched") / "run"
    trained(folder)
    return folder


@pytest.fixture
def run(first: Path, tmp_path: Path) -> pv.Run:
    """A copy of it."""
    return pv.Run.load(shutil.copytree(first, tmp_path / "run"))


def known() -> tuple[Tensor, Tensor]:
    """Points of the clouds, and a mask of their first two values."""
    x = clouds().validation.batch(torch.arange(9))["x"]
    mask = torch.zeros_like(x)
    mask[:, :2] = 1
    return x, mask


def test_of_a_linear_model_the_fitted_law_is_the_posterior_given_what_is_seen() -> None:
    generator = torch.Generator().manual_seed(3)
    a = torch.tensor([[1.5, 0.0], [1.0, 1.0], [0.0, 1.5], [-1.0, 1.0]])
    x = torch.randn(4000, 2, generator=generator) @ a.T + 0.5 * torch.randn(4000, 4, generator=generator)
    data = wrap(x, validation=200, test=0)
    run = pv.fit(pv.recipes.ppca(data.spec, latent=2), data, progress=False)
    asked: dict[str, Any] = {"law": "full", "count": 2, "widths": (64,), "batch_size": 200, "lr": 5e-3}
    made = pv.fit_completion(run, data, epochs=25, schedule="cosine", progress=False, **asked)
    with torch.no_grad():
        law = run.model.decode({"z": torch.cat([torch.zeros(1, 2), torch.eye(2)])})["x"]
    mean, scale = law.mean[0], law.stddev[0]
    weight = (law.mean[1:] - mean).T
    some = x[:40]
    mask = torch.rand(40, 4, generator=generator).argsort(1).argsort(1) < 2
    q = made.model.prior["z"]({"m": sparse(some, mask)})
    lost = []
    for row, seen in enumerate(mask):
        slope = weight[seen].T / scale[seen].square()
        precision = torch.eye(2) + slope @ weight[seen]
        centre = torch.linalg.solve(precision, slope @ (some[row] - mean)[seen])
        exact = MultivariateNormal(centre, torch.linalg.inv(precision))
        lost.append(kl_divergence(exact, MultivariateNormal(q.mean[row], q.covariance_matrix[row])).item())
    assert sum(lost) / len(lost) < 0.08
    # An encoder that the prior stood for would be this far off.
    assert kl_divergence(exact, MultivariateNormal(torch.zeros(2), torch.eye(2))) > 0.5


def test_of_codes_the_fitted_law_is_how_often_they_come_among_what_agrees() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (1200, 4), generator=generator).float()
    x[:, 3] = x[:, 0]  # which tells more of the codes
    data = wrap(x, validation=400, test=0)
    small: dict[str, Any] = {"device": "cpu", "progress": False, "batch_size": 50}
    run = pv.fit(pv.recipes.vq_vae(data.spec, codes=3, dim=2, widths=(8,), seed=1), data, epochs=1, **small)
    asked: dict[str, Any] = {"mask": "points", "positions": [0, 1], "widths": (16,), "layers": 2, "lr": 3e-3}
    with pytest.raises(ValueError, match="law: full is a law of vectors, and z of this run is none; leave law out"):
        pv.fit_completion(run, data, law="full", **asked, **small)
    made = pv.fit_completion(run, data, epochs=40, schedule="cosine", **asked, **small)
    codes = run.model.encode({"x": x})["z"].codes
    maps = torch.tensor(list(product(range(3), repeat=2)))
    for one in product((0.0, 1.0), repeat=2):
        agrees = (x[:, :2] == torch.tensor(one)).all(1)
        often = (codes[agrees][:, None] == maps).all(2).float().mean(0)
        m = sparse(torch.tensor([[*one, 0.0, 0.0]]), torch.tensor([[1, 1, 0, 0]]))
        with torch.no_grad():
            law = made.model.prior["z"]({"m": m})
            p = law.log_prob_codes(maps[:, None]).exp()[:, 0]
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        assert (p - often).abs().sum() < 0.12
    filled = with_completion(run, made).complete(x[:5], torch.tensor([[1, 1, 0, 0]]), draws=9)
    assert filled.samples.shape == (9, 5, 4)


@pytest.mark.parametrize("law", ["autoregressive", "mixture", "full", "diagonal"])
def test_a_run_completes_by_the_law_in_its_folder_and_is_left_as_it_is(law: Any, run: pv.Run) -> None:
    folder, before = Path(str(run.folder)), weights(run.recipe)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    (x, mask), bounds = known(), both_bounds(run, clouds().validation, 2).plain
    drawn = run.sample(4)
    with pytest.raises(ValueError, match="polyvae fit-completion"):
        run.complete(x, mask)
    made = pv.fit_completion(run, clouds(), law=law, **{**FEW, "epochs": 15})
    assert made.folder == folder / "completion"
    assert has_completion(folder)
    found = run.complete(x, mask)
    assert torch.equal(found.mean, pv.complete(pv.Run.load(folder), x, mask).mean)
    assert torch.equal(found.mean, pv.complete(with_completion(pv.Run.load(folder), made), x, mask).mean)
    unseen = mask == 0
    assert (found.mean - x)[unseen].square().mean() < 0.5 * (x - x.mean(0))[unseen].square().mean()
    assert found.law is not None
    assert found.law.log_prob(x).isfinite().all()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == files
    assert same(weights(run.recipe), before)
    assert np.array_equal(run.sample(4), drawn)
    assert torch.equal(both_bounds(run, clouds().validation, 2).plain, bounds)
    assert run.completed().model.heads["x"] is run.model.heads["x"]


def test_trap38_a_completion_that_was_stopped_goes_on_as_if_it_had_not(run: pv.Run, tmp_path: Path) -> None:
    other = pv.Run.load(shutil.copytree(Path(str(run.folder)), tmp_path / "other"))
    asked = {**FEW, "law": "mixture", "epochs": 3, "seed": 4, "count": 2}
    whole = pv.fit_completion(run, clouds(), **asked)
    pv.fit_completion(other, clouds(), **asked, max_steps=11)
    again = pv.fit_completion(other, clouds(), resume=True, max_steps=None, progress=False)
    assert timeless(again.history) == timeless(whole.history)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert_same_run(Path(str(run.folder)) / "completion", Path(str(other.folder)) / "completion")


DIGITS: dict[str, dict[str, Any]] = {
    "full_covariance": {"network": "mlp", "latent": 3},
    "vq_vae": {"codes": 8, "dim": 4, "widths": (8, 8)},
    "vq_vae_2": {"codes": 8, "dim": 4, "widths": (8,)},
    "ladder": {"network": "conv", "per_scale": (1, 1), "latent": 2, "widths": (8, 8)},
    "two_level": {"network": "mlp", "latent": 4, "top": 2},
    "ae": {"network": "mlp", "latent": 3},
    "cvae": {"network": "mlp", "latent": 3},
    "m2": {"network": "mlp", "latent": 3},
    "semi_conditional": {"network": "mlp", "latent": 3, "decoder": "flat", "count": 5},
}


@pytest.mark.parametrize("name", DIGITS)
def test_runs_of_other_recipes_complete_too(name: str, tmp_path: Path) -> None:
    data = pv.data.load("digits", limit=120)
    asked: dict[str, Any] = {"epochs": 1, "progress": False, "device": "cpu"}
    run = pv.fit(pv.recipes.named(name)(data, seed=0, **DIGITS[name]), data, tmp_path / "run", **asked)
    pv.fit_completion(run, data, widths=(8,), layers=2, **asked)
    read = pv.Run.load(tmp_path / "run")
    batch = data.test.batch(torch.arange(4))
    mask = torch.zeros(4, 1, 8, 8)
    mask[..., :3] = 1
    found = read.complete(batch["x"], mask, y=batch["y"] if name == "cvae" else None, draws=5, quantiles=())
    assert found.samples.shape == (5, 4, 1, 8, 8)
    assert found.mean.isfinite().all()
    assert not found.samples[0].equal(found.samples[1])
    assert all(isinstance(prior, Completing) for prior in read.completed().model.prior.values())


def test_draws_are_weighed_by_both_laws(run: pv.Run) -> None:
    pv.fit_completion(run, clouds(), law="diagonal", **{**FEW, "epochs": 12})
    x, mask = known()
    own = pv.complete(run.recipe, x, mask, weigh="seen", candidates=20_000, draws=2000)
    by_law = run.complete(x, mask, weigh="seen", candidates=20_000, draws=2000)
    torch.testing.assert_close(by_law.mean, own.mean, rtol=0, atol=0.25)
    assert by_law.effective.median() > own.effective.median()


def test_what_cannot_be_fitted_is_refused(run: pv.Run, tmp_path: Path) -> None:
    data = clouds()
    with pytest.raises(RunError, match=r"has no completion yet; fit one with `polyvae fit-completion .*run`"):
        with_completion(run)
    with pytest.raises(RunError, match=r"fit one with `fit_completion\(run, data\)`"):
        with_completion(trained(None))
    with pytest.raises(ValueError, match="components is a whole number of at least 1; got 0"):
        pv.fit_completion(run, data, components=0)
    with pytest.raises(ValueError, match="law is one of autoregressive, mixture, full, diagonal; got 'flow'"):
        pv.fit_completion(run, data, law="flow", **FEW)
    with pytest.raises(TypeError, match="no setting is named 'laws'"):
        pv.fit_completion(run, data, laws="full")
    with pytest.raises(ValueError, match="count does not fit"):
        pv.fit_completion(run, data, count=9, **FEW)
    seeing = trained(None, "arbitrary_conditioning", decoder="flat", count=2)
    with pytest.raises(RunError, match="the prior of the run reads m already: it completes as it is"):
        pv.fit_completion(seeing, data, **FEW)
    gaps = data.train.tensors["x"].clone()
    gaps[::3, 0] = torch.nan
    with_gaps = pv.fit("incomplete", gaps, epochs=1, progress=False)
    with pytest.raises(RunError, match=r"knows of gaps: run.impute \(polyvae impute\) fills them"):
        pv.fit_completion(with_gaps, gaps, **FEW)
    pv.fit_completion(run, data, **FEW)
    with pytest.raises(RunError, match="already holds"):
        pv.fit_completion(run, data, **FEW)
    with pytest.raises(RunError, match="are z2, z1"):
        with_completion(pv.Run(pv.recipes.two_level(data.spec, latent=2, network="mlp")), run.completed())


def test_a_completion_of_former_weights_is_refused(run: pv.Run) -> None:
    pv.fit_completion(run, clouds(), **FEW)
    folder = Path(str(run.folder))
    pv.fit(run.recipe, clouds(), folder, resume=True, epochs=30, **SMALL)
    with pytest.raises(RunError, match=r"trained on since its completion was.*`polyvae fit-completion"):
        pv.Run.load(folder).complete(*known())
    assert pv.complete(pv.Run.load(folder).recipe, *known(), weigh="seen").mean.isfinite().all()


def test_the_posteriors_are_read_once_where_that_says_all(run: pv.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, infer = [], pv.VAE.infer
    monkeypatch.setattr(pv.VAE, "infer", lambda *given: calls.append(given) or infer(*given))
    made = pv.fit_completion(run, clouds(), law="full", **FEW)
    assert len(calls) == 1  # one example tells the shapes
    assert len(made.history) == 2
