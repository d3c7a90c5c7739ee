"""Few labels and none: errors of M2 and M1+M2 with 100 labels, and the clusters of `vade`, over draws of the labels.

Trains each of METHODS once for each seed, which draws the labels, the weights and the noise, and prints a Markdown
table of means and standard deviations. No label of the validation or the test part takes part in the training or in the
choice of its best epoch. Run again, it goes on where it was; `--only` names the methods, `--seeds` the runs. Beside
them stand what an expert would do instead, see labels_rivals.py.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from examples.labels_rivals import RIVALS

import polyvae as pv
from polyvae.training.second_stage import fit_prior, with_prior

USUAL: dict[str, Any] = {"lr": 2e-3, "schedule": "cosine", "warmup": 100, "batch_size": 200, "precision": "bf16"}
BARS = {"m2": "error < 12 %", "m1+m2": "error < 6 %", "vade": "accuracy > 80 %"}
COLUMNS = ("method", "seed", "error", "log_loss", "calibration_error", "accuracy", "nmi", "ari", "bound", "epochs")


def m2(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    widths = (asked.width, asked.width)
    options = {"latent": 50, "network": "mlp", "widths": widths, "features": asked.width, "classified": 100.0}
    made = pv.recipes.m2(data, seed=seed, likelihood="bernoulli", **options)
    return pv.fit(made, data, folder, resume=True, epochs=asked.epochs, seed=seed, **USUAL)


def m1_m2(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    made = pv.recipes.vae(data, seed=seed, latent=50, network="mlp", widths=(500,), likelihood="bernoulli")
    run = pv.fit(made, data, folder, resume=True, epochs=asked.epochs, seed=seed, **USUAL)
    options = {"top": 2, "widths": (asked.width, asked.width), "features": asked.width, "classified": 100.0}
    going_on = (folder / "prior" / "run.json").exists()
    prior = fit_prior(run, data, "labelled", resume=going_on, epochs=asked.epochs, seed=seed, **options, **USUAL)
    return with_prior(run, prior)


def vade(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    options = {"latent": 10, "network": "mlp", "widths": (400, 400), "settle": max(1, asked.epochs // 2)}
    made = pv.recipes.vade(data, seed=seed, likelihood="bernoulli", **options)
    return pv.fit(made, data, folder, resume=True, epochs=asked.epochs, seed=seed, **USUAL)


METHODS: dict[str, Callable[..., pv.Run]] = {"m2": m2, "m1+m2": m1_m2, "vade": vade}


def measured(method: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One run of the table, judged on the test part."""
    options = {} if asked.limit is None else {"limit": asked.limit}
    binarise = None if asked.data == "digits" else "dynamic"
    data = pv.data.load(asked.data, seed=seed, labels=asked.labels, binarise=binarise, **options)
    if method in RIVALS:
        plain = pv.data.load(asked.data, seed=seed, labels=asked.labels, **options)
        told = RIVALS[method](plain, seed)
        return {"method": method, "seed": seed, **{name: told.get(name, "") for name in COLUMNS[2:]}}
    run = METHODS[method](data, asked.out / f"{method}-{seed}", asked, seed)
    report = pv.evaluate(run, data.test, samples=asked.samples, spec=data.spec)
    told = {**report["clusters"], **report.get("classification", {}), "bound": report["bound"]}
    found = {name: told.get(name, "") for name in COLUMNS[2:-1]}
    return {"method": method, "seed": seed, **found, "epochs": asked.epochs}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The runs that are asked for, and their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--width", type=int, default=300)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", choices=[*METHODS, *RIVALS], default=[*METHODS, *RIVALS])
    parser.add_argument("--out", type=Path, default=Path("runs/labels"))
    parser.add_argument("--table", type=Path, help="a .csv that the runs are kept in; OUT/runs.csv where none is given")
    asked = parser.parse_args(arguments)
    table = asked.table or asked.out / "runs.csv"
    for seed in asked.seeds:
        for method in asked.only:
            if (method, str(seed)) not in {(row["method"], row["seed"]) for row in kept(table)}:
                keep(table, measured(method, seed, asked))
    rows = kept(table)
    print("| method | runs | error, % | accuracy, % | NMI | ARI | bar |\n|---|---|---|---|---|---|---|")
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        shown = [spread(mine, "error", 100), spread(mine, "accuracy", 100), spread(mine, "nmi"), spread(mine, "ari")]
        print(f"| `{method}` | {len(mine)} | {' | '.join(shown)} | {BARS.get(method, '')} |")
    return rows


def kept(table: Path) -> list[dict[str, Any]]:
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def keep(table: Path, row: dict[str, Any]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def spread(rows: Sequence[dict[str, Any]], name: str, factor: float = 1.0) -> str:
    """Mean and standard deviation of a column over runs."""
    values = [factor * float(row[name]) for row in rows if row[name] != ""]
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


if __name__ == "__main__":
    main()
