"""The model from its parts: what these may be, what is checked, and what it encodes, decodes and generates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

import polyvae as pv
from helpers.models import INFERENCES, Affine, part, plain, two_level
from polyvae.model.families.real import DiagonalNormal, PixelNormal
from polyvae.model.priors.mixture import Mixture
from polyvae.model.priors.normal import StandardNormal


def test_a_conditional_prior_reads_the_condition() -> None:
    torch.manual_seed(0)
    prior = part("y", [3], 2)
    model = pv.VAE(part(("x", "y"), [4, 3], 2), prior, part(("z", "y"), [2, 3], 4))
    assert (model.inputs, model.conditions) == (("x", "y"), ("y",))
    batch = {"x": torch.randn(5, 4), "y": torch.randn(5, 3)}
    draw = model(batch, 4)
    latent = draw.latents["z"]
    torch.testing.assert_close(latent.kl, kl_divergence(latent.q, prior(batch)).expand(4, 5))
    torch.testing.assert_close(latent.log_p, prior(batch).log_prob(latent.z))
    # A condition far out moves the samples of its own rows.
    far = {"y": torch.stack([torch.zeros(3), torch.full((3,), 1e3)])}
    means = prior(far).mean
    z = model.sample_latents(far, 500)["z"].unflatten(0, (500, 2)).mean(0)
    assert (z - means).norm(dim=1).lt(0.1 * means.norm(dim=1) + 0.3).all()
    assert (means[0] - means[1]).norm() > 10


def test_generate_gives_count_rows_for_each_condition() -> None:
    model = plain()
    assert model.conditions == ()
    assert model.generate()["x"].mean.shape == (1, 4)
    assert model.generate(count=6)["x"].mean.shape == (6, 4)
    assert two_level().generate(count=6)["x"].mean.shape == (6, 4)
    assert two_level().sample_latents(count=6)["low"].shape == (6, 2)
    conditional = pv.VAE(part("x", [4], 2), Mixture(2, 3), part(("z", "y"), [2, 3], 4))
    y = torch.randn(2, 3)
    latents = conditional.sample_latents({"y": y}, 3)
    torch.testing.assert_close(latents["y"], torch.cat([y, y, y]))
    assert conditional.generate({"y": y}, 3)["x"].mean.shape == (6, 4)


def test_generate_samples_the_model() -> None:
    torch.manual_seed(2)
    prior = {"b": Affine(0.5, 1.0, zero=0.0), "a": Affine(0.3, 0.5, b=0.8)}
    model = pv.VAE(INFERENCES["top first"], prior, Affine(0.1, 0.6, a=1.1, b=-0.4))
    means = model.generate({"zero": torch.zeros(1, 1).double()}, 20_000)["x"].mean
    # x's mean is 0.1 + 1.1 a - 0.4 b with a = 0.3 + 0.8 b + noise
    assert means.mean().item() == pytest.approx(0.1 + 1.1 * 0.3 + 0.48 * 0.5, abs=0.03)
    assert means.var().item() == pytest.approx(0.48**2 + (1.1 * 0.5) ** 2, abs=0.03)


def test_encode_and_reconstruct_are_deterministic_and_leave_no_trace() -> None:
    model, batch = two_level(), {"x": torch.randn(3, 4)}
    before, state = dict(batch), torch.get_rng_state()
    first, second = model.encode(batch), model.encode(batch)
    again, once_more = model.reconstruct(batch)["x"].mean, model.reconstruct(batch)["x"].mean
    assert torch.equal(torch.get_rng_state(), state)
    assert batch == before
    assert all(torch.equal(first[name].mean, second[name].mean) for name in ("top", "low"))
    assert torch.equal(again, once_more)
    # The lower posterior is given the mean of the upper one.
    lower = model.posterior["low"]({**batch, "top": first["top"].mean})
    torch.testing.assert_close(first["low"].mean, lower.mean)
    means = {name: q.mean for name, q in first.items()}
    torch.testing.assert_close(again, model.decode(means)["x"].mean)


def test_any_module_goes_in_where_a_network_goes() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x @ self.weight + y

    decoder = pv.Conditional(nn.Linear(2, 4), PixelNormal(1.0), "z")
    model = pv.VAE(pv.Conditional(Sum(), DiagonalNormal(), ("x", "y")), StandardNormal(2), decoder)
    values = pv.Objective()(model, {"x": torch.randn(3, 4), "y": torch.randn(3, 4)})
    values["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())
    # nothing but the call and `given` is asked of a prior either
    own = pv.VAE({"z": Affine(0.0, 1.0, x=0.5)}, {"z": Affine(0.0, 1.0, y=0.5)}, {"x": Affine(0.0, 1.0, z=1.0)})
    assert own.inputs == ("x", "y")
    batch = {"x": torch.randn(3, 1).double(), "y": torch.randn(3, 1).double()}
    torch.testing.assert_close(own(batch).kl, (0.5 * (0.5 * (batch["x"] - batch["y"])) ** 2).T)


def test_parts_may_come_as_module_dicts_and_a_bare_part_has_its_usual_name() -> None:
    model = pv.VAE(nn.ModuleDict({"code": part("x", [4], 2)}), {"code": StandardNormal(2)}, part("code", [2], 4))
    assert list(model({"x": torch.randn(2, 4)}).latents) == ["code"]
    bare = plain()
    draw = bare({"x": torch.randn(2, 4)})
    assert (list(draw.latents), list(draw.heads)) == (["z"], ["x"])


def test_what_is_given_is_checked_when_the_model_is_made() -> None:
    q, p, likelihood = part("x", [4], 2), StandardNormal(2), part("z", [2], 4)
    with pytest.raises(ValueError, match=r"posteriors \['z'\] and priors \['w'\] must name the same latents"):
        pv.VAE(q, {"w": p}, likelihood)
    with pytest.raises(ValueError, match=r"the posterior of 'a' is given \['b'\], not drawn before it; the order is"):
        pv.VAE({"a": part(("x", "b"), [4, 2], 2), "b": q}, {"b": p, "a": p}, part(("a", "b"), [2, 2], 4))
    with pytest.raises(ValueError, match=r"the prior of 'a' is given \['b'\], not drawn before it"):
        pv.VAE({"b": q, "a": q}, {"a": part("b", [2], 2), "b": p}, part("a", [2], 4))
    with pytest.raises(ValueError, match=r"the posterior of 'z' is given \['z'\]"):
        pv.VAE(part(("x", "z"), [4, 2], 2), p, likelihood)
    with pytest.raises(ValueError, match=r"\['x'\] name both a latent and an observed value"):
        pv.VAE({"x": part("y", [4], 2)}, {"x": p}, {"y": part("x", [2], 4), "x": part("x", [2], 2)})


def test_what_is_missing_is_named() -> None:
    conditional = pv.VAE(part(("x", "y"), [4, 3], 2), part("y", [3], 2), part(("z", "y"), [2, 3], 4))
    for call in (conditional, conditional.encode):
        with pytest.raises(KeyError, match=r"the model needs \['y'\], the batch holds \['x'\]"):
            call({"x": torch.randn(2, 4)})
    with pytest.raises(KeyError, match=r"the model needs \['y'\]"):
        conditional.generate(count=2)
    with pytest.raises(KeyError, match=r"the model needs \['z'\]"):
        conditional.decode({"y": torch.randn(2, 3)})


def test_half_precision_networks_are_scored_in_single() -> None:
    net = nn.Linear(4, 4).to(torch.bfloat16)
    law = pv.Conditional(net, DiagonalNormal(), "x")({"x": torch.randn(2, 4, dtype=torch.bfloat16)})
    assert law.mean.dtype == torch.float32


def test_integer_codes_are_embedded_before_they_are_decoded() -> None:
    class Table(nn.Module):
        given = ("x",)

        def embed(self, codes: Tensor) -> Tensor:
            return torch.stack([codes, codes.square()], 1).float()

    model = pv.VAE(Table(), StandardNormal(2), part("z", [2], 4))
    codes = torch.arange(3)
    embedded = torch.stack([codes, codes.square()], 1).float()
    assert torch.equal(model.decode({"z": codes})["x"].mean, model.decode({"z": embedded})["x"].mean)
