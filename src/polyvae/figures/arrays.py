"""The arrays behind the figures: NumPy float32, examples as [..., C, H, W] or [..., d].

Only what is known to lie in [0, 1] is clamped to it. Where a part of the examples is taken, it is a seeded subset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.cuts import shuffled, subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluating, seeded, source_of
from polyvae.evaluation.codes import describe_codes
from polyvae.evaluation.pictures import first_head
from polyvae.figures.between import between, between_spherical
from polyvae.figures.kinds import Bars, Curves, LatentMap, Reconstructions, Samples, Strips
from polyvae.figures.looks import Look, is_table, look_of, part
from polyvae.figures.words import walks
from polyvae.model.vae import VAE, Values

_SCANNED = 500  # examples that rank the dimensions of a latent
_BESIDE = 5000  # examples at most that a table's samples are shown beside


def reconstructions(source: Any, split: Split, count: int = 32, seed: int = 0) -> Reconstructions:
    """A seeded `count` of examples and the mean of p(x | z) at their posterior means."""
    model, observe = source_of(source)
    head = first_head(model)
    look = _look(source, split)
    chosen = subset(split, count, seed)
    with evaluating(model) as device:
        batch = _observed(observe, chosen.to(device), torch.arange(len(chosen)), seed)
        mean = model.reconstruct(batch)[head].mean
        arrays = _array(batch[model.heads[head].of], look), _array(mean, look)  # pyright: ignore
    return Reconstructions(*arrays, look.unit, look.names, part(len(chosen), len(split)), look.codes)


def samples(
    source: Any, split: Split | None = None, rows: int = 8, columns: int = 8, draw: bool = False, seed: int = 0
) -> Samples:
    """Draws from the prior: the mean of p(x | z), or with `draw` its own sample; of a table always that.

    A conditional model has one column for each of its labels, or for each of the first examples' vectors y, and needs
    the `split`; `columns` is then the most there are. A table's samples stand beside a seeded subset of the split, and
    what they are given is what so many other examples hold. ValueError where the split is missing.
    """
    model, observe = source_of(source)
    look, asked = _look(source, split), split
    if split is not None and is_table(source, split) and model.conditions:
        asked = subset(split, rows * columns, seed)
        rows, columns = 1, len(asked)
    with evaluating(model) as device, seeded(device, seed, 2):
        given, names = _conditions(model, observe, asked, columns, device, look, asked is not split)
        count = columns if not names else len(names)
        made = model.generate(given, rows * (1 if names else count))[first_head(model)]
        pictures = made.sample() if draw or len(made.event_shape) == 1 else made.mean
    shown = Samples(_array(pictures.unflatten(0, (rows, count)), look), names, look.unit, look.names, codes=look.codes)
    if split is None or not is_table(source, split):
        return shown
    of = model.heads[first_head(model)].of
    beside = subset(split, _BESIDE, seed).tensors[of].float().cpu().numpy()  # pyright: ignore
    told = f"{rows * count:,} draws, {part(len(beside), len(split)) or f'{len(split):,} examples'}"
    return replace(shown, columns=(), data=beside, part=told)


def traversals(
    source: Any,
    split: Split,
    latent: str | None = None,
    example: int | None = 0,
    steps: int = 11,
    limit: float = 3.0,
    rows: int = 12,
    seed: int = 0,
) -> Strips:
    """Each of the `rows` dimensions of one latent that carry most, over [-limit, limit], the others held.

    They are held at the posterior mean of an `example` of the split, or at the prior's mean with None; a latent whose
    prior reads the one that moves follows at its prior's mean. The dimensions are ranked by their KL, or, where none is
    known, by the variance of their posterior mean; both stand in the row's name. `latent`: the first by default. A map
    of codes is walked word by word, see `words.walks`.
    """
    model, observe = source_of(source)
    name = _latent(model, latent)
    scanned = subset(split, _SCANNED, seed)
    code, look = describe_codes(source, scanned, seed)[name], _look(source, split)
    measure = "use of words" if code.words is not None else "variance" if code.kl is None else "KL"
    shown = f"{measure} over {part(len(scanned), len(split)) or f'all {len(split):,} examples'}"
    if code.words is not None:
        if example is None:
            raise ValueError(f"{name} is a map of codes, whose prior has no mean: hold the others at an example's")
        with evaluating(model) as device:
            values = _observed(observe, split.to(device), torch.tensor([example]), seed)
            moved, labels, words = walks(model, values, name, code.words, rows, steps)
            pictures = _decode(model, _followed(model, moved, name)).unflatten(0, (len(labels), len(words)))
        return Strips(_array(pictures, look), labels, words, None, look.unit, look.names, shown, look.codes)
    weight = code.activity if code.kl is None else code.kl
    order = weight.argsort(descending=True)[:rows].tolist()
    with evaluating(model) as device:
        split = split.to(device)
        values = _observed(observe, split, torch.tensor([example or 0]), seed)
        centre = model.encode(values) if example is not None else _prior_means(model, values, {})
        held = {key: law if isinstance(law, Tensor) else law.mean for key, law in centre.items()}
        positions = torch.tensor(np.linspace(-limit, limit, steps), dtype=torch.float32, device=device)
        moved = held[name].flatten(1).repeat(len(order) * steps, 1)
        for row, dimension in enumerate(order):
            moved[row * steps : (row + 1) * steps, dimension] = positions
        fixed = {key: value.expand(len(moved), *value.shape[1:]) for key, value in {**values, **held}.items()}
        fixed[name] = moved.view(-1, *held[name].shape[1:])
        pictures = _decode(model, _followed(model, fixed, name)).unflatten(0, (len(order), steps))
    labels = tuple(f"{name}[{j}]  {measure} {float(weight[j]):.2f}" for j in order)
    if len(order) < len(weight):
        shown = f"{len(order)} of {len(weight)} dimensions, {shown}"
    moved_to = positions.cpu().numpy()
    return Strips(_array(pictures, look), labels, moved_to, None, look.unit, look.names, shown, look.codes)


def interpolations(
    source: Any, split: Split, pairs: int = 6, steps: int = 9, spherical: bool = False, seed: int = 0
) -> Strips:
    """Walks between the posterior means of seeded pairs of examples, `steps` pictures each, both ends reconstructed.

    All latents, and what else the likelihood reads as floats, move together: on straight lines, or with `spherical` at
    the angle and length between (White: Sampling Generative Networks, 2016). Raises ValueError below two examples.
    """
    if len(split) < 2:
        raise ValueError("an interpolation needs two examples")
    model, observe = source_of(source)
    pairs = min(pairs, len(split) // 2)
    index = shuffled(len(split), seed)[: 2 * pairs]
    with evaluating(model) as device:
        batch = _observed(observe, split.to(device), index, seed)
        means = {key: law.mean for key, law in model.encode(batch).items()}
        walk = between_spherical if spherical else between
        fractions = torch.linspace(0, 1, steps, device=device)
        values = {}
        for key, value in {**batch, **means}.items():
            step = walk if key in means else between
            value = value if value.is_floating_point() else value.float()
            values[key] = step(value[:pairs], value[pairs:], fractions).flatten(0, 1)
        pictures = _decode(model, values).unflatten(0, (pairs, steps))
        x = batch[model.heads[first_head(model)].of]  # pyright: ignore
        ends = torch.stack([x[:pairs], x[pairs:]], 1)
    look = _look(source, split)
    rows, shown = tuple(f"{row + 1}" for row in range(pairs)), part(2 * pairs, len(split))
    walks = _array(pictures, look), rows, fractions.cpu().numpy(), _array(ends, look)
    return Strips(*walks, look.unit, look.names, shown, look.codes)


def latent_map(
    source: Any,
    split: Split,
    latent: str | None = None,
    method: str | None = None,
    count: int = 5000,
    seed: int = 0,
) -> LatentMap:
    """Posterior means of a seeded `count` of examples in two dimensions, with the names of their classes.

    `method`: "active", the two dimensions of most KL (else most variance), or "pca", the means' two principal axes;
    where none is given "active", and "pca" of a map of codes, whose single places are on a lattice. A latent of one
    dimension is drawn against itself. ValueError for another method.
    """
    if method not in (None, "active", "pca"):
        raise ValueError(f"method is 'active' or 'pca'; got {method!r}")
    name = _latent(source_of(source).model, latent)
    chosen = subset(split, count, seed)
    shown = part(len(chosen), len(split))
    code = describe_codes(source, chosen, seed)[name]
    method = method or ("active" if code.words is None else "pca")
    means = code.means.float()
    y = chosen.tensors.get("y")
    labels = None if y is None or y.ndim != 1 or y.is_floating_point() else y.cpu().numpy()
    if labels is not None and (look := _look(source, chosen)).labels:
        labels = np.array([look.label(label) for label in labels])
    if method == "active" or means.shape[1] < 3:
        order = (code.activity if code.kl is None else code.kl).argsort(descending=True).tolist()
        first, second = order[0], order[min(1, len(order) - 1)]
        return LatentMap(means[:, [first, second]].numpy(), labels, (f"{name}[{first}]", f"{name}[{second}]"), shown)
    centred = means - means.mean(0)
    axes = torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :2]
    return LatentMap((centred @ axes).numpy(), labels, (f"{name}, first axis", f"{name}, second axis"), shown)


def kl_bars(source: Any, split: Split, count: int = 5000, seed: int = 0) -> Bars:
    """KL of every dimension of every latent over a seeded `count` of examples; ValueError where no latent has one."""
    chosen = subset(split, count, seed)
    found = describe_codes(source, chosen, seed)
    bars = {name: code.kl.float().numpy() for name, code in found.items() if code.kl is not None}
    if not bars:
        raise ValueError("no latent of this model has a KL per dimension: its posteriors or priors have no marginals")
    return Bars(bars, part(len(chosen), len(split)))


CLOCK = ("epoch", "step", "seconds", "examples_per_second")  # they say when, not how well


def curves(history: Sequence[Mapping[str, Any]], monitor: str = "bound") -> Curves:
    """The columns of a run's history, a row an epoch, by quantity and by part; text and missing numbers left out.

    The best epoch is the one with the largest bound on the validation part, or the smallest value of another `monitor`.
    """
    columns: dict[str, dict[str, np.ndarray]] = {}
    for row in history:
        for name, value in row.items():
            role, _, rest = name.partition("_")
            quantity, role = (rest, role) if role in ("train", "validation") and rest else (name, "")
            if name not in CLOCK and isinstance(value, (int, float)):
                columns.setdefault(quantity, {}).setdefault(role, np.full(len(history), np.nan))
    epochs = np.array([float(row.get("epoch", number + 1)) for number, row in enumerate(history)])
    for quantity, found in columns.items():
        for role, values in found.items():
            name = f"{role}_{quantity}" if role else quantity
            values[:] = [_float(row.get(name)) for row in history]
    chosen = columns.get(monitor, {}).get("validation", np.array([])) * (1 if monitor == "bound" else -1)
    best = float(epochs[np.nanargmax(chosen)]) if np.isfinite(chosen).any() else None
    return Curves(epochs, columns, best)


def _observed(observe: Callable[[Values], Values], split: Split, index: Tensor, seed: int) -> Values:
    with seeded(split.device, seed, 0):
        return observe(split.batch(index.to(split.device)))


def _conditions(
    model: VAE,
    observe: Callable[[Values], Values],
    split: Split | None,
    columns: int,
    device: torch.device,
    look: Look,
    each: bool,
) -> tuple[dict[str, Tensor] | None, tuple[str, ...]]:
    """What each column is given, and its name; with `each`, what each of the first examples holds."""
    if not model.conditions:
        return None, ()
    if split is None:
        raise ValueError(f"samples of a conditional model need a split, which holds {list(model.conditions)}")
    split = split.to(device)
    y = split.tensors.get("y")
    if y is not None and y.ndim == 1 and not y.is_floating_point() and not each:
        labels = y.unique()[: max(columns, 10)]
        index = torch.stack([(y == label).nonzero()[0, 0] for label in labels])
        names = tuple(look.label(int(label)) for label in labels)
    else:
        index = torch.arange(min(columns, len(split)), device=device)
        names = tuple(f"example {int(row)}" for row in index)
    values = observe(split.batch(index))
    return {name: values[name] for name in model.conditions}, names


def _latent(model: VAE, name: str | None) -> str:
    names = list(model.prior)
    if name is not None and name not in names:
        raise ValueError(f"the model's latents are {names}; got {name!r}")
    return name or names[0]


def _prior_means(model: VAE, values: Values, fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every latent at its prior's mean from the top down, those in `fixed` as they are."""
    known = dict(values)
    rows = len(next(iter(known.values())))
    for name, prior in model.prior.items():
        known[name] = fixed[name] if name in fixed else _mean_rows(prior(known), rows)
    return {name: known[name] for name in model.prior}


