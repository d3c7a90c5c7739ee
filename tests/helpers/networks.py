"""What networks are made of."""

from __future__ import annotations

from torch import nn

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def layers(module: nn.Module) -> list[tuple[int, ...]]:
    """Sizes of the layers that hold weights, (wide, narrow), in order."""
    return [tuple(layer.weight.shape[:2]) for layer in module.modules() if isinstance(layer, LAYERS)]
