"""Fill missing values of the tables that ship with scikit-learn: two models beside imputers and conditioned laws.

Of each table, standardised, 10, 30 and 50 % of the cells are hidden completely at random. Every method sees all rows
with their gaps and fills them; errors and log-likelihoods are of the hidden cells, in standard deviations of their
columns. A point for a prediction has no likelihood: the baselines are given a normal about it, whose scale, for each
column, is their own error on a tenth of the visible cells, hidden from a fit of its own. The normal law of all columns
together, and a mixture of such laws, both fitted by EM, have densities; the same tenth chooses their ridge and the
number of components. It chooses too whether columns are taken as they are, as logarithms or by powers, see
imputation_columns.py: imputers and the normal law choose for themselves, the others take the normal law's.
`arbitrary_conditioning` starts at a mixture, see imputation_around.py. All columns are taken for real numbers. A row of
--out (results.csv) stands for one method on one table; what is there is not computed again. With --intervals it prints
instead how many of the hidden cells lie within the middle 90 % of 200 draws, by one run of `incomplete` or by several.

python examples/imputation.py --seeds 3
python examples/imputation.py --seeds 2 --shares 0.3 --intervals 1 5
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from imputation_around import conditioned
from imputation_laws import Filled, Gaps, Law, better, imputed, likeliest
from sklearn import datasets
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import polyvae as pv
from polyvae.completion import missing_scores
from polyvae.data.files.writing import replacing

TABLES: dict[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
SHARES = (0.1, 0.3, 0.5)
COLUMNS = ("data", "share", "seed", "method", "rmse", "log_likelihood", "seconds")
BASELINES: dict[str, Callable[[int], Any]] = {
    "mean": lambda seed: SimpleImputer(),
    "KNNImputer": lambda seed: KNNImputer(n_neighbors=5),
    "IterativeImputer": lambda seed: IterativeImputer(random_state=seed, max_iter=10),
    "IterativeImputer, trees": lambda seed: IterativeImputer(
        ExtraTreesRegressor(50, min_samples_leaf=2, random_state=seed), random_state=seed, max_iter=5
    ),
}
COMPONENTS = (1, 2, 3)  # of the mixture
MODEL = {"network": "mlp-tanh", "widths": (128,), "samples": 20}
LATENT, BATCH = 16, 16  # latents at most, and no more than columns
NORMAL, MIXTURE, INCOMPLETE, CONDITIONED = "normal, by EM", "mixture, by EM", "incomplete", "arbitrary_conditioning"
METHODS = (*BASELINES, NORMAL, MIXTURE, INCOMPLETE, CONDITIONED)
Row = dict[str, Any]


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
    gaps = cells(name, share, seed)
    x, hidden = gaps.x, gaps.hidden
    if method == INCOMPLETE:
        filled, score = learned(gaps, normal_of(name, share, seed).system, steps, samples)
    elif method == CONDITIONED:
        law = mixture_of(name, share, seed)
        filled, score = conditioned(x, hidden, seed, gaps.systems[law.system], law.fit, steps // 5)
    elif method in (NORMAL, MIXTURE):
        filled, score = (normal_of if method == NORMAL else mixture_of)(name, share, seed).filled(gaps)
    else:
        filled, score = imputed(BASELINES[method], gaps)
    return {"rmse": float(np.sqrt(np.mean((filled - x)[hidden] ** 2))), "log_likelihood": float(score[hidden].mean())}


def cells(name: str, share: float, seed: int) -> Gaps:
    x = np.asarray(TABLES[name]().data, dtype=np.float64)
    x = x[:, x.std(0) > 0]
    hidden = np.random.default_rng([seed, round(100 * share)]).random(x.shape) < share
    return Gaps((x - x.mean(0)) / x.std(0), hidden, -x.mean(0) / x.std(0), seed)


@lru_cache(maxsize=1)
def normal_of(name: str, share: float, seed: int) -> Law:
    """The normal law whose ridge and coordinates have the largest log-likelihood of a visible tenth."""
    gaps = cells(name, share, seed)
    return better([likeliest(gaps, system) for system in gaps.systems])


@lru_cache(maxsize=1)
def mixture_of(name: str, share: float, seed: int) -> Law:
    """The mixture, in the coordinates of the normal law, whose components and ridge have the largest there."""
    return likeliest(cells(name, share, seed), normal_of(name, share, seed).system, COMPONENTS)[0]


def trained(y: np.ndarray, hidden: np.ndarray, seed: int, steps: int) -> pv.Run:
    """A run of `incomplete`, whose best epoch a tenth of the rows choose by their K-sample bound."""
    tensors = {"x": torch.from_numpy(y).float(), "seen": torch.from_numpy(~hidden)}
    data = pv.data.wrap(tensors, kind="real", validation=0.1, test=0, seed=seed)
    recipe = pv.recipes.incomplete(data.spec, latent=min(LATENT, y.shape[1]), seed=seed, **MODEL)
    epochs = max(1, steps // max(1, len(data.train) // BATCH))
    course = {"schedule": "cosine", "average": 0.99, "device": "cpu", "progress": False}
    return pv.fit(recipe, data, epochs=epochs, batch_size=BATCH, lr=3e-3, seed=seed, **course)


def learned(gaps: Gaps, system: str, steps: int, samples: int) -> Filled:
    """What a run fills in, the mean of draws, and its log density of every cell."""
    coordinates, hidden = gaps.systems[system], gaps.hidden
    y = coordinates.of(gaps.x)
    run = trained(y, hidden, gaps.seed, steps)
    truth = torch.from_numpy(y).float()
    whole = pv.data.split.Split({"x": truth, "seen": torch.from_numpy(~hidden)})
    found = run.impute(np.where(hidden, np.nan, y), samples=samples, draws=samples, seed=gaps.seed)
    filled = found.expected if system == "as it is" else np.mean([coordinates.back(each) for each in found.draws], 0)
    score = missing_scores(run, whole, truth, samples, gaps.seed).numpy()
    return filled, score + coordinates.log_slope(gaps.x)


def held(name: str, share: float, seed: int, runs: int, steps: int, samples: int) -> float:
    """The share of the hidden cells within the middle 90 % of 200 draws by `runs` runs, each of a seed of its own.

    Quantiles are those between which 90 % of further draws lie: of few draws the usual ones hold less, of 40 86 %.
    """
    gaps = cells(name, share, seed)
    coordinates, hidden, draws = gaps.systems[normal_of(name, share, seed).system], gaps.hidden, []
    y = coordinates.of(gaps.x)
    for own in range(seed * runs, (seed + 1) * runs):
        run = trained(y, hidden, own, steps)
        draws += run.impute(np.where(hidden, np.nan, y), samples=samples, draws=200 // runs, seed=own).draws
    low, high = np.quantile(np.stack(draws)[:, hidden], [0.05, 0.95], axis=0, method="weibull")
    return float(((low <= y[hidden]) & (y[hidden] <= high)).mean())


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
