"""The codes of a vector-quantised run as pictures, and PixelCNNs over them as the run's prior, one for each map."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.checks.names import one_of
from polyvae.data.exchange.codes import retold
from polyvae.data.loading import as_data
from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import each_block, joined
from polyvae.model.distributions.codes import Quantised, depth_of
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


@dataclass(frozen=True)
class WithWords:
    """What a recipe of the codes of one map reads: these as grey values, and the maps above as words of their own.

    `above`: by the name of each of those maps, its codebook.
    """

    levels: Levels
    above: Mapping[str, nn.Module]

    def __call__(self, values: Values) -> dict[str, Tensor]:
        words = {
            name: codebook.to(values[name].device).embed(values[name].long())  # pyright: ignore
            for name, codebook in self.above.items()
        }
        return {**self.levels(values), **words}


def code_data(run: Run, data: Any, level: str | None = None) -> Data:
    """The codes of a run as pictures of one channel and as many grey levels as there are codes; labels beside them.

    A map of codes [h, w] is a picture [1, h, w] of small integers, a row of codes [n] one of [1, 1, n]; several
    integers a place, [C, h, w], stand beside each other as [1, h, w C]. Codes that are drawn are drawn once.

    `level`: which map of a run with several, whose maps above it stand beside it as "above1", "above2" ..., the highest
    first. Raises RunError for a run without codes, ValueError for a level that it has not.
    """
    maps = quantised(run)
    if level is None and len(maps) > 1:
        raise ValueError(f"the run has several maps of codes; level is one of {', '.join(maps)}")
    return level_data(run, data)[chosen_levels(run, level)[0]]


def level_data(run: Run, data: Any) -> dict[str, Data]:
    """`code_data` of every map of codes, by name, the highest first; all are encoded at once."""
    maps, data = quantised(run), retold(as_data(data), run.spec)
    codes = {part: _codes(run, maps, split) for part, split in data.parts.items()}
    return {name: _level(run, data, maps, codes, name) for name in maps}


def chosen_levels(run: Run, level: str | None = None) -> list[str]:
    """The names of a run's maps of codes, the highest first, or the one that is chosen; ValueError for another."""
    names = list(quantised(run))
    return names if level is None else [one_of(names, level, "level")]


def above(run: Run, level: str) -> dict[str, UniformPrior]:
    """The maps above one of a run's, by the names that they have beside it, and the priors that know their words."""
    maps = quantised(run)
    higher = list(maps)[: list(maps).index(level)]
    return {f"above{place}": maps[name] for place, name in enumerate(higher, 1)}


def options_above(run: Run, level: str) -> dict[str, Any]:
    """What the recipe of one of a run's maps is told of those above it."""
    sides = [(each.codebook.dim, *map_shape(_places(each))) for each in above(run, level).values()]
    return {"above": [number for each in sides for number in each]} if sides else {}


def with_pixel_cnns(run: Run, priors: Mapping[str, Run], again: str) -> Run:
    """The run with the PixelCNNs of its priors' runs, by the maps that they are of; `again`: the command that trains
    them. Raises RunError."""
    for name, prior in priors.items():
        run = _with(run, name, _learned(run, name, prior, again))
    return run


def _learned(run: Run, name: str, prior: Run, again: str) -> PixelCNNPrior:
    """The PixelCNN of a prior's run as the law of one of the run's maps."""
    uniform = run.model.prior[name]
    assert isinstance(uniform, UniformPrior)
    learned = next(iter(prior.model.prior.values()))
    if not isinstance(learned, PixelCNNPrior):
        raise RunError(f"{called(prior)} holds no learned prior; train one with `{again}`")
    net, codebook, shape = learned.net, uniform.codebook, map_shape(uniform.positions)
    if (net.codes, net.shape) != (codebook.size, shape):
        raise RunError(
            f"{called(prior)} is a prior of {net.codes} codes at {net.shape}, {called(run)} has {codebook.size} codes "
            f"at {shape}: train another with `{again}`"
        )
    higher = list(run.model.prior)[: list(run.model.prior).index(name)]
    names = {f"above{place}": each for place, each in enumerate(higher, 1)}
    given = tuple(names.get(each, each) for each in learned.given)
    return PixelCNNPrior(net, codebook, uniform.positions, given, reader=learned.reader)


