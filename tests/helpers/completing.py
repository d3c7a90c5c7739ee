"""Linear models whose completions have a closed form, what they are given, and their scores."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import polyvae as pv
from polyvae.completion.scores import Score
from polyvae.model.families.real import PixelNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.vae import VAE, Conditional, Family

SHAPE = (1, 2, 3)


def random(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers of their own seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Around(nn.Module):
    """N(net(value), 0.3^2) of a vector."""

    def __init__(self, net: nn.Module, given: str) -> None:
        super().__init__()
        self.net, self.given = net, (given,)

    def forward(self, values: pv.Values) -> Independent:
        loc = self.net(values[self.given[0]].flatten(1))
        return Independent(Normal(loc, torch.full_like(loc, 0.3)), 1)


class Sum(nn.Module):
    """A linear map of each input, added: [B, ...] ... -> [B, *output]."""

    def __init__(self, sizes: list[int], output: tuple[int, ...], seed: int = 0) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(size, torch.Size(output).numel(), bias=False) for size in sizes)
        self.output = output
        for number, layer in enumerate(self.maps):
            weight = layer.weight  # pyright: ignore
            weight.data = random(*weight.shape, seed=seed + number)  # pyright: ignore

    def forward(self, *tensors: Tensor) -> Tensor:
        made = [layer(tensor.flatten(1)) for layer, tensor in zip(self.maps, tensors, strict=True)]
        return torch.stack(made).sum(0).unflatten(1, self.output)


SEEN = 2 * 6  # of an observation


def encoder() -> Around:
    """q(z | x) of two dimensions."""
    return Around(Sum([6], (2,), seed=5), "x")


def decoder(*given: str, family: Family | None = None, shape: tuple[int, ...] = SHAPE) -> Conditional:
    """p(x | given), linear in each."""
    sizes = {"z": 2, "m": SEEN, "y": 3}
    family = family or PixelNormal(0.5)
    return Conditional(Sum([sizes[name] for name in given], (family.size(shape[0]), *shape[1:])), family, given)


def semi_conditional(family: Family | None = None) -> VAE:
    """p(z) = N(0, I), x = A z + B m and noise of deviation 1/2."""
    return VAE(encoder(), StandardNormal(2), decoder("z", "m", family=family))


def data(count: int = 5, points: int = 2) -> tuple[Tensor, Tensor]:
    """Pictures and masks of so many known points."""
    order = random(count, 6, seed=1).argsort(1).argsort(1)
    return random(count, *SHAPE), (order < points).view(count, *SHAPE)


def close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether no two differ by the tolerance or more."""
    return bool(((found - expected).abs() < tolerance).all())


def maps(model: VAE) -> list[Tensor]:
    """The matrices of the likelihood, one for each value it is given."""
    return [layer.weight.data for layer in model.heads["x"].likelihood.net.maps]  # pyright: ignore


def of(scores: list[Score], method: str = "model") -> Score:
    """The first score of a method."""
    return next(score for score in scores if score.method == method)
