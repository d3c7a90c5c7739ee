"""What is measured of a method: every reading of it on held-out pictures, and the best of them on test pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyvae.data import Data
from polyvae.data.cuts import subset
from polyvae.data.files.writing import held as locked
from polyvae.data.split import Split, floats
from polyvae.evaluation.blocks import seeded
from polyvae.evaluation.calibration import varying
from polyvae.evaluation.classifier import Classifier, train_classifier
from polyvae.figures.pixels import save_array, to_bytes
from polyvae.study.completion.masks import masks
from polyvae.study.completion.protocol import Seen
from polyvae.study.completion.readings import Alike, Judge, best, class_loss, readings
from polyvae.study.completion.stated import LAW, MEANS, At, Complete, Stated
from polyvae.study.tables import Side

SEED = 0  # of masks and draws: every method sees the same pixels
MOST, NUMBERS = 50, 2**24  # pictures of a block, and numbers that their draws hold at most
DRAWN = 3  # draws of each picture that are shown
SCORES = ("mse", "crps", "energy", "class_loss", "coverage", "varying")
MEASURED: dict[str, type] = {
    "kind": str,
    "minutes": float,
    "test": int,
    "held": int,
    "draws": int,
    "real_class_loss": float,
    "completions_per_second": float,
}
CELLS: dict[str, type] = {
    **{"label": str, "seed": int, "place": str, "mask": str, "seen": float, "reading": str, "best_in": str},
    **{column: float for score in SCORES for column in (score, f"{score}_error")},
    **{f"held_{score}": float for score in ("crps", "energy", "class_loss")},
}
PICTURES: dict[str, type] = {
    **{"label": str, "seed": int, "place": str, "mask": str, "picture": int},
    **dict.fromkeys(SCORES, float),
}
SIDES = {"cells": Side("cells.csv", CELLS, "place"), "pictures": Side("pictures.csv", PICTURES, "place")}
_JUDGES: dict[tuple[Path, str], Classifier] = {}  # of the study that this process works at


@dataclass(frozen=True)
class Task:
    """What a study's methods are judged on, the same for all: pictures, what is seen of them, and by whom."""

    seen: Seen
    held: Split
    test: Split
    judge: Judge
    shown: Path | None = None

    @classmethod
    def of(cls, data: Data, seen: Seen, classifier: Classifier | None, shown: Path | None = None) -> Task:
        """Seeded subsets of the validation and the test part; `shown`: a file for some completed pictures."""
        held, test = subset(data.validation, seen.held, SEED), subset(data.test, seen.test, SEED)
        return cls(seen, held, test, Judge(varying(_pictures(held)), classifier), shown)


@dataclass
class Clock:
    """Seconds that completing took, and of how many pictures."""

    seconds: float = 0.0
    pictures: int = 0


@dataclass
class Found:
    """The scores of each picture, by reading; those of the mean are the same in all."""

    scores: dict[str, dict[str, list[Tensor]]] = field(default_factory=dict)

    def add(self, reading: str, scores: Mapping[str, Tensor]) -> None:
        for name, values in scores.items():
            self.scores.setdefault(reading, {}).setdefault(name, []).append(values.double().cpu())

    def joined(self) -> dict[str, dict[str, Tensor]]:
        """[N] by reading and score."""
        return {
            reading: {name: torch.cat(parts) for name, parts in found.items()} for reading, found in self.scores.items()
        }


def measured(at: At, task: Task, device: torch.device | None = None) -> dict[str, Any]:
    """What a method is worth: "cells", "pictures" as lines of these tables, and numbers of its "row".

    Of the held-out pictures half lend their values to the reading of means, and half choose among the readings.
    """
    cells, lines, clock = [], [], Clock()
    arrays: dict[str, np.ndarray] = {}
    device = torch.device("cpu") if device is None else device
    for number, name in enumerate(task.seen.names):
        right, kept = (_pictures(part) for part in (task.held, task.test))
        known, seen = masks(name, right, SEED), masks(name, kept, SEED + 1)
        complete, half = at(right, known), len(right) // 2
        with seeded(device, SEED, number):
            told = [s.mean for s, _ in _blocks(complete, right[:half], known[:half], task.seen.draws, device, Clock())]
            alike = Alike.of(torch.cat(told), right[:half], known[:half] == 0) if half and task.seen.alike else None
            choice, final = Found(), Found()
            for split, x, mask, found, watch, first in (
                (task.held, right, known, choice, Clock(), half),
                (task.test, kept, seen, final, clock, 0),
            ):
                y = None if split.labels is None else split.labels.cpu()
                for stated, rows in _blocks(complete, x[first:], mask[first:], task.seen.draws, device, watch):
                    place = slice(rows.start + first, rows.stop + first)
                    squared = task.judge.squared(stated.mean, x[place], mask[place])
                    for reading, draws in readings(stated, alike, task.seen.draws).items():
                        labels = None if y is None else y[place]
                        found.add(reading, task.judge.scores(draws, x[place], mask[place], labels) | {"mse": squared})
            chosen, scores = _means(choice.joined()), final.joined()
            best_in = best(chosen)
            arrays |= _shown(complete, task, kept, seen, device, (name, _own(chosen)))
        cells += _cells(name, seen, scores, chosen, best_in)
        lines += _lines(name, scores, best_in)
    if task.shown is not None and arrays:
        save_array(task.shown, arrays)
    row = {"completions_per_second": round(clock.pictures / max(clock.seconds, 1e-9), 2)}
    return {"row": {**row, **_row(task)}, "cells": cells, "pictures": lines}


