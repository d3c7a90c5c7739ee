"""A rectified flow as a prior, fitted by regression on draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import pi

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import silu

from polyvae.checks.ranges import at_least
from polyvae.model.distributions.rectified import RectifiedFlow, by_products
from polyvae.model.vae import Values

TURNS = 4  # sines and cosines of the time


class Velocity(nn.Module):
    """v(t, z), a smooth perceptron of z [N, d] and of sines and cosines of the time t, [] or [N]."""

    def __init__(self, dimensions: int, widths: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        sizes = (dimensions + 1 + 2 * TURNS, *widths)
        layers = [layer for n, m in pairwise(sizes) for layer in (nn.Linear(n, m), nn.SiLU())]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], dimensions))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.net(self._read(t, z))

    def with_trace(self, t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """v(t, z) [N, d] and tr dv/dz [N], at the price of two velocities where there are two hidden layers.

        tr W_3 D_2 W_2 D_1 W_1 = d_2^T (W_2 o (W_1 W_3)^T) d_1, d the slopes of the hidden values, the diagonals of D
        """
        linear = [layer for layer in self.net if isinstance(layer, nn.Linear)]
        if len(linear) != 3:
            return by_products(self, t, z)
        first, second, last = linear
        below = first(self._read(t, z))
        above = second(silu(below))
        around = second.weight * (first.weight[:, : z.shape[1]] @ last.weight).T
        return last(silu(above)), (_slope(above) @ around * _slope(below)).sum(1)

    def _read(self, t: Tensor, z: Tensor) -> Tensor:
        turns = pi * torch.arange(1, TURNS + 1, dtype=z.dtype, device=z.device)
        t = t.expand(len(z))[:, None]
        return torch.cat([z, t, (t * turns).sin(), (t * turns).cos()], 1)


def _slope(x: Tensor) -> Tensor:
    """The derivative of SiLU."""
    s = x.sigmoid()
    return s * (1 + x * (1 - s))


class FlowMatching(nn.Module):
    """p(z), the law that dz/dt = v(t, z) carries N(0, I) to, the velocity learned by regression.

    cost = |v(t, (1 - t) e + t z) - (z - e)|^2, e ~ N(0, I), t evenly in [0, 1], at draws z

    whose least is at v = E[z - e | place at time t], which carries N(0, I) to the law of z. `steps` and `solver` are
    those of the equation, see `RectifiedFlow`; `field` is a `Velocity` of `widths`, or any module of t and z: unless it
    has a `with_trace` of its own, its density takes d products a velocity.

    Lipman, Chen, Ben-Hamu, Nickel, Le: Flow Matching for Generative Modeling, 2023; Liu, Gong, Liu: Flow Straight and
    Fast, 2023; of latents: Dao, Phung, Nguyen, Tran: Flow Matching in Latent Space, 2023.
    """

    like: Tensor

    def __init__(
        self,
        dimensions: int,
        steps: int = 10,
        solver: str = "rk4",
        widths: Sequence[int] = (256, 256),
        field: nn.Module | None = None,
    ) -> None:
        super().__init__()
        at_least("dimensions", dimensions, 1)
        self.dimensions, self.steps, self.solver = dimensions, at_least("steps", steps, 1), solver
        self.field = Velocity(dimensions, widths) if field is None else field
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, values: Values) -> RectifiedFlow:
        return RectifiedFlow(self.field, self.like, self.dimensions, self.steps, self.solver)

    def extra_repr(self) -> str:
        return f"{self.dimensions}, steps={self.steps}, solver={self.solver!r}"


def matching(law: RectifiedFlow, z: Tensor) -> Tensor:
    """The squared error of a flow's velocity at one place on the way to each of z [N, d], [N]; draws ways and times."""
    noise = torch.randn_like(z)
    # Times as even as can be: their spread is most of the noise of the cost.
    order = torch.randperm(len(z), device=z.device)
    t = ((order + torch.rand(len(z), dtype=z.dtype, device=z.device)) / len(z))[:, None]
    found = law.field(t[:, 0], (1 - t) * noise + t * z)
    return (found - (z - noise)).square().sum(1)


class Scaled(nn.Module):
    """The law of loc + scale * u, u of another prior, whose maps are made for values of the order of one."""

    loc: Tensor
    scale: Tensor

    def __init__(self, prior: nn.Module, dimensions: int) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("loc", torch.zeros(dimensions))
        self.register_buffer("scale", torch.ones(dimensions))

    @torch.no_grad()
    def scale_to(self, z: Tensor) -> None:
        """Takes mean and standard deviation of draws [N, d]."""
        self.loc.copy_(z.mean(0))
        self.scale.copy_(z.std(0).clamp(min=1e-4) if len(z) > 1 else torch.ones_like(self.scale))

    def forward(self, values: Values) -> Distribution:
        move = torch.distributions.AffineTransform(self.loc, self.scale, event_dim=1)
        return torch.distributions.TransformedDistribution(self.prior(values), [move], validate_args=False)