def _mean_rows(law: Any, rows: int) -> Tensor:
    mean = law.mean
    return mean if law.batch_shape else mean.expand(rows, *mean.shape)


def _followed(model: VAE, values: Mapping[str, Tensor], moved: str) -> dict[str, Tensor]:
    """The values with every latent below `moved` at its prior's mean."""
    below = {moved}
    for name, prior in model.prior.items():
        if below & set(getattr(prior, "given", ())):
            below.add(name)
    held = {name: value for name, value in values.items() if name not in below or name == moved}
    return {**held, **_prior_means(model, held, {n: held[n] for n in model.prior if n in held})}


def _decode(model: VAE, values: Values) -> Tensor:
    """Means of the head that pictures are made of, a hundred rows at a time."""
    name, rows = first_head(model), len(next(iter(values.values())))
    pieces = [{key: value[start : start + 100] for key, value in values.items()} for start in range(0, rows, 100)]
    return torch.cat([model.decode(piece)[name].mean for piece in pieces])


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _look(source: Any, split: Split | None) -> Look:
    model = source_of(source).model
    return look_of(source, split, model.heads[first_head(model)].of)  # pyright: ignore[reportArgumentType]


def _array(values: Tensor, look: Look) -> np.ndarray:
    """Float32; pictures that lie in [0, 1] clamped to it."""
    values = values.detach().float().cpu()
    return (values.clamp(0, 1) if values.ndim > 3 and look.unit else values).numpy()
