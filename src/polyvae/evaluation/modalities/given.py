"""Which modalities a model is shown: rows that have them, and batches that hold no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import Source, source_of
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.presence import PRESENT, present
from polyvae.model.spec import Spec
from polyvae.observe.modalities import Present, Without
from polyvae.observe.transforms import chain


def specs_of(source: Any, data: Any = None) -> dict[str, Spec]:
    """The modalities by name, as the source was built for them or as the data have them.

    ValueError for a source and data of one x, and where neither says.
    """
    spec = recorded_spec(source) or (data.spec if isinstance(data, Data) else None)
    if spec is None or not spec.modalities:
        raise ValueError("this needs a model of several modalities: a recipe or a run of one, or Data that hold some")
    return spec.values


def only(source: Any, specs: Mapping[str, Spec], given: Sequence[str]) -> Source:
    """The source as one that is shown these modalities alone: the others have no flag and zeros for their values.

    ValueError for the name of no modality.
    """
    if unknown := [name for name in given if name not in specs]:
        raise ValueError(f"the modalities are {', '.join(specs)}; got {unknown[0]!r}")
    model, observe = source_of(source)
    flags = Present.of(specs)
    hidden = [name for name in specs if name not in given]
    # Present once more: a model that overlooked a flag would else be told by the value.
    return Source(model, chain(flags, observe, Without(hidden), flags))


def having(split: Split, names: Sequence[str]) -> Split:
    """The rows of a split that have all of these modalities; ValueError where there is none, or no such values."""
    if lacking := [name for name in names if name not in split.tensors]:
        values = ", ".join(name for name in split.tensors if not name.endswith(PRESENT))
        raise ValueError(f"these data hold {values}; got no {lacking[0]!r}, a modality of the model")
    held = [split.tensors[present(name)] for name in names if present(name) in split.tensors]
    if not held:
        return split
    there = torch.stack(held).all(0)
    if not bool(there.any()):
        raise ValueError(f"no row has {' and '.join(names)}")
    return split if bool(there.all()) else split.take(there.nonzero()[:, 0])


def shown(split: Split, names: Sequence[str]) -> Split:
    """These modalities of a split and no other, with their flags, in the rows that have them all."""
    held = having(split, names)
    kept = [each for name in names for each in (name, present(name)) if each in held.tensors]
    return replace(held, tensors={name: held.tensors[name] for name in kept})


def whole(split: Split) -> dict[str, Tensor]:
    """Every value of a split as models read it, transformed."""
    return split.batch(torch.arange(len(split), device=split.device))


def real_values(split: Split, values: Mapping[str, Tensor], name: str) -> Tensor | None:
    """What is real of a modality [N, ...], of the `whole` values of a split, NaN in rows that lack it; None of none."""
    there = split.tensors.get(present(name))
    if name not in values or (there is not None and not bool(there.any())):
        return None
    value = values[name].float()
    return value if there is None else value.masked_fill(~there.view(-1, *[1] * (value.ndim - 1)), torch.nan)
