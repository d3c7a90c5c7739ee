"""Rows of pictures and fields of several modalities, brought to colours and to one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from polyvae.data.split import Split, floats
from polyvae.figures.grids import blocks
from polyvae.figures.kinds import Sheet
from polyvae.model.presence import present
from polyvae.model.spec import Spec

_BESIDE = 0.93  # the grey beside smaller pictures, on which white ones have an edge
_SOME = 200  # rows whose values tell the range of a field


@dataclass(frozen=True)
class Row:
    """Values [S, C, H, W] of a modality in a row of their own, of a field one channel; NaN, shown white, is nothing."""

    label: str
    of: str
    values: Tensor
    channel: int = 0


def pictured(specs: Mapping[str, Spec]) -> list[str]:
    """The modalities that are pictures or fields."""
    return [name for name, spec in specs.items() if len(spec.x) == 3]


def channels(name: str, spec: Spec) -> list[str]:
    """What is shown of a modality, one by one: a picture as a whole, of a field each channel by its name."""
    count = spec.x[0]
    if _colours(spec) or count == 1:
        return [name]
    named = [column.name for column in spec.columns] or [None] * count
    return [f"{name}: {each or f'channel {number}'}" for number, each in enumerate(named)]


def known(split: Split, specs: Mapping[str, Spec]) -> dict[str, Tensor]:
    """Some values of each picture, by which the colours of fields are chosen."""
    some = split.take(range(min(len(split), _SOME)))
    found = {}
    for name in pictured(specs):
        value, there = floats(some.tensors[name]), some.tensors.get(present(name))
        found[name] = value if there is None or not bool(there.any()) else value[there]
    return found


def assembled(
    parts: Mapping[str, Sequence[Row]],
    specs: Mapping[str, Spec],
    data: Mapping[str, Tensor],
    told: str = "",
    columns: Sequence[str] = (),
) -> Sheet:
    """Rows under their headings as a sheet, with the ranges of the fields among them; `data`: values that are known."""
    size = [max(specs[row.of].x[side] for rows in parts.values() for row in rows) for side in (1, 2)]
    pictures, ranges = {}, {}
    for heading, rows in parts.items():
        pictures[heading] = np.stack([_coloured(row, data[row.of], specs[row.of], size) for row in rows])
        shown: dict[tuple[str, int], list[np.ndarray]] = {}
        for row in rows:
            if not _colours(specs[row.of]):
                shown.setdefault((row.of, row.channel), []).append(_array(row.values[:, row.channel]))
        ranges[heading] = {
            channels(of, specs[of])[channel]: np.array([_ends(_array(data[of][:, channel])), _ends(np.stack(values))])
            for (of, channel), values in shown.items()
        }
    labels = {heading: tuple(row.label for row in rows) for heading, rows in parts.items()}
    return Sheet(pictures, labels, told, {words: each for words, each in ranges.items() if each}, tuple(columns))


def _colours(spec: Spec) -> bool:
    """Whether values are colours or grey levels by themselves."""
    return spec.unit and spec.x[0] in (1, 3)


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(np.nanmin(values)), float(np.nanmax(values))


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().float().numpy()


def _coloured(row: Row, data: Tensor, spec: Spec, size: Sequence[int]) -> np.ndarray:
    """[S, C, H, W] as colours [S, 3, *size], pale grey beside smaller ones; of a field its channel by a colour map."""
    array = _array(row.values)
    if _colours(spec):
        made = np.nan_to_num(array, nan=1.0)
    else:
        one = slice(row.channel, row.channel + 1)
        made = blocks(array[None, :, one], False, (), _array(data[:, one]))[0].pictures[0]
    made = made.repeat(3, 1) if made.shape[1] == 1 else made
    over = [full - side for full, side in zip(size, made.shape[2:], strict=True)]
    return np.pad(made, [(0, 0), (0, 0), *((each // 2, each - each // 2) for each in over)], constant_values=_BESIDE)
