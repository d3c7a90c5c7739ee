"""The arrays behind the figures: NumPy float32, examples as [..., C, H, W] or [..., d].

Only what is known to lie in [0, 1] is clamped to it. Where a part of the examples is taken, it is a seeded subset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluating, seeded
from polyvae.evaluation.classes import class_latent, labelled_latent
from polyvae.figures.kinds import Curves, Reconstructions, Samples
from polyvae.figures.looks import part
from polyvae.figures.subject import Subject, is_table, subject_of, without_gaps

_BESIDE = 5000  # examples at most that a table's samples are shown beside


def reconstructions(source: Any, split: Split, count: int = 32, seed: int = 0) -> Reconstructions:
    """A seeded `count` of examples and the mean of p(x | z) at their posterior means."""
    shown = subject_of(source, split, "reconstruct")
    chosen = subset(split, count, seed)
    with evaluating(shown.model) as device:
        batch = shown.batch(chosen, range(len(chosen)), device, seed)
        mean = shown.model.reconstruct(batch)[shown.head].mean
        arrays = shown.array(without_gaps(batch[shown.of], batch)), shown.array(mean)
    return Reconstructions(*arrays, **shown.look.words(part(len(chosen), len(split))))


def samples(
    source: Any,
    split: Split | None = None,
    rows: int = 8,
    columns: int = 8,
    draw: bool = False,
    seed: int = 0,
    temperature: float = 1.0,
    guidance: float = 1.0,
) -> Samples:
    """Draws from the prior: the mean of p(x | z), or with `draw` its own sample; of a table always that.

    A conditional model has one column for each of its labels, or for each of the first examples' vectors y, and needs
    the `split`; `columns` is then the most there are. One that sums over classes has a column for each. A table's
    samples stand beside a seeded subset of the split, and what they are given is what so many other examples hold.
    `temperature`, `guidance`: see `VAE.generate`. ValueError where the split is missing.
    """
    subject, asked = subject_of(source, split, "generate"), split
    model = subject.model
    table = split is not None and is_table(source, split)
    if split is not None and table and model.conditions:
        asked = subset(split, rows * columns, seed)
        rows, columns = 1, len(asked)
    with evaluating(model) as device, seeded(device, seed, 2):
        given, names = _conditions(subject, asked, columns, device, asked is not split)
        count = columns if not names else len(names)
        number, fixed = rows * (1 if names else count), _classes(subject, names, device)
        made = model.generate(given, number, fixed, guidance, temperature)[subject.head]
        pictures = made.sample() if draw or len(made.event_shape) == 1 else made.mean
    array = subject.array(pictures.unflatten(0, (rows, count)))
    shown = Samples(array, names, **subject.look.words())
    if split is None or not table:
        return shown
    some = subset(split, _BESIDE, seed).tensors
    beside = without_gaps(some[subject.of].float(), some).cpu().numpy()
    told = f"{rows * count:,} draws, {part(len(beside), len(split)) or f'{len(split):,} examples'}"
    return replace(shown, columns=(), data=beside, part=told)


CLOCK = ("epoch", "step", "seconds", "settled", "examples_per_second")  # they say when, not how well


def curves(history: Sequence[Mapping[str, Any]], monitor: str = "bound") -> Curves:
    """The columns of a run's history, a row an epoch, by quantity and by part; text and missing numbers left out.

    The best epoch is the one with the largest bound on the validation part, or the smallest value of another `monitor`,
    of a model that settles one after that.
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
    settled = np.array([bool(row.get("settled", True)) for row in history])
    if len(chosen) and settled.any():  # epochs before were of another model
        chosen = np.where(settled, chosen, np.nan)
    best = float(epochs[np.nanargmax(chosen)]) if np.isfinite(chosen).any() else None
    return Curves(epochs, columns, best)


def _conditions(
    subject: Subject, split: Split | None, columns: int, device: torch.device, each: bool
) -> tuple[dict[str, Tensor] | None, tuple[str, ...]]:
    """What each column is given, and its name; with `each`, what each of the first examples holds."""
    model, name = subject.model, class_latent(subject.model)
    if not model.conditions and name in model.summed and not each:
        count = len(model.prior[name]({}).logits)
        return None, tuple(subject.look.label(n) if labelled_latent(model) else str(n) for n in range(count))
    if not model.conditions:
        return None, ()
    if split is None:
        raise ValueError(f"samples of a conditional model need a split, which holds {list(model.conditions)}")
    split = split.to(device)
    y = split.labels
    if y is not None and not each:
        labels = y.unique()[: max(columns, 10)]
        index = torch.stack([(y == label).nonzero()[0, 0] for label in labels])
        names = tuple(subject.look.label(int(label)) for label in labels)
    else:
        index = torch.arange(min(columns, len(split)), device=device)
        names = tuple(f"example {int(row)}" for row in index)
    values = subject.source.observe(split.batch(index))
    return {name: values[name] for name in model.conditions}, names


def _classes(subject: Subject, names: tuple[str, ...], device: torch.device) -> dict[str, Tensor]:
    """A class for each column, where columns are the classes of a latent."""
    name = class_latent(subject.model)
    held = names and name in subject.model.summed and not subject.model.conditions
    return {str(name): torch.eye(len(names), device=device)} if held else {}


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
