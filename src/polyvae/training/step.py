"""One training step's computation: the observed batch through model and objective."""

from __future__ import annotations

from torch import Tensor, nn

from polyvae.model.precision import as_here, full_precision
from polyvae.model.vae import Values
from polyvae.recipes import Recipe


class Step(nn.Module):
    """What one training step computes: the observed batch through model and objective.

    In a region of half precision the model's networks run in it; terms, their sum and their balance do not.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.model = recipe.model
        self.objective = recipe.objective
        self.observe = recipe.observe

    def forward(self, batch: Values, step: int | Tensor) -> dict[str, Tensor]:
        observed = self.observe(batch)
        device = next(iter(observed.values())).device
        model = as_here(self.model, device)
        with full_precision(device):
            return self.objective(model, observed, step)
