"""A data set in tensors: three splits, batched by index on their device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from polyvae.data.columns.kinds import described
from polyvae.data.errors import DataError
from polyvae.data.memory_maps import Rows, cut_rows, memory, selected
from polyvae.model.presence import PRESENT
from polyvae.model.spec import Spec

Transform = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True, repr=False)
class Split:
    """Examples by name, kept compact and on one device; bytes are grey levels, which batches hold as float32 in [0, 1].

    `tensors`: name -> [N, ...], uint8 pictures, float32 tables or pictures, int64 labels; lazy `Rows` if they are too
    large to copy. `transform`: applied to every batch (dynamic binarisation, dequantisation). Raises DataError without
    tensors or when their lengths differ.
    """

    tensors: Mapping[str, Tensor]
    transform: Transform | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tensors, Rows):
            return
        lengths = {name: len(tensor) for name, tensor in self.tensors.items()}
        if not lengths:
            raise DataError("Split", "at least one named tensor", "none")
        if len(set(lengths.values())) > 1:
            raise DataError("Split", "as many examples under every name", f"{lengths}", "give each example every value")

    def __len__(self) -> int:
        if isinstance(self.tensors, Rows):
            return self.tensors.count
        return len(next(iter(self.tensors.values())))

    def __repr__(self) -> str:
        held = self.tensors.heads if isinstance(self.tensors, Rows) else self.tensors
        values = ", ".join(f"{name} {list(value.shape[1:])} {value.dtype}" for name, value in held.items())
        return f"Split of {len(self):,} examples: {values.replace('torch.', '')}"

    @property
    def device(self) -> torch.device:
        """The device of the tensors, on which an index must be."""
        if isinstance(self.tensors, Rows):
            return self.tensors.device
        return next(iter(self.tensors.values())).device

    @property
    def labels(self) -> Tensor | None:
        """The classes y, int64 [N]; None where y is missing, also of some examples, or a condition of vectors."""
        y, known = self.tensors.get("y"), self.tensors.get("y_known")
        partly = known is not None and not bool(known.all())
        return None if y is None or partly or y.ndim != 1 or y.is_floating_point() else y

    @property
    def absent(self) -> dict[str, float]:
        """The share of the examples that lack a modality, by its name; empty where no example says what it has."""
        flags = [name for name in self.tensors if name.endswith(PRESENT)]
        return {flag.removesuffix(PRESENT): 1 - int(self.tensors[flag].sum()) / max(1, len(self)) for flag in flags}

    def to(self, device: torch.device | str) -> Split:
        """The same split on another device; memory-mapped tensors are read into memory."""
        if isinstance(self.tensors, Rows):
            return replace(self, tensors=self.tensors.to(device))
        return replace(self, tensors={name: tensor.to(device) for name, tensor in self.tensors.items()})

    def take(self, index: Tensor | Sequence[int]) -> Split:
        """The examples at `index` (integers [n]), in that order, as a split; a consecutive run shares memory."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        if not isinstance(self.tensors, Rows) and len(index) and bool((index.diff() == 1).all()):
            first = int(index[0])
            parts = {name: tensor[first : first + len(index)] for name, tensor in self.tensors.items()}
            return replace(self, tensors=parts)
        return replace(self, tensors=cut_rows(self.tensors, index))

    def batch(self, index: Tensor) -> dict[str, Tensor]:
        """The examples at `index` (int64 [B], on the split's device), bytes divided by 255, then transformed."""
        values = {name: floats(tensor) for name, tensor in selected(self.tensors, index).items()}
        return values if self.transform is None else dict(self.transform(values))


def floats(tensor: Tensor) -> Tensor:
    """Bytes as float32: grey levels of pictures divided by 255, numbers of tables as they are."""
    if tensor.dtype is not torch.uint8:
        return tensor
    return tensor.to(torch.float32).div_(255) if tensor.ndim > 2 else tensor.to(torch.float32)


@dataclass(frozen=True, repr=False)
class Data:
    """A data set in three splits, with its spec and the call that loads it again.

    `call`: the JSON-able arguments of `load`, empty for a user's own tensors. `cut`: how it was split, in words, "" if
    the parts were given. `frame`: "pandas" or "polars" if it was a data frame. A test split of length 0 means that none
    was cut.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    spec: Spec
    call: Mapping[str, Any] = field(default_factory=dict)
    cut: str = ""
    frame: str | None = None

    def __repr__(self) -> str:
        spec, parts = self.spec, self.parts
        sizes = ", ".join(f"{part} {len(split):,}" for part, split in parts.items())
        y = (
            ""
            if spec.condition is None
            else f"; y {' x '.join(map(str, spec.condition))} numbers"
            if spec.classes is None
            else f"; {spec.classes} classes"
        )
        of = "; ".join(
            f"{name} {list(each.x)}, "
            + (described(each.columns) or ("real numbers" if each.levels is None else f"{each.levels} levels"))
            for name, each in spec.values.items()
        )
        count = sum(memory(split.tensors) for split in parts.values())
        cut = f", {self.cut}" if self.cut else ""
        gaps = f"; {self.missing:.1%} of x missing" if self.missing else ""
        gaps += f"; {self.lacking}" if self.lacking else ""
        return f"Data {self.name}: {of}{y}{gaps}\n  {sizes} examples{cut}, {count / 1e6:,.1f} MB"

    @property
    def lacking(self) -> str:
        """Which modalities are missing in what share of the training rows, in words; "" where no row says so."""
        absent = self.train.absent
        said = ", ".join(f"{name} missing in {absent[name]:.0%}" for name in self.spec.values if name in absent)
        return said and f"{said} of the training rows"

    @property
    def loose(self) -> list[str]:
        """The names of values that are neither x nor a modality, where there is no x, and so could be modalities."""
        held = self.train.tensors
        if "x" in held or self.spec.modalities:
            return []
        return [name for name in held if name not in ("y", "t") and not name.endswith(("_known", PRESENT))]

    @property
    def missing(self) -> float:
        """The share of the values of x that are missing, in all parts."""
        masks = [split.tensors["seen"] for split in self.parts.values() if "seen" in split.tensors]
        total = sum(mask.numel() for mask in masks)
        return 1 - sum(int(mask.sum()) for mask in masks) / total if total else 0.0

    @property
    def parts(self) -> dict[str, Split]:
        """The three splits by name, in their order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def to(self, device: torch.device | str) -> Data:
        """The same data with all three splits on `device`."""
        return replace(self, **{part: split.to(device) for part, split in self.parts.items()})
