"""What makes one modality of another without a model of both: functions that are judged as the models are.

All learn from training rows without their labels. scikit-learn's estimators enter here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data.cuts import subset
from polyvae.data.memory_maps import Rows
from polyvae.data.split import Data, Split, floats
from polyvae.evaluation.blocks import evaluating
from polyvae.evaluation.modalities.generation import Translate
from polyvae.evaluation.modalities.given import having
from polyvae.model.laws import centre
from polyvae.model.spec import Spec
from polyvae.observe.transforms import chain
from polyvae.recipes import named
from polyvae.recipes.experts import networks
from polyvae.recipes.options import Modal
from polyvae.study.multimodal.protocol import GREY
from polyvae.training.run import Run

COMPONENTS = 50  # principal components of a modality
FEATURES = 1000  # of the kernel: training rows that its map is made of
KEPT = 20  # pairs of canonical variates
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)  # shares of a modality's variance, of which the validation part chooses
LEARNED = 20_000  # rows at most, a seeded subset, that linear maps and kernels learn from
PIECE = 1000  # rows read at a time
Made = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Fitting:
    """What a baseline is fitted to: data of several modalities, a seed, and how a VAE of each modality is trained."""

    data: Data
    seed: int = 0
    latent: int = 20
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def specs(self) -> dict[str, Spec]:
        """Of the modalities, by name."""
        return self.data.spec.values

    @property
    def rows(self) -> Split:
        """Training rows that have all modalities, and at most so many that they may be held in memory."""
        return subset(having(self.data.train, tuple(self.specs)), LEARNED, self.seed)


class Pairwise:
    """Values of every other modality out of the first that is given, by a function for each pair of names."""

    def __init__(self, made: Mapping[tuple[str, str], Made]) -> None:
        self.made = dict(made)

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        first = next(iter(values))
        return {target: make(values[first]) for (given, target), make in self.made.items() if given == first}


def nearest(fitting: Fitting) -> Translate:
    """The nearest neighbour of the pair: the training row whose x_A is nearest, and its partner x_B.

    Near in the principal components of values whose mean and deviation over each example are taken out.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = having(fitting.data.train, tuple(fitting.specs))
    axes = {name: _components(fitting.rows, name) for name in fitting.specs}
    index = torch.arange(len(rows), device=rows.device).split(PIECE)
    trees = {
        name: NearestNeighbors(n_neighbors=1).fit(
            np.concatenate([each.of(_values(rows.take(at), name)) for at in index])
        )
        for name, each in axes.items()
    }

    def partner(given: str, target: str) -> Made:
        def make(x: Tensor) -> Tensor:
            found = trees[given].kneighbors(axes[given].of(x.cpu().numpy()), return_distance=False)[:, 0]
            return floats(rows.take(torch.from_numpy(found)).tensors[target])

        return make

    return _pairwise(fitting, partner)


def cca(fitting: Fitting) -> Translate:
    """Canonical correlation analysis of principal components: x_B expected of the canonical variates of x_A.

    Hotelling: Relations Between Two Sets of Variates, 1936.
    """
    return _canonical(fitting, lambda name: _components(fitting.rows, name))


def kernel_cca(fitting: Fitting) -> Translate:
    """The same of features of a radial kernel, made by a subset of the rows.

    Bach, Jordan: Kernel Independent Component Analysis, 2002; Williams, Seeger: Using the Nyström Method to Speed Up
    Kernel Machines, 2001.
    """

    def kernelled(name: str) -> Axes:
        from sklearn.decomposition import PCA
        from sklearn.kernel_approximation import Nystroem
        from sklearn.pipeline import make_pipeline

        first = _components(fitting.rows, name)
        codes = first.of(_values(fitting.rows, name))
        width = 1 / np.square(codes - codes.mean(0)).sum(1).mean() / 2
        features = Nystroem(gamma=width, n_components=min(FEATURES, len(codes)), random_state=fitting.seed)
        most = min(4 * COMPONENTS, FEATURES, len(codes) - 1)
        above = make_pipeline(features, PCA(most, svd_solver="randomized", random_state=0)).fit(codes)
        return Axes(lambda x: above.transform(first.of(x)))

    return _canonical(fitting, kernelled)


def vae_ridge(fitting: Fitting) -> Translate:
    """A VAE of each modality, and a ridge regression of the codes of one on those of the other."""
    from sklearn.linear_model import RidgeCV

    return _mapped(fitting, lambda: RidgeCV(np.logspace(-2, 4, 7)))


def vae_mlp(fitting: Fitting) -> Translate:
    """A VAE of each modality, and a perceptron from the codes of one to those of the other."""
    from sklearn.neural_network import MLPRegressor

    how = {"hidden_layer_sizes": (256,), "early_stopping": True, "max_iter": 500}
    return _mapped(fitting, lambda: MLPRegressor(random_state=fitting.seed, **how))


FITTED: dict[str, Callable[[Fitting], Translate]] = {
    "cca": cca,
    "kernel-cca": kernel_cca,
    "nearest": nearest,
    "vae-ridge": vae_ridge,
    "vae-mlp": vae_mlp,
}


@dataclass(frozen=True)
class Axes:
    """`of`: values [N, ...] as features [N, d]; `back`: features as values, where there is a way."""

    of: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray] | None = None


