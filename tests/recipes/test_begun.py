"""Decoders that begin at what a law of whole pictures expects."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

import polyvae as pv
from helpers.observing import NAMES, made
from helpers.runs import pictures, same, timeless, weights
from polyvae.completion.completer import Completer
from polyvae.model.networks.expected import Analysed, Around, Expected, NormalExpected
from polyvae.model.parts import Conditional, Head
from polyvae.observe.counts import LogUniform
from polyvae.observe.masks import sparse
from polyvae.recipes import begun
from polyvae.recipes.options import Mask
from polyvae.recipes.recording import SHOWN


@pytest.mark.parametrize(
    ("decoder", "feature", "kind"), [("analysers", "analysed", Analysed), ("normal-law", "expected", NormalExpected)]
)
@pytest.mark.parametrize("name", NAMES)
def test_each_recipe_that_reads_m_has_such_a_decoder(name, decoder, feature, kind, tmp_path: Path) -> None:
    data = pictures(side=8)
    recipe = made(name, data.spec, decoder=decoder)
    assert recipe.shown == 4 * SHOWN
    assert isinstance(recipe.model.features[feature], kind)
    run = pv.fit(recipe, data, tmp_path / "run", epochs=1, progress=False)
    again = pv.Run.load(tmp_path / "run")
    x = data.train.tensors["x"][:3].float() / 255
    mask = torch.rand(3, 1, 8, 8) < 0.3
    first, second = (pv.complete(each, x, mask, draws=4, seed=1) for each in (run, again))
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.mean, pv.complete(run, x, mask.flip(0), draws=4, seed=1).mean)


@pytest.mark.parametrize("decoder", ["analysers", "normal-law", "multiscale"])
def test_what_reads_no_latent_is_computed_once_and_says_the_same(decoder) -> None:
    data = pictures(side=8)
    recipe = made("arbitrary_conditioning", data.spec, decoder=decoder)
    if recipe.start is not None:
        recipe.start(recipe.observe({"x": data.train.tensors["x"][:40].float() / 255}))
    model = recipe.model.eval()
    x = data.train.tensors["x"][:3].float() / 255
    batch = {"x": x, "m": sparse(x, torch.rand(3, 1, 8, 8) < 0.3)}
    with torch.no_grad():
        latents = Completer(5).drawn(model, batch, 5)
        law, _ = next(Completer(5).decoded(model, "x", batch, latents))
        wide = {name: value.repeat(5, 1, 1, 1) for name, value in batch.items()}
        values = model.featured({**wide, "z": latents["z"].flatten(0, 1)}, [*model.features, "m", "z"])
        torch.testing.assert_close(law.mean, model.heads["x"](values).mean, atol=1e-5, rtol=1e-5)


def test_before_a_step_the_feature_knows_the_training_pictures() -> None:
    data = pictures(side=8)
    recipe = made("arbitrary_conditioning", data.spec, decoder="analysers")
    assert recipe.start is not None
    x = data.train.tensors["x"].float() / 255
    recipe.start(recipe.observe({"x": x}))
    part = recipe.model.features["analysed"]
    nothing = part({"m": sparse(x[:1], torch.zeros(1, 1, 8, 8))})
    torch.testing.assert_close(nothing[0, 0], x.mean(0)[0], atol=0.1, rtol=0)


def test_how_many_are_seen_is_log_uniform_unless_it_is_said() -> None:
    spec = pictures(side=8).spec
    assert made("arbitrary_conditioning", spec).observe.count == LogUniform(0)
    assert made("arbitrary_conditioning", spec, exponent=20.0).observe.count != LogUniform(0)
    assert made("arbitrary_conditioning", spec, count=9).observe.count != LogUniform(0)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (pv.Spec((5,)), {}, "pictures of grey levels or bits; take multiscale or flat"),
        (pv.Spec((1, 8, 8)), {"noise": 0.1}, "takes what is seen as it is; take multiscale beside noise"),
        (pv.Spec((1, 8, 8)), {"network": "sensing", "mask": "points", "positions": (1, 1)}, "sensing reads sensors"),
    ],
)
def test_what_analysers_are_not_of_is_refused(spec, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        pv.recipes.arbitrary_conditioning(spec, decoder="analysers", **options)


@pytest.mark.parametrize("likelihood", ["bernoulli", "logistic", "normal", "normal-learned", "normal-network"])
@pytest.mark.parametrize("decoder", ["analysers", "normal-law"])
def test_before_a_step_the_likelihood_says_what_the_law_expects(decoder, likelihood) -> None:
    data = pictures(side=8)
    recipe = made("arbitrary_conditioning", data.spec, decoder=decoder, likelihood=likelihood)
    x = data.train.tensors["x"].float() / 255
    assert recipe.start is not None
    recipe.start(recipe.observe({"x": x}))
    model = recipe.model.eval()
    m = sparse(x[:5], torch.rand(5, 1, 8, 8) < 0.3)
    (expected,) = (part({"m": m}) for part in model.features.values() if isinstance(part, Expected))
    with torch.no_grad():
        values = model.featured({"x": x[:5], "m": m, "z": torch.randn(5, 3)}, [*model.features, "m", "z"])
        law = model.heads["x"](values)
    # Half a grey level is kept from either end of bits; what a logistic law has beyond the levels falls on them.
    atol = {"logistic": 0.1, "bernoulli": 0.002}.get(likelihood, 1e-6)
    assert torch.allclose(law.mean, expected[:, :1], atol=atol)
    if likelihood == "normal-network":
        assert torch.allclose(law.stddev, expected[:, 1:2].clamp(min=1.18 / 256), rtol=1e-3)


def test_a_likelihood_that_does_not_know_how_to_begin_reads_alone() -> None:
    recipe = made("arbitrary_conditioning", pictures(side=8).spec, decoder="analysers", likelihood="logistic-mixture")
    for head in recipe.model.heads.values():
        assert isinstance(head, Head)
        assert type(head.likelihood) is Conditional


def test_weights_of_before_likelihoods_began_somewhere_say_what_they_said(tmp_path: Path) -> None:
    data = pictures(side=8)
    recipe = made("arbitrary_conditioning", data.spec, decoder="analysers", apart=0, seed=3)
    (head,) = recipe.model.heads.values()
    assert isinstance(head, Head)
    assert isinstance(head.likelihood, Around)
    head.likelihood.begins = None
    run = pv.fit(recipe, data, tmp_path / "run", epochs=1, progress=False)
    assert not [name for name in recipe.model.state_dict() if name.endswith("begins")]
    again = pv.Run.load(tmp_path / "run")
    x, mask = data.train.tensors["x"][:3].float() / 255, torch.rand(3, 1, 8, 8) < 0.3
    first, second = (pv.complete(each, x, mask, draws=4, seed=1).mean for each in (run, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize("average", [None, 0.9])
def test_runs_of_before_likelihoods_began_somewhere_go_on_as_if_they_had_not_stopped(average, tmp_path: Path) -> None:
    data = pictures(side=8)

    def old() -> pv.Recipe:
        recipe = made("arbitrary_conditioning", data.spec, decoder="analysers", apart=0, seed=3)
        (head,) = recipe.model.heads.values()
        assert isinstance(head, Head)
        assert isinstance(head.likelihood, Around)
        head.likelihood.begins = None
        return recipe

    given = {"epochs": 2, "batch_size": 12, "average": average, "progress": False}
    whole = pv.fit(old(), data, tmp_path / "whole", **given)
    pv.fit(old(), data, tmp_path / "run", **given, max_steps=5)
    now = made("arbitrary_conditioning", data.spec, decoder="analysers", apart=0, seed=3)
    again = pv.fit(now, data, tmp_path / "run", **given, resume=True)
    assert same(weights(again.recipe), weights(whole.recipe))
    assert timeless(again.history) == timeless(whole.history)


@pytest.mark.parametrize("spread", [False, True])
def test_another_such_decoder_is_one_entry(spread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(begun.LAWS, "third", begun.Begun("thirds", NormalExpected, spread))
    spec = pictures(side=8).spec
    build = inspect.unwrap(pv.recipes.arbitrary_conditioning)  # whose names of decoders are those of the options
    model = build(spec, decoder="third", mask=Mask()).model
    assert isinstance(model.features["thirds"], NormalExpected)
    part = model.heads["x"].likelihood
    assert isinstance(part, Around)
    own = build(spec, decoder="normal-law" if spread else "analysers", mask=Mask()).model.heads["x"].likelihood
    assert type(part.family) is type(own.family)
