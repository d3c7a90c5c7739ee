"""One of some classes, as a vector of zeros and a one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Size, Tensor
from torch.distributions import Categorical, Distribution, OneHotCategorical


class OneHot(OneHotCategorical):
    """torch's law of one-hot vectors by their `logits` [*batch, C], made without a look at their values.

    That look, which torch's own takes whatever it is told, waits for the device at every step.
    """

    def __init__(self, logits: Tensor) -> None:
        self._categorical = Categorical(logits=logits, validate_args=False)
        Distribution.__init__(self, logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> OneHot:
        return OneHot(self.logits.expand(*Size(batch_shape), -1))
