"""What the study keeps: for every run a row, its curve and its error by mask size."""

from __future__ import annotations

from pathlib import Path

from polyvae.study.records import Key, Row
from polyvae.study.tables import Layout, Side, Tables

ROW: dict[str, type] = {
    "cell": str,
    "dataset": str,
    "family": str,
    "config": int,
    "method": str,
    "exponent": int,
    "fold": int,
    "train": int,
    "validation": int,
    "epochs": int,
    "best_epoch": int,
    "parameters": int,
    "mse": float,
    "mse_at_mean": float,
    "latent": float,
    "conditioned_mse": float,
    "conditioned_mse_at_mean": float,
    "observed": float,
    "observed_sd": float,
    "observed_count": int,
    "pixels": int,
    "seconds": float,
    "device": str,
    "precision": str,
    "seed": int,
    "commit": str,
    "polyvae": str,
    "torch": str,
}
CURVE: dict[str, type] = {
    "cell": str,
    "fold": int,
    "epoch": int,
    "mse": float,
    "latent": float,
    "conditioned_mse": float,
}
MASK: dict[str, type] = {"cell": str, "fold": int, "count": int, "mse": float, "without": float}


LAYOUT = Layout(ROW, {"curve": Side("curves.csv", CURVE, "epoch"), "masks": Side("masks.csv", MASK, "count")})


class Records(Tables):
    """All that is known of a study's runs, by cell and fold: rows, curves (a row an epoch), masks (a row a size)."""

    def __init__(self) -> None:
        super().__init__(LAYOUT)

    @property
    def curves(self) -> dict[Key, list[Row]]:
        return self.lines["curve"]

    @property
    def masks(self) -> dict[Key, list[Row]]:
        return self.lines["masks"]

    @classmethod
    def read(cls, folder: Path) -> Records:
        """The tables of a folder; nothing where there are none yet."""
        return cls().filled(folder)
