"""Walks between two tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def between(a: Tensor, b: Tensor, fractions: Tensor) -> Tensor:
    """[P, ...] and [P, ...] -> [P, S, ...] on straight lines."""
    t = fractions.view(1, -1, *[1] * (a.ndim - 1))
    return a.unsqueeze(1) * (1 - t) + b.unsqueeze(1) * t


def between_spherical(a: Tensor, b: Tensor, fractions: Tensor) -> Tensor:
    """The same at constant angular speed, lengths between both; straight where the two point the same way or apart."""
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    lengths = between(flat_a.norm(dim=1, keepdim=True), flat_b.norm(dim=1, keepdim=True), fractions)
    unit_a, unit_b = (torch.nn.functional.normalize(flat, dim=1) for flat in (flat_a, flat_b))
    angle = (unit_a * unit_b).sum(1).clamp(-1, 1).acos().view(-1, 1, 1)
    t = fractions.view(1, -1, 1)
    weights = ((1 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()
    turned = lengths * (weights[0] * unit_a[:, None] + weights[1] * unit_b[:, None])
    straight = between(flat_a, flat_b, fractions)
    return torch.where(angle.sin().abs() < 1e-4, straight, turned).unflatten(2, a.shape[1:])
