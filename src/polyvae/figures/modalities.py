"""Figures of models of several modalities: a sheet of what they make of each other, and a map of their latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from polyvae.checks.names import one_of
from polyvae.completion.translate import translate
from polyvae.data.cuts import shuffled, subset
from polyvae.data.split import Split, floats
from polyvae.evaluation.blocks import seeded
from polyvae.evaluation.modalities.generation import Translator
from polyvae.evaluation.modalities.given import having, shown, specs_of, whole
from polyvae.evaluation.modalities.probes import ALL, codes_given
from polyvae.figures.grids import blocks
from polyvae.figures.kinds import ModalMap, Sheet
from polyvae.figures.looks import part
from polyvae.model.spec import Spec

DRAWS = 2  # of every modality made of another
RECONSTRUCTED, MADE, DRAWN = PARTS = ("reconstructed", "made of another", "drawn")


def sheet(
    source: Any,
    split: Split,
    specs: Mapping[str, Spec],
    columns: int = 10,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
) -> Sheet | None:
    """Reconstructions on top, modalities made of one another in the middle, draws of the prior below, or some of these
    `parts`.

    A column a row of the split, of those that have all modalities, in a seeded choice that takes the classes by turns;
    in the lowest part a column a draw. Shown are the expected values at one draw of z each. None where no modality is a
    picture or a field; of a field's channels the first is shown.
    """
    views = pictured(specs)
    if not views:
        return None
    translator, held = Translator(source, specs), having(split, tuple(specs))
    chosen = by_turns(held, columns, seed)
    values = {name: value for name, value in whole(chosen).items() if name in specs}
    found: dict[str, list[tuple[str, str, Tensor]]] = {name: [] for name in PARTS}
    with seeded(translator.device, seed, 3):
        for name in views:
            own = translator({name: values[name]})[name]
            found[RECONSTRUCTED] += [(name, name, values[name]), (f"{name}, of itself", name, own)]
            found[RECONSTRUCTED].append((f"{name}, of all", name, translator(values)[name]))
        for name in specs:
            found[MADE] += [(f"{name} given", name, values[name])] if name in views else []
            made = [translator({name: values[name]}) for _ in range(DRAWS)]
            others = [other for other in views if other != name]
            found[MADE] += [(f"{other} of {name}", other, each[other]) for other in others for each in made]
        joint = translator.drawn(columns)
        found[DRAWN] = [(name, name, joint[name]) for name in views]
    told = part(len(chosen), len(split)) if {RECONSTRUCTED, MADE} & {*parts} else ""
    return _sheet({words: found[words] for words in parts}, specs, _known(held, specs), told)


def drawn(values: Mapping[str, Tensor], split: Split, specs: Mapping[str, Spec], columns: int = 16) -> Sheet | None:
    """Values that were drawn together [N, ...] by modality, so many `columns` beside each other; None without pictures.

    What does not fill the last rows is left out. `split`: whose values the colours of fields are those of.
    """
    views, count = pictured(specs), len(next(iter(values.values())))
    columns = min(columns, count)
    parts = {
        f"draws {start + 1} to {start + columns}": [
            (name, name, torch.as_tensor(values[name])[start : start + columns]) for name in views
        ]
        for start in range(0, count - columns + 1, columns)
    }
    return _sheet(parts, specs, _known(split, specs)) if views else None


def translated(
    source: Any, split: Split, given: Sequence[str], to: Sequence[str], draws: int = 5, seed: int = 0
) -> Sheet | None:
    """What is given of the split's rows, and below it the expected others at some draws of z, a column a row.

    A modality that is no picture is left out; None where none of them is a picture.
    """
    specs, held = specs_of(source), having(split, given)
    values, found = whole(held), translate(source, shown(held, given), list(to), draws, seed=seed, quantiles=())
    parts = {name: [("given", name, values[name])] for name in pictured(specs) if name in given}
    parts |= {
        name: [(f"draw {number + 1}", name, made) for number, made in enumerate(found[name].samples)]
        for name in pictured(specs)
        if name in to
    }
    return _sheet(parts, specs, _known(split, specs)) if parts else None


def pictured(specs: Mapping[str, Spec]) -> list[str]:
    """The modalities that are pictures or fields."""
    return [name for name, spec in specs.items() if len(spec.x) == 3]


def _known(split: Split, specs: Mapping[str, Spec]) -> dict[str, Tensor]:
    """Some values of each picture, by which the colours of fields are chosen."""
    some = split.take(range(min(len(split), 200)))
    return {name: floats(some.tensors[name]) for name in pictured(specs)}


def _sheet(
    parts: Mapping[str, Sequence[tuple[str, str, Tensor]]],
    specs: Mapping[str, Spec],
    known: Mapping[str, Tensor],
    told: str = "",
) -> Sheet:
    """Rows of pictures under headings: what a row is called, of which modality it is, and its values [S, C, H, W]."""
    size = [max(specs[name].x[side] for rows in parts.values() for _, name, _ in rows) for side in (1, 2)]
    pictures = {
        words: np.stack([_coloured(value, known[of], specs[of], size) for _, of, value in rows])
        for words, rows in parts.items()
    }
    return Sheet(pictures, {words: tuple(label for label, _, _ in rows) for words, rows in parts.items()}, told)


def modal_map(
    source: Any,
    split: Split,
    specs: Mapping[str, Spec],
    latent: str | None = None,
    method: str = "tsne",
    count: int = 500,
    seed: int = 0,
) -> ModalMap:
    """Posterior means given each modality alone, of a seeded `count` of rows, in a plane, with their classes.

    `method`: "tsne", t-distributed stochastic neighbour embedding, or "pca", the two principal axes. `latent`: its
    name; by default z, or all latents side by side where there is none of that name. ValueError for another.

    van der Maaten, Hinton: Visualizing Data using t-SNE, 2008.
    """
    one_of(("tsne", "pca"), method, "method")
    chosen = subset(having(split, tuple(specs)), count, seed)
    codes = {name: codes_given(source, chosen, specs, (name,), seed) for name in specs}
    known = next(iter(codes.values()))
    latent = (
        one_of(known, latent, "a latent of the model")
        if latent is not None
        else next((n for n in ("z", ALL) if n in known), "")
    )
    points = _flat(torch.cat([each[latent] for each in codes.values()]).double().numpy(), method, seed)
    labels = None if chosen.labels is None else np.tile(chosen.labels.cpu().numpy(), len(specs))
    axes = ("first axis of t-SNE", "second axis") if method == "tsne" else ("first principal axis", "second")
    return ModalMap(
        points.astype(np.float32), labels, np.repeat([*specs], len(chosen)), axes, part(len(chosen), len(split))
    )


def all_of(source: Any, split: Split, specs: Mapping[str, Spec], seed: int = 0) -> dict[str, tuple[Any, str]]:
    """The sheet and the map of latents with their titles, as far as a split has what they show, by file name."""
    made: dict[str, tuple[Any, str]] = {}
    if (figure := sheet(source, split, specs, seed=seed)) is not None:
        made["modalities"] = figure, "Reconstructed, made of one another, drawn"
    made["map"] = modal_map(source, split, specs, seed=seed), "Posterior means given each modality"
    return made


def _flat(codes: np.ndarray, method: str, seed: int) -> np.ndarray:
    """[N, d] in two dimensions."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if codes.shape[1] < 2:
        return np.repeat(codes, 2, 1)
    if method == "pca":
        return PCA(2, random_state=seed).fit_transform(codes)
    near = min(30.0, max(1.0, (len(codes) - 1) / 3))
    return TSNE(2, perplexity=near, init="pca", random_state=seed).fit_transform(codes)


def by_turns(split: Split, count: int, seed: int) -> Split:
    """So many rows in a seeded order, one of each class and then again, where there are labels; all of fewer rows."""
    index = shuffled(len(split), seed)
    if split.labels is not None:
        y = split.labels.cpu()[index]
        turn = (F.one_hot(y).cumsum(0).gather(1, y[:, None])[:, 0] - 1) * (int(y.max()) + 1) + y
        index = index[turn.argsort()]
    return split.take(index[:count].to(split.device))


def _coloured(value: Tensor, data: Tensor, spec: Spec, size: list[int]) -> np.ndarray:
    """[S, C, H, W] as colours [S, 3, *size], white beside smaller ones; of fields the first channel by a colour map."""
    array, known = value.detach().cpu().float().numpy(), data.cpu().float().numpy()
    unit = spec.unit and spec.x[0] in (1, 3)
    made = array if unit else blocks(array[None, :, :1], False, (), known[:, :1])[0].pictures[0]
    made = made.repeat(3, 1) if made.shape[1] == 1 else made
    over = [full - side for full, side in zip(size, made.shape[2:], strict=True)]
    return np.pad(made, [(0, 0), (0, 0), *((each // 2, each - each // 2) for each in over)], constant_values=1.0)
