"""What sensors would read without their noise, given what they read: a prior that reads an observation."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from polyvae.model.distributions.mixture import mixture
from polyvae.model.kernels import squares
from polyvae.model.precision import wide
from polyvae.model.priors.population import Population
from polyvae.model.processes import AT_ONCE, Processes
from polyvae.model.sized import Sized
from polyvae.model.vae import Values

BLUR = 3e4  # times `least`: the least noise of a reading where places are looked for
PARTICLES, BEGIN = 200, 8  # of a row, and how many times as many stand at the beginning


class Denoised(Sized):
    """p(z | m), z [B, R] the readings without noise, m = (x mask, mask) those with noise.

    u ~ p(u), a mixture of normals around the places of the training examples; s | u ~ N(mu(u), V(u)), by `processes`;
    m | s ~ N(s, noise^2), where a sensor works. Then

    p(z | m) = 1 / K sum_k N(z; mu_k + V_k / (V_k + noise^2) (m - mu_k), V_k noise^2 / (V_k + noise^2) + least^2)

    with particles u_k of p(u | m), see `Population`. Where no reading has noise and all sensors work, z is m, up to
    `least`. A sensor that does not work, which the mask says, is told by the others. m may hold what was read at
    earlier times as well, which given u is independent too, by processes of its own: it tells where u is.

    A fit sets `processes`, `earlier`, the places `centres` [N, d] with their `bandwidth`, and `least` [R].
    """

    given = ("m",)

    centres: Tensor
    bandwidth: Tensor
    least: Tensor
    noise: Tensor
    index: Tensor
    flags: Tensor

    def __init__(self, index: Tensor, flags: Tensor, noise: Tensor, particles: int = PARTICLES) -> None:
        """`index`, `flags` [T R]: where in m, flattened, each reading is and what says whether it works, those of now
        first; `noise` [R]: standard deviations."""
        super().__init__()
        self.processes, self.population = Processes(), Population(particles)
        self.earlier = nn.ModuleList(Processes() for _ in range(len(index) // len(noise) - 1))
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("flags", flags, persistent=False)
        self.register_buffer("noise", noise.float(), persistent=False)
        self.register_buffer("least", torch.ones(len(noise)))
        self.register_buffer("bandwidth", torch.ones(()))
        self.register_buffer("centres", torch.zeros(0, 0))

    @torch.no_grad()
    def set(
        self,
        centres: Tensor,
        readings: Tensor,
        bandwidth: float,
        least: Tensor,
        earlier: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> None:
        """Fits it to places [N, d] and readings without noise [N, R] of training examples.

        `earlier`: for each earlier time the rows [n] that have readings of it, and these, [n, R].
        """
        for processes, (rows, read) in zip(self._held(), [(slice(None), readings), *earlier], strict=True):
            processes.fit(centres[rows], read)
        self.centres = centres.to(self.least)
        self.bandwidth.fill_(bandwidth)
        self.least.copy_(least)

    def readings(self, m: Tensor) -> tuple[Tensor, Tensor]:
        """What the sensors read [B, T R], and which of them work, boolean [B, T R]."""
        flat = m.flatten(1)
        return flat[:, self.index], flat[:, self.flags] != 0

    def forward(self, values: Values) -> Distribution:
        read, works = self.readings(values["m"])
        known = read.device.type == "meta" or bool((works[:, : len(self.noise)] & (self.noise == 0)).all())
        if len(self.centres) and not known:
            return self._inferred(read, works)
        read = read[:, : len(self.noise)]
        return Independent(Normal(read, self.least.expand_as(read), validate_args=False), 1, validate_args=False)

    def log_prior(self, u: Tensor) -> Tensor:
        """log p(u) [...] of places [..., d]."""
        size = self.centres.shape[1] * (self.bandwidth.log() + 0.5 * log(2 * pi)) + log(len(self.centres))
        some = (u / self.bandwidth).flatten(0, -2).split(max(1, AT_ONCE // len(self.centres)))
        centres = (self.centres / self.bandwidth).to(u)
        return torch.cat([(-0.5 * squares(each, centres)).logsumexp(-1) for each in some]).view(u.shape[:-1]) - size

    @torch.no_grad()
    def _inferred(self, read: Tensor, works: Tensor) -> Distribution:
        # In double precision: where some readings have no noise a posterior may be a million times as long as wide.
        dtype, read, times = read.dtype, wide(read), 1 + len(self.earlier)
        square = wide(self.noise).square().repeat(times)

        blur = (BLUR * wide(self.least)).square().repeat(times)  # on an edge few particles would be left

        def told(u: Tensor) -> tuple[Tensor, ...]:
            found = [each(u.flatten(0, 1)) for each in self._held()]
            return tuple(torch.cat(each, 1).to(read).unflatten(0, u.shape[:2]) for each in zip(*found, strict=True))

        def score(u: Tensor) -> Tensor:
            mean, variance = told(u)
            total = variance + square.maximum(blur)
            return -0.5 * (((read - mean).square() / total + total.log()) * works).sum(-1)

        u = self.population(self._begun(), self.log_prior, score)
        now = len(self.noise)
        mean, variance = (each[..., :now] for each in told(u))
        read, works, square = read[:, :now], works[:, :now], square[:now]
        # Of what the processes leave open the reading itself tells its share; all of it, where it has no noise.
        gain = works * variance / (variance + square)
        loc = mean + gain * (read - mean)
        scale = (variance * (1 - gain) + self.least.square()).sqrt()
        loc, scale = (each.to(dtype).transpose(0, 1) for each in (loc, scale))
        parts = Independent(Normal(loc, scale, validate_args=False), 1)
        return mixture(loc.new_zeros(len(read), len(u)), parts)

    def _begun(self) -> Tensor:
        """Draws of p(u), the same for every row, [K, 1, d]."""
        count, stream = BEGIN * self.population.particles, torch.Generator().manual_seed(self.population.seed)
        chosen = torch.arange(count, device=self.centres.device) * len(self.centres) // count
        moved = torch.randn(count, self.centres.shape[1], generator=stream).to(self.centres)
        return wide(self.centres[chosen] + self.bandwidth * moved)[:, None]

    def _held(self) -> list[Processes]:
        """Of now, then of earlier times."""
        return [self.processes, *(each for each in self.earlier if isinstance(each, Processes))]

    def extra_repr(self) -> str:
        return f"readings={len(self.noise)}, examples={len(self.centres)}"
