"""Ladders: one group is a vae, and of a linear one every merge can be Bayes' rule, its bound log p(x)."""

from __future__ import annotations

import pickle
from math import expm1, log
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import polyvae as pv
from helpers.contract import PICTURES, check_draws, check_training, examples
from polyvae.model.families.real import FLOOR
from polyvae.model.networks.rungs import Vectors
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes.conditions import Condition
from polyvae.recipes.ladders import ladder_of
from polyvae.recipes.options import Conditions, Groups

SCALES = [(1,), (2,), (1, 1), (2, 1), (1, 2, 1)]


def weights(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def test_a_ladder_of_one_group_is_a_vae() -> None:
    options = {"latent": 3, "network": "mlp", "widths": (6,), "condition": True, "likelihood": "normal", "seed": 0}
    climbed, plain = (
        pv.recipes.ladder(PICTURES, per_scale=(1,), kl_warmup=0, **options),
        pv.recipes.vae(PICTURES, **options),
    )
    parts = climbed.model.features["e0"], climbed.model.posterior["z1"], climbed.model.features["h2"]
    mine = [layer for part in (*parts, climbed.model.heads) for layer in weights(part)]
    others = [layer for part in (plain.model.posterior, plain.model.heads) for layer in weights(part)]
    for layer, other in zip(mine, others, strict=True):
        layer.load_state_dict(other.state_dict())
    batch = climbed.observe(examples(PICTURES))
    for made in (climbed, plain):
        torch.manual_seed(3)
        made.objective(made.model, batch)["loss"].backward()
    torch.manual_seed(3)
    bound = climbed.model(batch, 4).elbo
    torch.manual_seed(3)
    torch.testing.assert_close(bound, plain.model(batch, 4).elbo)
    for layer, other in zip(mine, others, strict=True):
        torch.testing.assert_close(layer.weight.grad, other.weight.grad)
        torch.testing.assert_close(layer.bias.grad, other.bias.grad)


def told(part: nn.Module, row: Tensor, bias: Tensor | float, scale: float) -> None:
    """Makes the layer of a law say loc = row . inputs + bias, and this scale."""
    (layer,) = weights(part)
    layer.weight.copy_(torch.stack([row, torch.zeros_like(row)]))
    layer.bias.copy_(torch.tensor([float(bias), log(expm1(scale - FLOOR)) - log(expm1(1 - FLOOR))]))


@torch.no_grad()
def linear_ladder(merge: Any) -> tuple[pv.VAE, MultivariateNormal]:
    """z1 -> z2 -> x of three values, each linear and normal, with the exact posterior, and the law of x."""
    torch.manual_seed(2)
    rungs, family = Vectors((3, 3), (1, 1), activation=nn.Identity), pv.families.PixelNormal(0.7)
    spec, groups = pv.Spec((3,), levels=None), Groups(per_scale=(1, 1), merge=merge)
    model = ladder_of(spec, rungs, groups, Condition(spec, Conditions()), family).double()
    above, down, head = (weights(part)[0] for part in (model.features["h2"], model.features["h3"], model.heads))
    for layer in [*weights(model.features["e0"]), *weights(model.features["e1"]), above]:
        layer.weight.copy_(torch.eye(3)[:, : layer.in_features])  # both see x as it is, and h2 = (z1, 0, 0)
        layer.bias.zero_()
    if merge == "precision":  # which is exact where x reads z2 alone
        down.weight[:, :3] = 0
    slope, width = 0.8, 0.6
    told(model.features["r2"], torch.tensor([slope, 0, 0]).double(), 0.0, width)
    by_z1, by_z2 = head.weight @ down.weight[:, 0], head.weight @ down.weight[:, 3]
    centre = head.weight @ down.bias + head.bias
    # Each of (z1, z2, x) is linear in the noise of all.
    made = torch.eye(5).double()
    made[1, 0], made[1, 1], made[2:, 0], made[2:, 1] = slope, width, by_z1 + slope * by_z2, width * by_z2
    made[2:, 2:] *= 0.7
    mean, covariance = torch.cat([torch.zeros(2).double(), centre]), made @ made.T

    def given(target: int, known: list[int]) -> tuple[Tensor, Tensor, float]:
        rows = torch.linalg.solve(covariance[known][:, known], covariance[known, target])
        variance = covariance[target, target] - covariance[target, known] @ rows
        return rows, mean[target] - rows @ mean[known], float(variance.sqrt())

    told(model.posterior["z1"], *given(0, [2, 3, 4]))
    rows, bias, scale = given(1, [2, 3, 4, 0])
    if merge == "precision":
        size = by_z2.square().sum()
        told(model.posterior["z2"], by_z2 / size, -(by_z2 @ centre) / size, 0.7 / float(size.sqrt()))
    else:
        unit = width if merge == "residual" else 1.0
        rows[3] -= slope if merge == "residual" else 0.0
        told(model.posterior["z2"], torch.cat([rows, torch.zeros(2)]) / unit, bias / unit, scale / unit)
    return model, MultivariateNormal(centre, covariance[2:, 2:])


@pytest.mark.parametrize("merge", ["residual", "network", "precision"])
def test_every_draw_of_a_linear_ladder_weighs_the_closed_form_of_log_p(merge: str) -> None:
    (model, law), x = linear_ladder(merge), torch.randn(6, 3).double() * 2
    exact = law.log_prob(x)
    with torch.no_grad():
        draw = model({"x": x}, 7)
        torch.testing.assert_close(draw.log_weight, exact.expand(7, 6))
        # The posterior of z2 reads the draw of z1: the divergence in closed form is that of an expectation.
        torch.testing.assert_close(model({"x": x}, 40_000).elbo, exact, rtol=0, atol=0.03)
        weights(model.posterior["z1"])[0].bias[0] += 0.4  # off the posterior the bounds fall, and rise with K
        found = model({"x": x}, 20_000)
    assert (found.elbo < exact - 0.02).all()
    torch.testing.assert_close(found.importance_bound, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("groups", SCALES)
@pytest.mark.parametrize("network", ["mlp", "conv", "residual"])
def test_groups_stand_at_scales_that_halve_from_below(network: str, groups: tuple[int, ...]) -> None:
    spec = pv.Spec((1, 16, 12), classes=3)
    made = pv.recipes.ladder(spec, per_scale=groups, network=network, latent=2, widths=(4,), condition=True, seed=0)
    check_draws(made, spec)
    check_training(made, spec)
    draw = made.model(made.observe(examples(spec)), 2)
    assert list(draw.latents) == [f"z{n}" for n in range(1, sum(groups) + 1)]
    scales = [scale for scale, count in enumerate(groups) for _ in range(count)]
    for latent, scale in zip(draw.latents.values(), scales, strict=True):
        halved = len(groups) - scale
        sides = [] if network == "mlp" else [-(-16 // 2**halved), {1: 6, 2: 3, 3: 3}[halved]]
        assert list(latent.z.shape) == [2, 12, 2, *sides]
        assert latent.analytic
    assert made.model.conditions == made.model.bounded_given == ("y",)


@pytest.mark.parametrize("merge", ["residual", "network", "precision"])
def test_a_ladder_trains_by_the_importance_weighted_bound(merge: str) -> None:
    options = {"per_scale": (1, 1), "latent": 3, "network": "mlp", "widths": (6,), "seed": 1}
    made = pv.recipes.ladder(PICTURES, merge=merge, objective=pv.ImportanceWeighted(4), **options)
    check_training(made, PICTURES)
    single = pv.recipes.ladder(PICTURES, merge=merge, objective=pv.ImportanceWeighted(1), **options)
    batch = examples(PICTURES)
    torch.manual_seed(0)
    loss = single.objective(single.model, batch)["loss"]
    torch.manual_seed(0)
    draw = single.model(batch)
    torch.testing.assert_close(loss, -draw.log_weight.mean())


def test_every_group_has_a_term_and_all_of_them_are_the_bound() -> None:
    made = pv.recipes.ladder(PICTURES, per_scale=(1, 2), widths=(4,), latent=2, kl_warmup=0, seed=0)
    values = made.objective(made.model, examples(PICTURES))
    assert [name for name in values if name.startswith("kl")] == ["kl_z1", "kl_z2", "kl_z3"]
    torch.testing.assert_close(values["loss"].detach(), -values["bound"])
    same = pv.Objective({"reconstruction": Reconstruction(), "kl": KL()})
    torch.manual_seed(0)
    loss = same(made.model, examples(PICTURES))["loss"]
    torch.manual_seed(0)
    torch.testing.assert_close(made.objective(made.model, examples(PICTURES))["loss"], loss)


def test_the_options_of_training_press_the_groups_and_leave_the_bound_alone() -> None:
    small = {"per_scale": (1, 1), "latent": 2, "network": "mlp", "widths": (6,), "seed": 0}
    pressed = {"kl_warmup": 10, "free_bits": 3.0, "balance": True, "spectral_weight": 0.1}
    made, plain = pv.recipes.ladder(PICTURES, **small, **pressed), pv.recipes.ladder(PICTURES, **small)
    batch, found = examples(PICTURES), []
    for each in (made, plain):
        torch.manual_seed(0)
        found.append(each.objective(each.model.eval(), batch, 5))
    torch.testing.assert_close(found[0]["bound"], found[1]["bound"])
    kl = torch.stack([found[1][name] for name in ("kl_z1", "kl_z2")])
    factors = kl * 2 / kl.sum()  # both latents have two values
    pressing = 0.5 * (factors * kl.clamp(min=3.0)).sum()
    torch.testing.assert_close(
        found[0]["loss"].detach(), found[1]["reconstruction"] + pressing + 0.1 * found[0]["spectral"]
    )
    check_training(made, PICTURES)
    other = pickle.loads(pickle.dumps(made))  # as it goes to another process, where the penalty is of the model there
    assert set(map(id, other.objective.terms["spectral"].term._layers)) <= set(map(id, other.model.modules()))


def test_both_groups_of_a_ladder_learn_digits() -> None:
    data = pv.data.load("digits")
    options = {"per_scale": (1, 1), "latent": (8, 32), "widths": (256, 128), "network": "mlp", "kl_warmup": 240}
    run = pv.fit(pv.recipes.ladder(data, seed=0, **options), data, epochs=40, device="cpu", progress=False)
    last = run.history[-1]
    assert last["validation_bound"] > 28  # it ends at 31.0
    assert last["validation_kl_z1"] > 5
    assert last["validation_kl_z2"] > 3


def test_a_ladder_refuses_what_makes_no_sense() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"widths": (4, 4, 4)}, "widths is one number for all scales, or for each of 2"),
        ({"latent": (4, 4, 4)}, "latent is one number for all scales, or for each of 2"),
        (
            {"balance": True, "kl_warmup": 0},
            "balance: groups are balanced while the weight of the KL rises; give kl_warmup",
        ),
        ({"merge": "sum"}, "merge is one of residual, network, precision; got 'sum'"),
        ({"per_scale": (0, 1)}, "per_scale is a whole number of at least 1; got 0"),
        ({"network": "transformer"}, "network is one of mlp, mlp-tanh, residual, conv; got 'transformer'"),
        ({"free_bits": 1.0, "objective": pv.Objective()}, "objective takes the place of"),
        ({"objective": pv.objectives.DoublyReparametrised(2)}, "objective: posteriors read features of latents above"),
    ]
    for options, words in refused:
        with pytest.raises(ValueError, match=words):
            pv.recipes.ladder(PICTURES, **options)
