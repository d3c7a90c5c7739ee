"""Completions a second with 100 draws each, beside the same model with m repeated for every draw."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import polyvae as pv
from benchmarks.interleave import Result, compare
from polyvae.evaluation.bounds import chunk_values
from polyvae.evaluation.calibration import quantile, sorted_draws
from polyvae.model.laws import repeat
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE
from polyvae.observe.masks import observation, sparse

DRAWS, PICTURES = 100, 50


def completions(device: torch.device, rounds: int) -> Iterator[Result]:
    """`arbitrary_conditioning` of pictures of 28x28 as it is by default, with 40 pixels seen, untrained weights."""
    spec = Spec((1, 28, 28))
    model = pv.recipes.arbitrary_conditioning(spec, likelihood="bernoulli", seed=0).model.to(device).eval()
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] # as training leaves it
    x = torch.rand(PICTURES, *spec.x, generator=torch.Generator().manual_seed(0)).to(device)
    mask = observation("uniform", 40).mask(x)
    yield compare(
        "completions of 28x28, 100 draws",
        lambda: pv.complete(model, x, mask, draws=DRAWS),
        "m repeated for every draw",
        lambda: repeated(model, x, mask, DRAWS),
        bar=3,
        items=PICTURES,
        unit="pictures/s",
        rounds=rounds,
    )


@torch.inference_mode()
def repeated(model: VAE, x: Tensor, mask: Tensor, draws: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, spread and quantiles of the law, prior and decoder called at each draw of each example."""
    size, m = max(1, chunk_values(x.device) // x.numel()), sparse(x, mask)
    means, bits = [], []
    for count in [size] * (draws // size) + [draws % size] * bool(draws % size):
        values = {"m": repeat(m, count)}
        law = model.heads["x"]({**values, "z": model.prior["z"](values).sample()})
        means.append(law.mean.unflatten(0, (count, -1)))
        bits.append(law.sample().unflatten(0, (count, -1)))
    ordered, mean = sorted_draws(torch.cat(bits)), torch.cat(means).mean(0)
    return mean, (mean * (1 - mean)).sqrt(), torch.stack([quantile(ordered, level) for level in (0.05, 0.5, 0.95)])
