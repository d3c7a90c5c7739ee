"""Fields from a few sensors by regression in closed form: what an expert would do, with the sensors' noise known."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.checks.ranges import Count
from polyvae.model.averaged import Averaged
from polyvae.model.networks.layers import is_picture
from polyvae.model.precision import full_precision
from polyvae.model.priors.denoised import Denoised
from polyvae.model.processes import Processes
from polyvae.model.sized import Sized
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.observe.sensors import Fixed
from polyvae.recipes.canonical import Principal
from polyvae.recipes.conditions import Condition
from polyvae.recipes.decoders import noises, observed, sparse_pixels
from polyvae.recipes.options import Conditions, Mask
from polyvae.recipes.recording import Recipe, recipe

ENERGY = 1e-10  # of the training part, which the components that are left out may hold
STEP = 1e-6  # of a reading's deviation: what z leaves open of it
TOLD = 0.1  # of the noise's variance, which the places may leave open of the readings
FINE = 1e-3  # of a reading's deviation, which they may leave open where there is no noise
MOST = 6  # dimensions of the places
BANDWIDTHS = [0.02 * 1.25**power for power in range(20)]
FOLDS = 10
LEAST = 1e-24  # of a channel's variance, which is left at least


class Reads(nn.Module):
    """q(z | x) = N(the values of x at the sensors, least^2)."""

    given = ("x",)

    least: Tensor
    index: Tensor

    def __init__(self, index: Tensor) -> None:
        """`index` [R]: of each reading among the values of x."""
        super().__init__()
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("least", torch.ones(len(index)))

    def forward(self, values: Values) -> Distribution:
        read = values["x"].flatten(1)[:, self.index]
        return Independent(Normal(read, self.least.expand_as(read), validate_args=False), 1, validate_args=False)


class Regressed(Sized):
    """p(x | z) = N(mean + c(z) axes, v(z) axes^2 + left), c and v of Gaussian processes from readings to components."""

    given = ("z",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.processes = shape, Averaged()
        size = torch.Size(shape).numel()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("left", torch.ones(size))
        self.register_buffer("axes", torch.zeros(0, size))

    @torch.no_grad()
    def set(self, mean: Tensor, axes: Tensor, left: Tensor, readings: Tensor, codes: Tensor) -> None:
        """Fits it to readings [N, R] and components [N, n] of training examples; `left` [D]: what the axes leave."""
        self.processes.fit(readings, codes)
        self.mean, self.axes = mean.to(self.mean), axes.to(self.axes)
        self.left = left.to(self.left)

    def forward(self, values: Values) -> Distribution:
        loc = self.mean.expand(len(values["z"]), -1)
        scale = self.left.sqrt().expand_as(loc)
        if len(self.axes):  # nothing is known before a fit
            with full_precision(loc.device):
                mean, variance = (each.to(self.axes) for each in self.processes(values["z"]))
                loc = torch.addmm(self.mean, mean, self.axes)
                scale = torch.addmm(self.left, variance, self.axes.square()).sqrt()
        shaped = (each.unflatten(1, self.shape) for each in (loc, scale))
        return Independent(Normal(*shaped, validate_args=False), len(self.shape), validate_args=False)


@recipe
def gaussian_process(spec: Spec, modes: Count = 150, mask: Mask = Mask()) -> Recipe:
    """Gaussian-process regression from sensors at fixed positions to the principal components of a field.

    log p(x | m) >= E_q(z | x)[log p(x | z)] - KL(q(z | x) || p(z | m)), z what the sensors would read without noise

    p(x | z) is the regression, and p(z | m) what the training part and the size of the `noise` leave of z: the sensors
    read places on a surface of few dimensions, and noise takes them off it. A sensor may fail: what it does not tell
    the others do. Channels, or columns, count in their own standard deviations. Everything is fitted in closed form;
    for some thousand examples, or fields of many dimensions, train a network, as of `arbitrary_conditioning`.

    `mask`: "points" at `positions`, a half, or "grid", the default; of a table by default its left half. `modes`:
    components at most.

    Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006; Lawrence: Probabilistic Non-linear Principal
    Component Analysis with Gaussian Process Latent Variable Models, 2005.
    """
    mask = replace(mask, kind="grid" if is_picture(spec.x) else "left") if mask == Mask(noise=mask.noise) else mask
    where = sparse_pixels(spec, mask).where
    if not isinstance(where, Fixed) or mask.exponent is not None:
        raise ValueError(
            "mask: gaussian_process reads sensors that stay where they are: 'points' with positions, 'grid' or a half; "
            f"got {mask.kind!r}"
        )
    picture = is_picture(spec.x)
    pixels = torch.tensor(where.pixels(*(spec.x[1:] if picture else (1, *spec.x))))
    places = torch.Size(spec.x[1:]).numel()
    index = (torch.arange(spec.x[0])[:, None] * places + pixels).flatten() if picture else pixels
    flags = spec.dimensions + (index % places if picture else index)
    posterior, prior = Reads(index), Denoised(index, flags, torch.tensor(noises(spec, mask))[index // places])
    decoder = Regressed(spec.x)

    def solve(x: Tensor) -> None:
        units = _units(x)
        found = Principal.of(x.double().flatten(1) / units)
        if not len(found.values):
            raise ValueError("gaussian_process needs examples that differ; those of the training part are all alike")
        held = found.values.square().cumsum(0) / found.values.square().sum()
        count = min(int((held < 1 - ENERGY).sum()) + 1, modes, len(held))
        codes, axes = found.codes[:, :count], found.axes[:count]
        read = x.double().flatten(1)[:, index]
        left = (found.codes[:, count:] @ found.axes[count:]).square().mean(0).clamp(min=LEAST)
        decoder.set(found.mean * units, axes * units, left * units.square(), read, codes)
        spread = read.std(0)
        centres = _places(found.codes / found.codes.std(0), read, prior.noise.double())
        least = STEP * torch.where(spread > 0, spread, 1.0)
        posterior.least.copy_(least)
        prior.set(centres, read, _bandwidth(centres), least)

    model = VAE(posterior, prior, decoder)
    objective = Objective({"reconstruction": Reconstruction(), "kl": KL()})
    return Recipe(model, objective, observed(spec, mask, Condition(spec, Conditions())), solve=solve)


def _units(x: Tensor) -> Tensor:
    """The standard deviation of each channel or column of x [N, *x], for every value [D], 1 of what never varies."""
    found = x.double().transpose(0, 1).flatten(1).std(1, correction=0)
    return torch.where(found > 0, found, 1.0).repeat_interleave(x[0, 0].numel())


def _places(codes: Tensor, read: Tensor, noise: Tensor) -> Tensor:
    """As few leading components [N, d] as leave a tenth of the noise's variance, or a thousandth of a reading's
    deviation, open of the readings, or the most."""
    target = (noise.square() * TOLD).sum() + (FINE**2 * read.var(0)).sum()
    centres = codes[:, :1]
    for count in range(1, min(MOST, codes.shape[1]) + 1):
        centres = codes[:, :count]
        if bool(Processes().fit(centres, read).left_out(FOLDS)[0].square().mean(0).sum() <= target):
            break
    return centres


def _bandwidth(centres: Tensor) -> float:
    """The width that makes each tenth of the places, in their order, likeliest given the others."""
    fold = torch.arange(len(centres)) * FOLDS // len(centres)
    square = torch.cdist(centres, centres).square().masked_fill(fold[:, None] == fold, torch.inf)

    def score(width: float) -> float:
        return float((-0.5 * square / width**2).logsumexp(1).mean() - centres.shape[1] * torch.tensor(width).log())

    return max(BANDWIDTHS, key=score)
