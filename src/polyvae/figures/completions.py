"""The arrays of completions: truth, what is seen, mean, spread and draws; and errors against the number of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from polyvae.completion import seeing
from polyvae.completion_scores import Score
from polyvae.core import VAE, Values
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, joined
from polyvae.evaluation.calibration import central_band, sorted_draws
from polyvae.figures.kinds import Completions, PointErrors
from polyvae.masks import SparsePixels
from polyvae.predictive import Completer

_UNSEEN = (0.62, 0.72, 0.86)  # the colour of pixels that are not seen: no grey


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
    """The first `count` examples completed, with `samples` expected pictures of single draws of z (or, with `pixels`,
    draws of the likelihood)."""
    made = seeing(source, masks)
    asked = replace(completer, of=made.of, name=made.name)

    def measure(model: VAE, batch: Values) -> dict[str, torch.Tensor]:
        pieces = []
        for part in asked.predict(model, batch):
            low, high = central_band(sorted_draws(part.draws), 0.9)
            shown = (part.draws if pixels else part.means)[:samples].movedim(0, 1)
            pieces.append({"mean": part.mean, "std": part.std, "low": low, "high": high, "samples": shown})
        x, m = batch[made.of], batch[made.name]
        found = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        return {"truth": x, "mask": m[:, x.shape[1] :], **found}

    found = joined(each_block(made, split.take(range(min(count, len(split)))), measure, seed, device))
    found["samples"] = found["samples"].movedim(1, 0)
    return Completions(**{name: value.float().numpy() for name, value in found.items()})


def point_errors(scores: Sequence[Score]) -> PointErrors:
    """Errors over unseen values by method, in the order of the points."""
    points, mse, crps = {}, {}, {}
    for method in dict.fromkeys(score.method for score in scores):
        found = sorted((score for score in scores if score.method == method), key=lambda score: score.points)
        points[method] = np.array([score.points for score in found])
        mse[method] = np.array([np.nan if score.unseen.mse is None else score.unseen.mse for score in found])
        crps[method] = np.array([np.nan if score.unseen.crps is None else score.unseen.crps for score in found])
    return PointErrors(points, mse, crps)


def panels(figure: Completions) -> tuple[np.ndarray, list[str]]:
    """Completions of pictures as a grid of colours [rows, columns, 3, H, W], and the columns' names.

    Truth, what is seen (the rest blue), mean, spread (black 0, white the largest) and draws. One row an example; where
    the pictures are neither grey nor in colour, one row a channel, each (and its spread) on the scale of its truths.
    """
    natural = figure.truth.min() >= 0 and figure.truth.max() <= 1
    coloured = natural and figure.truth.shape[1] == 3
    low, high = (0.0, 1.0) if natural else _range(figure.truth)
    arrays = [(array - low) / (high - low) for array in (figure.truth, figure.mean, *figure.samples)]
    truth, mean, *samples = [array[:, None] if coloured else array[:, :, None].repeat(3, 2) for array in arrays]
    seen = np.where(figure.mask[:, None] > 0, truth, np.reshape(_UNSEEN, (3, 1, 1)))
    spread = figure.std / (high - low)
    spread = spread.mean(1, keepdims=True) if coloured else spread
    most = float(spread.max()) or 1.0
    heat = np.stack([(3 * spread / most - part).clip(0, 1) for part in range(3)], 2)
    whole = np.stack([truth, seen, mean, heat, *samples], 2)  # [N, channels or 1, columns, 3, H, W]
    names = ["truth", "seen", "mean", f"spread to {most:.2g}", *map(str, range(1, len(samples) + 1))]
    return whole.reshape(-1, *whole.shape[2:]).clip(0, 1).astype(np.float32), names


def _range(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each channel's least and largest value."""
    low, high = (end(truth, axis=(0, 2, 3)).reshape(-1, 1, 1) for end in (np.min, np.max))
    return low, np.where(high > low, high, low + 1)
