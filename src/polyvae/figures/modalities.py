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
from polyvae.evaluation.modalities.given import having
from polyvae.evaluation.modalities.probes import ALL, codes_given
from polyvae.evaluation.pictures import recorded_spec
from polyvae.figures.grids import blocks
from polyvae.figures.kinds import ModalMap, Sheet
from polyvae.figures.looks import part
from polyvae.model.spec import Spec

DRAWS = 2  # of every modality made of another


def sheet(source: Any, split: Split, specs: Mapping[str, Spec], columns: int = 10, seed: int = 0) -> Sheet | None:
    """Reconstructions on top, modalities made of one another in the middle, draws of the prior below.

    A column a row of the split, of those that have all modalities, in a seeded choice that takes the classes by turns;
    in the lowest part a column a draw. Shown are the expected values at one draw of z each. None where no modality is a
    picture or a field; of a field's channels the first is shown.
    """
    shown = [name for name, spec in specs.items() if len(spec.x) == 3]
    if not shown:
        return None
    translator, held = Translator(source, specs), having(split, tuple(specs))
    chosen = _by_turns(held, columns, seed)
    values = {name: floats(chosen.tensors[name]) for name in specs}
    parts: dict[str, list[tuple[str, str, Tensor]]] = {
        name: [] for name in ("reconstructed", "made of another", "drawn")
    }
    with seeded(translator.device, seed, 3):
        for name in shown:
            own = translator({name: values[name]})[name]
            parts["reconstructed"] += [(name, name, values[name]), (f"{name}, of itself", name, own)]
            parts["reconstructed"].append((f"{name}, of all", name, translator(values)[name]))
        for name in specs:
            parts["made of another"] += [(f"{name} given", name, values[name])] if name in shown else []
            made = [translator({name: values[name]}) for _ in range(DRAWS)]
            others = [other for other in shown if other != name]
            parts["made of another"] += [
                (f"{other} of {name}", other, each[other]) for other in others for each in made
            ]
        joint = translator.drawn(columns)
        parts["drawn"] = [(name, name, joint[name]) for name in shown]
    every = {name: held.take(range(min(len(held), 200))).tensors[name] for name in shown}
    size = [max(specs[name].x[side] for name in shown) for side in (1, 2)]
    pictures = {
        words: np.stack([_coloured(value, floats(every[of]), specs[of], size) for _, of, value in rows])
        for words, rows in parts.items()
    }
    rows = {words: tuple(label for label, _, _ in rows) for words, rows in parts.items()}
    return Sheet(pictures, rows, part(len(chosen), len(split)))


def translated(source: Any, split: Split, given: str, to: Sequence[str], draws: int = 5, seed: int = 0) -> Sheet:
    """What is given of the split's rows, and below it the expected others at some draws of z, a column a row.

    A modality that is no picture is left out. ValueError where none of them is a picture.
    """
    specs = recorded_spec(source)
    held = having(split, (given,))
    found = translate(source, {given: held.tensors[given]}, list(to), draws, seed=seed, quantiles=())
    known = {} if specs is None else specs.values
    shown = [name for name in (given, *to) if len(known[name].x) == 3]
    if not shown:
        raise ValueError(f"none of {', '.join((given, *to))} is a picture; Run.translate in Python returns the values")
    size = [max(known[name].x[side] for name in shown) for side in (1, 2)]
    parts = {name: [floats(held.tensors[name])] if name == given else list(found[name].samples) for name in shown}
    pictures = {
        name: np.stack([_coloured(value, floats(split.tensors[name]), known[name], size) for value in values])
        for name, values in parts.items()
    }
    rows = {
        name: ("given",) if name == given else tuple(f"draw {number + 1}" for number in range(draws)) for name in shown
    }
    return Sheet(pictures, rows)


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


def _by_turns(split: Split, count: int, seed: int) -> Split:
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
