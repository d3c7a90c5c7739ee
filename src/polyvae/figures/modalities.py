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
from polyvae.data.split import Split
from polyvae.evaluation.blocks import seeded
from polyvae.evaluation.modalities.generation import Translator
from polyvae.evaluation.modalities.given import having, real_values, shown, specs_of, whole
from polyvae.evaluation.modalities.probes import ALL, codes_given
from polyvae.evaluation.pictures import recorded_spec
from polyvae.figures.kinds import ModalMap, Sheet
from polyvae.figures.looks import part
from polyvae.figures.sheets import Row, assembled, channels, known, pictured
from polyvae.model.spec import Spec

DRAWS = 2  # of every modality made of another, where that is no more than a page
MEANT = 50  # draws of z at least, of which a mean is shown
_TITLE = 7  # letters of the title of a column at most
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
    picture or a field; of a field's channels the first is shown. What is made of others stands below what is real.
    """
    views = pictured(specs)
    if not views:
        return None
    translator, held = Translator(source, specs), having(split, tuple(specs))
    chosen = by_turns(held, columns, seed)
    values = {name: value for name, value in whole(chosen).items() if name in specs}
    found: dict[str, list[Row]] = {name: [] for name in PARTS}
    crossed = {name: [Row(f"{name}, real", name, values[name])] for name in views}
    with seeded(translator.device, seed, 3):
        for name in views:
            own = translator({name: values[name]})[name]
            found[RECONSTRUCTED] += [Row(name, name, values[name]), Row(f"{name}, of itself", name, own)]
            found[RECONSTRUCTED].append(Row(f"{name}, of all", name, translator(values)[name]))
        for name in specs:
            made = [translator({name: values[name]}) for _ in range(DRAWS if len(views) < 3 else 1)]
            for other in views:
                if other != name:
                    crossed[other] += [
                        Row(f"{other} of {name}" + f", draw {n}" * (n > 1), other, each[other])
                        for n, each in enumerate(made, 1)
                    ]
        found[MADE] = [row for rows in crossed.values() for row in rows]
        joint = translator.drawn(columns)
        found[DRAWN] = [Row(name, name, joint[name]) for name in views]
    told = part(len(chosen), len(split)) if {RECONSTRUCTED, MADE} & {*parts} else ""
    return assembled({words: found[words] for words in parts}, specs, known(held, specs), told)


def drawn(values: Mapping[str, Tensor], split: Split, specs: Mapping[str, Spec], columns: int = 16) -> Sheet | None:
    """Values that were drawn together [N, ...] by modality, so many `columns` beside each other; None without pictures.

    What does not fill the last rows is left out. `split`: whose values the colours of fields are those of.
    """
    views, count = pictured(specs), len(next(iter(values.values())))
    columns = min(columns, count)
    parts = {
        f"draws {start + 1} to {start + columns}": [
            Row(name, name, torch.as_tensor(values[name])[start : start + columns]) for name in views
        ]
        for start in range(0, count - columns + 1, columns)
    }
    return assembled(parts, specs, known(split, specs)) if views else None


def translated(
    source: Any,
    split: Split,
    given: Sequence[str],
    to: Sequence[str],
    draws: int = 5,
    seed: int = 0,
    of: int | None = None,
) -> Sheet | None:
    """What is given of the split's rows, and below it of each target what is real, the mean and some draws.

    A column a row of those that have what is given; of a field a block for each channel. `draws`: so many expected
    values at a draw of z each; the mean is of 50 draws at least. What is given and no picture stands above the columns
    where it is short. `of`: how many rows there are, where the split is a part of them. A target that is no picture is
    left out; None where none of them is a picture.
    """
    specs = specs_of(source)
    targets = [name for name in pictured(specs) if name in to]
    if not targets:
        return None
    held = having(split, given)
    values = whole(held)
    found = translate(source, shown(held, given), targets, max(draws, MEANT), seed=seed, quantiles=())
    rows: dict[str, list[tuple[str, Tensor]]] = {
        name: [("given", values[name])] for name in pictured(specs) if name in given
    }
    for name in targets:
        made = [("mean", found[name].mean)]
        made += [(f"draw {number + 1}", each) for number, each in enumerate(found[name].samples[:draws])]
        real = real_values(held, values, name)
        rows[name] = [*([] if real is None else [("real", real)]), *made]
    parts = {
        words: [Row(label, name, value, channel) for label, value in each]
        for name, each in rows.items()
        for channel, words in enumerate(channels(name, specs[name]))
    }
    total = len(split) if of is None else of
    return assembled(parts, specs, known(split, specs), part(len(held), total), _titles(values, given, specs))


def _titles(values: Mapping[str, Tensor], given: Sequence[str], specs: Mapping[str, Spec]) -> list[str]:
    """What is given of each row and is no picture, in words; none where that is long."""
    named = [name for name in given if len(specs[name].x) == 1]
    titles = [
        ", ".join(worded(value.tolist(), specs[name]) for name, value in zip(named, row, strict=True))
        for row in zip(*(values[name] for name in named), strict=True)
    ]
    return titles if max(map(len, titles), default=0) <= _TITLE else []


def worded(values: Sequence[float], spec: Spec) -> str:
    """The values of a table's row: letters as a word without the filling at its end, all else with commas between."""
    labels = [column.labels for column in spec.columns] or [None] * len(values)
    words = [
        f"{value:.3g}" if names is None else names[int(value)] for value, names in zip(values, labels, strict=True)
    ]
    return "".join(words).rstrip("_ ") if is_word(spec) else ", ".join(words)


def is_word(spec: Spec) -> bool:
    """Whether the columns of a table are the letters of a word."""
    labels = [column.labels for column in spec.columns]
    return len(labels) > 1 and all(names is not None and max(map(len, names)) == 1 for names in labels)


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
    held = next(iter(codes.values()))
    latent = (
        one_of(held, latent, "a latent of the model")
        if latent is not None
        else next((n for n in ("z", ALL) if n in held), "")
    )
    points = _flat(torch.cat([each[latent] for each in codes.values()]).double().numpy(), method, seed)
    labels = None if chosen.labels is None else np.tile(chosen.labels.cpu().numpy(), len(specs))
    axes = ("first axis of t-SNE", "second axis") if method == "tsne" else ("first principal axis", "second")
    given, told = np.repeat([*specs], len(chosen)), part(len(chosen), len(split))
    spec = recorded_spec(source)
    return ModalMap(points.astype(np.float32), labels, given, axes, told, () if spec is None else spec.labels or ())


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
