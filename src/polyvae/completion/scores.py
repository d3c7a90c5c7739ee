"""Scores of completions of a whole split at several numbers of seen points, beside those of baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.special import ndtri

from polyvae.completion.baselines import Baseline, Completed, Learned, baselines, fitted
from polyvae.completion.completer import Completer, sees
from polyvae.completion.errors import Errors, Numbers, averages, of_numbers, shares_of
from polyvae.completion.masked import Masked, masked
from polyvae.completion.predictive import Predictive
from polyvae.completion.standard import (
    Standard,
    calibration,
    class_loss,
    coded_errors,
    errors_of,
    joint,
    known,
    moments,
)
from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Progress, each_block, joined
from polyvae.evaluation.calibration import (
    LEVELS,
    calibrate,
    central_band,
    crps,
    normal_crps,
    sorted_draws,
    varying,
)
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.precision import wide
from polyvae.model.vae import VAE, Values
from polyvae.observe.masks import SparsePixels

BASIS, HELD_OUT = 10_000, 200  # examples at most that baselines are fitted to, and that ranks and spreads are judged on
MODEL, BARE, BLIND, SHARES = "model", "without z", "without m", "training shares"

Count = int | float


@dataclass(frozen=True)
class Score:
    """The score of one method at one number of points.

    `count`: the number asked for; `points`: the number seen on average. `unseen`, `all`: errors over the unseen values,
    and over all. `calibrated`: over the unseen values, with the spread scaled on held-out data; for a method without
    spread, a normal law with the held-out errors of each value. `rank`: of gappy PCA. `standardised`: numbers are in
    standard deviations of their columns. `constant`: columns of numbers that do not vary, which are left out.
    `uncalibrated`: how many values of an example `calibrated` leaves out, since their spread is not finite.
    """

    method: str
    count: Count
    points: float
    unseen: Errors
    all: Errors
    calibrated: Errors | None = None
    rank: int | None = None
    standardised: bool = False
    constant: tuple[str, ...] = ()
    uncalibrated: int = 0


def score_completions(
    source: Any,
    split: Split,
    masks: Mapping[Count, SparsePixels],
    completer: Completer = Completer(),  # noqa: B008
    learned: Learned = Learned(),  # noqa: B008
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    classifier: nn.Module | None = None,
) -> list[Score]:
    """The errors of a model's completions at each number of points, beside baselines that see the same pixels.

    Methods: "model"; of a model that is trained at z = 0 too, "without z", which shows what z is worth; for z from the
    posterior also "without m", the head that reads no observation, or the same head
    with nothing seen; and the `baselines`, fitted to `learned`. With a validation part the model's spread is also
    calibrated there, by one factor for each value and count; for positive columns, on the logarithms of the draws.
    For this a seeded subset of a large part is used. Raises ValueError below two draws, and for a model that reads a
    total of values that are not seen.

    Where the kinds of the columns are recorded, numbers are scored in standard deviations of their columns over the
    split, and labels and bits by their probabilities alone, see `Errors`. Beside these stand the "training shares" of
    every label, with one added to each count (Laplace's rule of succession).

    `classifier`: of pictures with labels y, logits [B, classes], such as `train_classifier` makes; what it reads of
    completed pictures is told as `Errors.class_loss`.
    """
    if classifier is not None and split.labels is None:
        raise ValueError("a classifier judges pictures with labels, and these data have none")
    if completer.draws < 2:
        raise ValueError(f"a score needs at least two draws; got {completer.draws}")
    train, validation = learned.train, learned.validation
    held = None if validation is None or not len(validation) else subset(validation, HELD_OUT, seed)
    made = masked(source)
    spec = recorded_spec(source) if made.of == "x" else None
    columns = () if spec is None else spec.columns
    units = Numbers.of(columns, _whole(made, split, seed)) if columns else Numbers()
    learnt = None if train is None or not len(train) else _whole(made, subset(train, BASIS, seed), seed)
    fits = ()
    if learnt is not None and held is not None and units.plain(learnt).numel():
        limited = spec is not None and spec.levels is not None and not columns
        right = units.plain(_whole(made, held, seed))
        fits = fitted(units.plain(learnt), right, (0.0, 1.0) if limited else None)
    shares = () if learnt is None else shares_of(columns, learnt)
    scores: list[Score] = []
    for done, (count, mask) in enumerate(masks.items()):

        def tell(part: int, whole: int, done: int = done) -> None:
            if progress is not None:
                progress(done * whole + part, len(masks) * whole)

        made = masked(source, mask)
        asked = replace(completer, of=made.of, name=made.name)
        told = None if held is None else _predictions(made, held, asked, units, seed, device)
        vary = varying(units.plain(split.tensors[made.of]) if told is None else told["x"])
        by = Standard(*calibration(told, units), vary, units)
        found = _measured(made, split, asked, by, seed, device, tell, classifier)
        scores += [
            _score(method, count, found, by) for method in (MODEL, BARE, BLIND) if f"{method} unseen mse" in found
        ]
        scores += [_alone(each, count, found, told, by) for each in baselines(found["x"], fits, told)]
        if shares:
            scores.append(_score(SHARES, count, {**found, **coded_errors(SHARES, found, shares, by)}, by))
    return scores


def _whole(made: Masked, split: Split, seed: int) -> Tensor:
    """x of every example, as the model reads it."""
    return joined(each_block(made, split, lambda model, batch: {"x": batch[made.of]}, seed))["x"]


def _predictions(
    made: Masked, split: Split, completer: Completer, units: Numbers, seed: int, device: torch.device | str | None
) -> dict[str, Tensor]:
    """What is known of every example, and the `moments` of what is predicted of it, on the CPU."""

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        def read(part: Predictive, rows: slice) -> dict[str, Tensor]:
            return moments(part, units)

        return {**_known(made, batch, units), **completer.measured(model, batch, read)}

    return joined(each_block(made, split, measure, seed, device))


def _measured(
    made: Masked,
    split: Split,
    completer: Completer,
    by: Standard,
    seed: int,
    device: torch.device | str | None,
    progress: Progress,
    classifier: nn.Module | None,
) -> dict[str, Tensor]:
    """x, what is seen of it, and the model's errors example by example, by "method where quantity"."""

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        told = _known(made, batch, by.units)
        if classifier is not None:
            told["y"] = batch["y"] if batch["y"].ndim == 1 else batch["y"].argmax(1)
        found = _errors(MODEL, told, completer, model, batch, by, classifier)
        if completer.latents == "prior" and completer.alone(model, completer.head_of(model)) is not None:
            bare = replace(completer, latents="none", head=completer.head_of(model))
            found |= _errors(BARE, told, bare, model, batch, replace(by, factors=None), classifier)
        if completer.latents == "posterior":
            blind = replace(completer, head=_blind_head(model, completer))
            nothing = {**batch, made.name: torch.zeros_like(batch[made.name])}
            found |= _errors(BLIND, told, blind, model, nothing, replace(by, factors=None))
        return {**told, **found}

    return joined(each_block(made, split, measure, seed, device, progress))


def _known(made: Masked, batch: Values, units: Numbers) -> dict[str, Tensor]:
    x, m = batch[made.of], batch[made.name]
    return known(x, m[:, x.shape[1] :], units)


def _blind_head(model: VAE, completer: Completer) -> str:
    heads = [name for name, head in model.heads.items() if head.of == completer.of]
    return next(
        (name for name in heads if not sees(model, model.heads[name], completer.name)), completer.head_of(model)
    )


def _errors(
    method: str,
    what: Mapping[str, Tensor],
    completer: Completer,
    model: VAE,
    batch: Values,
    by: Standard,
    classifier: nn.Module | None = None,
) -> dict[str, Tensor]:
    """Every error of one batch's completions, [B] each."""

    def read(part: Predictive, rows: slice) -> dict[str, Tensor]:
        told = {name: value[rows] for name, value in what.items()}
        judged = {} if classifier is None else class_loss(method, told, part, classifier)
        return {**errors_of(method, told, part, by), **judged}

    return completer.measured(model, batch, read)


def _alone(
    baseline: Baseline, count: Count, found: Mapping[str, Tensor], told: Mapping[str, Tensor] | None, by: Standard
) -> Score:
    """The score of what a baseline states, and of the same with its spread scaled on held-out examples.

    One that states no spread is judged by its error alone; scaled, it is a normal law with the held-out errors of each
    value.
    """
    x, unseen = wide(found["x"]), found["seen"] == 0  # float32 would round bands past values far smaller than others
    method, made = baseline.name, baseline.complete(x, found["seen"])
    mean, (score, bands) = made.cut(made.mean), _judged(x, made)
    errors = {"mask": found["mask"], **of_numbers(f"{method} unseen", x, mean, score, bands, unseen, by.vary)}
    errors |= of_numbers(f"{method} all", x, mean, score, bands, torch.ones_like(unseen), by.vary)
    drawn = [joint(draws, x[rows], unseen[rows]) for rows, draws in baseline.drawn(made, x, found["seen"])]
    errors |= {f"{method} unseen energy": torch.cat(drawn)} if drawn else {}
    if told is not None and bool((told["seen"] == 0).any()):
        right = wide(told["x"])
        held = baseline.complete(right, told["seen"])
        factors = calibrate(right, held.mean, _spread(held), LEVELS, where=told["seen"] == 0)
        draws = None if made.draws is None else factors.stretched(made.draws, made.mean)
        score, _ = _judged(x, replace(made, std=factors.scale.to(x) * _spread(made), draws=draws))
        ends = {level: factors.band(made.mean, _spread(made), level) for level in LEVELS}
        bands = {level: (made.cut(low), made.cut(high)) for level, (low, high) in ends.items()}
        errors |= of_numbers(f"{method} calibrated", x, mean, score, bands, unseen, by.vary)
    return replace(_score(method, count, errors, by), rank=baseline.rank)


def _spread(made: Completed) -> Tensor:
    """What a factor on the spread multiplies: the standard deviation, or 1 where none is stated."""
    return torch.ones_like(made.mean) if made.std is None else made.std


def _judged(x: Tensor, made: Completed) -> tuple[Tensor, dict[float, tuple[Tensor, Tensor]]]:
    """The ranked probability score of every value, and bands by level, none where no spread is stated."""
    if made.std is None:
        return (made.cut(made.mean) - x).abs(), {}
    if made.draws is not None:
        ordered = sorted_draws(made.cut(made.draws))
        return crps(ordered, x, ordered=True), {level: central_band(ordered, level) for level in LEVELS}
    reach = {level: made.std * ndtri(torch.tensor((1 + level) / 2, dtype=x.dtype)) for level in LEVELS}
    bands = {level: (made.cut(made.mean - far), made.cut(made.mean + far)) for level, far in reach.items()}
    return normal_crps(x, made.mean, made.std, made.limits), bands


def _score(method: str, count: Count, found: Mapping[str, Tensor], by: Standard) -> Score:
    seen = found["mask"].flatten(1).sum(1)
    calibrated = averages(f"{method} calibrated", found) if f"{method} calibrated mse" in found else None
    unseen, every = averages(f"{method} unseen", found), averages(f"{method} all", found)
    points, standardised, constant = float(seen.double().mean()), by.units.kept is not None, by.units.constant
    left = int((~by.stated).sum()) if method == MODEL else 0
    return Score(method, count, points, unseen, every, calibrated, None, standardised, constant, left)
