"""Completion: what a model predicts for a whole picture when it sees a few of its pixels, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.names import find, gathered, kind, near
from polyvae.checks.ranges import Amount, Count, Seed, check
from polyvae.completion.completer import Completer
from polyvae.completion.law import Known, Predicted
from polyvae.completion.masked import Masked, check_totals, masked
from polyvae.completion.predictive import Predictive
from polyvae.completion.readings import observed_readings
from polyvae.data.exchange.codes import check_values
from polyvae.data.exchange.given import conditions, labels_in, tensor
from polyvae.data.exchange.partial import pictured
from polyvae.data.readers.frames import is_annotated, is_frame
from polyvae.data.split import Data, Split, floats
from polyvae.evaluation.blocks import check_known
from polyvae.evaluation.calibration import quantile, sorted_draws
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.conditions import dispensable, flag
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import Values


@dataclass(frozen=True, repr=False)
class Completion:
    """The predictive distribution of every value of N examples, on the device of x.

    `mean`, `std` [N, ...]: of the mixture over z of the likelihoods p(x | z), seen values included; of a model that is
    trained at z = 0 too the mean lies between theirs and what is expected there, and `std` is the spread around it.
    `samples` [S, N, ...]: the expected example of each draw of z, or with `pixels` a draw of the likelihood.
    `quantiles` [Q, N, ...]: of draws of the likelihood, at the probabilities `levels`. `effective` [N]: the effective
    number of draws of z under their weights, or after their moves. `draws` [S, N, ...]: one draw of the likelihood at
    each z, none unless `pixels` or `both` ask for them. `law`: the same law as a distribution of tensors, to draw from
    and to score a truth by; None of translations.
    For a category, `mean` is the most probable label, as its code or, in a DataFrame, by its name; codes have no spread
    and no order, so their `std` and `quantiles` are NaN. A `std` whose square overflows is infinite, never NaN.
    """

    mean: Tensor
    std: Tensor
    samples: Tensor
    quantiles: Tensor
    levels: tuple[float, ...]
    effective: Tensor
    draws: Tensor
    law: Predicted | None = None

    def __repr__(self) -> str:
        shape, levels = list(self.mean.shape), ", ".join(map(str, self.levels)) or "none"
        return f"Completion {shape}: {len(self.samples)} samples, quantiles at {levels}"

    def quantile(self, probability: float) -> Tensor:
        """One of the quantiles, [N, ...]. Raises ValueError for a probability that was not asked for."""
        if probability not in self.levels:
            raise ValueError(f"the quantiles are those of {', '.join(map(str, self.levels))}; got {probability}")
        return self.quantiles[self.levels.index(probability)]


@dataclass(frozen=True)
class CompletionSettings:
    """How examples are completed, and what is returned.

    draws: S, the number of draws of z for each example.
    use_x: draw z from q(z | x, m), which sees all of x, instead of from the prior.
    weigh: "seen" weighs draws from the prior by the likelihood of the seen values; "hamiltonian" then moves each of
        those that are kept, under the law of z given the seen values.
    candidates: how many draws are weighed for each example; ten times `draws` by default.
    head: the head that predicts; by default the one that reads m.
    noise: whether the spread includes the noise of the likelihood, or that of z alone.
    quantiles: the probabilities whose quantiles are returned.
    pixels: whether samples have the likelihood's noise.
    both: whether draws of the likelihood are returned beside samples without its noise.
    keep: how many samples and draws are returned; all by default.
    moves: how many Hamiltonian moves each draw makes; 20, where none is given.
    seed: of the draws, block by block.
    device: where it is computed; by default where the model is.
    """

    draws: Count = 100
    use_x: bool = False
    weigh: str = "none"
    candidates: int | None = None
    head: str | None = None
    noise: bool = True
    quantiles: Sequence[float] = (0.05, 0.5, 0.95)
    pixels: bool = False
    both: bool = False
    keep: Amount | None = None
    moves: Count | None = None
    seed: Seed = 0
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        check(CompletionSettings, vars(self))
        if self.pixels and self.both:
            raise ValueError("pixels makes the samples draws of the likelihood; with both they stand beside: say one")
        if isinstance(self.quantiles, (int, float)):
            raise ValueError(f"quantiles are several probabilities, such as (0.05, 0.95); got {self.quantiles}")
        if wrong := [level for level in self.quantiles if not 0 < level < 1]:
            raise ValueError(f"a quantile's probability lies between 0 and 1; got {wrong}")

    def read(self, found: Predictive) -> tuple[Tensor, ...]:
        """Mean, spread, samples, quantiles, effective number of draws and draws, as a `Completion` holds them."""
        ordered = sorted_draws(found.draws) if self.quantiles else found.draws
        levels = [quantile(ordered, level).index_fill(1, found.codes, torch.nan) for level in self.quantiles]
        samples = found.draws if self.pixels else found.means
        std = found.std.index_fill(1, found.codes, torch.nan)
        drawn, quantiles = found.draws[: self.keep if self.both else 0], torch.stack(levels) if levels else ordered[:0]
        return found.mean, std, samples[: self.keep], quantiles, found.effective, drawn

    def joined(self, pieces: Sequence[tuple[Tensor, ...]], known: Known | None = None) -> Completion:
        """What was `read` of some examples after others as one completion of all, which are `known`."""
        once, several = zip(*[(piece[:2] + piece[4:5], piece[2:4] + piece[5:]) for piece in pieces], strict=True)
        mean, std, effective = map(torch.cat, zip(*once, strict=True))
        samples, quantiles, drawn = (torch.cat(each, 1) for each in zip(*several, strict=True))
        law = None if known is None else Predicted(known, mean, std)
        drawn = samples if self.pixels else drawn
        return Completion(mean, std, samples, quantiles, tuple(self.quantiles), effective, drawn, law)


def complete(
    source: Any,
    x: Any,
    mask: Any = None,
    draws: int = 100,
    *,
    given: Mapping[str, Tensor] | None = None,
    **settings: Any,
) -> Completion:
    """Completes examples whose seen values `mask` marks, by a run, recipe or model that reads m = (x mask, mask).

    p(x | m) = E p(x | z, m), z ~ p(z) or p(z | m) from m alone, z ~ q(z | x, m) with `use_x`

    A prior that does not read m ignores the seen values. With `weigh` "seen", `candidates` are drawn from the prior and
    weighed by their likelihood of the seen values: exact for many candidates; `effective` tells how many draws of z the
    result rests on. "hamiltonian" also moves what was drawn, which needs no candidate near the target: see
    `polyvae.completion.seen.hamiltonian`, latents without a gradient are refused. A run with a law q(z | m) that
    `polyvae.fit_completion` fitted draws from that in the place of its prior, and weighs by both.

    `x` [N, C, H, W] or [N, d]: a tensor or array of bytes or floats, NaN where a value is unknown, categories and
    labels as codes; a Split, Data, whose test part is taken, a mapping by name or a pair (x, y). `mask` [N, 1, H, W] or
    [N, d]: booleans or zeros and ones, or one row for all examples; without a mask, every number is seen. A DataFrame
    or annotated matrix, for a model trained on columns, is read as by `Run.complete` and completed in the columns and
    codes of the training data. `given`: what else the model reads, such as labels under "y", or totals under "library"
    where some values are not seen. `settings`: see `CompletionSettings`.

    Of a model that reads sensors between points (mask "readings") `x` is what they read, [N, C, P], or [N, T, C, P]
    with what they read before after now; NaN, or `mask` of that shape 0, where a reading is missing. What comes back is
    of the fields.

    The spread is that of the likelihood and of z together. A likelihood with a fixed scale, such as "normal", states
    that scale (see `evaluation.calibration`). A Bernoulli likelihood states the spread of bits, the widest law on
    [0, 1] with its mean: its quantiles are 0 and 1, on grey pictures too.

    Examples are taken in blocks of 100, each with its own noise; global generators stay untouched. Raises ValueError
    for shapes that do not fit, seen values that are not finite, a model that does not read m, and a model that reads a
    total which is neither given nor seen; TypeError for an unknown setting.
    """
    asked, made = gathered(CompletionSettings, {"draws": draws, **settings}), masked(source)
    model, spec = made.model, recorded_spec(source)
    columns = () if spec is None or made.of != "x" else spec.columns
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"given is values by name, as given={{'y': ...}}; got {kind(given)}")
    by_name = made.of == "x" and made.sensors is None and isinstance(x, Data | Split | Mapping | tuple)
    if by_name:
        _check_named(made, x, columns)
    if by_name or (columns and (is_frame(x) or is_annotated(x))):
        y = labels_in(x, spec) if "y" in model.conditions and "y" not in (given or {}) else None
        given, (x, mask) = conditions(spec, y, given, gaps=True), pictured(x, spec, mask)
    latents = latents_of(asked.use_x, asked.weigh)
    completer = Completer(
        asked.draws, latents, asked.candidates, asked.head, asked.noise, made.of, made.name, asked.moves
    )
    completer.head_of(model)
    m = None
    if made.sensors is None:
        x, mask = _checked(x, mask, asked.use_x)
        if spec is not None and made.of == "x":
            _check_like(x, mask, spec)
        check_values(x if asked.use_x else x.masked_fill(~mask, torch.nan), columns)
    elif latents != "prior":
        raise ValueError("readings are no values of x: z comes from the prior alone; leave use_x and weigh out")
    else:
        m, x = observed_readings(made.sensors, spec, x, mask)
        mask = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=x.device).expand(len(x), 1, *x.shape[2:])
    others = {key: tensor(value) for key, value in (given or {}).items()}
    _check_given(made, others, len(x))
    check_totals(made.totals - set(others), mask)
    known = Known(made, completer, x, mask, others, asked.seed, asked.device, m)

    def completed(batch: Values, rows: slice) -> list[tuple[Tensor, ...]]:
        read = [asked.read(found) for found in completer.predict(model, batch)]
        return [tuple(value.to(x.device) for value in each) for each in read]

    return asked.joined([piece for block in known.each(completed, asked.seed) for piece in block], known)


def _check_named(made: Masked, x: Any, columns: Sequence[Column]) -> None:
    """ValueError for examples by name without x, or beside values that nothing reads; a table's may be its columns."""
    if isinstance(x, Mapping) and made.own and not (columns and "x" not in x):
        if "x" not in x:
            raise ValueError(f"no 'x' among the examples given by name: {', '.join(map(repr, x)) or 'there are none'}")
        read = {*made.model.inputs, *made.model.conditions, "x", "y", "seen"} | made.totals
        if unread := [name for name in x if name not in read | {flag(each) for each in read}]:
            apart = "; a mask is given apart, as mask=" if "mask" in unread else near(str(unread[0]), read)
            raise ValueError(f"the examples hold {unread[0]!r}, which nothing reads{apart}")
    if isinstance(x, tuple) and len(x) != 2:
        raise ValueError(f"examples are x, or a pair (x, y); got {len(x)} values")
    if isinstance(x, tuple) and made.own and "y" not in made.model.conditions and np.ndim(x[1]) > 1:
        raise ValueError(f"(x, y): the model reads no y; got {kind(x[1])}; a mask is given apart, as mask=")


