"""Bits-back coding of examples, one upon the other on a stack."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polyvae.compression.latents import Coded, Coding, coded
from polyvae.compression.stack import Stack
from polyvae.compression.tables import counts, random_words
from polyvae.compression.values import Values, values_of
from polyvae.model.draw import first_heads
from polyvae.model.parts import Head, given, shapes
from polyvae.model.vae import VAE


class Chain:
    """Codes examples x by a model, each upon the bits of those before it.

    To write x: the latents are popped by q(z | x), top level first, which gives back -log q(z | x) bits; x is pushed by
    p(x | z) and the latents by p(z). To read, the same backwards. The bits of x are in expectation those of the plain
    bound, -E_q[log p(x | z) + log p(z) - log q(z | x)], of a latent that is drawn on a grid. The first example
    pops bits that were there before: they are the stack's own, and come again when it is read.

    All is computed in float64 on the CPU, one example after the other on one thread, so that reading makes the very
    probabilities that writing made. ValueError, by name, for a model that reads anything but x, that has a latent
    whose law is none of single numbers, or a likelihood of densities.

    Townsend, Bird, Barber: Practical Lossless Compression with Latent Variables Using Bits Back Coding, 2019; of
    several levels Townsend, Bird, Kunze, Barber: HiLLoC: Lossless Image Compression with Hierarchical Latent Variable
    Models, 2020; Kingma, Abbeel, Ho: Bit-Swap, 2019.
    """

    def __init__(self, model: VAE, shape: Sequence[int]) -> None:
        _check(model)
        self.model = deepcopy(model).cpu().double().eval().requires_grad_(False)
        self.shape = tuple(shape)
        self.order = order_of(model)
        head: Any = self.model.heads[first_heads(self.model.heads)[0]]
        self.likelihood: nn.Module = head.likelihood
        self.sizes: dict[str, int] = {}  # of the latents
        with exact():
            self.values: Values = values_of(self._trial(), "x")

    @property
    def numbers(self) -> int:
        """How many numbers or codes the latents of an example are."""
        return sum(self.sizes.values())

    @property
    def levels(self) -> int | None:
        """How many levels a value has; None for counts."""
        return self.values.levels

    def write(self, stack: Stack, examples: np.ndarray, largest: int = 0) -> Iterator[int]:
        """Pushes examples of symbols, int64 [N, *shape], and yields after each how many bits the stack holds."""
        with exact():
            for number, example in enumerate(examples):
                self._write(stack, example.reshape(-1), largest, self._pads(number))
                yield stack.bits

    def read(self, stack: Stack, number: int, largest: int = 0) -> np.ndarray:
        """Pops so many examples, in the order in which they were written."""
        found = np.empty((number, int(np.prod(self.shape))), np.int64)
        with exact():
            for row in reversed(range(number)):
                found[row] = self._read(stack, largest, self._pads(row))
        return found.reshape(number, *self.shape)

    def _write(self, stack: Stack, symbols: np.ndarray, largest: int, pads: Mapping[str, np.ndarray]) -> None:
        values = {"x": self._numbers(symbols)}
        kept: dict[str, tuple[Coded, np.ndarray]] = {}
        for name in self.order:
            latent = self._latent(name, values)
            drawn = popped(stack, latent.by_posterior(self._law(self.model.posterior[name], values), None))
            values[name] = latent.value(drawn)
            kept[name] = latent, drawn
        pushed(stack, self.values.coding(self._law(self.likelihood, values), symbols, largest))
        for name in reversed(self.order):
            latent, drawn = kept[name]
            pushed(stack, latent.by_prior(drawn, pads[name]))

    def _read(self, stack: Stack, largest: int, pads: Mapping[str, np.ndarray]) -> np.ndarray:
        values: dict[str, Tensor] = {}
        kept: dict[str, tuple[Coded, np.ndarray]] = {}
        for name in self.order:
            latent = self._latent(name, values)
            drawn = popped(stack, latent.by_prior(None, pads[name]))
            values[name] = latent.value(drawn)
            kept[name] = latent, drawn
        symbols = popped(stack, self.values.coding(self._law(self.likelihood, values), None, largest))
        values["x"] = self._numbers(symbols)
        for name in reversed(self.order):
            latent, drawn = kept[name]
            pushed(stack, latent.by_posterior(self._law(self.model.posterior[name], values), drawn))
        return symbols

    def _pads(self, number: int) -> dict[str, np.ndarray]:
        """Numbers of 16 bits for each latent of an example."""
        words = random_words(self.numbers, number).astype(np.int64) >> 16
        return dict(zip(self.sizes, np.split(words, np.cumsum(list(self.sizes.values()))[:-1]), strict=True))

    def _latent(self, name: str, values: dict[str, Tensor]) -> Coded:
        return coded(self._law(self.model.prior[name], values), name, self.model.posterior[name])

    def _law(self, part: nn.Module, values: dict[str, Tensor]) -> Any:
        """The law of a part; `values` take up the features that it reads, which stay those of an example."""
        self._know(given(part), values)
        return part(values)

    def _know(self, names: Iterable[str], values: dict[str, Tensor]) -> None:
        for name in names:
            if name in self.model.features and name not in values:
                values[name] = self._law(self.model.features[name], values)

    def _numbers(self, symbols: np.ndarray) -> Tensor:
        x = torch.from_numpy(symbols).double().view(1, *self.shape)
        return x if self.levels is None else x / (self.levels - 1)

    def _trial(self) -> Any:
        """The likelihood of an example whose latents are drawn from bits that are all 0: what kinds the laws are."""
        values = {"x": torch.zeros(1, *self.shape, dtype=torch.float64)}
        for name in self.order:
            latent = self._latent(name, values)
            drawn = popped(Stack(), latent.by_posterior(self._law(self.model.posterior[name], values), None))
            self.sizes[name] = len(drawn)
            values[name] = latent.value(drawn)
        return self._law(self.likelihood, values)


def popped(stack: Stack, coding: Coding) -> np.ndarray:
    """The symbols of a coding, read."""
    try:
        table, _ = next(coding)
        while True:
            table, _ = coding.send(stack.pop(counts(table)))
    except StopIteration as end:
        return end.value


def pushed(stack: Stack, coding: Coding) -> None:
    """Writes the symbols of a coding, the last first, so that they are read in their order."""
    turns: list[tuple[np.ndarray, np.ndarray]] = []
    try:
        table, symbols = next(coding)
        while True:
            assert symbols is not None
            turns.append((symbols, counts(table)))
            table, symbols = coding.send(symbols)
    except StopIteration:
        pass
    for symbols, table in reversed(turns):
        stack.push(symbols, table)


@contextmanager
def exact() -> Iterator[None]:
    """One thread, deterministic algorithms and no gradients; all is put back as it was."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn)


