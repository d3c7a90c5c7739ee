"""A network without z: the decoder of a model at z = 0, its exact bound, and what has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import polyvae as pv
from polyvae.data import Data
from polyvae.model.distributions.exact import Known
from polyvae.model.distributions.law import Event


@pytest.fixture(scope="module")
def data() -> Data:
    return pv.data.load("digits", limit=150)


def test_it_is_the_likelihood_at_zero_and_its_bound_is_exact(data: Data) -> None:
    whole = pv.recipes.arbitrary_conditioning(data.spec, seed=0, latent=3, widths=(8, 16), likelihood="bernoulli")
    bare = pv.recipes.without_latents(whole, data.spec)
    whole.model.eval()
    bare.model.eval()
    with torch.no_grad():
        batch = dict(bare.observe({"x": data.train.batch(torch.arange(7))["x"]}))
        draw = bare.model(batch, 2)
        direct = whole.model.heads["x"]({**batch, "z": torch.zeros(7, 3)})  # pyright: ignore[reportCallIssue]
        assert torch.allclose(draw.heads["x"].p.mean[:7], direct.mean)
        assert torch.allclose(draw.log_weight, direct.log_prob(batch["x"]).expand(2, 7))
        loss = bare.objective(bare.model, batch, 0)["loss"]
    assert torch.allclose(loss, -direct.log_prob(batch["x"]).mean())
    own = {id(p) for p in bare.model.parameters()}
    assert own == {id(p) for p in whole.model.heads.parameters()}


def test_it_trains_completes_and_is_loaded_with_its_recipe(data: Data, tmp_path: Path) -> None:
    def recipe() -> pv.Recipe:
        whole = pv.recipes.semi_conditional(data.spec, seed=0, latent=2, network="mlp", widths=(16,))
        return pv.recipes.without_latents(whole, data.spec)

    run = pv.fit(recipe(), data, tmp_path / "run", epochs=3, progress=False, seed=0)
    assert run.recipe.monitor == "bound"
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    x = data.test.batch(torch.arange(4))["x"]
    mask = torch.arange(64).view(1, 1, 8, 8) % 3 == 0
    found = pv.complete(run, x, mask, draws=5)
    assert torch.equal(found.samples, found.samples[:1].expand_as(found.samples))  # nothing is drawn but noise
    loaded = pv.Run.load(tmp_path / "run", recipe())
    assert torch.equal(pv.complete(loaded, x, mask, draws=5).mean, found.mean)


def test_a_z_known_to_be_zero_is_zero_with_probability_one() -> None:
    law = Known(torch.zeros(3, 2), 1)
    assert isinstance(law, Event)
    assert torch.equal(law.rsample((4,)), torch.zeros(4, 3, 2))
    assert torch.equal(law.log_prob(law.sample()), torch.zeros(3))
    assert torch.equal(law.variance, torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda spec: pv.recipes.vae(spec, latent=2), "reads anything beside its latents"),
        (lambda spec: pv.recipes.semi_conditional(spec, latent=2, condition=True), "also reads y"),
    ],
)
def test_what_reads_nothing_else_or_more_is_refused(build: object, said: str, data: Data) -> None:
    with pytest.raises(ValueError, match=said):
        pv.recipes.without_latents(build(data.spec), data.spec)  # type: ignore[operator]
