"""What predicted values are judged by: their units, which of them vary, and calibration factors of the spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polyvae.completion.errors import Numbers, of_codes, of_numbers
from polyvae.completion.predictive import Predictive
from polyvae.evaluation.blocks import BLOCK, evaluating
from polyvae.evaluation.calibration import (
    LEVELS,
    Calibration,
    calibrate,
    central_band,
    crps,
    energy_score,
    sorted_draws,
)
from polyvae.evaluation.classifier import grey


@dataclass(frozen=True)
class Standard:
    """What completions are judged by: calibration factors, if any, which values `vary`, and their units.

    `stated` [...]: the values whose spread is finite; only these have factors. They are chosen on held-out examples, as
    `vary` is, never on the examples that are judged.
    """

    factors: Calibration | None
    stated: Tensor
    vary: Tensor
    units: Numbers


def known(x: Tensor, mask: Tensor, units: Numbers) -> dict[str, Tensor]:
    """The numbers of x [N, ...] and what is seen of them; all of x and its mask, 1 where it is seen, as they are."""
    return {"x": units.plain(x), "seen": units.seen(mask), "whole": x, "mask": mask}


def moments(part: Predictive, units: Numbers) -> dict[str, Tensor]:
    """The predictive mean and standard deviation of what `units.straight` makes of the numbers."""
    found = units.moments(units.plain(part.mean), units.plain(part.std), units.plain(part.draws, 2))
    return dict(zip(("mean", "std"), found, strict=True))


def calibration(told: Mapping[str, Tensor] | None, units: Numbers) -> tuple[Calibration | None, Tensor]:
    """Factors on the spread, and which values have them; none where there is none to find them on."""
    if told is None:
        return None, torch.tensor(True)
    x, mean, std = units.straight(told["x"]), told["mean"], told["std"]
    unseen = (told["seen"] == 0).expand_as(x)
    stated = (~unseen | (x.isfinite() & mean.isfinite() & std.isfinite())).all(0)
    scored = unseen & stated
    if not bool(scored.any()) or bool((scored & (std == 0)).any()):
        return None, stated  # nothing to be right about, or no spread to scale
    return calibrate(x, mean, std, LEVELS, where=scored), stated


def errors_of(method: str, told: Mapping[str, Tensor], part: Predictive, by: Standard) -> dict[str, Tensor]:
    """The errors of every example over what is unseen, over all, and with the spread calibrated, [N] each, by
    "method where quantity"; `told`: see `known`."""
    x, unseen, plain = told["x"], told["seen"] == 0, by.units.plain
    mean, std, draws = plain(part.mean), plain(part.std), plain(part.draws, 2)
    ordered = sorted_draws(draws)
    score = crps(ordered, x, ordered=True)
    bands = {level: central_band(ordered, level) for level in LEVELS}
    found = of_numbers(f"{method} unseen", x, mean, score, bands, unseen, by.vary)
    found |= of_numbers(f"{method} all", x, mean, score, bands, torch.ones_like(unseen), by.vary)
    found |= {f"{method} unseen energy": joint(draws, x, unseen)}
    found |= coded_errors(method, told, part.chances, by)
    if by.factors is not None:
        centre, spread = by.units.moments(mean, std, ordered)
        score = crps(by.units.bent(by.factors.stretched(by.units.straight(ordered), centre)), x, ordered=True)
        ends = {level: by.factors.band(centre, spread, level) for level in LEVELS}
        bands = {level: (by.units.bent(low), by.units.bent(high)) for level, (low, high) in ends.items()}
        where = unseen & by.stated.to(unseen.device)
        found |= of_numbers(f"{method} calibrated", x, mean, score, bands, where, by.vary)
    return found


def joint(draws: Tensor, x: Tensor, where: Tensor) -> Tensor:
    """The energy score of every example, [N]; infinite where draws are no finite numbers."""
    score, scored = energy_score(draws, x, where), where.expand_as(x).flatten(1).any(1)
    return torch.where(score.isnan() & scored, torch.inf, score)


def class_loss(method: str, told: Mapping[str, Tensor], part: Predictive, classifier: nn.Module) -> dict[str, Tensor]:
    """How much a classifier misses the true class y in what was completed, [N] nats: see `Errors.class_loss`."""
    x, seen = told["whole"], told["mask"] != 0
    pictures = torch.where(seen, x, part.means).flatten(0, 1)
    with evaluating(classifier, x.device):
        log = torch.cat([classifier(grey(some)).log_softmax(1) for some in pictures.split(BLOCK)])
    log = log.unflatten(0, (-1, len(x))).gather(-1, told["y"].long().expand(len(part.means), -1)[..., None])[..., 0]
    return {f"{method} unseen class_loss": math.log(len(log)) - log.logsumexp(0)}


def coded_errors(
    method: str, told: Mapping[str, Tensor], chances: Sequence[tuple[Tensor, Tensor]], by: Standard
) -> dict[str, Tensor]:
    """The errors of labels and bits, as in `errors_of`."""
    unseen = told["mask"] == 0
    found = of_codes(f"{method} unseen", told["whole"], chances, unseen, by.units)
    return found | of_codes(f"{method} all", told["whole"], chances, torch.ones_like(unseen), by.units)
