"""`torch.export` of what a model is used for after training, for batches of any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.model.laws import centre


class Encoding(nn.Module):
    def __init__(self, model: pv.VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        return [centre(q) for q in self.model.encode({"x": x}).values()]


class Reconstruction(Encoding):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [p.mean for p in self.model.reconstruct({"x": x}).values()]


@pytest.mark.parametrize("use", [Encoding, Reconstruction])
@pytest.mark.parametrize(
    ("recipe", "options"),
    [("vae", {"network": "mlp"}), ("vae", {"network": "conv"}), ("vq_vae", {}), ("two_level", {}), ("ppca", {})],
)
def test_a_model_is_exported_for_batches_of_any_size(recipe: str, options: dict, use: type[Encoding]) -> None:
    module = use(getattr(pv.recipes, recipe)(pv.Spec((1, 8, 8)), seed=0, **options).model).eval()
    exported = torch.export.export(module, (torch.rand(4, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("rows")},))
    x = torch.rand(7, 1, 8, 8)
    for found, expected in zip(exported.module()(x), module(x), strict=True):
        torch.testing.assert_close(found, expected)