def _row(task: Task) -> dict[str, Any]:
    y, real = task.test.labels, None
    if task.judge.classifier is not None and y is not None:
        with torch.inference_mode():
            real = float(class_loss(task.judge.classifier, _pictures(task.test)[None], y.cpu()).mean())
    return {"test": len(task.test), "held": len(task.held), "draws": task.seen.draws, "real_class_loss": real}


def _blocks(
    complete: Complete, x: Tensor, mask: Tensor, draws: int, device: torch.device, clock: Clock
) -> Iterator[tuple[Stated, slice]]:
    """What is stated of some pictures after others, on the CPU, and which they are."""
    size = max(1, min(MOST, NUMBERS // (draws * x[0].numel())))
    with torch.inference_mode():
        for start in range(0, len(x), size):
            rows = slice(start, min(start + size, len(x)))
            begun = time.perf_counter()
            stated = complete(x[rows].to(device), mask[rows].to(device), draws)
            found = Stated(stated.mean.cpu(), {name: each.cpu() for name, each in stated.draws.items()})
            clock.seconds, clock.pictures = clock.seconds + time.perf_counter() - begun, clock.pictures + len(x[rows])
            yield found, rows


def _means(scores: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, float]]:
    return {reading: {name: _mean(values) for name, values in found.items()} for reading, found in scores.items()}


def _mean(values: Tensor) -> float:
    """The mean over pictures; NaN, which none of them is, where nothing is scored, counts as infinite."""
    found = float(values.nanmean()) if bool((~values.isnan()).any()) else math.inf
    return math.inf if math.isnan(found) else found


def _error(values: Tensor) -> float | None:
    """The standard error of the mean over pictures; None of a single one."""
    kept = values[~values.isnan()]
    return float(kept.std()) / math.sqrt(len(kept)) if len(kept) > 1 else None


def _cells(
    name: str,
    mask: Tensor,
    scores: Mapping[str, Mapping[str, Tensor]],
    chosen: Mapping[str, Mapping[str, float]],
    best_in: Mapping[str, str],
) -> list[dict[str, Any]]:
    lines = []
    for reading, found in scores.items():
        line: dict[str, Any] = {"place": f"{name} {reading}", "mask": name, "reading": reading}
        line["seen"] = float(mask.flatten(1).sum(1).mean())
        line["best_in"] = " ".join(score for score, which in best_in.items() if which == reading)
        for score, values in found.items():
            mean = _mean(values)
            line |= {score: mean if math.isfinite(mean) else None, f"{score}_error": _error(values)}
        line |= {f"held_{score}": chosen[reading][score] for score in best_in if math.isfinite(chosen[reading][score])}
        lines.append(line)
    return lines


def _lines(name: str, scores: Mapping[str, Mapping[str, Tensor]], best_in: Mapping[str, str]) -> list[dict[str, Any]]:
    """A line a picture: each score by the reading that is best in it, coverage by that of the CRPS."""
    which = {score: best_in.get(score, best_in["crps"]) for score in SCORES}
    kept = {score: scores[each][score].tolist() for score, each in which.items() if score in scores[each]}
    count = len(kept["mse"])
    return [
        {
            "place": f"{name} {number}",
            "mask": name,
            "picture": number,
            **{
                score: None if math.isnan(values[number]) else float(f"{values[number]:.6g}")
                for score, values in kept.items()
            },
        }
        for number in range(count)
    ]


def _shown(
    complete: Complete, task: Task, x: Tensor, mask: Tensor, device: torch.device, how: tuple[str, str]
) -> dict[str, np.ndarray]:
    """Bytes of some pictures: truth, mask, mean, and the method's own draws, none where it states a mean alone."""
    name, reading = how
    count = min(task.seen.shown, len(x))
    if task.shown is None or not count:
        return {}
    drawn = max(2, min(DRAWN, task.seen.draws))
    stated, _ = next(iter(_blocks(complete, x[:count], mask[:count], drawn, device, Clock())))
    x, mask = x[: len(stated.mean)], mask[: len(stated.mean)]  # of large pictures a block may be fewer
    draws = stated.draws.get(reading, x.new_empty(0, *x.shape))
    whole = torch.where(mask != 0, x, draws)
    found = {"truth": x, "seen": mask, "mean": stated.mean, "draws": whole}
    return {f"{name}/{key}": to_bytes(value.numpy()) for key, value in found.items()}


def _own(held: Mapping[str, Mapping[str, float]]) -> str:
    """Which of a method's own draws are shown: those with the best class loss on held-out pictures, or energy score."""
    own = best({reading: scores for reading, scores in held.items() if reading in (LAW, MEANS)})
    return own.get("class_loss", own.get("energy", ""))


def _pictures(split: Split) -> Tensor:
    return floats(split.tensors["x"]).cpu()


def judged_by(study: Path, source: str, train: Split, steps: int) -> Classifier:
    """The classifier of a study, trained once by whoever comes first on all labelled training pictures."""
    key = study, source
    if key not in _JUDGES:
        with locked(study / ".classifier.lock"), torch.inference_mode(False), torch.enable_grad():
            _JUDGES.clear()
            _JUDGES[key] = train_classifier(train, study / "classifier", SEED, steps).cpu()
    return _JUDGES[key]
