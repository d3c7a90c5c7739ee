"""The arrays of completions: truth, what is seen, mean, spread and draws; and errors against the number of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from polyvae.completion.completer import Completer
from polyvae.completion.masked import masked
from polyvae.completion.predictive import Predictive
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
) -> Completions:
    """A seeded `count` of examples completed, with `samples` expected pictures of single draws of z (or, with `pixels`,
    draws of the likelihood)."""
    made = masked(source, masks)
    asked = replace(completer, of=made.of, name=made.name)

    def shown(law: Predictive, rows: slice) -> dict[str, Tensor]:
        low, high = central_band(sorted_draws(law.draws), 0.9)
        drawn = (law.draws if pixels else law.means)[:samples].movedim(0, 1)
        found = {"mean": law.mean, "std": law.std, "low": low, "high": high, "samples": drawn}
        for place, chance in law.chances if law.mean.ndim == 2 else ():
            found |= {f"codes {column}": chance[:, n] for n, column in enumerate(place.tolist())}
        return found

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        x, m = batch[made.of], batch[made.name]
        return {"truth": x, "mask": m[:, x.shape[1] :], **asked.measured(model, batch, shown)}

    chosen = subset(split, count, seed)
    found = joined(each_block(made, chosen, measure, seed))
    found["samples"] = found["samples"].movedim(1, 0)
    arrays = {name: value.float().numpy() for name, value in found.items()}
    look = look_of(source, split, made.of)
    chances = {column: arrays.pop(f"codes {column}")[:, : len(words)] for column, words in look.codes.items()}
    values = {name: array for name, array in arrays.items() if " " not in name}
    return Completions(**values, chances=chances, **look.words(part(len(chosen), len(split))))


def point_errors(scores: Sequence[Score], of: str = "points") -> PointErrors:
    """Errors over unseen values by method, in the order of the points, or whatever masks are `of`."""
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in ("points", "mse", "crps", "wrong", "log_loss")}
    for method in dict.fromkeys(score.method for score in scores):
        mine = sorted((score for score in scores if score.method == method), key=lambda score: score.points)
        found["points"][method] = np.array([score.points for score in mine])
        for name in ("mse", "crps", "wrong", "log_loss"):
            found[name][method] = np.array([getattr(score.unseen, name) for score in mine], float)  # None is NaN
    return PointErrors(**found, standardised=any(score.standardised for score in scores), of=of)
