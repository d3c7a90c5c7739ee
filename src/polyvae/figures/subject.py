"""What is drawn: a model, the head that pictures are made of, and how its values are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.split import Split
from polyvae.evaluation.blocks import Source, seeded, source_of
from polyvae.evaluation.pictures import first_head
from polyvae.figures.looks import Look, look_of
from polyvae.model.families.vectors import OneHot
from polyvae.model.vae import VAE, Values

_ROWS = 100  # decoded at a time


@dataclass(frozen=True)
class Subject:
    """A model that is drawn: `head` makes the pictures, which are of the value `of` and have a `look`."""

    source: Source
    head: str
    of: str
    look: Look

    @property
    def model(self) -> VAE:
        return self.source.model

    def batch(self, split: Split, index: Sequence[int] | Tensor, device: torch.device, seed: int) -> Values:
        """The examples at `index` as the model meets them, with noise of the seed's own."""
        part = split.take(index).to(device)
        with seeded(device, seed, 0):
            return self.source.observe(part.batch(torch.arange(len(part), device=device)))

    def decode(self, values: Values) -> Tensor:
        """Means of the head, a hundred rows at a time."""
        pieces = zip(*(value.split(_ROWS) for value in values.values()), strict=True)
        return torch.cat([self.model.decode(dict(zip(values, each, strict=True)))[self.head].mean for each in pieces])

    def array(self, values: Tensor) -> np.ndarray:
        """Float32; pictures that lie in [0, 1] clamped to it."""
        values = values.detach().float().cpu()
        return (values.clamp(0, 1) if values.ndim > 3 and self.look.unit else values).numpy()


def subject_of(source: Any, split: Split | None, *needed: str) -> Subject:
    """What a figure is made of. Raises TypeError, naming what is missing, for a model that cannot be drawn."""
    found = source_of(source, "heads", *needed, what="a figure")
    head = first_head(found.model)
    of = found.model.heads[head].of
    return Subject(found, head, of, look_of(source, split, of))


def one_hot(model: VAE) -> tuple[str, ...]:
    """The latents whose value is a class: a vector of zeros and a one, between which no network has been trained."""
    families = {name: getattr(q, "family", None) for name, q in model.posterior.items()}
    return tuple(name for name in model.plan.latents if name in model.summed or isinstance(families.get(name), OneHot))


def without_gaps(x: Tensor, values: Values) -> Tensor:
    """x [N, d] of a table with NaN where the mask `seen` among the values has none; pictures as they are."""
    return x.masked_fill(~values["seen"].bool(), torch.nan) if "seen" in values and x.ndim == 2 else x


def is_table(source: Any, split: Split) -> bool:
    """Whether what is shown has columns instead of pixels."""
    return split.tensors[subject_of(source, split).of].ndim == 2