def _check(model: VAE) -> None:
    """ValueError for a model whose examples are not coded by x and the latents alone."""
    if others := sorted({*model.inputs, *model.conditions} - {"x"}):
        raise ValueError(f"compression codes x by the latents alone, and this model also reads {others}")
    heads = first_heads(model.heads)
    if len(heads) != 1 or not isinstance(head := model.heads[heads[0]], Head) or head.of != "x":
        raise ValueError(f"compression codes x alone, and this model explains {[str(h) for h in heads]}")
    for name in model.plan.latents:
        if name not in model.posterior or name not in model.prior or shapes(model.posterior[name]):
            raise ValueError(
                f"compression codes latents with laws of their own, and {name!r} shares its law with others"
            )


def order_of(model: VAE) -> tuple[str, ...]:
    """The latents such that posterior and prior of each read none but those before it; ValueError where there is no
    such order: then the grid of one is not known when it is drawn."""
    left, found = list(model.plan.latents), list[str]()
    while left:
        reads = {name: model.plan.reads(model.posterior[name]) | model.plan.reads(model.prior[name]) for name in left}
        ready = [name for name in left if not reads[name] & set(left)]
        if not ready:
            raise ValueError(
                f"compression draws latents in the order that generates them, and of {left} none is inferred and "
                "generated from those before it alone: train a model that infers from the top, such as two_level, or "
                "leave out a prior that was fitted afterwards (code_prior own)"
            )
        found.append(ready[0])
        left.remove(ready[0])
    return tuple(found)
