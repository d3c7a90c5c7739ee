"""Pictures completed from their seen pixels alone: nearest and linear interpolation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from polyvae.checks.names import find


def interpolate(x: Tensor, mask: Tensor, method: str = "linear", empty: Tensor | float = 0.0) -> Tensor:
    """Pictures x [N, C, H, W] completed from the pixels that `mask` [N, 1, H, W] or [1, 1, H, W] marks as seen.

    `method`: "nearest", the value of the nearest seen pixel; "linear", interpolation in the Delaunay triangle around
    the pixel, and the nearest value outside the triangles. With fewer than three seen pixels, or all on one line,
    linear is nearest; with none, the picture is `empty` (a number, or [C, H, W] such as the mean of the training
    pictures). Distances are Euclidean, in pixels; seen pixels are returned as they are. Not differentiable, computed on
    the CPU.

    Raises ValueError for another method, for tables, and for a mask of another shape.
    """
    completed = find(METHODS, method, "method")
    if x.ndim != 4:
        raise ValueError(f"interpolation is between pixels: x is [N, C, H, W]; got {list(x.shape)}")
    if mask.shape not in ((len(x), 1, *x.shape[2:]), (1, 1, *x.shape[2:])):
        raise ValueError(f"mask is [{len(x)} or 1, 1, {x.shape[2]}, {x.shape[3]}]; got {list(mask.shape)}")
    seen = mask[:, 0].bool().cpu().numpy()
    # Pictures with one mask, such as a grid of sensors, are interpolated at once.
    distinct, group = np.unique(seen.reshape(len(seen), -1), axis=0, return_inverse=True)
    group = np.broadcast_to(group.reshape(-1), len(x))
    pictures = np.moveaxis(x.detach().cpu().double().numpy(), 1, -1)
    nothing = np.broadcast_to(np.asarray(torch.as_tensor(empty).cpu(), dtype=float), x.shape[1:])
    made = np.broadcast_to(np.moveaxis(nothing, 0, -1), pictures.shape).copy()
    for number, flat in enumerate(distinct):
        if flat.any():
            index = np.flatnonzero(group == number)
            where = flat.reshape(x.shape[2:])
            values = pictures[index][:, where]  # [n, points, C]
            whole = completed(np.argwhere(where), np.moveaxis(values, 1, 0).reshape(len(values[0]), -1), where.shape)
            made[index] = np.moveaxis(whole.reshape(*where.shape, len(index), -1), 2, 0)
    return torch.from_numpy(np.moveaxis(made, -1, 1).copy()).to(x)


def _nearest(points: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Points [P, 2] and values [P, V] -> [H, W, V]."""
    from scipy.interpolate import NearestNDInterpolator

    return NearestNDInterpolator(points, values)(_pixels(shape)).reshape(*shape, -1)


def _linear(points: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import Delaunay

    nearest = _nearest(points, values, shape)
    if np.linalg.matrix_rank(points - points[0]) < 2:  # no triangle
        return nearest
    inside = LinearNDInterpolator(Delaunay(points), values)(_pixels(shape)).reshape(nearest.shape)
    made = np.where(np.isnan(inside), nearest, inside)
    made[tuple(points.T)] = values  # exactly, at the corners of the triangles
    return made


def _pixels(shape: tuple[int, ...]) -> np.ndarray:
    return np.indices(shape).reshape(len(shape), -1).T


METHODS: Mapping[str, Callable[[np.ndarray, np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "nearest": _nearest,
    "linear": _linear,
}
