"""Networks: a builder takes the shapes of inputs and output and returns a module, net(*tensors) -> [B, *output].

A network with an attribute `shared`, places of inputs, reads these with n rows beside others with k n, all rows of the
first of k draws first, and gives k n: what it makes of them alone it makes once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from polyvae.model.networks.conv import conv
from polyvae.model.networks.layers import Builder, Shape
from polyvae.model.networks.mlp import mirrored, mlp
from polyvae.model.networks.modes import modes
from polyvae.model.networks.residual import residual
from polyvae.model.networks.sensing import sensing
from polyvae.model.networks.sparse import multiscale
from polyvae.model.networks.strided import strided

NETWORKS: dict[str, Callable[..., Any]] = {
    "mlp": mlp,
    "mlp-tanh": partial(mlp, activation=nn.Tanh, centred=True),
    "conv": conv,
    "residual": residual,
    "strided": strided,
}

__all__ = [
    "NETWORKS",
    "Builder",
    "Shape",
    "conv",
    "mirrored",
    "mlp",
    "modes",
    "multiscale",
    "network",
    "residual",
    "sensing",
    "strided",
]


def network(which: str | Builder) -> Builder:
    """Return the builder of that name in `NETWORKS`, or the given builder itself; ValueError names the known ones."""
    if callable(which):
        return which
    if which not in NETWORKS:
        raise ValueError(f"no network is called {which!r}; known: {', '.join(NETWORKS)}, or any build(inputs, output)")
    return NETWORKS[which]
