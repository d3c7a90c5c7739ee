"""A row of metrics for each epoch: where it is written and who is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polyvae.training.hooks import Callback
from polyvae.training.store import METRICS, write_metrics
from polyvae.training.tensorboard import TensorBoard


class History:
    """The rows of the epochs done, in metrics.csv and for TensorBoard where there is a `folder`, and for callbacks."""

    def __init__(self, folder: Path | None, tensorboard: bool, callbacks: Sequence[Callback]) -> None:
        self.folder, self.callbacks = folder, callbacks
        self.rows: list[dict[str, Any]] = []
        self.tensorboard = TensorBoard(folder if tensorboard else None)

    def add(self, row: dict[str, Any]) -> None:
        """Takes an epoch's row and writes it."""
        self.rows.append(row)
        self.write()
        self.tensorboard.write(row)

    def write(self) -> None:
        """Writes all rows into metrics.csv. Raises RunError."""
        if self.folder is not None:
            write_metrics(self.folder / METRICS, self.rows)

    def call_back(self) -> None:
        """Tells every callback the last row, a dict of its own."""
        for callback in self.callbacks:
            callback(dict(self.rows[-1]))
