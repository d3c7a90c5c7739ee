"""`polyvae place-sensors`: where so many sensors tell most of a field."""

from __future__ import annotations

import json as json_module
import shlex
from pathlib import Path
from typing import Literal

import torch

from polyvae import data as data_room
from polyvae.checks.ranges import Count, Seed, Weight
from polyvae.cli.runs import check_place
from polyvae.data import Data
from polyvae.model.spec import Spec
from polyvae.observe.placement import FITTED, place_sensors

FEW = 1_000  # fields to learn from, up to which a regression in closed form is quick and often the best
Placing = Literal["exchange", "greedy", "qr"]


def place(
    data: str,
    count: Count = 10,
    method: Placing = "exchange",
    reading_noise: Weight = 0.05,
    data_seed: Seed = 0,
    data_dir: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Places sensors where they tell most of fields, or pictures, by the training part; see `--positions` of `train`.

    A sensor reads all channels at one point of the grid.

    data: fields by name or path.
    count: how many sensors.
    method: greedy sensors, each where it most lowers the CRPS that is expected of a normal law, exchange, which then
        moves them until no move of one helps, or pivoted QR of the principal axes.
    reading_noise: the standard deviation of a reading, as a share of that of its channel.
    data_seed: of the cut into parts; only the training part is looked at.
    data_dir: look here first, in DIR/NAME.
    out: a PNG file of the sensors on a field of the training part.
    json: print one JSON document.

    Example: polyvae place-sensors turbulence --count 10 --out sensors.png
    """
    if out is not None:
        check_place(out)
    found = data_room.load(data, data_dir=data_dir, seed=data_seed)
    if found.spec.modalities or len(found.spec.x) != 3:
        raise ValueError(f"data: sensors stand on fields or pictures [C, H, W]; {found.name} has none")
    part = found.train
    x = part.batch(torch.arange(0, len(part), -(-len(part) // FITTED), device=part.device))["x"]
    positions = place_sensors(x, count, reading_noise, method)
    argument = ",".join(map(str, positions.flatten().tolist()))
    files = [] if out is None else [_draw(out, x[0], positions, found, f"{count} sensors by {method}")]
    if json:
        told = {"data": found.name, "method": method, "reading_noise": reading_noise}
        print(json_module.dumps({**told, "positions": positions.tolist(), "files": list(map(str, files))}))
        return
    print("row, column: " + "; ".join(f"{row}, {column}" for row, column in positions.tolist()))
    cut = f" --data-seed {data_seed}" if data_seed else ""
    whole = f"--data {shlex.quote(data)}{cut} --mask points --positions {argument}"
    for word, recipe in _recipes(len(part), found.spec):
        print(f"{word}: polyvae train {recipe} {whole}")
    for path in files:
        print(shlex.quote(str(path)))


def _recipes(examples: int, spec: Spec) -> list[tuple[str, str]]:
    """What reads such sensors, the likely better first: see docs/fields.md."""
    network, process = "arbitrary_conditioning", "gaussian_process"
    if spec.levels is not None:  # pictures, which no few numbers describe
        return [("next", network)]
    if examples <= FEW:
        return [("next", process), ("or, of fields of many dimensions", network)]
    return [("next", network), ("or, where a few numbers describe a field", process)]


def _draw(path: Path, x: torch.Tensor, positions: torch.Tensor, found: Data, title: str) -> Path:
    from polyvae.figures import draw
    from polyvae.figures.kinds import Sensors
    from polyvae.figures.looks import names_of

    return draw(
        Sensors(x.cpu().numpy(), positions.numpy(), names=names_of(found.spec, found.call["name"])), path, title
    )
