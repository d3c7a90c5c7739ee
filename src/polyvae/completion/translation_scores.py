"""Scores of translations over a split: how right what is made of given modalities is, and how honest its spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.names import one_of
from polyvae.checks.ranges import at_least
from polyvae.completion.complete import CompletionSettings
from polyvae.completion.errors import Errors, Numbers, averages
from polyvae.completion.predictive import Predictive
from polyvae.completion.scores import HELD_OUT
from polyvae.completion.standard import Standard, calibration, errors_of, known, moments
from polyvae.completion.translate import predictions, rows_at_once
from polyvae.data.cuts import subset
from polyvae.data.split import Split, floats
from polyvae.evaluation.blocks import Progress, each_block, joined
from polyvae.evaluation.calibration import varying
from polyvae.evaluation.modalities.given import having, only, specs_of
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.observe.modalities import Present, Without

MADE = "made"


@dataclass(frozen=True)
class TranslationScore:
    """The errors of a modality that is made of those `given`, of none where these are none: what the prior draws.

    `examples`: rows that have all of these modalities and the targets. `unseen`: over all values of the target.
    `calibrated`: with the spread scaled on held-out rows; None without these. `standardised`: numbers are in standard
    deviations of their columns. `constant`: columns that do not vary, which are left out. `uncalibrated`: how many
    values `calibrated` leaves out, since their spread is not finite.
    """

    target: str
    given: tuple[str, ...]
    examples: int
    unseen: Errors
    calibrated: Errors | None
    standardised: bool
    constant: tuple[str, ...]
    uncalibrated: int


def score_translations(
    source: Any,
    split: Split,
    given: Sequence[str],
    to: Sequence[str] | None = None,
    draws: int = 100,
    validation: Split | None = None,
    seed: int = 0,
    *,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[TranslationScore]:
    """The errors of the modalities in `to`, by default all others, as made of those `given`, and as made of none.

    The law is that of `translate`: `draws` of z ~ q(z | x_A) and the likelihood's noise; z ~ p(z) given none. With a
    validation part the spread is also calibrated there, by one factor for each value, see `calibrate`; of a large part
    this takes a seeded subset. Units as in `score_completions`. Over the rows that have all of these modalities.
    Raises ValueError below two draws, and for names that are none, or given and asked for.
    """
    specs = specs_of(source)
    at_least("draws", draws, 2, "draws of the latents")
    given = [one_of(list(specs), name, "a modality that is given") for name in given]
    others = [name for name in specs if name not in given]
    targets = others if to is None else [one_of(others, name, "a modality that is not given") for name in to]
    rows, held = having(split, [*given, *targets]), None
    if validation is not None and len(validation):
        held = subset(having(validation, [*given, *targets]), HELD_OUT, seed)
    pairs = [(target, names) for target in targets for names in dict.fromkeys((tuple(given), ()))]
    scores: list[TranslationScore] = []
    for done, (target, names) in enumerate(pairs):

        def tell(part: int, whole: int, done: int = done) -> None:
            if progress is not None:
                progress(done * whole + part, len(pairs) * whole)

        made = _Made(only(source, specs, tuple(specs)), specs, target, names, draws, (seed, device))
        units = Numbers.of(specs[target].columns, floats(rows.tensors[target]))
        spread = None if held is None else made.each(held, units, lambda _, law, units=units: moments(law, units))
        vary = varying(units.plain(floats(rows.tensors[target])) if spread is None else spread["x"])
        by = Standard(*calibration(spread, units), vary, units)
        found = made.each(rows, units, lambda what, law, by=by: errors_of(MADE, what, law, by), tell)
        calibrated = averages(f"{MADE} calibrated", found) if by.factors is not None else None
        left, errors = int((~by.stated).sum()), averages(f"{MADE} unseen", found)
        scores.append(
            TranslationScore(target, names, len(rows), errors, calibrated, units.kept is not None, units.constant, left)
        )
    return scores


@dataclass(frozen=True)
class _Made:
    """The law of one modality, by a number of draws, where those `given` alone are shown; `how`: seed and device."""

    source: Any
    specs: Mapping[str, Spec]
    target: str
    given: Sequence[str]
    draws: int
    how: tuple[int, torch.device | str | None]

    def each(
        self,
        split: Split,
        units: Numbers,
        read: Callable[[Mapping[str, Tensor], Predictive], Mapping[str, Tensor]],
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """What is `known` of every row, and what `read` makes of that and of the law, [N, ...] by name."""
        asked = CompletionSettings(draws=self.draws)
        flags, hide = Present.of(self.specs), Without([name for name in self.specs if name not in self.given])

        def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
            x, shown, pieces = batch[self.target], flags(hide(batch)), []
            size = rows_at_once(self.specs, self.draws, x.device)
            for start in range(0, len(x), size):
                some = {name: value[start : start + size] for name, value in shown.items()}
                law = predictions(model, some, [self.target], [], asked)[self.target]
                part = x[start : start + size]
                told = known(part, torch.zeros_like(part, dtype=torch.bool), units)
                pieces.append({**told, **read(told, law)})
            return joined(pieces)

        return joined(each_block(self.source, split, measure, *self.how, progress))
