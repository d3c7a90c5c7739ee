"""Mistakes found in published implementations of multitask and balanced models; the number is the trap's."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.observing import SHAPE, batch, made
from polyvae.data import Split, wrap
from polyvae.evaluation import both_bounds
from polyvae.model.networks import NETWORKS
from polyvae.objectives.balance import MODES, SoftAdapt
from polyvae.training.validation import validate


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
def test_trap06_weights_and_balance_never_enter_a_reported_bound(name) -> None:
    split = Split({"x": torch.rand(12, *SHAPE, generator=torch.Generator().manual_seed(0))})
    reported = []
    for options in ({}, {"w1": 0.1, "w2": 7.0}, {"softadapt": True}):
        recipe = made(name, **options)
        if options.get("softadapt"):
            recipe.objective.balance.factors.copy_(torch.tensor([0.9, 0.1]))
        values = validate(recipe.model, recipe.objective, recipe.observe, split, seed=0)
        bounds = both_bounds(recipe, split, samples=3)
        reported.append({**values, "plain": bounds.plain.sum().item(), "importance": bounds.importance.sum().item()})
    assert len({each.pop("loss") for each in reported}) == 3
    assert reported[0] == reported[1] == reported[2]


def test_trap06_two_heads_of_one_picture_make_no_bound_together() -> None:
    recipe = made("multitask")
    given = batch(recipe)
    draw = recipe.model(given, 3)
    alone = (draw.heads["x"].log_p - draw.latents["z"].kl).mean(0)
    torch.testing.assert_close(draw.elbo, alone)
    bounds = both_bounds(recipe, Split({"x": given["x"]}), samples=5)
    torch.testing.assert_close(bounds.plain, bounds.heads["x"] - bounds.kl["z"])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def first(net: nn.Module) -> nn.Linear:
    return next(layer for layer in net.modules() if isinstance(layer, nn.Linear))


def sizes(module: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, parameter.shape) for name, parameter in module.named_parameters()]


def check_only_m_is_added(plain: nn.Module, seeing: nn.Module, columns: int) -> None:
    """Layer for layer the same, but for m's input columns of the first linear one."""
    assert count(seeing) - count(plain) == columns * first(plain).out_features
    assert first(seeing).in_features - first(plain).in_features == columns
    wider = first(seeing).weight.shape
    changed = [(mine, theirs) for mine, theirs in zip(sizes(plain), sizes(seeing), strict=True) if mine != theirs]
    assert [theirs[1] for _, theirs in changed] == [wider]


