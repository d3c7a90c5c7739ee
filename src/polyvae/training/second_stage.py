"""The second stage of a vector-quantised run: a PixelCNN over its codes as its prior, all else left as it is.

The codes are computed once and become a data set of their own; the PixelCNN is trained on it by the same loop as any
recipe, in a run folder of its own. No weight of the first stage takes part.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polyvae.data.exchange.codes import retold
from polyvae.data.files.hashes import file_hash
from polyvae.data.loading import as_data
from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import each_block
from polyvae.model.distributions.codes import CodeLaw
from polyvae.model.priors.pixelcnn import PixelCNNPrior, as_maps, map_shape
from polyvae.model.priors.uniform import UniformPrior
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.model.weights import check_weights
from polyvae.recipes import named
from polyvae.training.fit import fit
from polyvae.training.run import Run
from polyvae.training.settings import Settings
from polyvae.training.store import WEIGHTS, RunError, read_description

PRIOR = "prior"  # the folder of the learned prior within that of the run
RECIPE = "pixel_cnn"


@dataclass(frozen=True)
class Levels:
    """Integers 0 ... levels - 1 become grey values in [0, 1], as a recipe of pictures reads them."""

    levels: int
    name: str = "x"

    def __call__(self, values: Values) -> dict[str, Tensor]:
        return {**values, self.name: values[self.name].float() / (self.levels - 1)}


def train_prior(run: Run, data: Any, *, resume: bool = False, progress: bool | None = None, **settings: Any) -> Run:
    """Trains a PixelCNN over the codes of a vector-quantised run and returns the prior's own run.

    `data`: what the run was trained on, or anything that `fit` takes; the codes of its training and validation part are
    computed once. `settings`: options of the recipe `pixel_cnn` (channels, layers, dropout, condition ...) and
    settings of `fit` (epochs, lr, seed ...). The result is in the folder `prior` within the run's, or in memory alone
    where the run has none. `resume`: go on with what is there, exactly as if it had not stopped; what it recorded need
    not be said again.

    Raises RunError for a run without codes or a folder that holds another prior, ValueError for a bad option, such as a
    condition without labels, TypeError for an unknown one.
    """
    folder = None if run.folder is None else Path(run.folder) / PRIOR
    given = {**(_recorded(folder) if resume and folder is not None else {}), **settings}
    codes = code_data(run, data)
    taken = set(inspect.signature(named(RECIPE)).parameters) - {"spec"}
    options = {key: value for key, value in given.items() if key in taken}
    recipe = named(RECIPE)(codes.spec, seed=given.get("seed", 0), **options)
    rest = {key: value for key, value in given.items() if key not in taken}
    return fit(recipe, codes, folder, resume=resume, progress=progress, **rest)


def with_prior(run: Run, prior: Run | None = None) -> Run:
    """The run whose model has the learned prior: its KL and its bound are with it, and `generate` draws from it.

    `prior`: what `train_prior` returned; by default what lies in the run's folder. All weights are shared with the run
    given. Raises RunError where there is no prior yet, or one of other codes.
    """
    name, uniform = _quantised(run)
    where, prior = _named(run), _stored(run) if prior is None else prior
    learned = next(iter(prior.model.prior.values()))
    if not isinstance(learned, PixelCNNPrior):
        raise RunError(f"{_named(prior)} holds no learned prior; train one with `polyvae train-prior {where}`")
    net, codebook, shape = learned.net, uniform.codebook, map_shape(uniform.positions)
    if (net.codes, net.shape) != (codebook.size, shape):
        raise RunError(
            f"{_named(prior)} is a prior of {net.codes} codes at {net.shape}, {where} has {codebook.size} codes at "
            f"{shape}: train another with `polyvae train-prior {where}`"
        )
    return _replaced(run, name, PixelCNNPrior(net, codebook, uniform.positions, learned.given))


def sharpened(run: Run, temperature: float = 1.0, top_k: int | None = None) -> Run:
    """The run whose PixelCNN draws at a `temperature` and among the `top_k` likeliest codes only.

    They change what `generate` makes (see `pixelcnn_sampling.draw`) and no probability that is reported. Raises
    ValueError for a run without a PixelCNN, or for numbers that nothing can be drawn with.
    """
    for name, prior in run.model.prior.items():
        if isinstance(prior, PixelCNNPrior):
            return _replaced(run, name, prior.sharpened(temperature, top_k))
    raise ValueError(f"temperature and top_k are for runs that draw codes from a PixelCNN; {_named(run)} does not")


def has_prior(folder: Path) -> bool:
    """Whether a run folder holds a learned prior that can be used."""
    return (folder / PRIOR / WEIGHTS).exists()


def code_data(run: Run, data: Any) -> Data:
    """The codes of a run as pictures of one channel and as many grey levels as there are codes; labels beside them.

    A map of codes [h, w] is a picture [1, h, w] of small integers, a row of codes [n] one of [1, 1, n]; several
    integers a place, [C, h, w], stand beside each other as [1, h, w C]. Codes that are drawn are drawn once. Raises
    RunError for a run without codes.
    """
    (name, uniform), data = _quantised(run), retold(as_data(data), run.spec)
    shape = (1, *map_shape(uniform.positions))
    levels = Levels(uniform.codebook.size)
    parts = {part: _codes(run, name, split, levels, shape) for part, split in data.parts.items()}
    spec = Spec(shape, data.spec.classes, data.spec.y, levels=levels.levels)
    call = {} if run.folder is None else {"codes_of": "..", "weights": fingerprint(Path(run.folder) / WEIGHTS)}
    return Data(f"codes of {data.name}", parts["train"], parts["validation"], parts["test"], spec, call)


def fingerprint(path: Path) -> str:
    """The sha256 of a file: whether the codes are still those of these weights. Raises RunError."""
    try:
        return file_hash(path, "sha256")
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error}); the run has not been trained as far as that") from error


def _quantised(run: Run) -> tuple[str, UniformPrior]:
    """The run's one latent of codes, by name, and its prior. Raises RunError where there is none with a uniform one."""
    found = [(name, prior) for name, prior in run.model.prior.items() if isinstance(prior, UniformPrior)]
    if len(found) != 1 or len(run.model.prior) != 1:
        raise RunError(
            f"{_named(run)} has no map of codes with a uniform prior; a learned prior needs a vector-quantised run, "
            "such as one of vq_vae"
        )
    return found[0]