def _components(rows: Split, name: str, plain: bool = False) -> Axes:
    """Principal components, of the values as they are where they are `plain`, else freed of each example's level and
    contrast, which say nothing of what it shows."""
    from sklearn.decomposition import PCA

    x = _values(rows, name)
    shape = x.shape[1:]

    def flat(values: np.ndarray) -> np.ndarray:
        found = values.reshape(len(values), -1)
        if plain or len(shape) < 3:
            return found
        deviation = found.std(1, keepdims=True)
        return (found - found.mean(1, keepdims=True)) / np.where(deviation > 0, deviation, 1)

    held = flat(x)
    count = min(COMPONENTS, len(held) - 1, held.shape[1])
    found = PCA(count, svd_solver="randomized", random_state=0).fit(held)
    return Axes(lambda x: found.transform(flat(x)), lambda codes: found.inverse_transform(codes).reshape(-1, *shape))


def _canonical(fitting: Fitting, axes: Callable[[str], Axes]) -> Translate:
    """Uncorrelated features f with variances v are scaled by (v + k)^(-1/2), the singular vectors of their covariance
    make the variates, and components of x_B are regressed on those of x_A.

    The ridge k is the one, as a share of all variance, that predicts the validation part best.
    """
    rows, held = fitting.rows, subset(having(fitting.data.validation, tuple(fitting.specs)), LEARNED, fitting.seed)
    own, plain = (
        {name: axes(name) for name in fitting.specs},
        {name: _components(rows, name, True) for name in fitting.specs},
    )
    features = {name: each.of(_values(rows, name)) for name, each in own.items()}
    tried = {name: each.of(_values(held, name)) for name, each in own.items()}
    codes, wanted = ({name: each.of(_values(part, name)) for name, each in plain.items()} for part in (rows, held))

    def regressed(given: str, target: str) -> Made:
        def slopes(ridge: float) -> np.ndarray:
            one, other = (f / np.sqrt(f.var(0) + ridge * f.var(0).sum()) for f in (features[given], features[target]))
            left = np.linalg.svd(one.T @ other / len(rows), full_matrices=False)[0][:, :KEPT]
            scaled = left / np.sqrt(features[given].var(0) + ridge * features[given].var(0).sum())[:, None]
            return scaled @ np.linalg.lstsq(features[given] @ scaled, codes[target], rcond=None)[0]

        every = [slopes(ridge) for ridge in RIDGES]
        best = min(every, key=lambda each: float(np.square(tried[given] @ each - wanted[target]).sum()))
        back = plain[target].back
        assert back is not None

        def make(x: Tensor) -> Tensor:
            found = torch.from_numpy(back(own[given].of(x.cpu().numpy()) @ best).astype(np.float32))
            return found.clamp(0, 1) if fitting.specs[target].grey else found

        return make

    return _pairwise(fitting, regressed)


def _mapped(fitting: Fitting, regression: Callable[[], Any]) -> Translate:
    runs = {name: _alone(fitting, name) for name in fitting.specs}
    rows = fitting.rows
    codes = {name: _codes(runs[name], torch.from_numpy(_values(rows, name))).numpy() for name in fitting.specs}

    def translated(given: str, target: str) -> Made:
        found = regression().fit(codes[given], codes[target])

        def make(x: Tensor) -> Tensor:
            z = torch.from_numpy(found.predict(_codes(runs[given], x).numpy()).astype(np.float32))
            with evaluating(runs[target].model) as device:
                value = centre(runs[target].model.decode({"z": z.to(device)})["x"]).cpu()
            return value.clamp(0, 1) if fitting.specs[target].grey else value

        return make

    return _pairwise(fitting, translated)


def _alone(fitting: Fitting, name: str) -> Run:
    """A VAE of one modality on its values in all training rows, as often as they stand there."""
    from polyvae.training.fit import fit

    spec, latent = fitting.specs[name], Modal()
    options = {"network": networks(latent, fitting.specs)[name], "likelihood": GREY if spec.grey else None}
    recipe = named("vae")(spec, seed=fitting.seed, latent=fitting.latent, **options)
    parts = {part: _as_x(split, name) for part, split in fitting.data.parts.items()}
    alone = replace(fitting.data, name=f"{fitting.data.name}-{name}", spec=spec, call={}, **parts)
    return fit(recipe, alone, progress=False, seed=fitting.seed, **fitting.settings)


def _as_x(split: Split, name: str) -> Split:
    held = having(split, [name])
    tensors = held.tensors
    of = tensors.named({name: "x"}) if isinstance(tensors, Rows) else {"x": tensors[name]}
    return Split(of)


def _codes(run: Run, x: Tensor) -> Tensor:
    """The posterior's means [N, d]."""
    observe = chain(run.recipe.observe)
    with evaluating(run.model) as device:
        return torch.cat([run.model.centres(observe({"x": x.to(device)}))["z"].cpu() for x in x.split(PIECE)])


def _values(rows: Split, name: str) -> np.ndarray:
    return floats(rows.tensors[name]).cpu().float().numpy()


def _pairwise(fitting: Fitting, make: Callable[[str, str], Made]) -> Pairwise:
    return Pairwise({(given, target): make(given, target) for given, target in permutations(fitting.specs, 2)})
