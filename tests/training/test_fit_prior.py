"""A prior fitted to the latents of a run: fitted, kept, resumed, used, and refused where it must."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import polyvae as pv
from helpers.fitted import SMALL, clouds, mean_bound, trained
from helpers.runs import same, timeless, weights
from helpers.training import assert_same_run
from polyvae.data import Data, wrap
from polyvae.data.loading import as_data
from polyvae.evaluation import both_bounds
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import Conditional
from polyvae.training.second_stage import has_prior, latent_data, with_prior
from polyvae.training.second_stage.judged import judged
from polyvae.training.store import RunError

KINDS: dict[str, dict[str, Any]] = {
    "mixture": {"components": 3},
    "vamp": {"components": 10},
    "flow": {"transforms": 2, "widths": (32,)},
    "flow-matching": {"steps": 6, "widths": (32,)},
    "two-stage": {"widths": (32,)},
}
EPOCHS = {"flow-matching": 50}  # of 8 steps
GAIN = {"two-stage": 0.0, "flow-matching": 0.1}  # nats, where a short fit gains less than others


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a fitted prior."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    trained(folder)
    return folder


@pytest.fixture
def run(first: Path, tmp_path: Path) -> pv.Run:
    """A copy of it."""
    return pv.Run.load(shutil.copytree(first, tmp_path / "run"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_prior_raises_the_bound_and_nothing_else_moves(kind: str, run: pv.Run) -> None:
    data, before = clouds(), weights(run.recipe)
    prior = pv.fit_prior(run, data, kind, epochs=EPOCHS.get(kind, 12), **KINDS[kind], **SMALL)
    assert prior.folder == Path(str(run.folder)) / "prior"
    fitted = with_prior(run)  # as it lies in the folder
    assert same(weights(run.recipe), before)
    assert fitted.model.heads["x"] is run.model.heads["x"]
    assert fitted.model.posterior["z"] is run.model.posterior["z"]
    assert mean_bound(fitted) == pytest.approx(mean_bound(with_prior(run, prior)), abs=1e-5)
    assert mean_bound(fitted) > mean_bound(run) + GAIN.get(kind, 0.3)
    old, new = (both_bounds(each, data.validation, 3) for each in (run, fitted))
    assert torch.equal(old.heads["x"], new.heads["x"])  # the same draws, decoded alike
    assert not fitted.model.training
    assert isinstance(run.model.prior["z"], StandardNormal)
    # draws of the prior have the moments of the posteriors' draws
    torch.manual_seed(0)
    z = latent_data(run, data).train.batch(torch.arange(200))["x"]
    made = fitted.model.sample_latents(count=3000)["z"]
    # Ten equal shares are no three thirds.
    torch.testing.assert_close(made.mean(0), z.mean(0), rtol=0, atol=0.6 if kind == "vamp" else 0.35)
    assert fitted.model.generate(count=5)["x"].mean.shape == (5, 4)


def test_of_two_stages_there_are_two_latents_with_a_bound_of_both(run: pv.Run) -> None:
    fitted = with_prior(run, pv.fit_prior(run, clouds(), "two-stage", top=3, epochs=1, widths=(8,), **SMALL))
    model = fitted.model
    assert list(model.posterior) == ["z", "u"]
    assert list(model.prior) == ["u", "z"]
    assert (model.posterior["u"].given, model.prior["z"].given) == (("z",), ("u",))
    assert isinstance(model.prior["u"], StandardNormal)
    draw = model(clouds().validation.batch(torch.arange(6)), 4)
    assert draw.latents["u"].z.shape == (4, 6, 3)
    z, u = draw.latents["z"], draw.latents["u"]
    torch.testing.assert_close(draw.log_weight, draw.log_px + z.log_p - z.log_q + u.log_p - u.log_q)
    torch.testing.assert_close(
        z.log_p, model.prior["z"]({"u": u.z.flatten(0, 1)}).log_prob(z.z.flatten(0, 1)).view(4, 6)
    )


def test_draws_of_the_posteriors_are_made_anew_at_every_look_and_follow_from_the_seed(run: pv.Run) -> None:
    latents, index = latent_data(run, clouds()), torch.arange(10)
    torch.manual_seed(0)
    first, second = latents.train.batch(index)["x"], latents.train.batch(index)["x"]
    assert not first.equal(second)
    torch.manual_seed(0)
    assert latents.train.batch(index)["x"].equal(first)
    q = run.model.encode(clouds().train.batch(index))["z"]
    many = torch.stack([latents.train.batch(index)["x"] for _ in range(400)])
    torch.testing.assert_close(many.mean(0), q.mean, rtol=0, atol=0.25)
    torch.testing.assert_close(many.std(0), q.stddev, rtol=0.3, atol=0.05)
    assert latents.spec == pv.Spec((2,), clouds().spec.classes, levels=None)


def test_a_mixture_finds_the_clouds(run: pv.Run) -> None:
    prior = pv.fit_prior(run, clouds(), "mixture", components=3, **SMALL)
    means, y = prior.model.prior["z"].loc, clouds().train.tensors["y"]
    with torch.no_grad():
        centres = run.model.encode(clouds().train.batch(torch.arange(200)))["z"].mean
    for label in range(3):
        assert (means - centres[y == label].mean(0)).norm(dim=1).min() < 0.2
    assert prior.history[0]["validation_bound"] == pytest.approx(
        -both_bounds(prior, latent_data(run, clouds()).validation).kl["z"].mean().item(), abs=0.3
    )


@pytest.mark.parametrize("kind", ["vamp", "flow", "flow-matching", "two-stage"])
def test_trap38_a_prior_that_was_stopped_goes_on_as_if_it_had_not(kind: str, run: pv.Run, tmp_path: Path) -> None:
    other = pv.Run.load(shutil.copytree(Path(str(run.folder)), tmp_path / "other"))
    whole = pv.fit_prior(run, clouds(), kind, epochs=3, seed=4, **KINDS[kind], **SMALL)
    pv.fit_prior(other, clouds(), kind, epochs=3, seed=4, max_steps=11, **KINDS[kind], **SMALL)
    again = pv.fit_prior(other, clouds(), kind, resume=True, max_steps=None, progress=False)
    assert timeless(again.history) == timeless(whole.history)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert_same_run(Path(str(run.folder)) / "prior", Path(str(other.folder)) / "prior")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cvae", {}),
        ("iwae", {}),
        ("full_covariance", {}),
        ("vamp_prior", {"components": 4}),
        ("semi_conditional", {"count": 0.5}),
        ("two_level", {"top": 2}),
        ("ae", {}),
    ],
)
@pytest.mark.parametrize("kind", ["mixture", "two-stage"])
def test_runs_of_other_recipes_have_their_prior_fitted_too(name: str, options: dict[str, Any], kind: str) -> None:
    run = trained(None, name, **options)
    fitted = with_prior(run, pv.fit_prior(run, clouds(), kind, epochs=2, **KINDS[kind], **SMALL))
    batch = run.recipe.observe(clouds().validation.batch(torch.arange(6)))
    assert fitted.model(batch, 2).log_px.shape == (2, 6)
    given = {key: batch[key] for key in fitted.model.conditions}
    assert next(iter(fitted.model.generate(given, 2).values())).mean.shape == (12 if given else 2, 4)
    assert fitted.model.conditions == run.model.conditions


def test_a_run_that_learns_from_what_is_observed_has_its_prior_fitted_to_data_with_gaps() -> None:
    x = clouds(120).train.tensors["x"].clone()
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.3] = torch.nan
    data = as_data(x, gaps=True)
    made = pv.recipes.incomplete(data.spec, latent=2, network="mlp", widths=(8,), samples=2, seed=0)
    run = pv.fit(made, data, epochs=1, **SMALL)
    fitted = with_prior(run, pv.fit_prior(run, data, "mixture", components=2, **SMALL))
    assert bool(torch.isfinite(both_bounds(fitted, data.validation, 2).plain).all())
    with pytest.raises(ValueError, match=r"missing in column .*The recipe incomplete trains on gaps"):
        pv.fit_prior(trained(None), data, "mixture", components=2, **SMALL)


def test_a_vamp_prior_of_a_convolutional_run_leaves_its_statistics_alone() -> None:
    x = (torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    data = wrap((x, torch.arange(60) % 2), validation=20)
    run = pv.fit(pv.recipes.vae(data.spec, latent=2, widths=(4, 4), seed=0), data, epochs=1, **SMALL)
    before = weights(run.recipe)
    prior = pv.fit_prior(run, data, "vamp", components=5, epochs=2, **SMALL)
    assert same(weights(run.recipe), before)
    frozen = prior.model.prior["z"].posterior.part
    assert all(a.equal(b) for a, b in zip(frozen.buffers(), run.model.posterior["z"].buffers(), strict=True))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    z = torch.randn(4, 2)
    prior.model.train()
    training = prior.model.prior["z"]({}).log_prob(z)
    torch.testing.assert_close(training, prior.model.eval().prior["z"]({}).log_prob(z))


def test_a_mixture_sees_all_examples_and_holds_few_of_them_at_once(run: pv.Run) -> None:
    data, seen = clouds(2600), []

    def counted(values: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(len(values["x"]))
        return values

    data = replace(data, train=replace(data.train, transform=counted))
    pv.fit_prior(run, data, "mixture", components=3, **SMALL)
    assert max(seen) <= 1000
    assert sum(seen) >= len(data.train) == 2550


def test_priors_are_judged_on_the_same_examples_with_and_without_pictures(run: pv.Run) -> None:
    fitted = with_prior(run, pv.fit_prior(run, clouds(), "mixture", components=3, **SMALL))
    told = judged({"own": run, "fitted": fitted}, clouds(), samples=4, examples=20)
    assert (told["examples"], told["samples"], told["frechet_samples"]) == (20, 4, 0)
    assert told["own"]["frechet"] is None
    assert told["fitted"]["bound"] > told["own"]["bound"]
    assert told["own"]["importance_bound"] > told["own"]["bound"]
    alike = judged({"a": run, "b": run}, clouds(), samples=4, examples=20)
    assert alike["a"] == alike["b"] == told["own"]


def test_pictures_are_judged_where_the_test_part_has_no_labels() -> None:
    x = torch.rand(80, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    train, test = {"x": x[:60], "y": torch.arange(60) % 3}, {"x": x[60:]}
    data = wrap(train, validation=10)
    data = replace(data, test=wrap(test, validation=0, test=0).train)
    run = pv.fit(pv.recipes.vae(data.spec, latent=2, network="mlp", widths=(8,), seed=0), data, epochs=1, **SMALL)
    assert judged({"own": run}, data, samples=2, examples=5)["own"]["frechet"] > 0


def test_latents_that_have_one_law_together_are_refused_in_a_run_of_one_x() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shapes = {"a": (1,), "b": (1,)}

        def forward(self, values: dict[str, Tensor]) -> Independent:
            rows = () if values.get("x") is None else (len(values["x"]),)
            return Independent(Normal(torch.zeros(*rows, 2), torch.ones(*rows, 2)), 1)

    class Read(Both):
        given = ("x",)

    decoder = Conditional(torch.nn.Linear(1, 8), DiagonalNormal(), "a")
    for posterior in ({"q": Read()}, {"a": Conditional(torch.nn.Linear(4, 2), DiagonalNormal(), "x"),
                                      "b": Conditional(torch.nn.Linear(4, 2), DiagonalNormal(), "x")}):  # fmt: skip
        model = pv.VAE(posterior, {"p": Both()}, decoder)
        with pytest.raises(RunError, match="has none among p"):
            pv.fit_prior(pv.Run(pv.Recipe(model, pv.Objective())), clouds(), "mixture", components=2, **SMALL)


def test_what_cannot_be_is_refused(run: pv.Run) -> None:
    data = clouds()
    with pytest.raises(RunError, match=r"has no learned prior yet; train one with `polyvae fit-prior .*run mixture`"):
        with_prior(run)
    with pytest.raises(RunError, match=r"has no learned prior yet; train one with `fit_prior\(run, data, 'mixture'\)`"):
        with_prior(pv.Run(run.recipe))
    with pytest.raises(ValueError, match=r"prior is one of mixture, vamp, flow, .*, labelled; got 'glow'"):
        pv.fit_prior(run, data, "glow")
    with pytest.raises(ValueError, match="components is a whole number of at least 1; got 0"):
        pv.fit_prior(run, data, "mixture", components=0)
    with pytest.raises(ValueError, match="components: 900 normals need as many training examples; got 200"):
        pv.fit_prior(run, data, "mixture", components=900, **SMALL)
    with pytest.raises(TypeError, match="no setting is named 'transforms'"):
        pv.fit_prior(run, data, "mixture", transforms=2)
    made = pv.recipes.vq_vae((1, 8, 8), codes=4, dim=2, widths=(4,), seed=0)
    with pytest.raises(RunError, match=r"has none among z; for codes there is `polyvae train-prior`"):
        pv.fit_prior(pv.Run(made), torch.rand(30, 1, 8, 8), "mixture")
    with pytest.raises(RunError, match="has none among z"):
        pv.fit_prior(trained(None, "cvae", prior="conditional"), data, "mixture")
    with pytest.raises(RunError, match="a VampPrior is a mixture of densities"):
        pv.fit_prior(trained(None, "ae"), data, "vamp", components=3, **SMALL)
    assert not has_prior(Path(str(run.folder)))
    prior = pv.fit_prior(run, data, "flow", epochs=1, transforms=1, **SMALL)
    with pytest.raises(RunError, match="already holds a run"):
        pv.fit_prior(run, data, "flow", epochs=1, transforms=1, **SMALL)
    with pytest.raises(RunError, match="holds no such learned prior but a run of fit-prior flow"):
        pv.fit_prior(run, data, "mixture", resume=True)
    other = pv.recipes.vae(data.spec, latent=3, network="mlp", widths=(4,), seed=0)
    with pytest.raises(RunError, match="is a prior of 2 dimensions, 'z' of the run has 3"):
        with_prior(pv.Run(other), prior)


def test_a_prior_of_other_weights_is_refused(run: pv.Run) -> None:
    folder = Path(str(run.folder))
    pv.fit_prior(run, clouds(), "mixture", components=2, **SMALL)
    pv.fit(run.recipe, clouds(), folder, resume=True, epochs=30, **SMALL)
    with pytest.raises(RunError, match=r"trained on since its prior was.*polyvae fit-prior"):
        with_prior(pv.Run.load(folder))


def test_a_posterior_s_density_is_what_a_flow_learns() -> None:
    """Of one example E_q[log p(z)] is at most minus the entropy of its posterior, and comes near that."""
    run = trained(None)
    one = clouds().train.take(torch.zeros(60, dtype=torch.int64))
    data = Data("one", one, one, one.take([0]), clouds().spec)
    prior = pv.fit_prior(run, data, "flow", epochs=25, transforms=1, **SMALL)
    with torch.no_grad():
        entropy = run.model.encode(one.batch(torch.arange(1)))["z"].entropy().item()
    best = max(row["validation_bound"] for row in prior.history)
    assert best == pytest.approx(-entropy, abs=0.25)
    assert math.isfinite(float(Tensor.sum(prior.model.prior["z"]({}).sample((5,)))))


def test_a_prior_is_fitted_to_the_latents_of_what_is_seen() -> None:
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random((80, 3)) < 0.3, np.nan, rng.normal(size=(80, 3)))
    run = pv.fit("incomplete", gaps, epochs=1, progress=False, device="cpu")
    prior = pv.fit_prior(run, gaps, "mixture", components=2, epochs=1, progress=False)
    assert run.score(gaps).shape == with_prior(run, prior).score(gaps).shape == (80,)
    plain = pv.fit("vae", np.nan_to_num(gaps), epochs=1, progress=False, device="cpu")
    with pytest.raises(ValueError, match="x: expected a value in every cell, found 20 missing in column '0'"):
        pv.fit_prior(plain, gaps, "mixture", components=2, epochs=1, progress=False)
