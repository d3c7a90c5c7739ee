"""Fill missing values of the tables that ship with scikit-learn: two models beside imputers and conditioned laws.

Of each table, standardised, 10, 30 and 50 % of the cells are hidden completely at random. Every method sees all rows
with their gaps and fills them; errors and log-likelihoods are of the hidden cells, in standard deviations of their
columns. A point for a prediction has no likelihood: the baselines are given a normal about it, whose scale, for each
column, is their own error on a tenth of the visible cells, hidden from a fit of its own. The normal law of all columns
together, and a mixture of such laws, both fitted by EM, have densities; the same tenth chooses their ridge and the
number of components. `arbitrary_conditioning` starts at that mixture, see imputation_around.py. All columns are taken
for real numbers. A row of --out (results.csv) stands for one method on one table; what is there is not computed again.
With --intervals it prints instead how many of the hidden cells lie within the middle 90 % of 200 draws, by one run of
`incomplete` or by several.

python examples/imputation.py --seeds 3
python examples/imputation.py --seeds 2 --shares 0.3 --intervals 1 5
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from imputation_around import Fit, conditioned
from sklearn import datasets
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import polyvae as pv
from polyvae.completion import missing_scores
from polyvae.completion.normal_mixture import ConditionedMixture
from polyvae.data.files.writing import replacing

TABLES: dict[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
SHARES = (0.1, 0.3, 0.5)
LEAST = 0.05  # of a standard deviation: the smallest scale of a baseline's normal
COLUMNS = ("data", "share", "seed", "method", "rmse", "log_likelihood", "seconds")
BASELINES: dict[str, Callable[[int], Any]] = {
    "mean": lambda seed: SimpleImputer(),
    "KNNImputer": lambda seed: KNNImputer(n_neighbors=5),
    "IterativeImputer": lambda seed: IterativeImputer(random_state=seed, max_iter=10),
    "IterativeImputer, trees": lambda seed: IterativeImputer(
        ExtraTreesRegressor(50, min_samples_leaf=2, random_state=seed), random_state=seed, max_iter=5
    ),
}
RIDGES = (0.003, 0.03, 0.1)  # of a column's variance, added to the covariance of the normal law
COMPONENTS = (1, 2, 3)  # of the mixture
MODEL = {"network": "mlp-tanh", "widths": (128,), "samples": 20}
LATENT, BATCH = 16, 16  # latents at most, and no more than columns
NORMAL, MIXTURE, INCOMPLETE, CONDITIONED = "normal, by EM", "mixture, by EM", "incomplete", "arbitrary_conditioning"
METHODS = (*BASELINES, NORMAL, MIXTURE, INCOMPLETE, CONDITIONED)
Row = dict[str, Any]
Filled = tuple[np.ndarray, np.ndarray]  # x, and the log density of every cell given what is seen of its row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--shares", nargs="*", type=float, default=SHARES, help="of the cells, hidden")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=METHODS)
    parser.add_argument(
        "--steps", type=int, default=3000, help="of training, at most; a fifth of them where a law begins it"
    )
    parser.add_argument("--samples", type=int, default=1000, help="draws of z that an imputation weighs")
    parser.add_argument("--out", type=Path, default=Path("results/imputation"))
    parser.add_argument("--intervals", nargs="*", type=int, default=(), help="runs whose 200 draws are one interval")
    asked = parser.parse_args(arguments)
    if asked.intervals:
        return intervals(asked)
    asked.out.mkdir(parents=True, exist_ok=True)
    place, rows = asked.out / "results.csv", []
    if place.exists():
        with place.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    known = {(row["data"], float(row["share"]), int(row["seed"]), row["method"]) for row in rows}
    for seed in range(asked.seeds):
        for name in asked.data:
            for share in asked.shares:
                for method in asked.methods:
                    if (name, share, seed, method) in known:
                        continue
                    began = time.perf_counter()
                    found = measured(name, share, seed, method, asked.steps, asked.samples)
                    seconds = f"{time.perf_counter() - began:.1f}"
                    told = {key: f"{value:.4f}" for key, value in found.items()}
                    rows.append(
                        {"data": name, "share": share, "seed": seed, "method": method, **told, "seconds": seconds}
                    )
                    print(rows[-1], flush=True)
                    with replacing(place) as beside, beside.open("w", encoding="utf-8", newline="") as file:
                        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                        table.writeheader()
                        table.writerows(rows)
    (asked.out / "results.md").write_text(markdown(rows), encoding="utf-8")


def intervals(asked: argparse.Namespace) -> None:
    """Prints of each table and share what the intervals of so many runs hold, the mean over seeds."""
    for name in asked.data:
        for share in asked.shares:
            for runs in asked.intervals:
                found = [held(name, share, seed, runs, asked.steps, asked.samples) for seed in range(asked.seeds)]
                print(f"{name}, {share:.0%} missing, runs {runs}: {mean(found):.1%} of the cells in 90 %", flush=True)


def measured(name: str, share: float, seed: int, method: str, steps: int, samples: int) -> dict[str, float]:
    """Root mean squared error and mean log-likelihood of the hidden cells, in standard deviations and nats a cell."""
    x, hidden = cells(name, share, seed)
    if method == INCOMPLETE:
        filled, score = learned(x, hidden, seed, steps, samples)
    elif method == CONDITIONED:
        filled, score = conditioned(x, hidden, seed, mixture_of(name, share, seed), steps // 5)
    elif method == MIXTURE:
        filled, score = mixed(x, hidden, mixture_of(name, share, seed))
    elif method == NORMAL:
        filled, score = normal(x, hidden, seed)
    else:
        filled, score = imputed(BASELINES[method], x, hidden, seed)
    return {"rmse": float(np.sqrt(np.mean((filled - x)[hidden] ** 2))), "log_likelihood": float(score[hidden].mean())}


def cells(name: str, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A table, standardised, and which of its cells are hidden."""
    x = np.asarray(TABLES[name]().data, dtype=np.float64)
    x = x[:, x.std(0) > 0]
    x = (x - x.mean(0)) / x.std(0)
    return x, np.random.default_rng([seed, round(100 * share)]).random(x.shape) < share


