"""Completions of a whole split, scored at several numbers of points and beside interpolation and gappy PCA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from polyvae.completion import Seeing, seeing
from polyvae.core import VAE, Values
from polyvae.data.split import Split, subset
from polyvae.evaluation.blocks import Progress, each_block, joined
from polyvae.evaluation.calibration import (
    LEVELS,
    Calibration,
    calibrate,
    central_band,
    coverage,
    crps,
    mean_where,
    normal_crps,
    sorted_draws,
    varying,
)
from polyvae.gappy import GappyPCA, best_rank, usual_ranks
from polyvae.interpolation import METHODS, interpolate
from polyvae.masks import SparsePixels
from polyvae.predictive import Completer, Predictive, sees

BASIS, HELD_OUT = 10_000, 200  # examples at most that gappy PCA is fitted to, and that ranks and spreads are judged on
MODEL, BLIND, GAPPY = "model", "without m", "gappy PCA"

Count = int | float
Bands = Mapping[float, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Errors:
    """Averages over examples: squared error per value and its standard error, the ranked probability score, coverage.

    `varying`: coverage of the values that differ between examples alone; those that never do are easily covered, and in
    pictures many. `crps` of a method without spread is its mean absolute error, and it has no coverage. None where no
    example has a value to score.
    """

    mse: float | None
    mse_error: float | None
    crps: float | None
    coverage: dict[float, float | None]
    varying: dict[float, float | None]


@dataclass(frozen=True)
class Score:
    """One method at one number of points.

    `count` as asked for, `points` seen on average. `unseen`, `all`: over the values that are not seen, and over all.
    `calibrated`: over the unseen ones, the spread scaled on held-out data, or where there is none made of the errors
    there, a normal law about each value. `rank`: of gappy PCA.
    """

    method: str
    count: Count
    points: float
    unseen: Errors
    all: Errors
    calibrated: Errors | None = None
    rank: int | None = None


def score_completions(
    source: Any,
    split: Split,
    masks: Mapping[Count, SparsePixels],
    completer: Completer = Completer(),  # noqa: B008
    train: Split | None = None,
    validation: Split | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[Score]:
    """The errors of a model's completions at each number of points, beside baselines that see the same pixels.

    Methods: "model"; where z comes from the posterior also "without m", the head that reads no observation, or the same
    head when nothing is seen; for pictures "nearest" and "linear" interpolation; with `train` and `validation` "gappy
    PCA" at the rank, up to twice the number of seen values, that is best on validation at that count. With `validation`
    the model's spread is also calibrated there, each value by a factor of its own at each count. Of large parts a
    seeded subset serves for that. ValueError below two draws.
    """
    if completer.draws < 2:
        raise ValueError(f"a score needs at least two draws; got {completer.draws}")
    held = None if validation is None or not len(validation) else subset(validation, HELD_OUT, seed)
    basis = None if train is None or not len(train) or held is None else _basis(source, subset(train, BASIS, seed))
    scores: list[Score] = []
    for done, (count, mask) in enumerate(masks.items()):

        def tell(part: int, whole: int, done: int = done) -> None:
            if progress is not None:
                progress(done * whole + part, len(masks) * whole)

        made = seeing(source, mask)
        asked = replace(completer, of=made.of, name=made.name)
        told = None if held is None else _predictions(made, held, asked, seed, device)
        by = _Standard(None if told is None else _calibration(told), varying(_values(split, told, made.of)))
        found = _measured(made, split, asked, by, seed, device, tell)
        scores += [_score(method, count, found) for method in (MODEL, BLIND) if f"{method} unseen mse" in found]
        if found["x"].ndim == 4:
            empty = 0.0 if basis is None else basis.mean.view(basis.shape)
            for method in METHODS:
                scores.append(_alone(method, count, partial(interpolate, method=method, empty=empty), found, told, by))
        if basis is not None and told is not None:
            scores.append(_gappy(count, found, basis, told, by))
    return scores


@dataclass(frozen=True)
class _Standard:
    """What completions are judged by: factors on the spread, where there are any, and which values `vary` [...]."""

    factors: Calibration | None
    vary: Tensor


def _values(split: Split, told: Mapping[str, Tensor] | None, of: str) -> Tensor:
    """Examples that show which values vary: those that are held out, which the judged ones should not choose."""
    return split.tensors[of] if told is None else told["x"]


def _basis(source: Any, train: Split) -> GappyPCA:
    """Gappy PCA of the highest rank, fitted to the training examples as the model meets them."""
    made = seeing(source, SparsePixels())
    x = joined(each_block(made, train, lambda model, batch: {"x": batch[made.of]}))["x"]
    return GappyPCA(256).fit(x)


def _predictions(
    made: Seeing, split: Split, completer: Completer, seed: int, device: torch.device | str | None
) -> dict[str, Tensor]:
    """x, what is seen of it, and the predictive mean and standard deviation, on the CPU."""

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        found = [(part.mean, part.std) for part in completer.predict(model, batch)]
        mean, std = (torch.cat(parts) for parts in zip(*found, strict=True))
        return {**_known(made, batch), "mean": mean, "std": std}

    return joined(each_block(made, split, measure, seed, device))


def _calibration(told: Mapping[str, Tensor]) -> Calibration | None:
    unseen = told["seen"] == 0
    if not bool(unseen.any()) or bool((unseen & (told["std"] == 0)).any()):
        return None  # nothing to be right about, or no spread to scale
    return calibrate(told["x"], told["mean"], told["std"], LEVELS, where=unseen)


def _measured(
    made: Seeing,
    split: Split,
    completer: Completer,
    by: _Standard,
    seed: int,
    device: torch.device | str | None,
    progress: Progress,
) -> dict[str, Tensor]:
    """x, what is seen of it, and the model's errors example by example, by "method where quantity"."""

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        known = _known(made, batch)
        found = _errors(MODEL, known, completer, model, batch, by)
        if completer.latents == "posterior":
            blind = replace(completer, head=_blind_head(model, completer))
            nothing = {**batch, made.name: torch.zeros_like(batch[made.name])}
            found |= _errors(BLIND, known, blind, model, nothing, replace(by, factors=None))
        return {**known, **found}

    return joined(each_block(made, split, measure, seed, device, progress))


