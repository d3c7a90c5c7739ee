"""What is measured of one reading of a training on shapes: losses, information, shapes that are recognised, sheets."""

from __future__ import annotations

from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical

from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block
from polyvae.evaluation.bounds import both_bounds
from polyvae.evaluation.classifier import grey, recognised
from polyvae.evaluation.codes import describe_codes
from polyvae.evaluation.frechet import sampled_pictures
from polyvae.evaluation.information import informed
from polyvae.figures.pixels import save_montage
from polyvae.model.vae import VAE, Values
from polyvae.study.shapes.judge import SURE, TEST, judge, pictures
from polyvae.training.run import Run

SEED = 0
SAMPLES, TOLD = 8, 1000  # draws of both bounds, and new pictures that they and the information are of
READING: dict[str, type] = {
    "error_sum": float,
    "error_mean": float,
    "error_sum_without_noise": float,
    "rate_bits": float,
    "information_bits": float,
    "information_limit_bits": float,
    "information_most_bits": float,
    "marginal_kl_bits": float,
    "marginal_kl_least_bits": float,
    "bound": float,
    "importance_bound": float,
    "samples": int,
    "recognised_test": float,
    "right_test": float,
    "recognised_without_noise": float,
    "right_without_noise": float,
    "recognised_random": float,
    "kinds_random": float,
    "scored": int,
    "seconds": float,
}


def measure(run: Run, study: Path, name: str, seed: int, size: int, scored: int) -> dict[str, Any]:
    """The reading of a run, by new pictures that no training and no judge has seen; sheets of the first seed.

    `name`: of the sheets. Squared errors and what is recognised are of the mean of p(x | z) at one draw of z, as
    training has it, and "without_noise" at the posterior's mean.
    """
    new, seen = pictures(scored, size, TEST), judge(study, size)
    noisy, still = (torch.cat(each) for each in zip(*each_block(run, new, reconstructed, SEED), strict=True))
    drawn = sampled_pictures(run, new, scored, SEED)
    x, y = grey(new.tensors["x"]), new.tensors["y"]
    found = {"test": recognised(seen, noisy, SURE), "without_noise": recognised(seen, still, SURE)}
    random, error = recognised(seen, drawn, SURE), _error(x, noisy)
    history = run.history[-1]
    if seed == 0:
        sheets(study, name, x, noisy, drawn)
    return {
        "error_sum": error,
        "error_mean": error / x[0].numel(),
        "error_sum_without_noise": _error(x, still),
        **informing(run, new),
        **{f"recognised_{how}": _share(labels >= 0) for how, labels in found.items()},
        **{f"right_{how}": _share(labels == y) for how, labels in found.items()},
        "recognised_random": _share(random >= 0),
        "kinds_random": kinds(random),
        "scored": scored,
        "seconds": round(sum(line.get("seconds", 0.0) for line in run.history[: int(history["epoch"])]), 2),
    }


def reconstructed(model: VAE, batch: Values) -> tuple[Tensor, Tensor]:
    """Means of p(x | z), in [0, 1], at a draw of z and at its mean."""
    draw, still = model(batch, 1), model.reconstruct(batch)["x"].mean
    return draw.heads["x"].p.mean.clamp(0, 1), still.clamp(0, 1)


def informing(run: Run, new: Split) -> dict[str, Any]:
    """Bounds, rate and information, over the same new pictures."""
    some = subset(new, TOLD, SEED)
    bounds = both_bounds(run, some, SAMPLES, SEED)
    told = informed(bounds, describe_codes(run, some, SEED), ["x"]).as_dict()["latents"]["z"]
    kept = ("rate_bits", "information_bits", "information_most_bits", "marginal_kl_bits", "marginal_kl_least_bits")
    return {
        **{name: told[name] for name in kept},
        "information_limit_bits": told["limit_bits"],
        "bound": float(bounds.plain.mean()),
        "importance_bound": float(bounds.importance.mean()),
        "samples": SAMPLES,
    }


def kinds(labels: Tensor) -> float | None:
    """By how many labels what is recognised is shared, exp of their entropy: 3 of three alike, None of none."""
    counts = torch.bincount(labels[labels >= 0]).double()
    return float(Categorical(counts).entropy().exp()) if counts.sum() else None


def capacity_bits(noise: float, dimensions: int) -> float:
    """d/2 log2(1 + 1/v): what a channel of d dimensions lets through, whose noise has v times the signal's variance.

    Shannon: Communication in the Presence of Noise, 1949.
    """
    return dimensions / 2 * log(1 + 1 / noise) / log(2)


def sheets(study: Path, name: str, x: Tensor, made: Tensor, drawn: Tensor) -> None:
    """16 new pictures, what is made of them, and 25 random ones."""
    for what, shown, side in (("test", made, 4), ("random", drawn, 5), ("new", x, 4)):
        place = sheet(study, name if what != "new" else "", what)
        place.parent.mkdir(parents=True, exist_ok=True)
        save_montage(place, shown[: side * side].unflatten(0, (side, side)).numpy(), 3)


def sheet(study: Path, name: str, what: str) -> Path:
    """Where a sheet lies."""
    return study / "pictures" / f"{'-'.join(filter(None, [name, what]))}.png"


def _error(x: Tensor, made: Tensor) -> float:
    return float((x - made).square().flatten(1).sum(1).double().mean())


def _share(held: Tensor) -> float:
    return float(held.double().mean())
