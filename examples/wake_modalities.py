"""Pressure of a cylinder's wake from its velocity: linear methods, a kernel, and models of both modalities.

Every method learns from the training part, takes what it leaves open (components, ridge, width) from the validation
part, and is judged on the test part by its relative error, its CRPS and the share of values in its bands of 95 %, as it
states them and calibrated: mean -+ one factor, by the validation part, times the stated deviation. Methods without a
model state a normal law with the deviation of their validation errors at each place.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor
from wake_methods import ASKED, CLOSED, GIVEN, Tried, Wake

import polyvae as pv
from polyvae.evaluation.calibration import calibrate, crps, normal_crps, varying

BAND = (0.025, 0.975)
LATENTS = (40, 80, 88)
MODES: dict[str, Any] = {"network": "modes", "likelihood": "normal-places", "samples": 1}
TRAINED: dict[str, Any] = {"batch_size": 90, "lr": 1e-4, "schedule": "cosine"}


@dataclass(frozen=True)
class Predicted:
    """What a method says of the test part: mean, CRPS and the two bands as ends, [N, ...], and what it chose before."""

    mean: Tensor
    crps: Tensor
    stated: tuple[Tensor, Tensor]
    calibrated: tuple[Tensor, Tensor]
    chosen: str = ""


def relative(made: Any, truth: Any) -> float:
    """||made - truth|| / ||truth||."""
    return float(np.linalg.norm(np.asarray(made) - np.asarray(truth)) / np.linalg.norm(np.asarray(truth)))


def chosen(wake: Wake, tried: Tried) -> Predicted:
    """What errs least on the validation part, with a normal law of its errors there at each place."""
    best, kept, name = inf, {}, ""
    for label, made in tried:
        error = relative(made["validation"], wake.rows["validation"][ASKED])
        if error < best:
            best, kept, name = error, made, label
    shape = wake.values("test", ASKED).shape[1:]
    errors = kept["validation"] - wake.rows["validation"][ASKED]
    centre, std = (torch.from_numpy(each).reshape(-1, *shape) for each in (kept["test"], errors.std(0)))
    half = 1.959964 * std
    score = normal_crps(wake.values("test", ASKED).double(), centre, std)
    held = torch.from_numpy(kept["validation"]).reshape(-1, *shape)
    return Predicted(centre, score, (centre - half, centre + half), calibrated(wake, (held, std), (centre, std)), name)


def fluid(wake: Wake) -> Tensor:
    """Where there is a pressure, [1, C, H, W]: inside the cylinder it is always 0."""
    return varying(wake.values("train", ASKED))[None]


def calibrated(wake: Wake, held: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The band of 95 % of the test part, by means and deviations of the validation part and of the test part."""
    truth = wake.values("validation", ASKED)
    found = calibrate(truth, held[0], held[1].expand_as(truth), (0.95,), over="all", where=fluid(wake))
    return found.band(*test, 0.95)


def translated(wake: Wake, source: Any, draws: int, label: str, held: Any = None) -> Predicted:
    """What a model says of the test part given velocity alone; `held`: what it says of the validation part."""
    truth = wake.values("test", ASKED)
    held = held or pv.translate(source, {GIVEN: wake.values("validation", GIVEN)}, ASKED, draws)
    told = pv.translate(source, {GIVEN: wake.values("test", GIVEN)}, ASKED, draws, quantiles=BAND, pixels=True)
    band = calibrated(wake, (held.mean, held.std), (told.mean, told.std))
    return Predicted(told.mean, crps(told.samples, truth), (told.quantiles[0], told.quantiles[1]), band, label)


def modes(wake: Wake, seed: int, asked: argparse.Namespace, trained: bool = True) -> Predicted:
    """`mmvae` with networks of modes, trained or as it starts; dimensions of z by the validation part."""
    best, source, held, label = inf, None, None, ""
    for latent in asked.latents:
        made: Any = pv.recipes.mmvae(wake.data, seed=seed, latent=latent, **MODES)
        if trained:
            made = pv.fit(made, wake.data, epochs=asked.epochs, seed=seed, progress=False, **TRAINED)
        else:
            train = wake.data.train
            made.start(made.observe(train.batch(torch.arange(len(train)))))
        told = pv.translate(made, {GIVEN: wake.values("validation", GIVEN)}, ASKED, asked.draws)
        error = relative(told.mean, wake.values("validation", ASKED))
        if error < best:
            best, source, held, label = error, made, told, f"{latent} dimensions"
    return translated(wake, source, asked.draws, label, held)