def latents_of(use_x: bool, weigh: str) -> str:
    """Where z comes from, as `Completer.latents` says it. Raises ValueError where the two do not fit."""
    latents = find({"none": "prior", "seen": "weighed", "hamiltonian": "moved"}, weigh, "weigh")
    if use_x and weigh != "none":
        raise ValueError(
            f"weigh={weigh!r} weighs draws from the prior; with use_x they come from the posterior of all x"
        )
    return "posterior" if use_x else latents


def _checked(x: Any, mask: Any, use_x: bool) -> tuple[Tensor, Tensor]:
    """x as floats and a boolean mask with a row for each example."""
    x = tensor(x)
    if x.ndim not in (2, 4) or len(x) == 0:
        raise ValueError(f"x holds examples, [N, C, H, W] or [N, d], at least one; got {list(x.shape)}")
    x = floats(x)
    x = x if x.is_floating_point() else x.float()
    shape = (1, *x.shape[2:]) if x.ndim == 4 else tuple(x.shape[1:])
    if isinstance(mask, str):
        raise ValueError(
            f"mask is 1 where a value is seen and 0 where it is not, {[len(x), *shape]}; got {mask!r}: one of that "
            f"name is pv.masks.observation({mask!r}, 12).mask(x)"
        )
    known = ~x.isnan()
    mask = (known.all(1, keepdim=True) if x.ndim == 4 else known) if mask is None else tensor(mask)
    if mask.ndim != x.ndim or len(mask) not in (1, len(x)) or tuple(mask.shape[1:]) != shape:
        wanted = ", ".join(map(str, (f"{len(x)} or 1", *shape)))
        raise ValueError(f"mask is [{wanted}] for x {list(x.shape)}; got {list(mask.shape)}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("mask is 1 where a value is seen and 0 where it is not; it holds other numbers")
    seen = mask.bool().to(x.device).expand(len(x), *shape)
    if wrong := int((seen & ~x.isfinite()).sum()):
        raise ValueError(f"{wrong} seen values of x are not finite; mask them, or mend them")
    if use_x and not bool(x.isfinite().all()):
        raise ValueError("with use_x the posterior reads all of x, and some of it is not finite; complete from m alone")
    return x, seen


def _check_like(x: Tensor, mask: Tensor, spec: Spec) -> None:
    """ValueError for examples that are not like those of the run: of another shape, or bytes told as floats."""
    if tuple(x.shape[1:]) != spec.x:
        wanted = ", ".join(map(str, ("N", *spec.x)))
        raise ValueError(f"x is [{wanted}] for this run; got {list(x.shape)}")
    if spec.grey and float(torch.where(mask, x, 0.0).abs().max()) > 2:
        raise ValueError("the run's pictures lie in [0, 1], and x holds values beyond; divide by 255, or give bytes")


def _check_given(made: Masked, others: Mapping[str, Tensor], rows: int) -> None:
    """ValueError for values that are missing, that nothing reads, or of another number of examples."""
    model, known = made.model, {made.of, made.name, *made.totals}
    check_known(model, others)
    read = ({*model.inputs, *model.conditions} | made.totals) - {made.of, made.name}
    read -= {flag(name) for name in read}
    if made.own and (unread := [name for name in others if name not in read | {flag(name) for name in read}]):
        what = f"{', '.join(sorted(read))} beside what is seen" if read else "what is seen"
        raise ValueError(
            f"the model reads no {unread[0]!r}, only {what}{near(unread[0], read) or '; leave it out of given'}"
        )
    spared = {each for name in dispensable(model.inputs) for each in (name, flag(name))}
    if missing := set(model.conditions) - known - spared - set(others):
        raise ValueError(f"the model also reads {sorted(missing)}; give them, as given={{{sorted(missing)[0]!r}: ...}}")
    if wrong := {name: len(value) for name, value in others.items() if len(value) != rows}:
        raise ValueError(f"x holds {rows} examples; got {wrong}")
