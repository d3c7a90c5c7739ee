"""The arrays of walks through latent space: one dimension at a time, and from one example to another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.cuts import shuffled, subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluating
from polyvae.evaluation.classes import labelled_latent
from polyvae.evaluation.code_use import CodeUse
from polyvae.evaluation.codes import describe_codes
from polyvae.figures.kinds import Strips
from polyvae.figures.latents import latent_of
from polyvae.figures.looks import part
from polyvae.figures.subject import Subject, one_hot, subject_of, without_gaps
from polyvae.model.laws import centre
from polyvae.model.parts import apart, given, shapes
from polyvae.model.vae import VAE, Values

_SCANNED = 500  # examples that rank the dimensions of a latent


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
    known, by the variance of their posterior mean; both stand in the row's name. `latent`: by default the first that is
    no class. A map of codes is walked word by word, a place of the map a row; a class takes each value, in one row.
    """
    shown = subject_of(source, split, "encode", "decode", "prior")
    model = shown.model
    name = latent_of(model, latent)
    if name in one_hot(model):
        return _classes(shown, split, name, example, seed)
    scanned = subset(split, _SCANNED, seed)
    code = describe_codes(source, scanned, seed)[name]
    words = code.words
    if words is not None and example is None:
        raise ValueError(f"{name} is a map of codes, whose prior has no mean: hold the others at an example's")
    measure = "use of words" if words is not None else "variance" if code.kl is None else "KL"
    told = f"{measure} over {part(len(scanned), len(split)) or f'all {len(split):,} examples'}"
    with evaluating(model) as device:
        values = shown.batch(split, [example or 0], device, seed)
        if words is not None:
            moved, labels, positions = _words(model, values, name, words, rows, steps)
        else:
            held = model.centres(values) if example is not None else _prior_means(model, values, {})
            weight = code.activity if code.kl is None else code.kl
            order = weight.argsort(descending=True)[:rows].tolist()
            positions = np.linspace(-limit, limit, steps).astype(np.float32)
            members = model.plan.units[name].members
            row = _moved(torch.cat([held[each].flatten(1) for each in members], 1), order, torch.from_numpy(positions))
            pieces = zip(members, row.split([held[each].numel() for each in members], 1), strict=True)
            moved = _expanded({**values, **held}, len(row))
            moved |= {each: piece.reshape(-1, *held[each].shape[1:]) for each, piece in pieces}
            labels = tuple(f"{name}[{j}]  {measure} {float(weight[j]):.2f}" for j in order)
            told = f"{len(order)} of {len(weight)} dimensions, {told}" if len(order) < len(weight) else told
        followed = _followed(model, moved, model.plan.units[name].members)
        pictures = shown.decode(followed).unflatten(0, (len(labels), len(positions)))
    return Strips(shown.array(pictures), labels, positions, **shown.look.words(told))


