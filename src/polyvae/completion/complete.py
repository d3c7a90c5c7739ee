"""Completion: what a model says of a whole picture when it sees a few of its pixels, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from polyvae.completion.predictive import Completer, Predictive
from polyvae.data.exchange.codes import check_values
from polyvae.data.exchange.given import conditions, labels_in, pictured, tensor
from polyvae.data.readers.frames import is_annotated, is_frame
from polyvae.data.split import floats
from polyvae.evaluation.blocks import BLOCK, evaluating, seeded, source_of
from polyvae.evaluation.calibration import quantile, sorted_draws
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.vae import VAE, Values
from polyvae.observe.masks import SparsePixels, sparse
from polyvae.observe.transforms import Chain, Total, chain


@dataclass(frozen=True, repr=False)
class Completion:
    """The predictive law of every value of N examples, where x lay before.

    `mean`, `std` [N, ...]: of the mixture over z of the likelihoods p(x | z), seen values included. `samples` [S, N,
    ...]: the expected example of each draw of z, or with `pixels` a draw of the likelihood. `quantiles` [Q, N, ...] of
    draws of the likelihood, at the probabilities `levels`. `effective` [N]: to how many draws of z the weights come.
    Of a category `mean` is the most probable label, as its code or, in a DataFrame, by its name; codes have no spread
    and no order: their `std` and `quantiles` are NaN. A `std` whose square overflows is infinite, never NaN.
    """

    mean: Tensor
    std: Tensor
    samples: Tensor
    quantiles: Tensor
    levels: tuple[float, ...]
    effective: Tensor

    def __repr__(self) -> str:
        shape, levels = list(self.mean.shape), ", ".join(map(str, self.levels)) or "none"
        return f"Completion of x {shape}: {len(self.samples)} samples, quantiles at {levels}"

    def quantile(self, probability: float) -> Tensor:
        """One of the quantiles, [N, ...]. Raises ValueError for a probability that was not asked for."""
        if probability not in self.levels:
            raise ValueError(f"the quantiles are those of {', '.join(map(str, self.levels))}; got {probability}")
        return self.quantiles[self.levels.index(probability)]


def complete(
    source: Any,
    x: Any,
    mask: Any = None,
    draws: int = 100,
    use_x: bool = False,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    seed: int = 0,
    device: torch.device | str | None = None,
    *,
    given: Mapping[str, Tensor] | None = None,
    head: str | None = None,
    weigh: str = "none",
    candidates: int | None = None,
    noise: bool = True,
    pixels: bool = False,
    keep: int | None = None,
) -> Completion:
    """Completes examples of which `mask` says what is seen, by a run, recipe or model that reads m = (x mask, mask).

    p(x | m) = E p(x | z, m), z ~ p(z) or p(z | m) from m alone, z ~ q(z | x, m) with `use_x`

    A prior that does not read m knows nothing of what is seen. With `weigh` "seen", z is drawn from as many
    `candidates` of the prior (ten for each draw where None) by their likelihood of the seen values: exact with many,
    and `effective` says of how many it comes.

    `x` [N, C, H, W] or [N, d], a tensor or array of bytes or floats, not a number where it is unknown, categories and
    labels as codes; `mask` [N, 1, H, W] or [N, d] of booleans or zeros and ones, or one row for all; without one, all
    that is a number is seen. A DataFrame, or an annotated matrix, given to what was trained on columns is read as by
    `Run.complete`, and completed in the columns and codes of the data. `draws`: S, of z for each example.
    `quantiles`: probabilities. `given`: what else the model reads, as labels under "y", or totals under "library" where
    not all is seen. `head`: which one predicts; by default that which reads m. `pixels`: samples with the likelihood's
    noise. `keep`: how many samples are returned; all by default.

    The spread is that of the likelihood and of z together: a likelihood whose scale was fixed in training, such as
    "normal", states that scale (see `evaluation.calibration`), and a Bernoulli one that of bits: its quantiles are 0
    and 1, on grey pictures too, the widest law on [0, 1] with its mean. With `noise` off the spread of z alone is left.

    Examples are taken in blocks of 100 with noise of their own from `seed`; global generators stay untouched. Raises
    ValueError for shapes that do not fit, values that are seen but not finite, a model that does not read m, and one
    that reads a total which is neither given nor seen.
    """
    model, observe = source_of(source)
    transforms, of, name = _taken_apart(observe)
    spec = recorded_spec(source)
    columns = () if spec is None or of != "x" else spec.columns
    if columns and (is_frame(x) or is_annotated(x)):
        y = labels_in(x, spec) if "y" in model.conditions and "y" not in (given or {}) else None
        given, (x, mask) = conditions(spec, y, given), pictured(x, spec, mask)
    completer = Completer(draws, latents_of(use_x, weigh), candidates, head, noise, of, name)
    completer.head_of(model)
    x, mask = _checked(x, mask, use_x)
    check_values(x if use_x else x.masked_fill(~mask, torch.nan), columns)
    if wrong := [level for level in quantiles if not 0 < level < 1]:
        raise ValueError(f"a quantile's probability lies between 0 and 1; got {wrong}")
    others = {key: tensor(value) for key, value in (given or {}).items()}
    totals = _totals(transforms, of)
    _check_given(model, others, len(x), {of, name, *totals})
    _check_totals(totals - set(others), mask)

    def kept(found: Predictive) -> tuple[Tensor, ...]:
        ordered = sorted_draws(found.draws) if quantiles else found.draws
        levels = [quantile(ordered, level) for level in quantiles]
        samples = found.draws if pixels else found.means
        std = found.std.index_fill(1, found.codes, torch.nan)
        bands = ordered[:0] if not levels else torch.stack(levels).index_fill(2, found.codes, torch.nan)
        made = found.mean, std, samples[:keep], bands
        return *(value.to(x.device) for value in made), found.effective.to(x.device)

    pieces = []
    with evaluating(model, device) as target:
        for number, start in enumerate(range(0, len(x), BLOCK)):
            rows = slice(start, start + BLOCK)
            with seeded(target, seed, number):
                seen = mask[rows].to(target)
                values = {key: value[rows].to(target) for key, value in others.items()}
                values[of] = torch.nan_to_num(x[rows].to(target, _dtype(model)))
                batch = {**transforms(values), name: sparse(values[of], seen)}
                pieces += [kept(found) for found in completer.predict(model, batch)]
    mean, std, samples, levels, effective = zip(*pieces, strict=True)
    return Completion(
        torch.cat(mean),
        torch.cat(std),
        torch.cat(samples, 1),
        torch.cat(levels, 1),
        tuple(quantiles),
        torch.cat(effective),
    )


def latents_of(use_x: bool, weigh: str) -> str:
    """Where z comes from, as `Completer.latents` says it. Raises ValueError where the two do not fit."""
    if weigh not in ("none", "seen"):
        raise ValueError(f"weigh is one of none, seen; got {weigh!r}")
    if use_x and weigh == "seen":
        raise ValueError("weigh='seen' weighs draws from the prior; with use_x they come from the posterior of all x")
    return "posterior" if use_x else "weighed" if weigh == "seen" else "prior"


@dataclass(frozen=True)
class Seeing:
    """A model whose batches are observed by masks of one's own; what evaluation takes for a recipe.

    `of`, `name`: what is seen in part, and what its observation is called.
    """

    model: VAE
    observe: Callable[[Values], Values]
    of: str
    name: str


def seeing(source: Any, masks: SparsePixels | None = None) -> Seeing:
    """The same model with `masks` in the place of those of its recipe, under the names that the recipe gives them.

    Without masks nothing is observed. Observing raises ValueError where a total that the model reads sums what is not
    seen, unless the batch brings that total along.
    """
    model, observe = source_of(source)
    rest, of, name = _taken_apart(observe)
    if masks is None:
        return Seeing(model, rest, of, name)
    totals, masked = _totals(rest, of), chain(rest, replace(masks, of=of, name=name))

    def checked(values: Values) -> Values:
        batch = masked(values)
        _check_totals(totals - set(values), batch[name][:, batch[of].shape[1] :].bool())
        return batch

    return Seeing(model, checked if totals else masked, of, name)


def _taken_apart(observe: Callable[[Values], Values]) -> tuple[Callable[[Values], Values], str, str]:
    """A transform without its masks, what these are of, and the name of the observation."""
    steps = chain(observe).transforms
    masks = [step for step in steps if isinstance(step, SparsePixels)]
    rest = Chain(tuple(step for step in steps if not isinstance(step, SparsePixels)))
    first = masks[0] if masks else SparsePixels()
    return rest, first.of, first.name


def _checked(x: Any, mask: Any, use_x: bool) -> tuple[Tensor, Tensor]:
    """x as floats and a boolean mask with a row for each example."""
    x = tensor(x)
    if x.ndim not in (2, 4) or len(x) == 0:
        raise ValueError(f"x holds examples, [N, C, H, W] or [N, d], at least one; got {list(x.shape)}")
    x = floats(x)
    x = x if x.is_floating_point() else x.float()
    shape = (1, *x.shape[2:]) if x.ndim == 4 else tuple(x.shape[1:])
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


def _check_given(model: VAE, others: Mapping[str, Tensor], rows: int, known: set[str]) -> None:
    if missing := set(model.conditions) - known - set(others):
        raise ValueError(f"the model also reads {sorted(missing)}; give them, as given={{{sorted(missing)[0]!r}: ...}}")
    if wrong := {name: len(value) for name, value in others.items() if len(value) != rows}:
        raise ValueError(f"x holds {rows} examples; got {wrong}")


def _totals(observe: Callable[[Values], Values], of: str) -> set[str]:
    """The names of the totals of all that is completed."""
    return {step.to for step in chain(observe).transforms if isinstance(step, Total) and step.name == of}


def _check_totals(missing: set[str], mask: Tensor) -> None:
    """ValueError where the total of all values is read, not given, and not known from what is seen."""
    if missing and (unseen := int((~mask).sum())):
        total = sorted(missing)[0]
        raise ValueError(
            f"the model reads {total!r}, the total of all values of an example, and {unseen} of them are not seen: "
            f"give it, as given={{{total!r}: ...}} or among the data's own values, or train a model that needs none, "
            f"with library='latent'"
        )


def _dtype(model: VAE) -> torch.dtype:
    return next((tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()), torch.float32)
