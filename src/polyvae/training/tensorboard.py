"""TensorBoard's view of a run, where it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def check_tensorboard() -> None:
    """ValueError where TensorBoard is not installed, before any training."""
    if find_spec("tensorboard") is None:
        raise ValueError("tensorboard events need TensorBoard: pip install polyvae[tensorboard]")


class TensorBoard:
    """Writes the rows of metrics.csv into `folder`/tensorboard too; nothing where `folder` is None."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.writer: Any = None

    def write(self, row: Mapping[str, Any]) -> None:
        """An epoch's numbers, at its step."""
        if self.folder is None:
            return
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder / "tensorboard"))
        for name, value in row.items():
            part, _, term = name.partition("_")
            self.writer.add_scalar(f"{part}/{term}" if part in ("train", "validation") else name, value, row["step"])
        self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
