"""Latents as symbols: bins of equal mass under their prior, and codes of words; drawn from a posterior, or generated.

A coding is a generator: it yields a table of probabilities [n, S] with the symbols that are to be coded by it, or None
where they are to be read; is sent the symbols [n]; and returns all of them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.compression.scalars import Scalar, Vector, vector
from polyvae.compression.tables import DIGIT, DIGITS, edges, even, middle
from polyvae.model.distributions.categorical_codes import CategoricalCodes
from polyvae.model.distributions.codes import CodeLaw, CodePrior, UniformCodes
from polyvae.model.networks.pixelcnn_sampling import Stacks
from polyvae.model.priors.pixelcnn import PixelCodes, as_maps, from_maps

Coding = Generator[tuple[Tensor, np.ndarray | None], np.ndarray, np.ndarray]


class Coded(Protocol):
    """A latent of one example: its symbols by the posterior q, by the prior p, and the value that they stand for.

    `pad`: numbers below 2^16, as many as there are symbols. Where the prior is even they are added to what is written,
    so that the bits look random whatever latents the data have. The next example pops these, and what is
    popped from bits that are not random is no fair draw of its posterior.
    """

    def by_posterior(self, q: Distribution, symbols: np.ndarray | None) -> Coding: ...

    def by_prior(self, symbols: np.ndarray | None, pad: np.ndarray) -> Coding: ...

    def value(self, symbols: np.ndarray) -> Tensor: ...


def coded(p: Distribution, name: str, part: Any) -> Coded:
    """A latent of this prior and of this posterior's `part`; ValueError for a prior that has no such numbers."""
    if isinstance(p, CodePrior):
        return Words(p, name, part)
    found = vector(p)
    if found is None:
        raise _unknown(p, "prior", name)
    return Binned(found, p, name)


def _unknown(law: Distribution, role: str, name: str) -> ValueError:
    return ValueError(
        f"the {role} of {name!r} is a {type(law).__name__}, whose numbers cannot be taken one after the other: train "
        "with a diagonal or full posterior, and a standard, conditional, mixture, vamp or autoregressive prior"
    )


class Binned:
    """A vector in 2^16 bins a number, each of equal mass under its prior given the numbers before it, in two digits.

    A bin stands for the value below which half of its mass lies. By the prior all bins are equally likely: 16 bits a
    number. By the posterior q a bin has the mass of q in it.
    """

    def __init__(self, p: Vector, law: Distribution, name: str) -> None:
        self.p, self.shape, self.name = p, law.event_shape, name

    def by_posterior(self, q: Distribution, symbols: np.ndarray | None) -> Coding:
        found = vector(q)
        if found is None:
            raise _unknown(q, "posterior", self.name)
        return self._walk(found, symbols)

    def by_prior(self, symbols: np.ndarray | None, pad: np.ndarray) -> Coding:
        known = None if symbols is None else symbols ^ pad
        padded = [_digit(known, digit) if known is not None else None for digit in range(DIGITS)]
        found = np.zeros(self.p.size, np.int64)
        for digit in range(DIGITS):
            found = found * 2**DIGIT + (yield even(self.p.size, 2**DIGIT), padded[digit])
        return found ^ pad

    def value(self, symbols: np.ndarray) -> Tensor:
        z = torch.zeros(self.p.size, dtype=torch.float64)
        bins = torch.from_numpy(symbols)
        for part in self._parts(self.p.in_turn):
            z[part] = _value(self.p.given(part, z), bins[part])
        return z.view(1, *self.shape)

    def _walk(self, q: Vector, symbols: np.ndarray | None) -> Coding:
        z = torch.zeros(self.p.size, dtype=torch.float64)
        found = np.zeros(self.p.size, np.int64)
        for part in self._parts(self.p.in_turn or q.in_turn):
            p, law = self.p.given(part, z), q.given(part, z)
            for digit in range(DIGITS):
                known = None if symbols is None else _digit(symbols[part], digit)
                ends = p.at(edges(torch.from_numpy(found[part]), digit))
                chosen = yield law.below(ends).diff(dim=1).clamp(min=0), known
                found[part] = found[part] * 2**DIGIT + chosen
            z[part] = _value(p, torch.from_numpy(found[part]))
        return found

    def _parts(self, in_turn: bool) -> list[slice]:
        return [slice(i, i + 1) for i in range(self.p.size)] if in_turn else [slice(0, self.p.size)]


def _value(p: Scalar, bins: Tensor) -> Tensor:
    return p.at(middle(bins).unsqueeze(1)).squeeze(1)


def _digit(bins: np.ndarray, digit: int) -> np.ndarray:
    return bins >> (DIGIT * (DIGITS - 1 - digit)) & (2**DIGIT - 1)


class Words:
    """A map of codes, coded as it is: by a uniform prior all at once, by a PixelCNN one after the other.

    A quantiser's posterior is certain of its codes: it costs nothing and gives nothing back. One that draws codes does.
    """

    def __init__(self, p: CodePrior, name: str, part: Any) -> None:
        if not isinstance(p, (UniformCodes, PixelCodes)):
            raise _unknown(p, "prior", name)
        self.p, self.name, self.embed = p, name, part.embed
        self.size = p.codebook.size

    def by_posterior(self, q: Distribution, symbols: np.ndarray | None) -> Coding:
        if isinstance(q, CategoricalCodes):
            probabilities = q.logits.double().movedim(1, -1).reshape(-1, self.size).exp()
            return (yield probabilities, symbols)
        if not isinstance(q, CodeLaw):
            raise _unknown(q, "posterior", self.name)
        return q.codes.reshape(-1).numpy()

    def by_prior(self, symbols: np.ndarray | None, pad: np.ndarray) -> Coding:
        if isinstance(self.p, PixelCodes):
            return (yield from self._pixel_by_pixel(self.p, symbols))
        known = None if symbols is None else (symbols + pad) % self.size
        return ((yield even(self.p.positions.numel(), self.size), known) - pad) % self.size

    def value(self, symbols: np.ndarray) -> Tensor:
        return self.embed(torch.from_numpy(symbols).view(1, *self.p.positions))

    def _pixel_by_pixel(self, p: PixelCodes, symbols: np.ndarray | None) -> Coding:
        positions = tuple(p.positions)
        known = None if symbols is None else as_maps(torch.from_numpy(symbols).view(1, *positions))
        height, width = p.net.shape
        found = torch.zeros(1, height, width, dtype=torch.int64)
        stacks = Stacks(p.net, 1, p.net.spread(p.y))
        for row in range(height):
            stacks.enter(row)
            for column in range(width):
                table = stacks.logits(column).double().softmax(1)
                code = yield table, None if known is None else known[:, row, column].numpy()
                found[:, row, column] = torch.from_numpy(code)
                stacks.put(column, found[:, row, column])
        return from_maps(found, positions).reshape(-1).numpy()
