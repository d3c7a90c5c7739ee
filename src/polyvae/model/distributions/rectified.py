"""A law that an ordinary differential equation carries a standard normal to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Size, Tensor

from polyvae.checks.names import find
from polyvae.model.distributions.law import HALF_LOG_TWO_PI, Law

Field = Callable[[Tensor, Tensor], Tensor]  # a time [] and places [N, d] -> velocities [N, d]
EXACT = 64  # dimensions, from which on the trace is estimated
ROWS = 2**18  # numbers in the Jacobians that are held at once


class RectifiedFlow(Law):
    """z(1), where dz/dt = v(t, z) from z(0) ~ N(0, I), by so many `steps` of equal size.

    log p(z(1)) = log N(z(0); 0, I) - integral over t of tr dv/dz along the path

    `solver`: "heun", of second order and two velocities a step, or "rk4", of fourth order and four. Density and draws
    are exact up to the steps. Below 64 dimensions the trace is exact, d products a velocity; from there on it is
    Hutchinson's estimate by one vector of signs for each row, the same at every call, and log p is that of an estimate.

    Chen, Rubanova, Bettencourt, Duvenaud: Neural Ordinary Differential Equations, 2018; Grathwohl, Chen, Bettencourt,
    Sutskever, Duvenaud: FFJORD, 2019; Liu, Gong, Liu: Flow Straight and Fast: Learning to Generate and Transfer Data
    with Rectified Flow, 2023.
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
        rows = max(1, ROWS // (min(z.shape[1], EXACT) * z.shape[1]))
        found = [self._density(part, first) for first, part in zip(range(0, len(z), rows), z.split(rows), strict=False)]
        return (torch.cat(found) if found else z.new_zeros(0)).view(value.shape[:-1])

    def _density(self, z: Tensor, first: int) -> Tensor:
        signs = None
        if z.shape[1] >= EXACT:
            generator = torch.Generator().manual_seed(first)
            signs = (torch.randint(2, z.shape, generator=generator) * 2 - 1).to(z)

        def moved(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return with_trace(self.field, t, state[0], signs)

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


def with_trace(field: Field, t: Tensor, z: Tensor, signs: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """v(t, z) [N, d] and tr dv/dz [N], exact, or e^T (dv/dz) e for `signs` e [N, d]."""

    velocity, pulled, *_ = torch.func.vjp(lambda at: field(t, at), z)
    if signs is not None:
        return velocity, (pulled(signs)[0] * signs).sum(1)
    basis = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None].expand(-1, len(z), -1)
    (rows,) = torch.func.vmap(pulled)(basis)
    return velocity, rows.diagonal(dim1=0, dim2=2).sum(-1)


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