def _codes(run: Run, name: str, split: Split, levels: Levels, shape: tuple[int, ...]) -> Split:
    dtype = torch.int16 if levels.levels <= 2**15 else torch.int32
    if not len(split):
        return Split({"x": torch.zeros(0, *shape, dtype=dtype)}, levels)

    def measure(model: VAE, batch: Values) -> Tensor:
        q = model.encode(batch)[name]
        assert isinstance(q, CodeLaw)
        # Of codes that are drawn, a draw: their prior is that of all draws, not of the likeliest alone.
        return as_maps(q.sample_codes()).to(dtype).cpu()

    codes = torch.cat(each_block(run, split, measure)).reshape(-1, *shape)
    labels = {"y": split.tensors["y"].cpu()} if "y" in split.tensors else {}
    return Split({"x": codes, **labels}, levels)


def _replaced(run: Run, name: str, prior: PixelCNNPrior) -> Run:
    """The run with that prior, its other parts and their modes as they are."""
    old = run.model
    model = VAE(old.posterior, {**old.prior, name: prior}, old.heads, dict(old.features.items()), old.summed).train(
        old.training
    )
    return replace(run, recipe=replace(run.recipe, model=model))


def _recorded(folder: Path) -> dict[str, Any]:
    """Options and settings of the prior's run in a folder. Raises RunError where there is none."""
    description = read_description(folder)
    known = {field.name for field in fields(Settings)}
    settings = {key: value for key, value in description["settings"].items() if key in known}
    recipe = description.get("recipe") or {}
    if recipe.get("name") != RECIPE:
        raise RunError(f"{folder} holds no learned prior but a run of {recipe.get('name')}")
    return {**recipe["options"], **settings}


def _stored(run: Run) -> Run:
    """The prior in the run's folder. Raises RunError where there is none, or the run has been trained since."""
    where = _named(run)
    if run.folder is None or not has_prior(Path(run.folder)):
        raise RunError(f"{where} has no learned prior yet; train one with `polyvae train-prior {where}`")
    prior = Run.load(Path(run.folder) / PRIOR)
    check_weights(prior.model, str(Path(run.folder) / PRIOR / WEIGHTS))
    recorded = prior.description.get("data", {}).get("call", {}).get("weights")
    if recorded != fingerprint(Path(run.folder) / WEIGHTS):
        raise RunError(
            f"{where} has been trained on since its prior was: its codes are others now. Remove {prior.folder} and "
            f"train it again with `polyvae train-prior {where}`"
        )
    return prior


def _named(run: Run) -> str:
    return "the run" if run.folder is None else str(run.folder)
