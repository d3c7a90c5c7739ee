"""`polyvae augment`: labelled examples drawn from a conditional run, as a file or a folder of pictures."""

from __future__ import annotations

import csv
import json as json_module
import shlex
from pathlib import Path
from shutil import rmtree
from typing import Literal
from uuid import uuid4

import numpy as np

from polyvae.checks.ranges import Count, Positive
from polyvae.cli.arguments import Reading
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import check_place, opened
from polyvae.cli.runs import device as usable
from polyvae.data.exchange.codes import labels_of
from polyvae.data.exchange.returned import called
from polyvae.data.files.writing import replacing
from polyvae.model.spec import Spec
from polyvae.training.augment import augment as drawn

FILES = (".npz", ".csv")


def augment(
    per_class: Count = 100,
    out: Path | None = None,
    how: Literal["prior", "posterior", "interpolation"] = "prior",
    temperature: Positive = 1.0,
    guidance: float = 1.0,
    json: bool = False,
    *,
    reading: Reading,
) -> None:
    """Draws so many new examples of each class from a run that is conditioned on labels, to train something else on.

    per_class: how many of each class.
    out: an .npz of x and y, a .csv of a table, or a new folder with a folder of pictures for each class;
        augmented.npz in the run folder where none is given.
    how: prior draws the latents from the prior, posterior about a real example of the class, interpolation between two.
    temperature: of posterior, how far from the real example, 1 as the posterior says.
    guidance: w, by which a run that has learned to do without its conditions heeds them; above 1 more.
    split: where the real examples are taken from; the training part where none is given.
    json: print one JSON document.

    Example: polyvae augment runs/digits --per-class 500 --how posterior --out more.npz
    """
    out = reading.run / "augmented.npz" if out is None else out
    if out.suffix.lower() not in (*FILES, ""):
        raise UsageError(f"--out is an .npz, a .csv or a new folder; got {out}")
    check_place(out, folder=out.suffix.lower() not in FILES)
    found = opened(reading.run, reading.data_dir)
    found.run.model.to(usable(reading.device))
    spec = found.data.spec
    _check_kind(out, spec)
    part, examples = found.split(reading.split or "train")
    made = drawn(found.run, examples, per_class, how, temperature, guidance, None, reading.seed)
    x, y = made.tensors["x"].numpy(), made.tensors["y"].numpy()
    names = labels_of(spec)
    _WRITE.get(out.suffix.lower(), _folder)(out, x, y, names, spec)
    if json:
        counts = {name: int((y == label).sum()) for label, name in enumerate(names)}
        told = {"run": str(reading.run), "how": how, "part": part, "seed": reading.seed, "classes": counts}
        print(json_module.dumps({**told, "out": str(out)}))
        return
    print(f"{len(y):,} examples, {per_class:,} of each of {len(names)} classes: {shlex.quote(str(out))}")


def _check_kind(out: Path, spec: Spec) -> None:
    """UsageError for a file or folder that cannot hold what is drawn."""
    kind = out.suffix.lower()
    if kind == ".csv" and len(spec.x) != 1:
        raise UsageError(f"--out: a .csv holds a table, and these are pictures; name an .npz or a folder; got {out}")
    if kind not in FILES and (kind or len(spec.x) != 3 or spec.x[0] not in (1, 3) or not spec.unit):
        expected = "an .npz, a .csv or a folder" if len(spec.x) == 3 else "an .npz or a .csv"
        raise UsageError(f"--out is {expected}; got {out}")
    if kind not in FILES and out.exists():
        raise UsageError(f"--out {out} is there already; name a new folder")


def _npz(out: Path, x: np.ndarray, y: np.ndarray, names: tuple[str, ...], spec: Spec) -> None:
    with replacing(out) as beside, beside.open("wb") as file:
        np.savez_compressed(file, x=x, y=called(names)[y] if spec.labels else y)


def _csv(out: Path, x: np.ndarray, y: np.ndarray, names: tuple[str, ...], spec: Spec) -> None:
    heads = [column.name or str(n) for n, column in enumerate(spec.columns)]
    with replacing(out) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, spec.label or "label"])
        for row, label in zip(x.tolist(), y.tolist(), strict=True):
            cells = zip(row, spec.columns, strict=True)
            writer.writerow([*(each.labels[int(v)] if each.labels else f"{v:.7g}" for v, each in cells), names[label]])


def _folder(out: Path, x: np.ndarray, y: np.ndarray, names: tuple[str, ...], spec: Spec) -> None:
    from PIL import Image

    levels = np.rint(x.clip(0, 1) * 255).astype(np.uint8)
    beside = out.with_name(f".{out.name}.{uuid4().hex[:8]}.part")
    try:
        for label, name in enumerate(names):
            folder = beside / name.replace("/", "-")
            folder.mkdir(parents=True)
            for number, picture in enumerate(levels[y == label]):
                shown = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
                Image.fromarray(shown).save(folder / f"{number:05d}.png")
        beside.rename(out)
    except BaseException:
        rmtree(beside, ignore_errors=True)
        raise


_WRITE = {".npz": _npz, ".csv": _csv}
