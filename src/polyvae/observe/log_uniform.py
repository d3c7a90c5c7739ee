"""How many of N places are seen, as often from one to ten as from ten to a hundred."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polyvae.observe.counts import Counts


@dataclass(frozen=True)
class LogUniform(Counts):
    """A number drawn for each image, n = floor((N + 1)^u) with u uniform on [0, 1): from one place to all N.

    P(n) = log(1 + 1 / n) / log(N + 1): a model that completes is shown few places as often as many.
    """

    def most(self, places: int) -> int:
        return places

    def draw(self, batch: int, places: int, device: torch.device) -> Tensor:
        found = torch.pow(places + 1.0, torch.rand(batch, device=device))
        return found.long().clamp(1, max(1, places)) if places else torch.zeros(batch, dtype=torch.int64, device=device)
