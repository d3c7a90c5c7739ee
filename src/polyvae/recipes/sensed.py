"""Networks of sensors in recipes: where the sensors are, and where the networks start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from polyvae.model.families.places import PlaceNormal
from polyvae.model.networks.layers import is_picture, set_buffers
from polyvae.model.networks.sensing import Sensing, SensingDecoder, sensing
from polyvae.model.parts import Conditional, Head
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.observe.sensors import Fixed
from polyvae.recipes.canonical import Principal
from polyvae.recipes.conditions import Condition
from polyvae.recipes.observing import READINGS, at_fixed_places
from polyvae.recipes.options import Codes, Gaussian, Mask
from polyvae.recipes.parts import reads_sensors

Latent = TypeVar("Latent", Gaussian, Gaussian | Codes)
NAME = "sensing"
ROWS = 1_500  # examples that axes are found from
FEWEST = 4
FAINTEST = 1e-6  # of a scale, where values are of the order of one


def at_sensors(latent: Latent, spec: Spec, mask: Mask, y: Condition) -> Latent:
    """`latent` with networks that read the sensors where its network is "sensing", or that builder, else as it is.

    ValueError, by name, for masks whose places are not the same in every example, for tables, beside conditions that
    are pictures, and for readings between points, which no other network reads.
    """
    if not isinstance(latent, Gaussian) or not (latent.network == NAME or reads_sensors(latent)):
        if mask.kind == READINGS and not isinstance(latent, Gaussian):
            raise ValueError("mask: readings are not of codes; take mask 'points', or a recipe without codes")
        if mask.kind == READINGS:
            raise ValueError("mask: readings are read by the network sensing; take network='sensing', or 'points'")
        return latent
    if not is_picture(spec.x):
        raise ValueError(f"network: sensing is for pictures and fields; x has the shape {list(spec.x)}")
    where = at_fixed_places(spec, mask, "the network sensing")
    if pictures := [name for name, shape in y.shapes.items() if is_picture(shape)]:
        raise ValueError(
            f"condition: the network sensing reads labels and vectors beside x; {pictures[0]} is a picture"
        )
    own = sensing if isinstance(latent.network, str) else latent.network
    pixels = where.pixels(*spec.x[1:]) if isinstance(where, Fixed) else range(len(where.coordinates) * where.history)
    build = partial(own, channels=spec.x[0], pixels=tuple(pixels))
    build = build if latent.widths is None else partial(build, hidden=tuple(latent.widths))
    return replace(latent, network=build, widths=None)


@dataclass(frozen=True)
class Sensed:
    """Starts networks of sensors at the training examples, as `start` of a recipe.

    Readings come to be of the order of one, and leading components of whole fields too. A decoder starts as the
    regression of the principal components on the readings, ridge and all, whose left-out errors are the units of what
    its perceptron adds and the scales of a likelihood that has one for every place.
    """

    model: VAE

    @classmethod
    def of(cls, model: VAE) -> Sensed | None:
        """That of a model that has such networks; ValueError where one is to make what is no mean of a field."""
        for part in _parts(model):
            if isinstance(_net(part), SensingDecoder) and not hasattr(part.family, "plain"):
                raise ValueError("network: sensing is of real numbers, such as velocities; take another one for x")
        return cls(model) if any(True for _ in _parts(model)) else None

    @torch.no_grad()
    def __call__(self, values: Values) -> None:
        heads = [part for part in self.model.heads.values() if isinstance(part, Head)]
        family: Any = next(head.likelihood.family for head in heads if isinstance(head.likelihood, Conditional))
        x = family.plain(values["x"]).flatten(1).double()
        if len(x) < FEWEST:
            raise ValueError(f"network: sensing starts at examples, at least {FEWEST}; these are {len(x)}")
        decoders = [net for part in _parts(self.model) if isinstance(net := _net(part), SensingDecoder)]
        most = max((len(net.axes) for net in decoders), default=1)
        found = Principal.of(x[:: -(-len(x) // ROWS)], most)
        for part in _parts(self.model):
            net = _net(part)
            m = _read(part, values, net)
            if m is not None:
                value, works = net.readings.told(m)
                seen = works.sum(0).clamp(min=1)
                centre = (value * works).sum(0) / seen
                scale = ((value - centre).square() * works).sum(0).div(seen).sqrt()
                net.readings.centre.copy_(centre)
                net.readings.scale.copy_(torch.where(scale > FAINTEST, scale, 1.0))
            if net.readings.mean.numel():
                count = min(net.readings.leading.shape[1], len(found.axes))
                axes = found.axes[:count]
                sizes = ((x - found.mean) @ axes.T).square().mean(0).sqrt()
                set_buffers(net.readings, mean=found.mean, leading=(axes / sizes[:, None]).T)
            if isinstance(net, SensingDecoder):
                _start_decoder(net, part.family, x, found, m)


def _start_decoder(net: SensingDecoder, family: Any, x: Tensor, found: Principal, m: Tensor | None) -> None:
    axes = found.axes[: len(net.axes)]
    centred = x - x.mean(0)
    codes = centred @ axes.T
    errors = codes
    if m is not None:
        read = Principal.of(net.readings.standardised(m)[0])
        ridge = read.best([codes])
        errors = read.left_out(codes, [ridge])[0]
        linear = read.axes.T @ read.slopes(codes, ridge)
        set_buffers(net, linear=linear, base=x.mean(0) - (read.mean @ linear) @ axes)
    else:
        set_buffers(net, base=x.mean(0))
    set_buffers(net, axes=axes, units=errors.square().mean(0).sqrt())
    inner = getattr(family, "family", None)
    if isinstance(inner, PlaceNormal):
        inner.begin((centred - (codes - errors) @ axes).square().mean(0).sqrt())


def _read(part: Conditional, values: Values, net: Sensing) -> Tensor | None:
    """The observation as the network of a part reads it, None where it reads none."""
    if "m" not in part.given:
        return None
    m = values["m"]
    layers: Any = getattr(part.net, "layers", None)
    return m if layers is None else layers[list(part.given).index("m")](m)


def _net(part: Conditional) -> Sensing:
    return next(each for each in part.net.modules() if isinstance(each, Sensing))


def _parts(model: VAE) -> Iterator[Conditional]:
    """The laws that read or say something through such a network."""
    for part in model.modules():
        if isinstance(part, Conditional) and any(isinstance(each, Sensing) for each in part.net.modules()):
            yield part
