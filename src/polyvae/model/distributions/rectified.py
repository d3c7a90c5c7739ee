"""A law that an ordinary differential equation carries a standard normal to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor

from polyvae.checks.names import find
from polyvae.model.distributions.law import HALF_LOG_TWO_PI, Law

Field = Callable[[Tensor, Tensor], Tensor]  # a time [] and places [N, d] -> velocities [N, d]
ROWS = 2**18  # numbers in the rows of Jacobians that are held at once
PRODUCTS = 16  # of each place at once


class RectifiedFlow(Law):
    """z(1), where dz/dt = v(t, z) from z(0) ~ N(0, I), by so many `steps` of equal size.

    log p(z(1)) = log N(z(0); 0, I) - integral over t of tr dv/dz along the path

    `solver`: "heun", of second order and two velocities a step, or "rk4", of fourth order and four. Density and draws
    are exact up to the steps, so the trace is too, see `with_trace`: were it estimated, the noise would stand in the
    exponent of importance weights, which would exceed p(x) in the mean.

    Chen, Rubanova, Bettencourt, Duvenaud: Neural Ordinary Differential Equations, 2018; Liu, Gong, Liu: Flow Straight
    and Fast: Learning to Generate and Transfer Data with Rectified Flow, 2023.
    """

    def __init__(self, field: Field, like: Tensor, dimensions: int, steps: int = 10, solver: str = "rk4") -> None:
        self.field, self.like, self.steps, self.solver = field, like, steps, find(SOLVERS, solver, "solver")
        super().__init__(Size(), (dimensions,))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = Size((*sample_shape, *self.event_shape))
        with torch.no_grad():
            start = torch.randn(shape, dtype=self.like.dtype, device=self.like.device)
            return self.carried(start.view(-1, *self.event_shape)).view(shape)

    def carried(self, z: Tensor, back: bool = False) -> Tensor:
        """Places [N, d] taken from t = 0 to 1, or `back`."""
        return self._solved(lambda t, state: (self.field(t, state[0]),), (z,), back)[0]

    def log_prob(self, value: Tensor) -> Tensor:
        z = value.reshape(-1, *self.event_shape)
        rows = max(1, ROWS // (PRODUCTS * z.shape[1]))
        found = [self._density(part) for part in z.split(rows)]
        return (torch.cat(found) if found else z.new_zeros(0)).view(value.shape[:-1])

    def _density(self, z: Tensor) -> Tensor:
        def moved(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return with_trace(self.field, t, state[0])

        start, grown = self._solved(moved, (z, z.new_zeros(len(z))), back=True)
        # Backwards the integral has the other sign.
        return (-0.5 * start.square() - HALF_LOG_TWO_PI).sum(1) + grown

    def _solved(self, moved: Moved, state: tuple[Tensor, ...], back: bool) -> tuple[Tensor, ...]:
        like = state[0]
        times = torch.linspace(1, 0, self.steps + 1) if back else torch.linspace(0, 1, self.steps + 1)
        times = times.to(like)
        for n in range(self.steps):
            state = self.solver(moved, times[n], times[n + 1] - times[n], state)
        return state


def with_trace(field: Field, t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """v(t, z) [N, d] and tr dv/dz [N]: by the field's own `with_trace` where it has one, else by d products."""
    known = getattr(field, "with_trace", None)
    return by_products(field, t, z) if known is None else known(t, z)


def by_products(field: Field, t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """v(t, z) [N, d] and tr dv/dz [N], a product with the Jacobian for each of d dimensions."""
    velocity, pulled, *_ = torch.func.vjp(lambda at: field(t, at), z)
    trace = z.new_zeros(len(z))
    for basis in torch.eye(z.shape[1], dtype=z.dtype, device=z.device).split(max(1, ROWS // z.numel())):
        (rows,) = torch.func.vmap(pulled)(basis[:, None].expand(-1, len(z), -1))
        trace = trace + (rows * basis[:, None]).sum((0, 2))
    return velocity, trace


Moved = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
Solver = Callable[[Moved, Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def _heun(moved: Moved, t: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    a = moved(t, state)
    b = moved(t + h, _along(state, h, a))
    return _along(state, h / 2, _along(a, 1, b))


def _rk4(moved: Moved, t: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    a = moved(t, state)
    b = moved(t + h / 2, _along(state, h / 2, a))
    c = moved(t + h / 2, _along(state, h / 2, b))
    d = moved(t + h, _along(state, h, c))
    return _along(state, h / 6, _along(_along(a, 2, b), 1, _along(d, 2, c)))


def _along(state: tuple[Tensor, ...], by: Tensor | float, moves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each + by * move for each, move in zip(state, moves, strict=True))


SOLVERS: dict[str, Solver] = {"heun": _heun, "rk4": _rk4}
