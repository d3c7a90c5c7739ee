"""POISE-VAE as a recipe: one latent of each modality, couplings that are used, runs that go on exactly."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import polyvae as pv
from helpers.modalities import batch, spec
from helpers.runs import same, timeless, weights
from polyvae.data import Data, Split
from polyvae.model.posteriors import PairwisePosterior
from polyvae.model.presence import present
from polyvae.recipes import named
from polyvae.training.store import WEIGHTS, read_tensors


def views(count: int = 240, missing: bool = False) -> Data:
    """Two views of one of four classes each, of four and five numbers; the last half may lack the second."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 4
    centres = torch.randn(4, 9, generator=generator) * 3
    x = centres[y] + 0.3 * torch.randn(count, 9, generator=generator)
    found = {"a": x[:, :4], "b": x[:, 4:], "y": y}
    if missing:
        there = torch.arange(count) < count // 2
        found |= {"b": torch.where(there[:, None], x[:, 4:], 0.0), present("b"): there, present("a"): there | True}
    parts = [
        Split({name: value[each] for name, value in found.items()}) for each in torch.arange(count).split(count // 3)
    ]
    held = tuple(pv.model.spec.Modality(n, pv.Spec((size,), levels=None)) for n, size in (("a", 4), ("b", 5)))
    return Data("views", *parts, pv.Spec(classes=4, levels=None, modalities=held))


def test_each_modality_has_a_latent_of_its_own_and_any_may_be_missing() -> None:
    recipe = named("poise")(spec(), seed=0, latent=2)
    model, given = (
        recipe.model,
        recipe.observe({n: v.float() if v.is_floating_point() else v for n, v in batch().items()}),
    )
    assert model.plan.latents == ("z_a", "z_b", "z_c")
    assert {name: head.where for name, head in model.heads.items()} == {n: present(n) for n in "abc"}
    out = recipe.objective(model, given, 0)
    out["loss"].backward()
    assert all(math.isfinite(value.item()) for value in out.values())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert model.generate(count=3)["c"].event_shape == (5,)


def test_some_of_the_experts_are_asked_in_a_share_of_the_training_rows() -> None:
    model = named("poise")(spec(), latent=2, dropped=0.4).model
    q = model.posterior["z"]
    assert isinstance(q, PairwisePosterior)
    known = torch.ones(20_000, 3, dtype=torch.bool)
    known[:, 2] = torch.arange(20_000) % 2 == 0
    torch.manual_seed(0)
    asked = q._some(known)
    assert (asked <= known).all()
    assert asked.any(1).all()
    fewer = asked.sum(1) < known.sum(1)
    assert abs(fewer.double().mean() - 0.4) < 0.02
    for count, among in ((1, [0, 1, 2]), (2, [0, 1, 2])):
        rows = asked[fewer & known[:, 2] & (asked.sum(1) == count)]
        shares = rows.double().mean(0)[among]
        assert (shares - count / 3).abs().max() < 0.04  # any of them, as likely
    assert torch.equal(q.eval()._some(known), known)
    alone = torch.tensor([[False, True, False], [False, False, False]])
    assert torch.equal(q.train()._some(alone), alone)


def test_training_couples_views_of_one_class_and_tells_one_from_the_other() -> None:
    data = views()
    recipe = named("poise")(data.spec, seed=0, latent=3, network="mlp")
    run = pv.fit(recipe, data, epochs=40, batch_size=10, lr=3e-3, seed=0, progress=False)
    model, given = run.recipe.model.eval(), run.recipe.observe(data.test.batch(torch.arange(80)))
    torch.manual_seed(0)
    with torch.no_grad():
        for source, target in ("ab", "ba"):
            shown = {**given, present(target): torch.zeros_like(given[present(target)])}
            told = model.decode(model(shown).values)[target].mean
            means = torch.stack([given[target][given["y"] == k].mean(0) for k in range(4)])
            guessed = torch.cdist(told, means).argmin(1)
            assert (guessed == given["y"]).double().mean() > 0.8, source


@pytest.mark.parametrize("missing", [False, True])
def test_a_run_that_is_stopped_and_resumed_ends_as_one_that_was_not(tmp_path: Path, missing: bool) -> None:
    data = views(60, missing)

    def trained(folder: Path, **settings: object) -> pv.Run:
        recipe = named("poise")(data.spec, seed=0, latent=2)
        return pv.fit(recipe, data, folder, epochs=2, batch_size=8, seed=3, progress=False, **settings)

    whole = trained(tmp_path / "whole")
    for step in (1, 4):
        folder = tmp_path / str(step)
        trained(folder, max_steps=step)
        again = trained(folder, resume=True)
        assert same(weights(again.recipe), weights(whole.recipe))
        assert timeless(again.history) == timeless(whole.history)
        assert same(read_tensors(folder / WEIGHTS)[0], read_tensors(tmp_path / "whole" / WEIGHTS)[0])
    loaded: dict[str, Tensor] = read_tensors(tmp_path / "whole" / WEIGHTS)[0]
    assert any("chains" in name for name in loaded)


def test_what_no_coupling_of_squares_is_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expert: .* normal; got 'laplace'"):
        named("poise")(spec(), expert="laplace")
    with pytest.raises(ValueError, match="poise is for data of several modalities"):
        named("poise")(pv.Spec((1, 8, 8)))
    assert named("poise")(spec(), square=False).model.prior["z"].coupling.raw is None
