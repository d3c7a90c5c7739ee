"""Parts that hold as much as they were fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn


class Sized(nn.Module):
    """A part with buffers whose shapes are known only from what it was fitted to, such as a row for each example."""

    def resize(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Takes on these shapes of its own buffers, of whatever is to be loaded into them."""
        for name, value in self._buffers.items():
            if value is not None and name in shapes and value.shape != tuple(shapes[name]):
                self._buffers[name] = value.new_empty(tuple(shapes[name]))

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        self.resize({name.removeprefix(prefix): v.shape for name, v in state_dict.items() if name.startswith(prefix)})
        super()._load_from_state_dict(state_dict, prefix, *rest)  # pyright: ignore[reportArgumentType]


def resize(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives every part of a module the shapes of tensors that are to be loaded, whose names are the module's."""
    # A part comes before those within it, which it may make.
    for name, part in module.named_modules():
        if isinstance(part, Sized):
            own = f"{name}." if name else ""
            part.resize({key.removeprefix(own): v.shape for key, v in tensors.items() if key.startswith(own)})
