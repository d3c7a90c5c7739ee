"""VAE-GAN, CVAE-GAN and features of unseen classes as runs: resumed, in half precision, combined and refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from polyvae.training.meter import TrainingNote
from polyvae.training.store import STATE, read_tensors

DATA = pictures(labels=True)
NAMES = ["vae_gan", "cvae_gan", "zero_shot_vae_gan"]


def test_a_run_warns_of_a_collapse_once() -> None:
    made = small("vae_gan", DATA, critic=[4])
    with torch.no_grad():
        for parameter in made.model.heads.parameters():
            parameter.zero_()
    with pytest.warns(TrainingNote, match="epoch 10: what is decoded from the prior differs 0.0 %") as told:
        run = pv.fit(made, DATA, epochs=12, batch_size=48, lr=1e-9, device="cpu", progress=False)
    assert len(told) == 1
    assert all(row["validation_spread"] < 1e-3 and 0.4 < row["train_certainty"] < 0.6 for row in run.history)


def test_the_discriminator_and_the_classifier_of_a_cvae_gan_are_born_apart() -> None:
    made = small("cvae_gan", DATA, critic=[4, 6])
    terms: Any = made.objective.terms
    judge, classifier = (list(terms[name].term.parameters()) for name in ("critic", "classifier"))
    assert judge[0].shape == classifier[0].shape
    assert not torch.isclose(judge[0], classifier[0]).any()


@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_resumed_is_uninterrupted_with_average_clip_and_spectral_norm(name: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"batch_size": 16, "device": "cpu", "progress": False, "epochs": 2}
    given |= {"average": 0.9, "clip": 1.0}
    make = lambda: small(name, DATA, critic=[4, 6], spectral=True, r1=0.1)  # noqa: E731
    run = pv.fit(make(), DATA, tmp_path / "whole", **given)
    pv.fit(make(), DATA, tmp_path / "cut", max_steps=4, **given)
    cut = pv.fit(make(), DATA, tmp_path / "cut", resume=True, **given)
    assert same(*(read_tensors(tmp_path / folder / STATE)[0] for folder in ("whole", "cut")))
    assert timeless(run.history) == timeless(cut.history)
    assert same(weights(run.recipe), weights(pv.Run.load(tmp_path / "whole").recipe))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_trains_and_the_model_loss_leaves_the_critics_costs_out(name: str) -> None:
    made = small(name, DATA, critic=[4], r1=0.5, network="conv")
    before = weights(made)
    run = pv.fit(made, DATA, epochs=1, batch_size=16, device="cpu", precision="bf16", progress=False)
    assert all(math.isfinite(value) for value in run.history[-1].values())
    after = weights(made)
    assert all(not torch.equal(before[each], after[each]) for each in before if each.endswith("weight"))
    values = made.objective.eval()(made.model, made.observe(DATA.train.batch(torch.arange(16))))
    terms: Any = made.objective.terms
    own = {"critic": 1.0, "slope": 10.0, "r1": 0.5, "classifier": 1.0}
    apart = sum(own[each] * values[each] for each in terms if each in own)
    torch.testing.assert_close(values["model_loss"] + apart, values["loss"].detach())


@pytest.mark.parametrize("name", NAMES)
def test_critics_have_a_group_and_weights_of_their_own(name: str) -> None:
    made, again, other = (small(name, DATA, seed=seed, critic_rate=0.25) for seed in (3, 3, 4))
    first = [next(each.objective.parameters()) for each in (made, again, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    plain = small("vae" if name == "vae_gan" else "cvae", DATA, seed=3)
    assert same(dict(made.model.posterior.state_dict()), dict(plain.model.posterior.state_dict()))
    group = made.objective.terms["critic"].term.critic.optimizer  # pyright: ignore
    assert (group.lr_scale, group.betas) == (0.25, (0.5, 0.9))


def test_recipes_combine_with_other_axes_and_refuse_by_name_what_they_cannot() -> None:
    batch = DATA.train.batch(torch.arange(8))
    allowed: list[tuple[str, dict[str, Any]]] = [
        ("vae_gan", {"prior": "vamp", "components": 3}),
        ("vae_gan", {"prior": "conditional", "condition": True}),
        ("vae_gan", {"posterior": "mixture", "prior": "mixture", "patches": True}),
        ("cvae_gan", {"prior": "conditional", "posterior": "iaf"}),
        ("zero_shot_vae_gan", {"prior": "conditional", "game": "hinge", "layer": 1}),
    ]
    for name, options in allowed:
        made = small(name, DATA, **options)
        assert made.objective(made.model, made.observe(batch))["loss"].isfinite()
    bare = pv.Spec((1, 4, 4))
    for name, spec, options, words in (
        ("vae_gan", DATA.spec, {"likelihood": "normal-learned"}, "likelihood: where pixels weigh nothing"),
        ("vae_gan", DATA.spec, {"posterior": "point"}, "posterior: a point has no divergence"),
        ("vae_gan", DATA.spec, {"layer": 4}, "layer is one of the critic's 3, counted from 1; got 4"),
        ("vae_gan", pv.Spec((3,), levels=None), {"patches": True}, "patches are those of a picture; x has the shape 3"),
        ("vae_gan", pv.Spec((1,), columns=(pv.Column("counts"),)), {}, "reads bits, real, grey values, .* hold counts"),
        ("cvae_gan", bare, {}, "condition needs labels or vectors y"),
        ("zero_shot_vae_gan", bare, {}, "condition needs labels or vectors y"),
        ("vae_gan", DATA.spec, {"objective": pv.Objective()}, "objective is no option of vae_gan"),
        (
            "vae_gan",
            DATA.spec,
            {"condition": True, "dropped": 0.1},
            "dropped: a critic reads the conditions in all rows",
        ),
        ("cvae_gan", DATA.spec, {"dropped": 0.1}, "dropped is no option of cvae_gan"),
        ("zero_shot_vae_gan", DATA.spec, {"dropped": 0.1}, "dropped is no option of zero_shot_vae_gan"),
    ):
        with pytest.raises(ValueError, match=words):
            pv.recipes.named(name)(spec, network="mlp", latent=2, **options)


def test_the_reconstruction_chooses_the_best_epoch_of_a_vae_gan_whose_bound_falls_while_it_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=generator)
    x[:, 1] = 2 * (x[:, 1] > 0).float() - 1
    data = pv.data.wrap(x, validation=100, test=0)
    made = pv.recipes.vae_gan(data, latent=2, network="mlp", widths=[64], critic=[64, 64], r1=0.1, seed=0)
    run = pv.fit(made, data, epochs=30, batch_size=100, device="cpu", progress=False)
    first, last = run.history[1], run.history[-1]
    assert last["validation_bound"] < first["validation_bound"]
    assert last["validation_reconstruction"] < first["validation_reconstruction"] - 1
    assert run.best is not None
    assert run.best["epoch"] > 10
    apart = run.model.reconstruct(data.train.batch(torch.arange(500)))["x"].mean[:, 1].abs()
    assert (apart < 0.5).float().mean() < 0.1