def _known(made: Seeing, batch: Values) -> dict[str, Tensor]:
    x, m = batch[made.of], batch[made.name]
    return {"x": x, "seen": m[:, x.shape[1] :]}


def _blind_head(model: VAE, completer: Completer) -> str:
    heads = [name for name, head in model.heads.items() if head.of == completer.of]
    return next((name for name in heads if not sees(model.heads[name], completer.name)), completer.head_of(model))


def _errors(
    method: str,
    known: Mapping[str, Tensor],
    completer: Completer,
    model: VAE,
    batch: Values,
    by: _Standard,
) -> dict[str, Tensor]:
    """Every error of one batch's completions, [B] each."""
    pieces, start = [], 0
    for part in completer.predict(model, batch):
        rows = slice(start, start + len(part.mean))
        pieces.append(_part(method, known["x"][rows], known["seen"][rows] == 0, part, by))
        start = rows.stop
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def _part(method: str, x: Tensor, unseen: Tensor, part: Predictive, by: _Standard) -> dict[str, Tensor]:
    ordered = sorted_draws(part.draws)
    score = crps(ordered, x, ordered=True)
    bands = {level: central_band(ordered, level) for level in LEVELS}
    found = _of(f"{method} unseen", x, part.mean, score, bands, unseen, by)
    found |= _of(f"{method} all", x, part.mean, score, bands, torch.ones_like(unseen), by)
    if by.factors is not None:
        score = crps(by.factors.stretched(ordered, part.mean), x, ordered=True)
        bands = {level: by.factors.band(part.mean, part.std, level) for level in LEVELS}
        found |= _of(f"{method} calibrated", x, part.mean, score, bands, unseen, by)
    return found


def _of(
    name: str, x: Tensor, mean: Tensor, score: Tensor, bands: Bands, where: Tensor, by: _Standard
) -> dict[str, Tensor]:
    found = {f"{name} mse": mean_where((mean - x).square(), where), f"{name} crps": mean_where(score, where)}
    vary = where & by.vary.to(x.device)
    for level, band in bands.items():
        found |= {f"{name} {level}": coverage(x, *band, where), f"{name} varying {level}": coverage(x, *band, vary)}
    return found


def _alone(
    method: str,
    count: Count,
    complete: Callable[[Tensor, Tensor], Tensor],
    found: Mapping[str, Tensor],
    told: Mapping[str, Tensor] | None,
    by: _Standard,
) -> Score:
    """The score of a prediction without spread; the held-out errors of each value make it one."""
    x, unseen = found["x"], found["seen"] == 0
    made = complete(x, found["seen"])
    score = (made - x).abs()
    errors = {"seen": found["seen"], **_of(f"{method} unseen", x, made, score, {}, unseen, by)}
    errors |= _of(f"{method} all", x, made, score, {}, torch.ones_like(unseen), by)
    if told is not None and bool((told["seen"] == 0).any()):
        held, one = complete(told["x"], told["seen"]), torch.ones_like(told["x"])
        factors = calibrate(told["x"], held, one, LEVELS, where=told["seen"] == 0)
        bands = {level: factors.band(made, torch.ones_like(x), level) for level in LEVELS}
        score = normal_crps(x, made, factors.scale.to(x))
        errors |= _of(f"{method} calibrated", x, made, score, bands, unseen, by)
    return _score(method, count, errors)


def _gappy(
    count: Count, found: Mapping[str, Tensor], basis: GappyPCA, told: Mapping[str, Tensor], by: _Standard
) -> Score:
    values = told["seen"].expand_as(told["x"]).flatten(1).sum(1).max()
    ranks = [rank for rank in usual_ranks(basis.rank) if rank <= max(1, 2 * int(values))]
    whole = bool((told["seen"] == 1).all())  # then there is nothing to choose it by
    chosen = basis if whole else best_rank(basis, told["x"], told["seen"], ranks)
    return replace(_alone(GAPPY, count, chosen.complete, found, told, by), rank=chosen.rank)


def _score(method: str, count: Count, found: Mapping[str, Tensor]) -> Score:
    seen = found["seen"].flatten(1).sum(1)
    calibrated = _averages(f"{method} calibrated", found) if f"{method} calibrated mse" in found else None
    unseen, every = _averages(f"{method} unseen", found), _averages(f"{method} all", found)
    return Score(method, count, float(seen.double().mean()), unseen, every, calibrated)


def _averages(name: str, found: Mapping[str, Tensor]) -> Errors:
    mse = found[f"{name} mse"].double()
    mse = mse[~mse.isnan()]
    error = float(mse.std()) / sqrt(len(mse)) if len(mse) > 1 else None
    shares, varied = (
        {level: _mean(found[key.format(level)]) for level in LEVELS if key.format(level) in found}
        for key in (f"{name} {{}}", f"{name} varying {{}}")
    )
    return Errors(_mean(mse), error, _mean(found[f"{name} crps"]), shares, varied)


def _mean(values: Tensor) -> float | None:
    """Over the examples that have something to score."""
    values = values.double()
    return float(values.nanmean()) if bool((~values.isnan()).any()) else None
