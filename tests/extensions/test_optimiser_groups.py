"""A term whose critic is trained beside the model: a learning rate, betas and a clip of its own, in one backward.

The critic is that of FactorVAE, see `polyvae.objectives.critics`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

import polyvae as pv
from helpers.runs import pictures, same, small, timeless, weights
from helpers.training import before_each_update, half_precision
from polyvae.model import Group
from polyvae.objectives.critics import Critic, Discrimination, Ratio, permuted
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.training.groups import groups_of
from polyvae.training.loop import Loop
from polyvae.training.settings import Settings
from polyvae.training.step import Step
from polyvae.training.store import DESCRIPTION, STATE, read_tensors

DATA = pictures()
OWN = Group(lr_scale=0.25, betas=(0.5, 0.9), clip=1e-3)


def factor_vae(group: Group | None = OWN) -> pv.Recipe:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        critic = Critic(2, (8,))
    critic.optimizer = group
    terms = {
        "reconstruction": Reconstruction(),
        "kl": KL(),
        "tc": Ratio(critic),
        "critic": Discrimination(critic, permuted),
    }
    made = small("vae", DATA, likelihood="bernoulli")
    return replace(made, objective=pv.Objective(terms), call=None)


def fit(recipe: pv.Recipe, run: Path | None = None, **settings: Any) -> pv.Run:
    """48 training examples in 3 steps an epoch."""
    return pv.fit(recipe, DATA, run, **{"batch_size": 16, "device": "cpu", "progress": False, "epochs": 3, **settings})


def norms(optimizer: torch.optim.Optimizer) -> list[float]:
    groups = [[p.grad.flatten() for p in group["params"]] for group in optimizer.param_groups]
    return [torch.cat(gradients).norm().item() for gradients in groups]


def test_each_sides_loss_leaves_the_others_gradients_none_and_one_backward_serves_both() -> None:
    recipe = factor_vae()
    batch = DATA.train.batch(torch.arange(8))
    critic = list(recipe.objective.terms["tc"].term.critic.parameters())  # pyright: ignore
    model = list(recipe.model.parameters())

    def gradients(*names: str) -> tuple[list[Tensor | None], list[Tensor | None]]:
        torch.manual_seed(0)
        draw = recipe.model(batch)
        for parameter in (*model, *critic):
            parameter.grad = None
        sum(recipe.objective.terms[name].term(draw).mean() for name in names).backward()  # pyright: ignore
        return [p.grad for p in model], [p.grad for p in critic]

    of_model, of_critic = gradients("reconstruction", "kl", "tc")
    assert all(gradient is None for gradient in of_critic)
    assert all(gradient is not None for gradient in of_model)
    nothing, own = gradients("critic")
    assert all(gradient is None for gradient in nothing)
    assert all(gradient is not None and gradient.any() for gradient in own)
    together = gradients("reconstruction", "kl", "tc", "critic")
    for mine, expected in zip((*together[0], *together[1]), (*of_model, *own), strict=True):
        torch.testing.assert_close(mine, expected)


def test_the_critic_has_a_rate_betas_and_a_clip_of_its_own() -> None:
    def look(optimizer: torch.optim.Optimizer) -> Any:
        return [(group["lr"], group["betas"]) for group in optimizer.param_groups], norms(optimizer)

    with before_each_update(look) as seen:
        fit(factor_vae(), epochs=2, lr=0.01, schedule="linear", warmup=2)
    rest, critic = zip(*(groups for groups, _ in seen), strict=True)
    expected = [0.005, 0.01, 0.01, 0.0075, 0.005, 0.0025]
    assert [lr for lr, _ in rest] == pytest.approx(expected)
    assert [lr for lr, _ in critic] == pytest.approx([0.25 * lr for lr in expected])
    assert {betas for _, betas in rest} == {(0.9, 0.999)}
    assert {betas for _, betas in critic} == {(0.5, 0.9)}
    assert [small for _, (_, small) in seen] == pytest.approx([1e-3] * 6, rel=1e-3)
    assert all(large > 0.1 for _, (large, _) in seen), "the rest is not clipped"


def test_the_settings_clip_is_of_the_rest_and_of_groups_without_one() -> None:
    with before_each_update(norms) as apart:
        fit(factor_vae(), epochs=1, clip=0.05)
    assert [rest for rest, _ in apart] == pytest.approx([0.05] * 3, rel=1e-3)
    assert [critic for _, critic in apart] == pytest.approx([1e-3] * 3, rel=1e-3)
    with before_each_update(norms) as together:
        fit(factor_vae(Group(lr_scale=0.5)), epochs=1, clip=0.05)
    assert [(rest**2 + critic**2) ** 0.5 for rest, critic in together] == pytest.approx([0.05] * 3, rel=1e-3)


def test_a_group_that_says_nothing_changes_nothing() -> None:
    said, plain = factor_vae(Group()), factor_vae(None)
    assert [each.name for each in groups_of(Step(plain))] == [""]
    assert [each.name for each in groups_of(Step(said))] == ["", "objective.terms.tc.term.critic"]
    fit(said)
    fit(plain)
    assert same(weights(said), weights(plain))
    assert said.objective.state_dict().keys() == plain.objective.state_dict().keys()


class Killed(Exception):
    """The process ended here."""


@pytest.mark.parametrize("at", [2, 4, 8])
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(at: int, tmp_path: Path) -> None:
    given = {"schedule": "cosine", "warmup": 2, "save_every": 0.0}
    fit(factor_vae(), tmp_path / "whole", **given)
    count = iter(range(1, 100))

    def kill(*each: Any) -> None:
        if next(count) == at:
            raise Killed

    handle = register_optimizer_step_pre_hook(kill)
    with pytest.raises(Killed):
        fit(factor_vae(), tmp_path / "cut", **given)
    handle.remove()
    fit(factor_vae(), tmp_path / "cut", resume=True, **given)
    whole, cut = (read_tensors(tmp_path / folder / STATE) for folder in ("whole", "cut"))
    assert any("critic" in name for name in whole[0])
    assert same(whole[0], cut[0])
    assert timeless(whole[1]["history"]) == timeless(cut[1]["history"])


def test_groups_are_recorded_and_others_are_refused(tmp_path: Path) -> None:
    fit(factor_vae(), tmp_path, epochs=1)
    found = json.loads((tmp_path / DESCRIPTION).read_text())["optimizer"]
    said = {"lr_scale": 0.25, "betas": [0.5, 0.9], "clip": 1e-3}
    assert found == {"name": "AdamW", "declared": {"objective.terms.tc.term.critic": said}}
    with pytest.raises(pv.RunError, match=r"optimizer, declared: .*'lr_scale': 0.25.* then, .*'lr_scale': 0.5.* now"):
        fit(factor_vae(Group(lr_scale=0.5)), tmp_path, epochs=2, resume=True)
    with pytest.raises(pv.RunError, match=r"optimizer, declared: .* then, none now"):
        fit(factor_vae(None), tmp_path, epochs=2, resume=True)
    assert len(fit(factor_vae(), tmp_path, epochs=2, resume=True).history) == 2


def test_a_users_optimiser_gets_the_groups_apart(tmp_path: Path) -> None:
    def factory(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        assert [sorted(group) for group in groups] == [["params"], ["betas", "params"]]
        return torch.optim.NAdam(groups, lr=0.1)

    def look(optimizer: torch.optim.Optimizer) -> list[Any]:
        return [(group["lr"], group["betas"]) for group in optimizer.param_groups]

    with before_each_update(look) as seen:
        fit(factor_vae(), optimizer=factory, epochs=1)
        fit(factor_vae(), optimizer=torch.optim.Adam, epochs=1, lr=0.1)
    assert seen == [[(0.1, (0.9, 0.999)), (0.025, (0.5, 0.9))]] * 6
    for folder, stop in (("whole", None), ("cut", 4)):
        fit(factor_vae(), tmp_path / folder, optimizer=factory, max_steps=stop)
    fit(factor_vae(), tmp_path / "cut", optimizer=factory, resume=True)
    assert same(*(read_tensors(tmp_path / folder / STATE)[0] for folder in ("whole", "cut")))


def flat(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.Adam([parameter for group in groups for parameter in group["params"]])


REFUSED: dict[str, tuple[Any, str]] = {
    "joined": (flat, "optimizer= joins the groups of objective.terms.tc.term.critic and the rest"),
    "no betas": (
        torch.optim.SGD,
        "objective.terms.tc.term.critic declares betas, and optimizer= makes a SGD, which has",
    ),
    "a list": (
        lambda p: torch.optim.SGD(p[0], lr=1),
        "a list of 2 groups of parameters, since modules declare their own",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_an_optimiser_that_cannot_keep_the_groups_is_refused_by_name(which: str, tmp_path: Path) -> None:
    factory, message = REFUSED[which]
    with pytest.raises(ValueError, match=message):
        fit(factor_vae(), tmp_path / "run", optimizer=factory)
    assert not (tmp_path / "run").exists()


def test_the_innermost_group_counts_and_a_shared_parameter_has_one() -> None:
    recipe = factor_vae()
    part = recipe.model.posterior["z"]
    part.optimizer = Group(lr_scale=0.1)  # pyright: ignore
    part.net.optimizer = Group(lr_scale=0.2)  # pyright: ignore
    recipe.model.prior["z"].optimizer = None  # pyright: ignore
    found = {each.name: each for each in groups_of(Step(recipe))}
    inner = found["model.posterior.z.net"]
    assert set(map(id, inner.parameters)) == set(map(id, part.net.parameters()))  # pyright: ignore
    assert inner.group == Group(lr_scale=0.2)
    recipe.objective.terms["tc"].term.other = recipe.model.heads["x"].likelihood  # pyright: ignore
    recipe.objective.terms["tc"].term.optimizer = Group()  # pyright: ignore
    with pytest.raises(ValueError, match=r"is shared by the optimiser groups of the rest and objective.terms.tc.term"):
        groups_of(Step(recipe))
    part.net.optimizer = {"lr": 1}  # pyright: ignore
    with pytest.raises(TypeError, match=r"`optimizer` of model.posterior.z.net is a polyvae.model.Group; got a dict"):
        groups_of(Step(recipe))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lr_scale": 0.0}, "lr_scale"),
        ({"clip": -1.0}, "clip"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"betas": (0.9,)}, "betas"),
    ],
)
def test_a_bad_group_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} of an optimiser group"):
        Group(**said)


def test_in_half_precision_a_groups_true_gradient_is_clipped() -> None:
    settings = Settings(precision="fp16", batch_size=8, device="cpu")
    loop = Loop(half_precision(2.0**10), factor_vae(), DATA, settings, None)
    with before_each_update(lambda optimizer: (norms(optimizer), optimizer.defaults["fused"])) as seen:
        for _ in range(3):
            loop._step(torch.arange(8))
    assert [critic for (_, critic), _ in seen] == pytest.approx([1e-3] * 3, rel=1e-2)
    assert not any(fused for _, fused in seen)  # a fused update would unscale after the clipping


def test_a_rate_that_is_a_tensor_is_scaled_for_its_own_group_alone() -> None:
    rate = torch.tensor(0.1)
    with before_each_update(lambda optimizer: [float(group["lr"]) for group in optimizer.param_groups]) as seen:
        fit(factor_vae(OWN), epochs=1, optimizer=lambda groups: torch.optim.AdamW(groups, lr=rate, foreach=False))
    assert seen[0] == pytest.approx([0.1, 0.025])
    assert float(rate) == pytest.approx(0.1)
