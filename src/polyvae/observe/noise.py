"""Noise of what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noisy:
    """A batch transform: normal noise on what an observation m = (x * mask, mask) shows, afresh at every call.

    scale: the standard deviation of every channel, or column of a table. What is not seen stays 0; values without m
    pass as they are. ValueError for a scale below 0.
    """

    scale: tuple[float, ...]
    name: str = "m"

    def __post_init__(self) -> None:
        if not all(0 <= each < inf for each in self.scale):
            raise ValueError(f"Noisy.scale holds standard deviations, from 0 on; got {self.scale}")

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.name not in values:
            return dict(values)
        m, channels = values[self.name], len(self.scale)
        told, mask = m[:, :channels], m[:, channels:]
        scale = torch.tensor(self.scale, dtype=m.dtype).to(m.device).view(-1, *[1] * (m.ndim - 2))
        return {**values, self.name: torch.cat([told + scale * mask * torch.randn_like(told), mask], 1)}
