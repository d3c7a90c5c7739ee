"""The parts of a model: families, conditional distributions, deterministic features, heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.names import kind
from polyvae.model.draw import Values
from polyvae.model.precision import full


class Family(nn.Module, ABC):
    """Turns an unconstrained tensor into a distribution over one event per row."""

    @abstractmethod
    def size(self, features: int) -> int:
        """How many numbers along dimension 1 the network must produce for `features` features."""

    @abstractmethod
    def forward(self, raw: Tensor) -> Distribution:
        """[B, size(F), *rest] -> a distribution with batch shape [B] and event shape [F, *rest]."""


def features_of(family: Family, size: int) -> int:
    """The number of features that a family asks so many numbers for; ValueError where there is none."""
    found = next(count for count in range(1, size + 2) if family.size(count) >= size or count > size)
    if family.size(found) != size:
        raise ValueError(f"{family} asks for {family.size(found)} numbers along dimension 1, or for others; got {size}")
    return found


class Feature(nn.Module):
    """h = net(given): a deterministic value that several parts read and that is computed once.

    `net` is any module called with one tensor per name in `given`, in that order, that returns [B, ...].
    """

    def __init__(self, net: nn.Module, given: str | Sequence[str]) -> None:
        super().__init__()
        self.net = net
        self.given = checked_names(given)

    def forward(self, values: Values) -> Tensor:
        return self.net(*[values[name] for name in self.given])

    def extra_repr(self) -> str:
        return f"given={self.given}"


class Conditional(nn.Module):
    """p(. | given): a network reads named values, a family reads the network.

    `net` is any module called with one tensor per name in `given`, in that order.
    """

    def __init__(self, net: nn.Module, family: Family, given: str | Sequence[str]) -> None:
        super().__init__()
        for role, part, wrong in (("network", net, isinstance(net, Family)), ("family", family, False)):
            if wrong or not isinstance(part, nn.Module):
                makes = "a tensor" if role == "network" else "a law of one"
                raise TypeError(
                    f"Conditional(network, family, given): the {role} is a module that makes {makes}; got {kind(part)}"
                )
        self.net = net
        self.family = family
        self.given = checked_names(given)

    @property
    def shared(self) -> tuple[str, ...]:
        """The names whose values may have n rows beside others with k n, as the network says."""
        return tuple(self.given[place] for place in getattr(self.net, "shared", ()))

    def forward(self, values: Values) -> Distribution:
        raw = self.net(*[values[name] for name in self.given])
        # Under mixed precision the network ends in half precision; densities sum over many values and need float32.
        return self.family(full(raw))

    def extra_repr(self) -> str:
        return f"given={self.given}"


class Head(nn.Module):
    """One observed variable: its likelihood, what it explains, how it counts.

    `of` names the value it explains. `weight` multiplies its log-likelihood in training, never in a reported bound.
    `where` names a boolean value, [B] or of the shape of what is explained: rows, or values, that are False are not
    scored. Values are scored one by one only by a likelihood under which they are independent. `direct`: its law at
    latents of zero is trained too, see `polyvae.objectives.direct`, and counts in the mean of a completion.
    """

    def __init__(
        self,
        likelihood: nn.Module,
        of: str = "x",
        weight: float = 1.0,
        where: str | None = None,
        direct: bool = False,
    ) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.of = of
        self.weight = weight
        self.where = where
        self.direct = direct

    def forward(self, values: Values) -> Distribution:
        return self.likelihood(values)

    @property
    def starts(self) -> bool:
        """Whether it begins at the mean of what it explains: a network that is centred, and a family that knows how."""
        part = self.likelihood
        if not isinstance(part, Conditional):
            return False
        return getattr(part.net, "centred", False) and hasattr(part.family, "raw")

    def start(self, values: Values) -> None:
        """Puts the network's output at the mean of what is scored of the examples, half a one of either bit added."""
        if self.starts:
            x, part = full(values[self.of]), cast(Any, self.likelihood)
            scored = torch.ones_like(x) if self.where is None else values[self.where].to(x)
            scored = scored.view(*scored.shape, *[1] * (x.ndim - scored.ndim)).expand_as(x)
            part.net.begin_at(part.family.raw(((x * scored).sum(0) + 0.5) / (scored.sum(0) + 1)))

    def extra_repr(self) -> str:
        direct = ", direct=True" if self.direct else ""
        return f"of={self.of!r}, weight={self.weight}, where={self.where!r}{direct}"


def home(module: nn.Module) -> torch.device:
    """Where a module is: the device of its first tensor, the CPU without one."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), torch.device("cpu"))


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every part is in the mode it was in."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given)


def checked_names(given: Any, whose: str = "") -> tuple[str, ...]:
    """`names`, for what a user gives: TypeError where anything else is among them."""
    found = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if wrong := [name for name in found if not isinstance(name, str)]:
        got = kind(wrong[0] if isinstance(given, (list, tuple)) else given)
        raise TypeError(f"{whose}given holds the names of values, as ('x', 'y'); got {got}")
    return found


def given(part: nn.Module) -> tuple[str, ...]:
    """What a part says that it reads; a part that does not say reads nothing."""
    return names(getattr(part, "given", ()))


def observed(part: nn.Module) -> tuple[str, ...]:
    """What a likelihood says that it reads of what is observed, in a pass alone."""
    return names(getattr(part, "observes", ()))


def shared(part: nn.Module) -> tuple[str, ...]:
    """What a part reads once for all draws: the rows of the batch, beside those of the draws."""
    return tuple(getattr(part, "shared", ()))


def shapes(part: nn.Module) -> dict[str, tuple[int, ...]]:
    """The latents that one law is of, each with the shape of an example's, or none where a part is of the one it names.

    Their values stand in the law's vector one after the other.
    """
    return dict(getattr(part, "shapes", {}))


def apart(part: nn.Module, name: str, value: Tensor) -> dict[str, Tensor]:
    """A value [N, ...] of a part's law by the names of the latents that it is of."""
    of = shapes(part)
    if not of:
        return {name: value}
    sizes = [prod(shape) for shape in of.values()]
    if value.ndim != 2 or sum(sizes) != value.shape[1]:
        found = list(value.shape[1:])
        raise ValueError(f"{name!r} has a law of shape {found}; its shapes {of} are of a vector of {sum(sizes)} values")
    pieces = value.split(sizes, 1)
    return {latent: each.reshape(-1, *shape) for (latent, shape), each in zip(of.items(), pieces, strict=True)}


def by_name(part: nn.Module | Mapping[str, nn.Module], name: str) -> dict[str, nn.Module]:
    """Parts by name; a bare one has the name that is usual."""
    if isinstance(part, nn.ModuleDict):
        return dict(part.items())
    return dict(part) if isinstance(part, Mapping) else {name: part}
