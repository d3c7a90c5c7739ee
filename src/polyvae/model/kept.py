"""What is made of tensors and kept until one of them changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from polyvae.model.precision import full_precision

T = TypeVar("T")


class Kept:
    """Values by name that take longer to make than a batch does, of tensors that seldom change.

    A copy takes nothing along: it is of other tensors, whose changes count anew.
    """

    def __init__(self) -> None:
        self._state: list[tuple[Tensor, int]] = []
        self._made: dict[str, Any] = {}

    def once(self, name: str, parts: Sequence[Tensor], make: Callable[[], T]) -> T:
        """What `make` makes of the `parts`, kept until one of them changes; `parts` are the same for all names."""
        # Changes of tensors made in inference mode are not counted, and a compiled graph holds no count.
        if torch.compiler.is_compiling() or any(part.is_inference() for part in parts):
            return make()
        state = [(part, part._version) for part in parts]
        if len(self._state) != len(state) or any(
            old is not new or before != now for (old, before), (new, now) in zip(self._state, state, strict=True)
        ):
            self._state, self._made = state, {}
        if name not in self._made:
            with torch.inference_mode(False), torch.no_grad(), full_precision(parts[0].device):
                self._made[name] = make()
        return self._made[name]

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