SHAPES = [(1, 8, 8), (3, 7, 10), (1, 28, 28)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_trap30_gaussian_methods_add_the_columns_of_m_to_the_baseline_and_nothing_else(network, shape) -> None:
    options: dict[str, Any] = {"latent": 3, "network": network, "widths": (4, 6)}
    baseline = made("vae", shape, **options).model
    columns = prod((shape[0] + 1, *shape[1:]))
    for name, more in (("semi_conditional", {}), ("multitask", {"decoders": 1}), ("multitask", {"decoders": 2})):
        model = made(name, shape, decoder="flat", **options, **more).model
        assert sizes(model.posterior) == sizes(baseline.posterior)
        *_, sees = model.heads.values()
        check_only_m_is_added(baseline.heads["x"], sees, columns)
        if len(model.heads) == 2:
            assert sizes(model.heads["x"]) == sizes(baseline.heads["x"])


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_trap30_quantised_methods_add_the_columns_of_m_to_the_baseline_and_nothing_else(blocks, shape) -> None:
    options: dict[str, Any] = {"codes": 8, "dim": 3, "widths": (4, 6), "blocks": blocks, "decoder": "flat"}
    baseline = made("vq_vae", shape, **options).model
    columns = prod((shape[0] + 1, *shape[1:]))
    for name, more in (("vq_semi_conditional", {}), ("vq_multitask", {"decoders": 1}), ("vq_multitask", {})):
        model = made(name, shape, **options, **more).model
        assert sizes(model.posterior) == sizes(baseline.posterior)
        *_, sees = model.heads.values()
        check_only_m_is_added(baseline.heads["x"], sees, columns)
        if len(model.heads) == 2:
            assert sizes(model.heads["x"]) == sizes(baseline.heads["x"])


def test_trap30_at_the_studys_sizes_methods_differ_by_the_columns_of_m() -> None:
    spec = pv.Spec((1, 28, 28))
    gaussian = {"latent": 16, "network": "conv", "widths": (32, 64, 128, 256)}
    plain, method = made("vae", spec, **gaussian), made("multitask", spec, **gaussian)
    assert count(plain.model.heads) == count(method.model.heads["x"])
    assert count(method.model.heads["x_given_m"]) - count(plain.model.heads) == 2 * 784 * 256 * 7 * 7


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
@pytest.mark.parametrize("decoder", ["flat", "multiscale"])
def test_trap34_two_decoders_are_two(name, decoder) -> None:
    recipe = made(name, decoder=decoder, likelihood="normal-learned")
    x = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0))
    pv.fit(recipe, wrap(x, validation=8), epochs=1, batch_size=8, lr=1e-2, device="cpu", progress=False)
    model = recipe.model
    plain, sees = model.heads["x"], model.heads["x_given_m"]
    storages = [
        {p.untyped_storage().data_ptr() for p in (*head.parameters(), *head.buffers())} for head in (plain, sees)
    ]
    assert not storages[0] & storages[1]
    others = dict(sees.named_parameters())
    equal = [
        n for n, p in plain.named_parameters() if n in others and p.shape == others[n].shape and p.equal(others[n])
    ]
    assert not equal, "after training every parameter of one differs from the other's"

    given = batch(recipe)

    def outputs() -> dict[str, Tensor]:
        with torch.no_grad():
            return {head: law.mean for head, law in model.reconstruct(given).items()}

    before = outputs()
    for moved, still in (("x", "x_given_m"), ("x_given_m", "x")):
        with torch.no_grad():
            for parameter in model.heads[moved].parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        after = outputs()
        assert torch.equal(after[still], before[still])
        assert not torch.equal(after[moved], before[moved])
        before = after


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
def test_trap34_encoder_and_z_are_shared_and_each_decoder_learns_from_its_own_term(name) -> None:
    recipe = made(name)
    model = recipe.model.train()
    draw = model(batch(recipe))
    for mine, other in (("x", "x_given_m"), ("x_given_m", "x")):
        model.zero_grad()
        draw.heads[mine].log_p.mean().backward(retain_graph=True)
        assert all(p.grad is not None for p in model.heads[mine].likelihood.net.parameters())
        assert all(p.grad is None for p in model.heads[other].parameters())
        encoder = list(model.posterior["z"].net.parameters())
        assert all(p.grad is not None and p.grad.any() for p in encoder)


TURNING = torch.tensor([[10.0, 9.0, 8.6, 9.5, 12.0], [10.0, 10.5, 10.4, 9.8, 8.0]])  # one ends rising, one falling


@pytest.mark.parametrize("variant", ["original", "normalised"])
def test_trap36_what_rises_now_gets_the_larger_factor_whatever_it_did_at_first(variant) -> None:
    for mode in MODES:
        rising, falling = SoftAdapt(("a", "b"), variant, mode=mode).computed(TURNING).tolist()
        assert (rising > falling) == (mode != "authors"), "the authors look at the oldest point of the window"


@pytest.mark.parametrize("mode", ["least-squares", "backward"])
def test_trap36_normalising_keeps_the_ranking_when_losses_fall(mode) -> None:
    slow, fast = torch.tensor([5.0, 4.9, 4.8, 4.7, 4.6]), torch.tensor([50.0, 41.0, 33.0, 26.0, 20.0])
    losses = torch.stack([slow, fast])
    for variant in ("original", "normalised"):
        lazy, quick = SoftAdapt(("slow", "fast"), variant, mode=mode).computed(losses).tolist()
        assert lazy > quick
    lazy, quick = SoftAdapt(("slow", "fast"), "normalised", mode="authors").computed(losses).tolist()
    assert lazy < quick, "a signed sum of slopes, all negative, turns the ranking round"