def visible_tenth(hidden: np.ndarray, seed: int) -> np.ndarray:
    """A tenth of the cells that are not hidden, which a method may be judged by."""
    return ~hidden & (np.random.default_rng([seed, 7]).random(hidden.shape) < 0.1)


def imputed(build: Callable[[int], Any], x: np.ndarray, hidden: np.ndarray, seed: int) -> Filled:
    """What a baseline fills in, and the log density of every cell under a normal about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that rounds end before they converge
        filled = build(seed).fit_transform(np.where(hidden, np.nan, x))
        tried = visible_tenth(hidden, seed)
        again = build(seed).fit_transform(np.where(hidden | tried, np.nan, x))
    squares = np.where(tried, (again - x) ** 2, 0.0).sum(0) / np.maximum(tried.sum(0), 1)
    scale = np.maximum(np.sqrt(squares), LEAST)
    return filled, -0.5 * ((x - filled) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def normal(x: np.ndarray, hidden: np.ndarray, seed: int) -> Filled:
    """The same of one normal law of all columns, fitted to what is seen by EM."""
    tried = visible_tenth(hidden, seed)
    without = hidden | tried
    ridge = max(RIDGES, key=lambda each: given_seen(x, without, *fitted(x, without, each))[1][tried].mean())
    filled, score, _ = given_seen(x, hidden, *fitted(x, hidden, ridge))
    return filled, score


@lru_cache(maxsize=1)
def mixture_of(name: str, share: float, seed: int) -> Fit:
    """How a mixture is fitted to rows and what is seen of them, components and ridge the best on a visible tenth."""
    x, hidden = cells(name, share, seed)
    tried, rows = visible_tenth(hidden, seed), torch.from_numpy(x)
    known = torch.from_numpy(~(hidden | tried))

    def fitting(count: int, ridge: float) -> Fit:
        return lambda x, seen: ConditionedMixture.fit(x, count, ridge, seen, seed, rounds=50)

    def score(fit: Fit) -> float:
        return float(fit(rows, known).log_values(rows, known).numpy()[tried].mean())

    return max((fitting(count, ridge) for count in COMPONENTS for ridge in RIDGES), key=score)


def mixed(x: np.ndarray, hidden: np.ndarray, fit: Fit) -> Filled:
    """What a mixture of normal laws, fitted to what is seen by EM, fills in, and its log density of every cell."""
    rows, seen = torch.from_numpy(x), torch.from_numpy(~hidden)
    law = fit(rows, seen)
    return law.complete(rows, seen)[0].numpy(), law.log_values(rows, seen).numpy()


def fitted(x: np.ndarray, hidden: np.ndarray, ridge: float, rounds: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and covariance [d, d] by EM.

    Little, Rubin: Statistical Analysis with Missing Data, 2002, chapter 11.
    """
    mean, covariance = np.zeros(x.shape[1]), np.eye(x.shape[1])
    for _ in range(rounds):
        filled, _, spread = given_seen(x, hidden, mean, covariance)
        mean = filled.mean(0)
        covariance = ((filled - mean).T @ (filled - mean) + spread) / len(x) + ridge * np.eye(len(mean))
    return mean, covariance


