"""The laws q(z | m) that are fitted to a run's posteriors, as a recipe over draws of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from polyvae.checks.names import find
from polyvae.completion.masked import Masked, masked
from polyvae.model.families.one_by_one import Autoregressive
from polyvae.model.families.real import DiagonalNormal, FullNormal
from polyvae.model.families.vectors import MixtureNormal, OneHot
from polyvae.model.networks import Shape
from polyvae.model.networks.layers import is_picture
from polyvae.model.networks.observed import ToMap, ToVector
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.prepared import prepared, prepared_observation
from polyvae.model.parts import shapes
from polyvae.model.posteriors.exact import Copied
from polyvae.model.priors.completing import Completing
from polyvae.model.priors.pixelcnn import PixelCNNPrior, map_shape
from polyvae.model.priors.uniform import UniformPrior
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Conditional
from polyvae.objectives.objective import Objective
from polyvae.observe.counts import LogUniform
from polyvae.observe.masks import SparsePixels, observation_shape
from polyvae.recipes import Recipe
from polyvae.recipes.observing import sparse_pixels
from polyvae.recipes.options import Gaussian, Mask
from polyvae.recipes.parts import network_of
from polyvae.training.matching import Matching
from polyvae.training.run import Run
from polyvae.training.second_stage.kept import MATCHED, called
from polyvae.training.store import RunError

DRAWN = "drawn_"  # before a latent's name, the draw of it that is fitted to
CHANNELS = 64  # of a PixelCNN and of what it reads


@dataclass(frozen=True)
class Latents:
    """The latents of a run that q(z | m) is to draw, in the order in which its priors generate.

    `sizes`: by name the shapes of an example's latents, and of what else parts read. `reads`: the names of the
    conditions, such as labels, that are known beside m. `made`: the model with the names of what is observed.
    """

    run: Run
    sizes: Mapping[str, Shape]
    made: Masked

    @property
    def names(self) -> tuple[str, ...]:
        """From the top."""
        return tuple(self.run.model.prior)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(name for name in self.run.model.conditions if name != self.made.name)

    @property
    def spec(self) -> Spec:
        """That of the data; RunError where the run does not say."""
        if self.run.spec is None:
            raise RunError(f"{called(self.run)} does not say what its data are, so that no network of m can be built")
        return self.run.spec


def check_matched(run: Run) -> Masked:
    """The run's model with the names of what it observes. RunError, in words, for one that q(z | m) is of no use to."""
    model, name = run.model, called(run)
    if run.spec is not None and run.spec.modalities:
        raise RunError(f"{name} is a run of several modalities: run.translate (polyvae translate) completes them")
    if "seen" in model.inputs:
        raise RunError(f"{name} knows of gaps: run.impute (polyvae impute) fills them without another law of z")
    made = masked(run.recipe)
    if any(made.name in model.plan.reads(part) for part in model.prior.values()):
        raise RunError(f"the prior of {name} reads {made.name} already: it completes as it is (polyvae complete)")
    if joint := [key for part in (model.posterior, model.prior) for key, each in part.items() if shapes(each)]:
        raise RunError(f"{joint[0]!r} of {name} is one law of several latents; q(z | m) is fitted to each by itself")
    if made.totals:
        raise RunError(f"{name} reads the total of all values, which what is seen does not tell; train without it")
    return made


def check_law(latents: Latents, law: str) -> None:
    """ValueError where no latent of the run has the choice of a law."""
    if not any(_is_vector(latents, name) for name in latents.names):
        held = " and ".join(latents.names)
        raise ValueError(f"law: {law} is a law of vectors, and {held} of this run is none; leave law out")


def masks_of(spec: Spec, asked: Matching) -> SparsePixels:
    """The observations that a law is fitted by."""
    return sparse_pixels(spec, Mask(asked.mask, asked.count, asked.exponent, asked.positions), LogUniform())


def matched(latents: Latents, asked: Matching, seed: int) -> Recipe:
    """The recipe whose model is q(z | m) of every latent, one below the other, with weights of that seed.

    Its bound is log q(z_1 | m) + log q(z_2 | z_1, m) + ... at the draws that the data hold.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        laws = {name: _law(latents, asked, name) for name in latents.names}
    posteriors = {name: Copied(DRAWN + name) for name in latents.names}
    model = VAE(posteriors, laws, {DRAWN + name: Copied(name) for name in latents.names})
    options = {**asdict(asked), "sizes": {name: list(size) for name, size in latents.sizes.items()}}
    return Recipe(model, Objective(), call=json.loads(json.dumps({"name": MATCHED, "options": options})))


def _law(latents: Latents, asked: Matching, name: str) -> nn.Module:
    """q(z | m, what stands above it, conditions)."""
    spec, own = latents.spec, _own(latents.run.model.prior[name])
    above = latents.names[: latents.names.index(name)]
    given = (latents.made.name, *above, *latents.reads)
    m = prepared_observation(spec, observation_shape(spec.x))
    others, size = [latents.sizes[each] for each in given[1:]], latents.sizes[name]
    channels = CHANNELS if asked.widths is None else asked.widths[0]
    if isinstance(own, (UniformPrior, PixelCNNPrior)):
        shape = map_shape(own.positions)
        net = GatedPixelCNN(shape, own.codebook.size, channels, (7, *(3,) * (asked.layers - 1)), channels)
        reader = prepared(ToMap(m, others, shape, channels), spec, given)
        words: Any = deepcopy(own.codebook)
        words.requires_grad_(False)
        return PixelCNNPrior(net, words, own.positions, given, reader=reader)
    if is_picture(size):
        family = DiagonalNormal()
        net = ToMap(m, others, (size[1], size[2]), channels, family.size(size[0]))
        return Conditional(prepared(net, spec, given), family, given)
    dimensions = prod(size)
    usual = find(LAWS, asked.law or USUAL, "law")
    family = OneHot() if name in latents.run.model.summed else usual(dimensions, asked)
    reading = asked.network or ("conv" if is_picture(spec.x) else "mlp")
    build = network_of(Gaussian(dimensions, reading, asked.widths))
    net = ToVector(m, others, family.size(dimensions), build)
    return Conditional(prepared(net, spec, given), family, given)


def _is_vector(latents: Latents, name: str) -> bool:
    codes = isinstance(_own(latents.run.model.prior[name]), (UniformPrior, PixelCNNPrior))
    return not codes and not is_picture(latents.sizes[name]) and name not in latents.run.model.summed


USUAL = "autoregressive"
LAWS: dict[str, Any] = {
    "autoregressive": lambda size, asked: Autoregressive(size, components=asked.components),
    "mixture": lambda size, asked: MixtureNormal(asked.components),
    "full": lambda size, asked: FullNormal(),
    "diagonal": lambda size, asked: DiagonalNormal(),
}


def _own(prior: nn.Module) -> nn.Module:
    return prior.own if isinstance(prior, Completing) else prior
