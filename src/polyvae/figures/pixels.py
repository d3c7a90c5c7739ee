"""Pictures side by side, as arrays and as bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from polyvae.data.files.writing import replacing


def to_bytes(pictures: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as grey levels 0..255, clamped, scaled and rounded; NaN becomes 0."""
    return (np.nan_to_num(pictures, nan=0.0).clip(0, 1) * 255).round().astype(np.uint8)


def montage(pictures: np.ndarray, gap: int = 1, background: float = 1.0) -> np.ndarray:
    """[R, S, C, H, W] -> [R H + gaps, S W + gaps, 3], `gap` pixels of `background` between and around.

    One channel is grey, two are shown as red and green, three as colours; of more the first three. Values are clamped.
    Raises ValueError for another number of dimensions.
    """
    if pictures.ndim != 5:
        raise ValueError(f"a montage takes pictures [rows, columns, C, H, W]; got {list(pictures.shape)}")
    rows, columns, channels, height, width = pictures.shape
    pictures = np.moveaxis(pictures[:, :, :3].clip(0, 1), 2, -1)
    if channels == 1:
        pictures = pictures.repeat(3, -1)
    elif channels == 2:
        pictures = np.concatenate([pictures, np.zeros_like(pictures[..., :1])], -1)
    whole = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), background, dtype=np.float32)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + gap) + gap, column * (width + gap) + gap
            whole[top : top + height, left : left + width] = pictures[row, column]
    return whole


def save_montage(path: str | os.PathLike[str], pictures: np.ndarray, scale: int = 1, gap: int = 1) -> Path:
    """Writes a montage of [R, S, C, H, W] as a PNG without any frame, every pixel `scale` pixels wide."""
    from PIL import Image

    levels = to_bytes(montage(pictures, gap)).repeat(scale, 0).repeat(scale, 1)
    with replacing(Path(path)) as beside:
        Image.fromarray(levels).save(beside, format="PNG")
    return Path(path)


def save_array(path: str | os.PathLike[str], figure: Any) -> Path:
    """Writes the arrays of a figure, or of a mapping, as .npz, nested names joined by a slash; None is left out."""
    arrays = dict(_flat("", figure if isinstance(figure, Mapping) else asdict(figure)))
    with replacing(Path(path)) as beside, ZipFile(beside, "w", ZIP_DEFLATED) as whole:
        for name, array in arrays.items():
            with whole.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return Path(path)


def _flat(name: str, value: Any) -> list[tuple[str, np.ndarray]]:
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _flat(f"{name}/{key}".strip("/"), inner)]
    return [] if value is None else [(name, np.asarray(value))]