def sharpened(run: Run, temperature: float = 1.0, top_k: int | None = None) -> Run:
    """The run whose PixelCNNs draw at a `temperature` and among the `top_k` likeliest codes only.

    They change what `generate` makes (see `pixelcnn_sampling.draw`) and no probability that is reported. Raises
    ValueError for a run without a PixelCNN, or for numbers that nothing can be drawn with.
    """
    learned = {name: prior for name, prior in run.model.prior.items() if isinstance(prior, PixelCNNPrior)}
    for name, prior in learned.items():
        run = _with(run, name, prior.sharpened(temperature, top_k))
    if learned:
        return run
    raise ValueError(f"temperature and top_k are for runs that draw codes from a PixelCNN; {called(run)} does not")


def has_codes(run: Run) -> bool:
    """Whether a run has a map of codes, whatever its prior."""
    return any(isinstance(prior, (UniformPrior, PixelCNNPrior)) for prior in run.model.prior.values())


def _with(run: Run, name: str, prior: PixelCNNPrior) -> Run:
    return replaced(run, dict(run.model.posterior.items()), {**run.model.prior, name: prior})


def quantised(run: Run) -> dict[str, UniformPrior]:
    """The run's latents, all of codes, by name, the highest first, and their priors.

    Raises RunError where one is of anything else, or has another prior than a uniform one.
    """
    found = {name: prior for name, prior in run.model.prior.items() if isinstance(prior, UniformPrior)}
    if not found or len(found) != len(run.model.prior):
        raise RunError(
            f"{called(run)} has no map of codes with a uniform prior; a learned prior needs a vector-quantised run, "
            "such as one of vq_vae"
        )
    return found


def _places(uniform: UniformPrior) -> tuple[int, ...]:
    """The sides of a map of words, where several integers may stand at a place."""
    return uniform.positions[len(depth_of(uniform.codebook)) :]


def _level(
    run: Run, data: Data, maps: Mapping[str, UniformPrior], codes: Mapping[str, dict[str, Tensor]], name: str
) -> Data:
    """The codes of one map, those of the maps above it and labels of every part."""
    shape, higher = (1, *map_shape(maps[name].positions)), above(run, name)
    levels = Levels(maps[name].codebook.size)
    words = {each: deepcopy(prior.codebook).requires_grad_(False).eval() for each, prior in higher.items()}
    parts = {}
    for part, split in data.parts.items():
        found = codes[part]
        tensors = {"x": as_maps(found[name]).reshape(-1, *shape)}
        tensors |= {each: found[of] for each, of in zip(higher, maps, strict=False)}
        tensors |= {"y": split.tensors["y"].cpu()} if "y" in split.tensors else {}
        parts[part] = Split(tensors, WithWords(levels, words) if words else levels)
    spec = Spec(shape, data.spec.classes, data.spec.y, levels=levels.levels)
    title, call = f"codes of {data.name}", origin(run, "codes_of")
    if len(maps) > 1:
        title = f"{name} {title}"
        call |= {"codes_of": "../..", "level": name, "levels": list(maps)} if call else {}
    return Data(title, parts["train"], parts["validation"], parts["test"], spec, call)


def _codes(run: Run, maps: Mapping[str, UniformPrior], split: Split) -> dict[str, Tensor]:
    """The codes of every map, small integers [N, *positions]; of codes that are drawn a draw, at those drawn above.

    Their prior is that of all draws, not of the likeliest alone.
    """
    types = {name: torch.int16 if each.codebook.size <= 2**15 else torch.int32 for name, each in maps.items()}
    if not len(split):
        return {name: torch.zeros(0, *each.positions, dtype=types[name]) for name, each in maps.items()}

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        return {
            name: (latent.q.codes if isinstance(latent.q, Quantised) else maps[name].codebook.nearest(latent.z[0])).to(
                types[name]
            )
            for name, latent in model.infer(batch).latents.items()
        }

    return joined(each_block(run, split, measure))