def given_seen(
    x: np.ndarray, hidden: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x with E[hidden | seen], the log density of each hidden cell, and the sum over rows of Cov[hidden | seen]."""
    filled, score, spread = x.copy(), np.zeros_like(x), np.zeros_like(covariance)
    for row, gaps in enumerate(hidden):
        inside, across = covariance[np.ix_(~gaps, ~gaps)], covariance[np.ix_(gaps, ~gaps)]
        slopes = np.linalg.solve(inside, across.T).T
        left = covariance[np.ix_(gaps, gaps)] - slopes @ across.T
        filled[row, gaps] = mean[gaps] + slopes @ (x[row, ~gaps] - mean[~gaps])
        variance, error = left.diagonal(), (x[row] - filled[row])[gaps]
        score[row, gaps] = -0.5 * (error**2 / variance + np.log(2 * np.pi * variance))
        spread[np.ix_(gaps, gaps)] += left
    return filled, score, spread


def trained(x: np.ndarray, hidden: np.ndarray, seed: int, steps: int) -> pv.Run:
    """A run of `incomplete`, whose best epoch a tenth of the rows choose by their K-sample bound."""
    tensors = {"x": torch.from_numpy(x).float(), "seen": torch.from_numpy(~hidden)}
    data = pv.data.wrap(tensors, kind="real", validation=0.1, test=0, seed=seed)
    recipe = pv.recipes.incomplete(data.spec, latent=min(LATENT, x.shape[1]), seed=seed, **MODEL)
    epochs = max(1, steps // max(1, len(data.train) // BATCH))
    course = {"schedule": "cosine", "average": 0.99, "device": "cpu", "progress": False}
    return pv.fit(recipe, data, epochs=epochs, batch_size=BATCH, lr=3e-3, seed=seed, **course)


def learned(x: np.ndarray, hidden: np.ndarray, seed: int, steps: int, samples: int) -> Filled:
    """What a run fills in, and its log density of every cell."""
    run = trained(x, hidden, seed, steps)
    truth = torch.from_numpy(x).float()
    whole = pv.data.split.Split({"x": truth, "seen": torch.from_numpy(~hidden)})
    filled = run.impute(np.where(hidden, np.nan, x), samples=samples, seed=seed).expected
    return filled, missing_scores(run, whole, truth, samples, seed).numpy()


def held(name: str, share: float, seed: int, runs: int, steps: int, samples: int) -> float:
    """The share of the hidden cells within the middle 90 % of 200 draws by `runs` runs, each of a seed of its own.

    Quantiles are those between which 90 % of further draws lie: of few draws the usual ones hold less, of 40 86 %.
    """
    x, hidden = cells(name, share, seed)
    draws = []
    for own in range(seed * runs, (seed + 1) * runs):
        run = trained(x, hidden, own, steps)
        draws += run.impute(np.where(hidden, np.nan, x), samples=samples, draws=200 // runs, seed=own).draws
    low, high = np.quantile(np.stack(draws)[:, hidden], [0.05, 0.95], axis=0, method="weibull")
    return float(((low <= x[hidden]) & (x[hidden] <= high)).mean())


def markdown(rows: Sequence[Row]) -> str:
    """Means over seeds with their standard deviation, the best of each line in bold."""
    lines = []
    for key, title, best in (("rmse", "RMSE, standard deviations", min), ("log_likelihood", "nats a cell", max)):
        lines += [f"| {title} | missing | {' | '.join(METHODS)} |", "|---|---|" + "---|" * len(METHODS)]
        for name in TABLES:
            for share in SHARES:
                found = {
                    method: [
                        float(row[key])
                        for row in rows
                        if (row["data"], float(row["share"]), row["method"]) == (name, share, method)
                    ]
                    for method in METHODS
                }
                if not all(found.values()):
                    continue
                top = best(mean(values) for values in found.values())
                cells = []
                for values in found.values():
                    text = f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
                    cells.append(f"**{text}**" if mean(values) == top else text)
                lines.append(f"| {name} | {share:.0%} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
