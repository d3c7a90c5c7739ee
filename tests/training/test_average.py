"""The moving average of weights, where a layer's weight is computed from others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from polyvae.training.ema import Average


def norm(layer: nn.Module) -> Tensor:
    assert isinstance(layer.weight, Tensor)
    return torch.linalg.matrix_norm(layer.weight.detach(), 2)


def test_the_average_of_layers_of_spectral_norm_1_has_norm_1() -> None:
    torch.manual_seed(0)
    now, kept = (spectral_norm(nn.Linear(12, 9)) for _ in range(2))
    kept.eval()
    average = Average(kept, now, 0.95)
    means = []
    for step in range(300):
        with torch.no_grad():
            now.parametrizations.weight.original.add_(0.1 * torch.randn(9, 12))  # pyright: ignore
            now(torch.randn(2, 12))
        average.update(step == 0)
        weight = now.parametrizations.weight.original.detach()  # pyright: ignore
        means.append(0.95 * means[-1] + 0.05 * weight if means else weight.clone())
    assert torch.allclose(kept.parametrizations.weight.original, means[-1], atol=1e-5)  # pyright: ignore
    assert 0.999 < norm(kept) < 1.01
    assert not any(part.training for part in kept.modules())
