"""A prior fitted to the latents of a run of several modalities: of one, or of all in a row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.fitted import SMALL, clouds
from polyvae.data import Data, wrap
from polyvae.evaluation import both_bounds
from polyvae.model.priors.row import Row
from polyvae.training.second_stage import latent_data, with_prior
from polyvae.training.second_stage.judged import judged
from polyvae.training.store import RunError

SEVERAL = {
    "mvae": {},
    "mmvae": {"samples": 2},
    "mopoe": {},
    "jmvae": {},
    "mvtcae": {},
    "mmvae_plus": {"samples": 2, "private": 1},
    "dmvae": {"private": 1},
    "poise": {"samples": 1},
}


def halves(count: int = 250) -> Data:
    """The clouds' four columns as two modalities, of which some rows lack one."""
    parts = {}
    for name, split in clouds(count).parts.items():
        x, y = split.tensors["x"], split.tensors["y"]
        absent = torch.arange(len(x)) % 7 == 0
        parts[name] = {"left": x[:, :2], "right": x[:, 2:], "right_present": ~absent, "y": y}
    return wrap(parts["train"], validation=parts["validation"], modalities="left,right")


def trained(name: str, folder: Any = None, **options: Any) -> pv.Run:
    made = pv.recipes.named(name)(halves().spec, latent=2, seed=0, **{**SEVERAL[name], **options})
    return pv.fit(made, halves(), folder, epochs=3, **SMALL)


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_the_bound_has_the_fitted_law_of_all_latents_in_the_place_of_the_prior(name: str, kind: str) -> None:
    run, data = trained(name), halves()
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    options = {"components": 3} if kind == "mixture" else {"epochs": 2, "transforms": 1, "widths": (8,)}
    prior = pv.fit_prior(run, data, kind, **options, **SMALL)
    fitted = with_prior(run, prior)
    assert all(value.equal(run.model.state_dict()[key]) for key, value in before.items())
    draws = []
    for each in (run, fitted):
        torch.manual_seed(0)
        draws.append(each.model.eval()(run.recipe.observe(data.validation.batch(torch.arange(9))), 4))
    own, new = draws
    latents = run.model.plan.latents
    z = torch.cat([own.values[key] for key in latents], 1)
    assert torch.equal(z, torch.cat([new.values[key] for key in latents], 1))
    assert torch.equal(own.log_px, new.log_px)
    log_p = prior.model.prior["z"]({}).log_prob(z).view(4, 9)
    old = sum(latent.log_p for latent in own.latents.values())
    noise = 0.1 if name == "poise" else 1e-4  # the partition function of its q is annealed anew
    torch.testing.assert_close(new.log_weight, own.log_weight - old + log_p, atol=noise, rtol=1e-4)


@pytest.mark.parametrize("name", ["mmvae_plus", "dmvae", "poise"])
def test_draws_of_several_latents_hang_together_as_those_of_the_posteriors(name: str) -> None:
    run = trained(name)
    fitted = with_prior(run, pv.fit_prior(run, halves(), "mixture", components=4, **SMALL))
    assert isinstance(fitted.model.prior["latents"], Row)
    torch.manual_seed(0)
    wanted = torch.cat([latent_data(run, halves()).train.batch(torch.arange(200))["x"] for _ in range(50)])
    drawn = fitted.model.sample_latents(count=10_000)
    found = torch.cat([drawn[key] for key in run.model.plan.latents], 1)
    scale = wanted.std(0)
    torch.testing.assert_close(found.mean(0) / scale, wanted.mean(0) / scale, rtol=0, atol=0.25)
    covariances = (each.T.cov() / scale / scale[:, None] for each in (found, wanted))
    torch.testing.assert_close(*covariances, rtol=0, atol=0.35)
    made: dict[str, Tensor] = {key: law.mean for key, law in fitted.model.generate(count=5).items()}
    assert {key: value.shape for key, value in made.items()} == {"left": (5, 2), "right": (5, 2)}


def test_it_raises_the_bound_and_is_judged_by_what_is_drawn_together() -> None:
    run, data = trained("mvtcae"), halves()
    fitted = with_prior(run, pv.fit_prior(run, data, "mixture", components=3, **SMALL))
    few = both_bounds(run, data.validation, 8).plain.mean()
    assert both_bounds(fitted, data.validation, 8).plain.mean() > few + 0.1
    told = judged({"own": run, "fitted": fitted}, data, samples=4, examples=20, frechet=500)
    assert told["frechet_samples"] == 500  # though there are fewer rows
    assert told["own"]["error"] == pytest.approx(
        (told["own"]["coherence"] * (1 - told["own"]["coherence"]) / 500) ** 0.5
    )
    assert 0.5 < told["real"] <= 1
    assert told["own"]["frechet"] == told["fitted"]["frechet"] == {}  # no pictures
    assert 0 <= told["own"]["coherence"] <= 1
    assert told["fitted"]["coherence"] > told["own"]["coherence"]
    assert judged({"own": run}, data, samples=4, examples=20, frechet=0)["own"]["frechet"] is None


def test_it_lies_in_the_folder_and_is_read_back(tmp_path: Any) -> None:
    run = trained("dmvae", tmp_path / "run")
    prior = pv.fit_prior(run, halves(), "mixture", components=2, **SMALL)
    read = with_prior(pv.Run.load(tmp_path / "run"))
    found, wanted = (each.model.sample_latents(count=3) for each in (read, with_prior(run, prior)))
    assert {key: value.shape for key, value in found.items()} == {"z": (3, 2), "w_left": (3, 1), "w_right": (3, 1)}
    assert found.keys() == wanted.keys()
    z = torch.randn(5, 4)
    laws = (each.model.prior["latents"]({}).log_prob(z) for each in (read, with_prior(run, prior)))
    torch.testing.assert_close(*laws)


@pytest.mark.parametrize("kind", ["vamp", "two-stage", "labelled"])
def test_what_is_of_one_latent_alone_is_refused_for_several(kind: str) -> None:
    with pytest.raises(RunError, match=r"is for a run of one such latent, and the run has several: z, w_left, w_right"):
        pv.fit_prior(trained("dmvae"), halves(), kind, **SMALL)
    if kind == "two-stage":
        run = trained("mmvae")
        fitted = with_prior(run, pv.fit_prior(run, halves(), kind, epochs=1, widths=(8,), **SMALL))
        assert list(fitted.model.prior) == ["u", "z"]
        assert fitted.model.generate(count=3)["left"].mean.shape == (3, 2)
