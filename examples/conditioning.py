"""What a few seen pixels are worth: python examples/conditioning.py [data] [training pictures] [epochs]

Trains each way to read them for a few epochs and prints, for 5, 40 and 160 seen pixels: squared error summed + KL
(minus the bound on log p(x | m), less its constants), the error a pixel at the posterior's mean, and that of the mean
of 20 draws whose z comes from m alone. The table of docs/conditioning.md is its output.
"""

from __future__ import annotations

import sys
from math import log, pi
from typing import Any

import torch

import polyvae as pv
from polyvae.observe.masks import observation

SEEN = (5, 40, 160)
GAUSSIAN: dict[str, Any] = {"widths": (16, 32, 64)}
CODES: dict[str, Any] = {"codes": 128, "dim": 16, "widths": (32, 64)}
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("vae", GAUSSIAN),
    ("semi_conditional", {**GAUSSIAN, "exponent": 20.0, "decoder": "flat"}),
    ("semi_conditional", {**GAUSSIAN, "exponent": 20.0, "decoder": "multiscale"}),
    ("multitask", {**GAUSSIAN, "decoder": "flat"}),
    ("multitask", {**GAUSSIAN, "decoder": "multiscale"}),
    ("arbitrary_conditioning", {**GAUSSIAN, "decoder": "flat"}),
    ("arbitrary_conditioning", {**GAUSSIAN, "decoder": "multiscale"}),
    ("vq_multitask", {**CODES, "decoder": "flat"}),
    ("vq_multitask", {**CODES, "decoder": "multiscale"}),
]


@torch.no_grad()
def measured(model: pv.VAE, x: torch.Tensor, count: int) -> dict[str, list[float]]:
    """By head: squared error summed + KL, the error at the posterior's mean, and from m alone."""
    torch.manual_seed(1)
    batch = observation("uniform", min(count, x[0, 0].numel()))({"x": x})
    constant = x[0].numel() * log(pi) / 2
    means, draw = model.reconstruct(batch), model(batch)
    drawn = model.generate({"m": batch["m"]}, 20)
    found = {}
    for name, head in draw.heads.items():
        cost = (draw.latents["z"].kl - head.log_p).mean() - constant
        alone = drawn[name].mean.unflatten(0, (20, -1)).mean(0)
        found[name] = [cost.item(), (means[name].mean - x).square().mean().item(), (alone - x).square().mean().item()]
    return found


def main(source: str = "mnist", pictures: str = "6000", epochs: str = "6") -> None:
    data = pv.data.load(source, limit=int(pictures))
    x = data.validation.batch(torch.arange(min(1000, len(data.validation))))["x"]
    for name, options in WAYS:
        recipe = pv.recipes.named(name)(data.spec, seed=0, likelihood="normal", **options)
        pv.fit(recipe, data, epochs=int(epochs), batch_size=64, progress=False)
        size = sum(parameter.numel() for parameter in recipe.model.parameters())
        print(f"{name} {options} {size:,} parameters", flush=True)
        for count in SEEN:
            for head, values in measured(recipe.model, x, count).items():
                shown = "  ".join(f"{value:9.4f}" for value in values)
                print(f"  {count:4} pixels, head {head:10} {shown}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