def plain(wake: Wake, seed: int, asked: argparse.Namespace) -> Predicted:
    """`mvae` as it comes, with convolutions."""
    made = pv.recipes.mvae(wake.data, seed=seed)
    run = pv.fit(made, wake.data, epochs=asked.plain_epochs, batch_size=32, seed=seed, progress=False)
    return translated(wake, run, asked.draws, "")


MODELS: dict[str, Callable[[Wake, int, argparse.Namespace], Predicted]] = {
    "mvae, as it comes": plain,
    "mmvae of modes, untrained": lambda wake, seed, asked: modes(wake, seed, asked, False),
    "mmvae of modes": modes,
}


def row(wake: Wake, name: str, seed: int | None, make: Callable[[], Predicted]) -> dict[str, Any]:
    """One method with one seed, judged on the test part."""
    begun = process_time()
    found = make()
    seconds = process_time() - begun
    truth = wake.values("test", ASKED)
    where = fluid(wake).expand_as(truth)
    inside = [(low <= truth) & (truth <= high) for low, high in (found.stated, found.calibrated)]
    return {
        "method": name,
        "seed": "" if seed is None else seed,
        "relative_error": relative(found.mean, truth),
        "rmse": float((found.mean - truth)[where].square().mean().sqrt()),
        "crps": float(found.crps[where].mean()),
        "inside": float(inside[0][where].float().mean()),
        "inside_calibrated": float(inside[1][where].float().mean()),
        "seconds": seconds,
        "chosen": found.chosen,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, one line a method, over seeds."""
    lines = [
        "| method | relative error | RMSE | CRPS | inside bands of 95 % | calibrated | CPU s | chosen |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(each["method"] for each in rows):
        mine = [each for each in rows if each["method"] == name]

        def told(key: str, form: str, mine: Sequence[Mapping[str, Any]] = mine) -> str:
            values = [each[key] for each in mine]
            return f"{mean(values):{form}}" + (f" ± {stdev(values):{form}}" if len(values) > 1 else "")

        cells = [told(key, ".3g") for key in ("relative_error", "rmse", "crps")]
        cells += [
            told("inside", ".3f"),
            told("inside_calibrated", ".3f"),
            f"{mean(each['seconds'] for each in mine):.0f}",
        ]
        picked = "; ".join(dict.fromkeys(each["chosen"] for each in mine))
        lines.append(f"| {name} | {' | '.join(cells)} | {picked} |")
    return "\n".join(lines)


def main(line: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Judges the methods, prints the table and keeps it with all rows in a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cylinder_flow", help="u, v and cp: a name or an .npz")
    parser.add_argument("--methods", nargs="+", default=[*CLOSED, *MODELS], choices=[*CLOSED, *MODELS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--latents", nargs="+", type=int, default=LATENTS)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--plain-epochs", type=int, default=40)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("results/wake-modalities"))
    asked = parser.parse_args(line)
    wake = Wake.of(pv.data.load(asked.data, modalities="flow=u+v,pressure=cp"))
    rows: list[dict[str, Any]] = []
    for name in asked.methods:
        if name in CLOSED:
            mine = [row(wake, name, None, lambda name=name: chosen(wake, CLOSED[name](wake)))]
        else:
            mine = [row(wake, name, s, lambda name=name, s=s: MODELS[name](wake, s, asked)) for s in asked.seeds]
        rows += mine
        print(table(mine).splitlines()[-1], flush=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    text = table(rows)
    (asked.out / "README.md").write_text(f"# The wake: pressure from velocity\n\n{wake.data}\n\n{text}\n")
    print(text)
    return rows


if __name__ == "__main__":
    main()
