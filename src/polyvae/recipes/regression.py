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
from polyvae.observe.readings import PAST
from polyvae.observe.sensors import Fixed
from polyvae.recipes.canonical import Principal, leading
from polyvae.recipes.conditions import Condition
from polyvae.recipes.observing import at_fixed_places, noises, observed
from polyvae.recipes.options import Conditions, Mask
from polyvae.recipes.recording import Recipe, recipe

STEP = 1e-6  # of a reading's deviation: what z leaves open of it
TOLD = 0.1  # of the noise's variance, which the places may leave open of the readings
FINE = 1e-3  # of a reading's deviation, which they may leave open where there is no noise
MOST = 6  # dimensions of the places
BANDWIDTHS = [0.02 * 1.25**power for power in range(20)]
FOLDS = 10
LEAST = 1e-24  # of a channel's variance, which is left at least


class Reads(nn.Module):
    """q(z | x) = N(what sensors read of x, least^2)."""

    given = ("x",)

    least: Tensor
    index: Tensor
    weight: Tensor

    def __init__(self, index: Tensor, weight: Tensor) -> None:
        """`index`, `weight` [P, R]: the values of x, flattened, that a reading is the weighted sum of."""
        super().__init__()
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)
        self.register_buffer("least", torch.ones(index.shape[1]))

    def read(self, x: Tensor) -> Tensor:
        """Readings [B, R] of fields x [B, ...]."""
        return (x.flatten(1)[:, self.index] * self.weight.to(x)).sum(1)

    def forward(self, values: Values) -> Distribution:
        read = self.read(values["x"])
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
    the others do. With a `history` what was read before tells of those places too. Channels, or columns, count in their
    own standard deviations. Everything is fitted in closed form; for some thousand examples, or fields of many
    dimensions, train a network, as of `arbitrary_conditioning`.

    `mask`: "points" at `positions`, "readings" between points, a half, or "grid", the default; of a table by default
    its left half. `modes`: components at most.

    Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006; Lawrence: Probabilistic Non-linear Principal
    Component Analysis with Gaussian Process Latent Variable Models, 2005.
    """
    mask = replace(mask, kind="grid" if is_picture(spec.x) else "left") if mask == Mask(noise=mask.noise) else mask
    posterior, prior = _sensors(spec, mask)
    decoder = Regressed(spec.x)

    def solve(values: Values) -> None:
        x = values["x"]
        units = _units(x)
        found = Principal.of(x.double().flatten(1) / units)
        if not len(found.values):
            raise ValueError("gaussian_process needs examples that differ; those of the training part are all alike")
        count = min(leading(found.values.square()), modes)
        codes, axes = found.codes[:, :count], found.axes[:count]
        read = posterior.read(x.double())
        left = (found.codes[:, count:] @ found.axes[count:]).square().mean(0).clamp(min=LEAST)
        decoder.set(found.mean * units, axes * units, left * units.square(), read, codes)
        spread = read.std(0)
        centres = _places(found.codes / found.codes.std(0), read, prior.noise.double())
        least = STEP * torch.where(spread > 0, spread, 1.0)
        posterior.least.copy_(least)
        prior.set(centres, read, _bandwidth(centres), least, _earlier(values, mask.history))

    model = VAE(posterior, prior, decoder)
    objective = Objective({"reconstruction": Reconstruction(), "kl": KL()})
    return Recipe(model, objective, observed(spec, mask, Condition(spec, Conditions())), solve=solve)


def _sensors(spec: Spec, mask: Mask) -> tuple[Reads, Denoised]:
    """What reads the sensors in x and, with noise, in m; ValueError for sensors that do not stay where they are."""
    where = at_fixed_places(spec, mask, "gaussian_process", always=True)
    channels, picture = spec.x[0], is_picture(spec.x)
    places = torch.Size(spec.x[1:]).numel()
    if isinstance(where, Fixed):
        pixels = torch.tensor(where.pixels(*(spec.x[1:] if picture else (1, *spec.x))))
        index = (torch.arange(channels)[:, None] * places + pixels).flatten() if picture else pixels
        flags = spec.dimensions + (index % places if picture else index)
        noise = torch.tensor(noises(spec, mask))[index // places]
        return Reads(index[None], torch.ones(1, len(index))), Denoised(index, flags, noise)
    around, weight = where.points(*spec.x[1:])  # [4, P]
    index = (torch.arange(channels)[:, None] * places + around[:, None]).flatten(1)
    sensors = around.shape[1]
    # m holds the times of a channel one after the other; of all channels those of now come first here.
    told = torch.arange(channels * where.history * sensors).view(channels, where.history, sensors)
    told = told.transpose(0, 1).flatten()
    noise = where.spread(torch.zeros(1, channels, sensors)).flatten()
    return Reads(index, weight.repeat(1, channels)), Denoised(told, len(told) + told, noise)


def _earlier(values: Values, history: int) -> list[tuple[Tensor, Tensor]]:
    """Of each earlier time which rows have all its readings, and these, [n] and [n, R]."""
    found: list[tuple[Tensor, Tensor]] = []
    for time in range(history - 1):
        readings, works = values[PAST][:, :, time].double().chunk(2, 1)
        rows = (works != 0).flatten(1).all(1).nonzero()[:, 0]
        if len(rows) < 2:
            raise ValueError(
                f"history: {len(rows)} training examples know what was read {time + 1} steps before, and two are "
                f"needed; ask for fewer than {history}"
            )
        found.append((rows, readings[rows].flatten(1)))
    return found


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
