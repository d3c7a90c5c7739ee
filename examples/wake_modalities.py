"""Pressure of a cylinder's wake from its velocity: linear methods, a kernel, and models of both modalities.

Every method learns from the training part, takes what it leaves open (components, ridge, width) from the validation
part, and is judged on the test part by its relative error, its CRPS and the share of values in its bands of 95 %.
Methods without a model state a normal law with the deviation of their validation errors at each place.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from pathlib import Path
from statistics import mean, stdev
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

import polyvae as pv
from polyvae.evaluation.calibration import crps, normal_crps, varying
from polyvae.study.multimodal.baselines import Fitting
from polyvae.study.multimodal.baselines import cca as study_cca

GIVEN, ASKED = "flow", "pressure"
BAND = (0.025, 0.975)
COMPONENTS = (8, 12, 16, 24, 32, 40, 50, 60, 70, 80, 89)
PENALTIES = (0.0, *np.logspace(-16, -6, 31))  # shares of the largest squared singular value
LATENTS = (20, 40, 60, 80, 88)
MODES: dict[str, Any] = {"network": "modes", "likelihood": "normal-places", "samples": 1}
TRAINED: dict[str, Any] = {"batch_size": 90, "lr": 1e-4, "schedule": "cosine"}


@dataclass(frozen=True)
class Predicted:
    """What a method says of the test part: mean, band and CRPS [N, ...], and what it chose on the validation part."""

    mean: Tensor
    low: Tensor
    high: Tensor
    crps: Tensor
    chosen: str = ""


@dataclass(frozen=True)
class Wake:
    """Fields as rows [N, D] in double precision, by part and modality."""

    data: pv.data.Data
    rows: Mapping[str, Mapping[str, np.ndarray]]

    @classmethod
    def of(cls, data: pv.data.Data) -> Wake:
        """Of data of two modalities."""
        rows = {}
        for name, split in data.parts.items():
            batch = split.batch(torch.arange(len(split)))
            rows[name] = {each: batch[each].flatten(1).double().numpy() for each in (GIVEN, ASKED)}
        return cls(data, rows)

    def values(self, part: str, name: str) -> Tensor:
        """One modality of a part as it is, [N, C, H, W]."""
        split = self.data.parts[part]
        return split.batch(torch.arange(len(split)))[name]


def relative(made: Any, truth: Any) -> float:
    """||made - truth|| / ||truth||."""
    return float(np.linalg.norm(np.asarray(made) - np.asarray(truth)) / np.linalg.norm(np.asarray(truth)))


# What is tried: what was chosen, and the pressure that it makes of the validation and the test part.
Tried = Iterable[tuple[str, dict[str, np.ndarray]]]
HELD = ("validation", "test")


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
    return Predicted(centre, centre - half, centre + half, score, name)


@dataclass(frozen=True)
class Components:
    """Principal components of a modality: scores of the training part [N, R], and codes of any."""

    mean: np.ndarray
    scores: np.ndarray
    values: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Components:
        """Of rows; the last, which is nothing but rounding, is left away."""
        u, s, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
        return cls(x.mean(0), u[:, :-1], s[:-1], v[:-1])

    def codes(self, x: np.ndarray) -> np.ndarray:
        """[N, R]."""
        return (x - self.mean) @ self.axes.T


def canonical(wake: Wake) -> Tried:
    """Canonical correlation analysis of k components of either, with a ridge; d pairs of variates are kept.

    Hotelling: Relations Between Two Sets of Variates, 1936; Vinod: Canonical Ridge and Econometrics of Joint
    Production, 1976.
    """
    x, y = (Components.of(wake.rows["train"][name]) for name in (GIVEN, ASKED))
    codes, target = {part: x.codes(wake.rows[part][GIVEN]) for part in HELD}, y.scores * y.values
    for k, ridge in product((k for k in COMPONENTS if k <= len(x.values)), PENALTIES):
        one, other = (c.values[:k] / np.sqrt(c.values[:k] ** 2 + ridge * c.values[0] ** 2) for c in (x, y))
        left, _, _ = np.linalg.svd((x.scores[:, :k] * one).T @ (y.scores[:, :k] * other))
        weights = (one / x.values[:k])[:, None] * left
        variates = (x.scores[:, :k] * x.values[:k]) @ weights
        for d in sorted({k, *(d for d in COMPONENTS if d < k)}):
            slopes = np.linalg.lstsq(variates[:, :d], target[:, :k], rcond=None)[0]
            back = weights[:, :d] @ slopes @ y.axes[:k]
            yield f"{k} components, {d} pairs, ridge {ridge:.0e}", {n: y.mean + codes[n][:, :k] @ back for n in HELD}


def ridge_regression(wake: Wake) -> Tried:
    """Ridge regression of the whole field of pressure on k components of velocity."""
    x, target = Components.of(wake.rows["train"][GIVEN]), wake.rows["train"][ASKED]
    codes = {part: x.codes(wake.rows[part][GIVEN]) for part in HELD}
    told = x.scores.T @ (target - target.mean(0))
    for k, ridge in product((k for k in COMPONENTS if k <= len(x.values)), PENALTIES):
        shrunk = x.values[:k] / (x.values[:k] ** 2 + ridge * x.values[0] ** 2)
        slopes = shrunk[:, None] * told[:k]
        yield f"{k} components, ridge {ridge:.0e}", {n: target.mean(0) + codes[n][:, :k] @ slopes for n in HELD}


def kernel_ridge(wake: Wake) -> Tried:
    """Kernel ridge regression, the mean of a Gaussian process: a linear kernel of components over s^p, s their
    deviations, and a radial one of the first two, which tell the phase."""
    x, target = Components.of(wake.rows["train"][GIVEN]), wake.rows["train"][ASKED]
    codes = {part: x.codes(wake.rows[part][GIVEN]) for part in ("train", *HELD)}
    s = x.values / x.values[0]
    plane = x.values[0] / len(target) ** 0.5
    centred = target - target.mean(0)
    for power, width, weight in product((0.0, 0.25, 0.5), (0.1, 0.2, 0.5), (0.0, 1e-7, 1e-6, 1e-5, 1e-4)):
        if weight == 0 and width != 0.1:
            continue

        def kernel(part: str, power: float = power, width: float = width, weight: float = weight) -> np.ndarray:
            one, other = (codes[n] / x.values[0] / s**power for n in (part, "train"))
            apart = ((codes[part][:, None, :2] - codes["train"][None, :, :2]) ** 2).sum(2) / plane**2
            return one @ other.T + weight * np.exp(-apart / 2 / width**2)

        values, vectors = np.linalg.eigh(kernel("train"))
        kernels = {n: kernel(n) @ vectors for n in HELD}
        turned = vectors.T @ centred
        for penalty in np.logspace(-14, -6, 17):
            slopes = turned / (values.clip(0) + penalty)[:, None]
            label = f"power {power}, width {width}, weight {weight:.0e}, ridge {penalty:.0e}"
            yield label, {n: target.mean(0) + kernels[n] @ slopes for n in HELD}


def study_baseline(wake: Wake) -> Tried:
    """The baseline `cca` of `polyvae study multimodal`, with its own defaults."""
    made = study_cca(Fitting(wake.data))
    yield "", {n: made({GIVEN: wake.values(n, GIVEN)})[ASKED].flatten(1).double().numpy() for n in HELD}


def translated(wake: Wake, source: Any, draws: int, label: str) -> Predicted:
    """What a model says of the test part given velocity alone."""
    truth = wake.values("test", ASKED)
    told = pv.translate(source, {GIVEN: wake.values("test", GIVEN)}, ASKED, draws, quantiles=BAND, pixels=True)
    low, high = told.quantiles
    return Predicted(told.mean, low, high, crps(told.samples, truth), label)


def modes(wake: Wake, seed: int, asked: argparse.Namespace, trained: bool = True) -> Predicted:
    """`mmvae` with networks of modes, trained or as it starts; dimensions of z by the validation part."""
    best, source, label = inf, None, ""
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
            best, source, label = error, made, f"{latent} dimensions"
    return translated(wake, source, asked.draws, label)


def plain(wake: Wake, seed: int, asked: argparse.Namespace) -> Predicted:
    """`mvae` as it comes, with convolutions."""
    made = pv.recipes.mvae(wake.data, seed=seed)
    run = pv.fit(made, wake.data, epochs=asked.plain_epochs, batch_size=32, seed=seed, progress=False)
    return translated(wake, run, asked.draws, "")


CLOSED: dict[str, Callable[[Wake], Tried]] = {
    "cca, as in the study": study_baseline,
    "cca": canonical,
    "ridge": ridge_regression,
    "kernel ridge": kernel_ridge,
}
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
    fluid = varying(wake.values("train", ASKED)).expand_as(truth)  # inside the cylinder nothing is to be told
    inside = (found.low <= truth) & (truth <= found.high)
    return {
        "method": name,
        "seed": "" if seed is None else seed,
        "relative_error": relative(found.mean, truth),
        "rmse": float((found.mean - truth)[fluid].square().mean().sqrt()),
        "crps": float(found.crps[fluid].mean()),
        "inside": float(inside[fluid].float().mean()),
        "seconds": seconds,
        "chosen": found.chosen,
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, one line a method, over seeds."""
    lines = [
        "| method | relative error | RMSE | CRPS | inside 95 % bands | CPU seconds | chosen on the validation part |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(each["method"] for each in rows):
        mine = [each for each in rows if each["method"] == name]

        def told(key: str, form: str, mine: Sequence[Mapping[str, Any]] = mine) -> str:
            values = [each[key] for each in mine]
            return f"{mean(values):{form}}" + (f" ± {stdev(values):{form}}" if len(values) > 1 else "")

        cells = [told(key, ".3g") for key in ("relative_error", "rmse", "crps")]
        cells += [told("inside", ".3f"), f"{mean(each['seconds'] for each in mine):.0f}"]
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
    parser.add_argument("--plain-epochs", type=int, default=100)
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