def interpolations(
    source: Any, split: Split, pairs: int = 6, steps: int = 9, spherical: bool = False, seed: int = 0
) -> Strips:
    """Walks between the posterior means of seeded pairs of examples, `steps` pictures each, both ends reconstructed.

    All latents, and what else the likelihood reads as floats, move together: on straight lines, or with `spherical` at
    the angle and length between (White: Sampling Generative Networks, 2016); a class turns into the other half way.
    Raises ValueError below two examples.
    """
    if len(split) < 2:
        raise ValueError("an interpolation needs two examples")
    shown = subject_of(source, split, "encode", "decode")
    pairs = min(pairs, len(split) // 2)
    index = shuffled(len(split), seed)[: 2 * pairs]
    with evaluating(shown.model) as device:
        batch = shown.batch(split, index, device, seed)
        means = shown.model.centres(batch)
        walk = _between_spherical if spherical else _between
        fractions = torch.linspace(0, 1, steps, device=device)
        values = {}
        classes = one_hot(shown.model)
        for key, value in {**batch, **means}.items():
            step = _either if key in classes else walk if key in means else _between
            value = value if value.is_floating_point() else value.float()
            values[key] = step(value[:pairs], value[pairs:], fractions).flatten(0, 1)
        pictures = shown.decode(values).unflatten(0, (pairs, steps))
        x = without_gaps(batch[shown.of], batch)
        ends = torch.stack([x[:pairs], x[pairs:]], 1)
    rows, told = tuple(f"{row + 1}" for row in range(pairs)), part(2 * pairs, len(split))
    walked = shown.array(pictures), rows, fractions.cpu().numpy(), shown.array(ends)
    return Strips(*walked, **shown.look.words(told))


def _classes(shown: Subject, split: Split, name: str, example: int | None, seed: int) -> Strips:
    """A row with each value of a class, the latents that do not read it held as by `traversals`."""
    model = shown.model
    with evaluating(model) as device:
        values = shown.batch(split, [example or 0], device, seed)
        held = model.centres(values) if example is not None else _prior_means(model, values, {})
        count = held[name].shape[1]
        moved = {**_expanded({**values, **held}, count), name: torch.eye(count, device=device)}
        pictures = shown.decode(_followed(model, moved, (name,))).unsqueeze(0)
    columns = tuple(map(shown.look.label if labelled_latent(model) else str, range(count)))
    return Strips(shown.array(pictures), (name,), np.arange(count), columns=columns, **shown.look.words())


def _moved(held: Tensor, places: Sequence[int], positions: Tensor) -> Tensor:
    """A latent [1, ...] with each of R places at each of S positions, the other places as they are, [R * S, ...]."""
    count = len(places)
    moved = held.flatten(1).repeat(count * len(positions), 1).unflatten(0, (count, -1))
    moved[torch.arange(count), :, places] = positions.to(moved)
    return moved.view(-1, *held.shape[1:])


def _expanded(values: Values, rows: int) -> dict[str, Tensor]:
    """One example's values for so many rows."""
    return {key: value.expand(rows, *value.shape[1:]) for key, value in values.items()}


def _words(
    model: VAE, values: Values, name: str, words: CodeUse, rows: int, steps: int
) -> tuple[dict[str, Tensor], tuple[str, ...], np.ndarray]:
    """What to decode so that each of the `rows` places of most entropy takes each of the `steps` words most used there.

    Beside it the rows' names and the words' codes [S].
    """
    codes = model.encode(values)[name].codes  # pyright: ignore[reportAttributeAccessIssue]
    share = words.counts.double() / words.counts.sum(1, keepdim=True)
    entropy = -torch.xlogy(share, share).sum(1)
    places = entropy.argsort(descending=True, stable=True)[:rows].tolist()
    used = words.counts[places].sum(0).argsort(descending=True, stable=True)[:steps]
    moved = _moved(codes, places, used)
    held = _expanded({**values, **model.centres(values)}, len(moved))
    index = [", ".join(str(int(each)) for each in np.unravel_index(place, codes.shape[1:])) for place in places]
    labels = (f"{name}[{at}]  entropy {float(entropy[place]):.2f}" for at, place in zip(index, places, strict=True))
    embedded = model.posterior[name].embed(moved)  # pyright: ignore[reportCallIssue]
    return {**held, name: embedded}, tuple(labels), used.numpy()


def _prior_means(model: VAE, values: Values, fixed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every latent at its prior's mean from the top down, those in `fixed` as they are."""
    known = {**values, **fixed}
    rows = len(next(iter(known.values())))
    for name, prior in model.prior.items():
        if not set(shapes(prior) or (name,)) <= set(fixed):
            mean = _mean_rows(prior(model.featured(known, given(prior))), rows)
            known |= {latent: piece for latent, piece in apart(prior, name, mean).items() if latent not in fixed}
    return {name: known[name] for name in model.plan.latents}


def _mean_rows(law: Any, rows: int) -> Tensor:
    mean = centre(law)
    return mean if law.batch_shape else mean.expand(rows, *mean.shape)


def _followed(model: VAE, values: Mapping[str, Tensor], moved: Collection[str]) -> dict[str, Tensor]:
    """The values with every latent below those `moved` at its prior's mean."""
    below = set(moved)
    for name, prior in model.prior.items():
        if below & model.plan.reads(prior):
            below.update(shapes(prior) or (name,))
    held = {name: value for name, value in values.items() if name not in below or name in moved}
    return {**held, **_prior_means(model, held, {n: held[n] for n in model.plan.latents if n in held})}


def _between(a: Tensor, b: Tensor, fractions: Tensor) -> Tensor:
    """[P, ...] and [P, ...] -> [P, S, ...] on straight lines."""
    t = fractions.view(1, -1, *[1] * (a.ndim - 1))
    return a.unsqueeze(1) * (1 - t) + b.unsqueeze(1) * t


def _either(a: Tensor, b: Tensor, fractions: Tensor) -> Tensor:
    """The likeliest class of a [P, C], and from half way on that of b, [P, S, C]."""
    ends = torch.stack([torch.nn.functional.one_hot(each.argmax(1), each.shape[1]).to(each) for each in (a, b)], 1)
    return ends[:, (fractions > 0.5).long()]


def _between_spherical(a: Tensor, b: Tensor, fractions: Tensor) -> Tensor:
    """The same at constant angular speed, lengths between both; straight where the two point the same way or apart."""
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    lengths = _between(flat_a.norm(dim=1, keepdim=True), flat_b.norm(dim=1, keepdim=True), fractions)
    unit_a, unit_b = (torch.nn.functional.normalize(flat, dim=1) for flat in (flat_a, flat_b))
    angle = (unit_a * unit_b).sum(1).clamp(-1, 1).acos().view(-1, 1, 1)
    t = fractions.view(1, -1, 1)
    weights = ((1 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()
    turned = lengths * (weights[0] * unit_a[:, None] + weights[1] * unit_b[:, None])
    straight = _between(flat_a, flat_b, fractions)
    return torch.where(angle.sin().abs() < 1e-4, straight, turned).unflatten(2, a.shape[1:])
