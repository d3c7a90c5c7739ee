"""What a pass leaves behind: its shapes, one pass as many, its divergences, and the numbers against integration."""

from __future__ import annotations

import math

import pytest
import torch
from beartype import beartype
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from jaxtyping import Float, jaxtyped
from torch import Tensor
from torch.distributions import kl_divergence

import polyvae as pv
from helpers.models import INFERENCES, Affine, plain, two_level
from polyvae.model.families.real import FullNormal


class Prepared:
    """Stands for torch's normal noise: the tensors given, in turn, in whatever shape is asked for."""

    def __init__(self, *noise: Tensor) -> None:
        self.noise = list(noise)

    def __call__(self, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Tensor:
        return self.noise.pop(0).reshape(shape)


@jaxtyped(typechecker=beartype)
def check_shapes(
    z: Float[Tensor, "k b d"],
    folded: Float[Tensor, "kb d"],
    per_draw: dict[str, Float[Tensor, "k b"]],
    per_example: dict[str, Float[Tensor, " b"]],
) -> None:
    assert len(folded) == len(z) * len(z[0])


@settings(max_examples=10, deadline=None)
@drawn(samples=st.integers(1, 4), rows=st.integers(1, 4), d=st.integers(1, 3), full=st.booleans())
def test_everything_on_a_draw_has_one_row_a_sample_and_one_column_an_example(samples, rows, d, full) -> None:
    draw = plain(d, family=FullNormal() if full else None)({"x": torch.randn(rows, 4)}, samples)
    latent, head = draw.latents["z"], draw.heads["x"]
    kl = draw.latents["z"].analytic_kl
    assert kl is not None
    per_draw = {"log_px": draw.log_px, "kl": draw.kl, "weight": draw.log_weight, "head": head.log_p, "analytic": kl}
    per_draw |= {"log_q": latent.log_q, "log_p": latent.log_p}
    check_shapes(latent.z, draw.values["z"], per_draw, {"elbo": draw.elbo, "bound": draw.importance_bound})
    assert draw.samples == samples
    torch.testing.assert_close(draw.values["z"], latent.z.flatten(0, 1))


@pytest.mark.parametrize("name", ["kl", "log_weight"])
def test_a_look_without_gradients_takes_them_from_no_later_one(name: str) -> None:
    model, batch = plain(3), {"x": torch.randn(5, 4)}
    norms = []
    for looked in (False, True):
        torch.manual_seed(0)
        draw = model(batch)
        if looked:
            with torch.no_grad():
                seen = getattr(draw, name)
        assert getattr(draw, name).requires_grad
        assert getattr(draw, name) is getattr(draw, name)
        model.zero_grad()
        getattr(draw, name).sum().backward()
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(norms[0], norms[1])
    torch.testing.assert_close(seen, getattr(draw, name))


@pytest.mark.parametrize("bottom_up", [False, True])
def test_k_samples_are_k_passes_with_the_same_noise(bottom_up, monkeypatch) -> None:
    model, batch, samples = two_level(bottom_up).double(), {"x": torch.randn(3, 4).double()}, 5
    widths = (2, 3) if bottom_up else (3, 2)
    noise = [torch.randn(samples, 3, width).double() for width in widths]
    where = "torch.distributions.normal._standard_normal"
    monkeypatch.setattr(where, Prepared(*noise))
    together = model(batch, samples)
    for k in range(samples):
        monkeypatch.setattr(where, Prepared(*[each[k] for each in noise]))
        alone = model(batch)
        torch.testing.assert_close(together.log_px[k], alone.log_px[0])
        torch.testing.assert_close(together.kl[k], alone.kl[0])
        torch.testing.assert_close(together.log_weight[k], alone.log_weight[0])
        for name, latent in alone.latents.items():
            torch.testing.assert_close(together.latents[name].z[k], latent.z[0])


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_the_encoder_runs_once_on_the_batch_and_networks_see_one_leading_dimension(samples) -> None:
    model, seen = two_level(), {}
    for name, module in model.named_modules():
        if isinstance(module, pv.Conditional):
            module.net.register_forward_pre_hook(lambda m, inputs, name=name: seen.setdefault(name, []).append(inputs))
    model({"x": torch.randn(3, 4)}, samples)
    assert set(seen) == {"posterior.top", "posterior.low", "prior.low", "heads.x.likelihood"}
    for name, calls in seen.items():
        rows = 3 if name == "posterior.top" else 3 * samples
        assert [[tuple(t.shape) for t in inputs] for inputs in calls] == [[(rows, t.shape[1]) for t in calls[0]]], name


def test_latents_are_drawn_top_first_with_a_closed_form_at_every_level() -> None:
    torch.manual_seed(0)
    model = two_level()
    draw = model({"x": torch.randn(3, 4)}, 6)
    assert list(draw.latents) == ["top", "low"]
    for latent in draw.latents.values():
        assert latent.separate
        assert latent.analytic
        exact = kl_divergence(latent.q, latent.p)
        torch.testing.assert_close(latent.kl, exact.view(-1, 3).expand(6, 3))


def test_bottom_up_inference_takes_the_sampled_divergence_where_the_closed_form_is_wrong() -> None:
    draw = two_level(bottom_up=True)({"x": torch.randn(3, 4)}, 6)
    low, top = draw.latents["low"], draw.latents["top"]
    assert not low.separate
    assert low.analytic_kl is None
    assert not low.analytic
    torch.testing.assert_close(low.kl, low.log_q - low.log_p)
    assert top.separate
    assert top.analytic


@pytest.mark.parametrize("name", INFERENCES)
def test_two_levels_agree_with_numerical_integration(name) -> None:
    torch.manual_seed(1)
    prior = {"b": Affine(0.0, 1.0, zero=0.0), "a": Affine(0.3, 0.5, b=0.8)}
    model = pv.VAE(INFERENCES[name], prior, Affine(0.1, 0.6, a=1.1, b=-0.4))
    x, zero = torch.tensor([[0.7], [-1.2]]).double(), torch.zeros(2, 1).double()
    axis = torch.linspace(-8, 8, 801).double()
    b, a = (grid.reshape(-1, 1) for grid in torch.meshgrid(axis, axis, indexing="ij"))
    exact, marginal = [], []
    for row in x:
        values = {"a": a, "b": b, "x": row.expand_as(a), "zero": torch.zeros_like(a)}
        log_q = sum(q(values).log_prob(values[n]) for n, q in model.posterior.items())
        log_p = sum(p(values).log_prob(values[n]) for n, p in model.prior.items())
        log_p = log_p + model.heads["x"](values).log_prob(values["x"])
        area = (axis[1] - axis[0]) ** 2
        exact.append((log_q.exp() * (log_p - log_q)).sum() * area)
        marginal.append(log_p.logsumexp(0) + area.log())
    draw = model({"x": x, "zero": zero}, 20_000)
    terms = draw.log_px - draw.kl
    error = terms.std(0) / math.sqrt(len(terms))
    assert ((draw.elbo - torch.stack(exact)).abs() < 4 * error).all()
    spread = (draw.log_weight - draw.importance_bound).exp().std(0) / math.sqrt(len(terms))
    assert ((draw.importance_bound - torch.stack(marginal)).abs() < 4 * spread).all()


def test_values_that_no_part_reads_pass_through() -> None:
    batch = {"x": torch.randn(2, 4), "name": torch.arange(2)}
    draw = plain()(batch, 3)
    assert draw.values["name"] is batch["name"]
    assert set(draw.values) == {"x", "name", "z"}
