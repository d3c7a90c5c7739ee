"""The codes of a vector-quantised run as pictures, and a PixelCNN over them as the run's prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyvae.data.exchange.codes import retold
from polyvae.data.loading import as_data
from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import each_block
from polyvae.model.distributions.codes import CodeLaw
from polyvae.model.priors.pixelcnn import PixelCNNPrior, as_maps, map_shape
from polyvae.model.priors.uniform import UniformPrior
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.training.run import Run
from polyvae.training.second_stage.kept import called, origin, replaced
from polyvae.training.store import RunError

RECIPE = "pixel_cnn"


@dataclass(frozen=True)
class Levels:
    """Integers 0 ... levels - 1 become grey values in [0, 1], as a recipe of pictures reads them."""

    levels: int
    name: str = "x"

    def __call__(self, values: Values) -> dict[str, Tensor]:
        return {**values, self.name: values[self.name].float() / (self.levels - 1)}


def code_data(run: Run, data: Any) -> Data:
    """The codes of a run as pictures of one channel and as many grey levels as there are codes; labels beside them.

    A map of codes [h, w] is a picture [1, h, w] of small integers, a row of codes [n] one of [1, 1, n]; several
    integers a place, [C, h, w], stand beside each other as [1, h, w C]. Codes that are drawn are drawn once. Raises
    RunError for a run without codes.
    """
    (name, uniform), data = quantised(run), retold(as_data(data), run.spec)
    shape = (1, *map_shape(uniform.positions))
    levels = Levels(uniform.codebook.size)
    parts = {part: _codes(run, name, split, levels, shape) for part, split in data.parts.items()}
    spec = Spec(shape, data.spec.classes, data.spec.y, levels=levels.levels)
    call = origin(run, "codes_of")
    return Data(f"codes of {data.name}", parts["train"], parts["validation"], parts["test"], spec, call)


def with_pixel_cnn(run: Run, prior: Run, again: str) -> Run:
    """The run with the PixelCNN of a prior's run; `again`: the command that trains one. Raises RunError."""
    name, uniform = quantised(run)
    learned = next(iter(prior.model.prior.values()))
    if not isinstance(learned, PixelCNNPrior):
        raise RunError(f"{called(prior)} holds no learned prior; train one with `{again}`")
    net, codebook, shape = learned.net, uniform.codebook, map_shape(uniform.positions)
    if (net.codes, net.shape) != (codebook.size, shape):
        raise RunError(
            f"{called(prior)} is a prior of {net.codes} codes at {net.shape}, {called(run)} has {codebook.size} codes "
            f"at {shape}: train another with `{again}`"
        )
    return _with(run, name, PixelCNNPrior(net, codebook, uniform.positions, learned.given))


def sharpened(run: Run, temperature: float = 1.0, top_k: int | None = None) -> Run:
    """The run whose PixelCNN draws at a `temperature` and among the `top_k` likeliest codes only.

    They change what `generate` makes (see `pixelcnn_sampling.draw`) and no probability that is reported. Raises
    ValueError for a run without a PixelCNN, or for numbers that nothing can be drawn with.
    """
    for name, prior in run.model.prior.items():
        if isinstance(prior, PixelCNNPrior):
            return _with(run, name, prior.sharpened(temperature, top_k))
    raise ValueError(f"temperature and top_k are for runs that draw codes from a PixelCNN; {called(run)} does not")


def has_codes(run: Run) -> bool:
    """Whether a run has a map of codes, whatever its prior."""
    return any(isinstance(prior, (UniformPrior, PixelCNNPrior)) for prior in run.model.prior.values())


def _with(run: Run, name: str, prior: PixelCNNPrior) -> Run:
    return replaced(run, dict(run.model.posterior.items()), {**run.model.prior, name: prior})


def quantised(run: Run) -> tuple[str, UniformPrior]:
    """The run's one latent of codes, by name, and its prior. Raises RunError where there is none with a uniform one."""
    found = [(name, prior) for name, prior in run.model.prior.items() if isinstance(prior, UniformPrior)]
    if len(found) != 1 or len(run.model.prior) != 1:
        raise RunError(
            f"{called(run)} has no map of codes with a uniform prior; a learned prior needs a vector-quantised run, "
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
