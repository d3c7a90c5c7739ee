"""Importance-sampled negative log-likelihood, 1,000 samples, beside the peer at its best batch size."""

from __future__ import annotations

import copy
import time

import torch

from benchmarks.interleave import Result, compare
from benchmarks.peer import peer_model
from polyvae import recipes
from polyvae.data import wrap
from polyvae.evaluation import importance_bound
from polyvae.model.spec import Spec

SAMPLES = 1000


def nll(device: torch.device, rounds: int) -> Result:
    """784-512-16 perceptron with a Bernoulli likelihood."""
    recipe = recipes.vae(Spec((1, 28, 28), levels=2), latent=16, network="mlp", likelihood="bernoulli", seed=0)
    model = peer_model(copy.deepcopy(recipe), device, "bce").eval()
    recipe.model.to(device)
    count = 100 if device.type == "cpu" else 1000
    pictures = torch.bernoulli(torch.full((count, 1, 28, 28), 0.2), generator=torch.Generator().manual_seed(0))
    split = wrap(pictures, validation=pictures[:2]).train.to(device)
    few = split.tensors["x"][: max(count // 5, 2)].to(device)

    def theirs(batch: int, x: torch.Tensor) -> None:
        with torch.no_grad():
            model.get_nll(x, n_samples=SAMPLES, batch_size=batch)

    def seconds(batch: int) -> float:
        start = time.perf_counter()
        theirs(batch, few)
        return time.perf_counter() - start

    theirs(1000, few)
    best = min((100, 250, 500, 1000), key=seconds)
    return compare(
        f"NLL, {SAMPLES:,} samples, 784-512-16 perceptron",
        lambda: importance_bound(recipe, split, samples=SAMPLES, seed=0),
        f"pythae get_nll, batch {best}",
        lambda: theirs(best, split.tensors["x"]),
        bar=1.5 if device.type == "cpu" else 20.0,
        items=count,
        unit="images/s",
        rounds=rounds,
    )
