"""Decoders that begin at what a mixture of factor analysers expects of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import polyvae as pv
from helpers.observing import NAMES, made
from helpers.runs import pictures
from polyvae.completion.completer import Completer
from polyvae.model.networks.expected import Analysed, NormalExpected
from polyvae.observe.counts import LogUniform
from polyvae.observe.masks import sparse
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
        values = model.featured({**wide, "z": latents["z"].flatten(0, 1)}, [name for name in model.features] + ["m", "z"])
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
