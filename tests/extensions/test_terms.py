"""Terms that look at other latents than those of the draw: samples of the prior decoded, and encoded again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.objectives.terms import KL, Reconstruction


class Cycle(nn.Module):
    """|e(d(z)) - z|^2 / 2 of samples z of the prior, d the decoder's mean and e the encoder's, [1, B]."""

    def forward(self, draw: pv.Draw) -> Tensor:
        latent = draw.latents["z"]
        z = latent.p.rsample((latent.z.shape[1],)).detach()
        x = draw.decode({**draw.values, "z": z})["x"].mean
        found = draw.encode({**draw.values, "x": x})["z"].mean
        return 0.5 * (found - z).square().sum(-1, keepdim=True).T


def recipe(weight: float = 1.0) -> pv.Recipe:
    terms = {"reconstruction": Reconstruction(), "kl": KL(), "cycle": pv.Weighted(Cycle(), weight)}
    objective = pv.Objective(terms)
    return pv.recipes.vae(
        (6,), latent=2, network="mlp", widths=[8], likelihood="normal-learned", objective=objective, seed=0
    )


def test_a_term_decodes_samples_of_the_prior_and_encodes_what_comes() -> None:
    made = recipe()
    batch = {"x": torch.randn(5, 6)}
    torch.manual_seed(3)
    values = made.objective(made.model, batch)
    torch.manual_seed(3)
    made.model(batch)
    z = torch.randn(5, 2)
    again = made.model.encode({"x": made.model.decode({"z": z})["x"].mean})["z"].mean
    torch.testing.assert_close(values["cycle"], 0.5 * (again - z).square().sum(-1).mean())
    torch.testing.assert_close(values["loss"], values["reconstruction"] + values["kl"] + values["cycle"])


def test_its_gradient_reaches_encoder_and_decoder() -> None:
    made = recipe()
    draw = made.model({"x": torch.randn(5, 6)})
    Cycle()(draw).mean().backward()
    for part in (made.model.posterior, made.model.heads["x"].likelihood.net):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_such_a_term_trains_and_does_what_it_asks_for() -> None:
    torch.manual_seed(0)
    data = pv.data.wrap(torch.randn(300, 2) @ torch.randn(2, 6) + 0.1 * torch.randn(300, 6))
    found = [
        pv.fit(recipe(weight), data, epochs=8, batch_size=30, lr=5e-3, device="cpu", progress=False).history[-1]
        for weight in (0.0, 5.0)
    ]
    assert found[1]["validation_cycle"] < 0.5 * found[0]["validation_cycle"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_its_networks_run_in_the_precision_of_the_others(precision: str) -> None:
    seen = []
    made = recipe()
    net = made.model.heads["x"].likelihood.net
    net.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    data = pv.data.wrap(torch.randn(60, 6))
    pv.fit(made, data, epochs=1, batch_size=20, device="cpu", precision=precision, progress=False)
    assert set(seen) <= {torch.float32 if precision == "fp32" else torch.bfloat16, torch.float32}
    if precision == "bf16":
        assert torch.bfloat16 in seen
