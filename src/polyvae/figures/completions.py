"""The arrays of completions: truth, what is seen, mean, spread and draws; and errors against the number of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from polyvae.completion.complete import seeing
from polyvae.completion.predictive import Completer
from polyvae.completion.scores import Score
from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, joined
from polyvae.evaluation.calibration import central_band, sorted_draws
from polyvae.figures.kinds import Completions, PointErrors
from polyvae.figures.looks import look_of, part
from polyvae.model.vae import VAE, Values
from polyvae.observe.masks import SparsePixels


def completions(
    source: Any,
    split: Split,
    masks: SparsePixels,
    completer: Completer = Completer(),  # noqa: B008
    count: int = 6,
    samples: int = 4,
    pixels: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Completions:
    """A seeded `count` of examples completed, with `samples` expected pictures of single draws of z (or, with `pixels`,
    draws of the likelihood)."""
    made = seeing(source, masks)
    asked = replace(completer, of=made.of, name=made.name)

    def measure(model: VAE, batch: Values) -> dict[str, torch.Tensor]:
        pieces = []
        for piece in asked.predict(model, batch):
            low, high = central_band(sorted_draws(piece.draws), 0.9)
            shown = (piece.draws if pixels else piece.means)[:samples].movedim(0, 1)
            told = {"mean": piece.mean, "std": piece.std, "low": low, "high": high, "samples": shown}
            for place, chance in piece.chances if piece.mean.ndim == 2 else ():
                told |= {f"codes {column}": chance[:, n] for n, column in enumerate(place.tolist())}
            pieces.append(told)
        x, m = batch[made.of], batch[made.name]
        found = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        return {"truth": x, "mask": m[:, x.shape[1] :], **found}

    chosen = subset(split, count, seed)
    found = joined(each_block(made, chosen, measure, seed, device))
    found["samples"] = found["samples"].movedim(1, 0)
    arrays = {name: value.float().numpy() for name, value in found.items()}
    look = look_of(source, split, made.of)
    chances = {column: arrays.pop(f"codes {column}")[:, : len(words)] for column, words in look.codes.items()}
    words = {"names": look.names, "part": part(len(chosen), len(split)), "codes": look.codes}
    return Completions(
        **{name: array for name, array in arrays.items() if " " not in name}, unit=look.unit, chances=chances, **words
    )


def point_errors(scores: Sequence[Score], of: str = "points") -> PointErrors:
    """Errors over unseen values by method, in the order of the points, or whatever masks are `of`."""
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in ("points", "mse", "crps", "wrong", "log_loss")}
    for method in dict.fromkeys(score.method for score in scores):
        mine = sorted((score for score in scores if score.method == method), key=lambda score: score.points)
        found["points"][method] = np.array([score.points for score in mine])
        for name in ("mse", "crps", "wrong", "log_loss"):
            found[name][method] = np.array([getattr(score.unseen, name) for score in mine], float)  # None is NaN
    return PointErrors(**found, standardised=any(score.standardised for score in scores), of=of)
