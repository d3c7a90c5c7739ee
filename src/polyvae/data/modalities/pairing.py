"""Rows of several modalities made of sets with labels: values of one class stand together, each kept once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from polyvae.data.columns.table import Feature
from polyvae.data.cuts import kfold, part_size, permutation, stratified
from polyvae.data.errors import DataError
from polyvae.data.memory_maps import Rows
from polyvae.data.options import Options
from polyvae.data.seeds import mixed
from polyvae.data.sources.paired import Paired, View
from polyvae.data.whole import Whole
from polyvae.model.spec import Modality, Spec

ITEMS, PARTNERS = range(2)  # streams of the seed
STREAMS = {"train": 0, "validation": 1, "test": 2}


def matched(labels: Sequence[Tensor], pairings: int, seed: int) -> Tensor:
    """Rows of items of one class: int64 [M, n], which item of each of the M sets stands in every row.

    The items of each class are shuffled anew for every pairing in each set, all sets are cut to the shortest, and the
    rows of a pairing are shuffled: n = pairings * sum over classes of the least count. `labels`: int64 [N_m] of each
    set. Source: Shi, Siddharth, Paige and Torr, Variational mixture-of-experts autoencoders for multi-modal deep
    generative models, 2019.
    """
    classes = 1 + max(int(y.max()) if len(y) else 0 for y in labels)
    sizes = torch.stack([torch.bincount(y, minlength=classes) for y in labels])
    least = sizes.amin(0)
    found = []
    for pairing in range(pairings):
        sides = []
        for side, y in enumerate(labels):
            order = permutation(len(y), mixed(seed, pairing, side))
            order = order[torch.argsort(y[order], stable=True)]
            rank = torch.arange(len(y)) - (sizes[side].cumsum(0) - sizes[side])[y[order]]
            sides.append(order[rank < least[y[order]]])
        rows = torch.stack(sides)
        found.append(rows[:, permutation(rows.shape[1], mixed(seed, pairing, len(labels)))])
    return torch.cat(found, 1)


def paired(source: Paired, wholes: Mapping[str, Whole], asked: Options) -> Whole:
    """The rows of all parts, their values indexed lazily: pictures are kept once, in how many rows ever they stand.

    `wholes`: the sets by name, each with the official parts train and test. What is held out for validation is cut
    from the items of every set before they are paired, so that no picture stands in two parts. Only training items are
    paired several times. Raises DataError where a class is missing in all of a set.
    """
    if asked.blocks:
        raise ValueError(f"blocks: pairs are no series; leave blocks away for {source.name}")
    cut = {name: _items(whole, asked, source.about.validation, wholes) for name, whole in wholes.items()}
    specs = {view.name: _spec(view, wholes) for view in source.views}
    features = {
        name: tuple(Feature(each.name or "", "text", each.labels or ()) for each in spec.columns)
        for name, spec in specs.items()
    }
    parts = {}
    for part, stream in STREAMS.items():
        items = {name: _taken(wholes[name], *each[part]) for name, each in cut.items()}
        views = {view.name: items[view.source.name] for view in source.views if view.source}
        # An official test part is paired in one way only, whatever the seed.
        seed = mixed(0 if part == "test" else asked.seed, PARTNERS, stream)
        found = matched([each["y"] for each in views.values()], asked.pairings if part == "train" else 1, seed)
        if not found.shape[1] and not (part == "validation" and asked.validation == 0):
            raise DataError(source.name, f"classes that all sets hold in the {part} part", "none", "give larger parts")
        index = dict(zip(views, found, strict=True))
        y = next(iter(views.values()))["y"][found[0]]
        pools = {view.name: _pool(view, views[view.name]["x"] if view.source else None) for view in source.views}
        parts[part] = Rows({**pools, "y": y}, {name: index.get(name, y) for name in pools})
    modalities = tuple(Modality(name, spec) for name, spec in specs.items())
    spec = replace(source.spec, modalities=modalities)
    return Whole(source.name, source.name, parts, spec, features=features, cut="validation cut at random by picture")


def _pool(view: View, x: Tensor | None) -> Tensor:
    """All values of a view: of the pictures x, or of the classes."""
    if x is None:
        assert view.values is not None
        return torch.from_numpy(view.values())
    return x if view.make is None else torch.from_numpy(view.make(x.numpy()))


def _spec(view: View, wholes: Mapping[str, Whole]) -> Spec:
    """What the values of a view are, after a `size`."""
    if view.source is None:
        assert view.spec is not None
        return view.spec
    whole = wholes[view.source.name]
    shape = tuple(_pool(view, next(iter(whole.parts.values()))["x"][:1]).shape[1:])
    return replace(view.spec or replace(whole.spec, classes=None), x=shape)


def _taken(whole: Whole, part: str, index: Tensor | None) -> dict[str, Tensor]:
    held = whole.parts[part]
    return {name: held[name] if index is None else held[name].index_select(0, index) for name in ("x", "y")}


def _items(
    whole: Whole, asked: Options, share: float, wholes: Mapping[str, Whole]
) -> dict[str, tuple[str, Tensor | None]]:
    """The items of every part: the part that they are taken from, and which of it.

    A number of validation examples is that share of the smallest set, and the same share of the others.
    """
    y, seed = whole.parts["train"]["y"], mixed(asked.seed, ITEMS)
    if asked.folds is not None and asked.fold is not None:
        rest, held = kfold(len(y), asked.folds, asked.fold, seed)
    else:
        wanted = share if asked.validation is None else asked.validation
        if isinstance(wanted, int):
            least = min(each.length("train") for each in wholes.values())
            if wanted >= least:
                raise ValueError(f"validation leaves nothing to train on of {least}; got {wanted}")
            wanted = wanted / least
        held = stratified(y, part_size(len(y), wanted), seed)
        kept = torch.ones(len(y), dtype=torch.bool)
        kept[held] = False
        rest = kept.nonzero().squeeze(1)
    return {"train": ("train", rest), "validation": ("train", held), "test": ("test", None)}
